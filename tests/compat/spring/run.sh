#!/usr/bin/env bash
# A Spring Boot application with rocketmq-spring-boot-starter, unmodified, against a server.
#
#   tests/compat/spring/run.sh [--against standalone|three|apache] [--test CLASS[#METHOD]]
#
# Which server (default standalone; ../servers.sh says what each is), and which test alone. NAMESRV_ADDR, FLOTILLA and MVN_ARGS as in ../java/run.sh.
#
# Exits 0 when everything passed, also when there is no java or mvn (it says "skipped"); 1 otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../servers.sh"
suite_arguments "$@"
skip_without java mvn
servers_up
options=()
[ -z "$TEST" ] || options+=("-Dtest=$TEST")
echo "=== rocketmq-spring-boot-starter 2.3.5 against $AGAINST"
# shellcheck disable=SC2086  # MVN_ARGS is a list of words
mvn -B -ntp -f "$here/pom.xml" "${options[@]}" ${MVN_ARGS:-} test
