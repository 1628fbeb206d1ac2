#!/usr/bin/env bash
# kill -9 of the leader under a group of 4 Java and 2 Go consumers on 16 queues.
#
#   tests/compat/must-hold/owners.sh [--mode concurrent|orderly|both] [--limit MS]
#
# Three processes and two name servers on free ports; official clients (Java 5.5.0, Go v2.1.2), the consumers at their defaults; the producer refreshes
# its route twice a second, so that there is something to consume soon. The leader is killed, after 60 s it is started again, 20 s later the run ends.
# Must hold: each queue is consumed by one consumer again within LIMIT [35000 ms] and its owner does not change any more, no committed offset goes
# back, nothing committed is delivered again, nothing is lost; orderly: no queue is consumed by two at once and no message is skipped.
# Prints one line of JSON a mode; exits with 1 when something did not hold. About two minutes a mode. KEEP=1 keeps the folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
modes="concurrent orderly" limit=35000
while [ $# -gt 0 ]; do
    case "$1" in
        --mode) [ "$2" = both ] || modes=$2; shift ;;
        --limit) limit=$2; shift ;;
        *) die "unknown option $1; see the head of $0" ;;
    esac
    shift
done
command -v go >/dev/null || die "needs go"
prepare
(cd "$COMPAT/go" && go build -o "$CLASSES/member" ./cmd/member) || die "go build failed"
new_folder
top=$FOLDER
go_ready() { grep -q '^ready' "$FOLDER/go.log" || ! running go; }

trial() { # MODE
    local leader killed restarted ending status=0
    FOLDER="$top/$1"
    mkdir "$FOLDER"
    three_up
    new_topic owners 16
    members_start owners owners_group "$1" 4 1 500
    mkfifo "$FOLDER/steer-go"
    "$CLASSES/member" "$NAMESRV_ADDR" owners owners_group "$1" 2 "$FOLDER/deliveries-go.txt" >"$FOLDER/go.log" 2>&1 <"$FOLDER/steer-go" &
    PIDS[go]=$!
    exec 8>"$FOLDER/steer-go"
    wait_until 60 go_ready && running go || die "the Go clients did not start"
    # Two rounds of dealing queues, 20 s apart, before the load.
    sleep 45
    tell
    wait_until 60 told sending || die "the sends did not start"
    sleep 20
    leader=$(leader_index) || die "no leader to kill"
    killed=$(now_us)
    kill9 "n$leader"
    sleep 60
    restarted=$(now_us)
    three_node "$leader"
    wait_until 60 node_ready "$leader" || die "n$leader was not ready within 60 s"
    sleep 20
    tell
    wait_until 60 told acked || die "the sends did not end"
    wait_until 120 all_delivered || say "not everything acked was delivered within 120 s"
    # From here on members leave, and those that are left share their queues.
    ending=$(now_us)
    echo >&8
    exec 8>&-
    wait_until 30 ended "${PIDS[go]}" || true
    unset "PIDS[go]"
    members_end
    judge kill "$FOLDER" "$1" "$killed" "$restarted" "$ending" 16 "$limit" || status=1
    servers_down
    FOLDER=$top
    return "$status"
}

failed=0
for mode in $modes; do trial "$mode" || failed=1; done
exit "$failed"
