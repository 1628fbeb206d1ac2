#!/usr/bin/env bash
# mqadmin (rocketmq-tools 5.5.0), unmodified, against a server: what each command prints, not only that it ends.
#
#   tests/compat/mqadmin/run.sh [--against standalone|three|apache] [--test CLASS[#METHOD]]
#
# Which server (default standalone; ../servers.sh says what each is), and which test class alone. Tests tagged `flotilla` are left out against Apache.
# MQADMIN_SHOW=1 shows everything that the commands print. NAMESRV_ADDR, FLOTILLA and MVN_ARGS as in ../java/run.sh.
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
[ "$AGAINST" != apache ] || options+=(-DexcludedGroups=flotilla)
mkdir -p "$here/target/work"
echo "=== mqadmin of rocketmq-tools 5.5.0 against $AGAINST"
# shellcheck disable=SC2086  # MVN_ARGS is a list of words
mvn -B -ntp -f "$here/pom.xml" "${options[@]}" ${MVN_ARGS:-} test
