#!/usr/bin/env bash
# Apache's Go client (rocketmq-client-go v2), unmodified, against a server.
#
#   tests/compat/go/run.sh [--against standalone|three|apache] [--test REGEXP]
#
# Which server (default standalone; ../servers.sh says what each is), and which tests alone (go test -run).
# NAMESRV_ADDR, FLOTILLA_ADMIN and FLOTILLA as in ../servers.sh.
#
# Exits 0 when everything passed, also when there is no go (it says "skipped"); 1 otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../servers.sh"
suite_arguments "$@"
skip_without go
servers_up
options=()
[ -z "$TEST" ] || options+=(-run "$TEST")
echo "=== rocketmq-client-go $(cd "$here" && sed -n 's#.*rocketmq-client-go/v2 ##p' go.mod | head -n 1) against $AGAINST"
cd "$here"
# Offsets of broadcasting consumers go to the home folder unless this says otherwise.
offsets=$(mktemp -d)
status=0
env "rocketmq.client.localOffsetStoreDir=$offsets" go test -count=1 -parallel 8 -timeout 900s -v "${options[@]}" . || status=1
rm -rf "$offsets"
exit "$status"
