#!/usr/bin/env bash
# Flotilla's brokers at Apache's name server, Apache's broker at Flotilla's, both at both, and name servers that are restarted under load.
#
#   tests/compat/mixed/run.sh [--test MixedTest#METHOD]
#
# Starts every server itself: target/release/flotilla (or FLOTILLA) and Apache RocketMQ 5.5.0, fetched by Maven. KEEP=1 keeps their folders.
#
# Exits 0 when everything passed, also when there is no java or mvn (it says "skipped"); 1 otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../servers.sh"
suite_arguments "$@"
skip_without java mvn
need_flotilla
apache_jars
options=()
[ -z "$TEST" ] || options+=("-Dtest=$TEST")
COMPAT_PORTS=$(free_ports 60)
export FLOTILLA APACHE_LIB COMPAT_PORTS COMPAT_ROOT=$ROOT
echo "=== name servers and brokers of both kinds"
# shellcheck disable=SC2086  # MVN_ARGS is a list of words
mvn -B -ntp -f "$here/pom.xml" "${options[@]}" ${MVN_ARGS:-} test
