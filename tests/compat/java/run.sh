#!/usr/bin/env bash
# The official Java client, unmodified, against a server.
#
#   tests/compat/java/run.sh [4.9.8|5.5.0|all] [--against standalone|three|apache] [--test CLASS[#METHOD]]
#
# Which client (default all; any other published version number works too), which server (default standalone; ../servers.sh says what each is),
# and which test class alone (default all classes). Against Apache RocketMQ the tests tagged `flotilla` are left out.
#
# NAMESRV_ADDR     test this server instead of starting one
# FLOTILLA_ADMIN   its admin addresses, http://HOST:PORT, by commas: without it the tests that change leaders are skipped
# FLOTILLA         the binary to start (default target/release/flotilla)
# MVN_ARGS         more arguments for mvn
#
# Exits 0 when everything passed, also when there is no java or mvn (it says "skipped"); 1 otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../servers.sh"
suite_arguments "$@"

newest=5.5.0
case "${ARGS[0]:-all}" in
    all) versions=(4.9.8 "$newest") ;;
    5.x) versions=("$newest") ;;
    [0-9]*) versions=("${ARGS[0]}") ;;
    *) die "which client? 4.9.8, $newest or all, not '${ARGS[0]}'" ;;
esac
skip_without java mvn
servers_up

options=()
[ -z "$TEST" ] || options+=("-Dtest=$TEST")
[ "$AGAINST" != apache ] || options+=(-DexcludedGroups=flotilla)
failed=()
for version in "${versions[@]}"; do
    echo "=== rocketmq-client $version against $AGAINST"
    # shellcheck disable=SC2086  # MVN_ARGS is a list of words
    mvn -B -ntp -f "$here/pom.xml" -Drocketmq.version="$version" "${options[@]}" ${MVN_ARGS:-} test || failed+=("$version")
done
if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed with rocketmq-client ${failed[*]}"
    exit 1
fi
