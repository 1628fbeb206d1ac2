#!/usr/bin/env bash
# All three nodes are restarted, one after the other, under load: SIGTERM, the end of the drain, start, caught up, the next.
#
#   tests/compat/must-hold/rolling-restart.sh [--rounds N]
#
# Three processes and two name servers on free ports; 2 producers and 4 push consumers of the official Java client 5.5.0, all at their defaults (the
# route is refreshed every 30 s). Must hold: no failed send, nothing lost, nothing stored twice, nothing delivered again that had been committed, no
# committed offset gone back. Prints one line of JSON; exits with 1 when something did not hold. About three minutes a round. KEEP=1 keeps the folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
rounds=1
while [ $# -gt 0 ]; do
    case "$1" in
        --rounds) rounds=$2; shift ;;
        *) die "unknown option $1; see the head of $0" ;;
    esac
    shift
done
prepare
new_folder
three_up
new_topic rolling 16
members_start rolling rolling_group concurrent 4 2 30000
tell
wait_until 60 told sending || die "the sends did not start"
sleep 10
for ((round = 1; round <= rounds; round++)); do
    for node in 0 1 2; do
        began=$SECONDS
        terminate "n$node" 60 || die "n$node did not stop within 60 s"
        stopped=$((SECONDS - began))
        target=$(applied "$(leader_index)")
        three_node "$node"
        wait_until 60 node_ready "$node" || die "n$node was not ready within 60 s"
        wait_until 60 has_applied "$node" "$target" || die "n$node did not catch up within 60 s"
        say "n$node: stopped in $stopped s, back after $((SECONDS - began)) s, leader n$(leader_index || echo '?')"
        sleep 5
    done
done
# One route refresh more: what a stale route still holds must not fail afterwards.
sleep 32
tell
wait_until 60 told acked || die "the sends did not end"
wait_until 120 all_delivered || say "not everything acked was delivered within 120 s"
members_end
if judge rolling "$FOLDER"; then exit 0; fi
head -n 5 "$FOLDER/failed.txt" >&2
exit 1
