#!/usr/bin/env bash
# The leader killed by kill -9 under the load of `flotilla bench failover`, again and again: the outage that clients of the Rust library see.
#
#   benches/side-by-side/bench-failover.sh [--trials N] [--seconds N] [--rate N] [--clients N] [--set key=value]...
#
# One group of three processes and a name server; in the middle of each trial the leader is killed, and after everything has been read back it is
# started again and catches up. Exits with 1 when an acked message is not there, when the longest time without an ack is above 1.5 s in the median or
# above 3 s in any trial, or when `flotilla log verify` finds damage at the end. Needs no official client: Java is used only to find free ports.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

trials=20 seconds=20 rate=2000 clients=8 settings=()
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || die "$1 needs a value; see the head of $0"
    case "$1" in
        --trials) trials=$2 ;;
        --seconds) seconds=$2 ;;
        --rate) rate=$2 ;;
        --clients) clients=$2 ;;
        --set) settings+=(--set "$2") ;;
        *) die "unknown option $1; see the head of $0" ;;
    esac
    shift 2
done
median_ms_max=1500 worst_ms_max=3000

need java javac curl
mkdir -p "$OUT/classes"
javac -nowarn -d "$OUT/classes" "$HERE/FreePorts.java" || die "javac failed"
new_run_dir bench-failover
flotilla_up "${settings[@]}"

# The load asks by one pipe for the kill and for the restart, and waits for the answer on the other: the brokers stay children of this script.
mkfifo "$RUN_DIR/orders" "$RUN_DIR/answers"
ask() { echo "echo $1 >'$RUN_DIR/orders' && read -r answer <'$RUN_DIR/answers' && [ \"\$answer\" = done ]"; }
start_load() {
    "$FLOTILLA" bench failover --namesrv "$NAMESRV" --topic failover --clients "$clients" --rate "$rate" --seconds "$seconds" --trials "$trials" --json \
        --kill "$(ask kill)" --restore "$(ask restore)" >"$RUN_DIR/result.json" 2>"$RUN_DIR/load.log" </dev/null &
    PIDS[load]=$!
}

killed=
kill_leader() {
    killed=$(leader_index) || return 1
    kill9 "n$killed"
}

restore() {
    local goal
    flotilla_node "$killed" "${settings[@]}"
    wait_until 60 leader_known || return 1
    goal=$(applied "$(leader_index)")
    wait_until 60 has_applied "$killed" "$goal"
}

# Opened for both, so that it does not end between two orders. Read without a limit of time, which could cut an order in two.
exec 8<>"$RUN_DIR/orders"
start_load
(
    until ended "${PIDS[load]}"; do sleep 0.2; done
    echo ended >"$RUN_DIR/orders"
) &
PIDS[watch]=$!
shown=0
show_trials() {
    local lines
    lines=$(grep -c '^trial ' "$RUN_DIR/load.log" || true)
    [ "$lines" -le "$shown" ] || { grep '^trial ' "$RUN_DIR/load.log" | tail -n +$((shown + 1)) >&2; shown=$lines; }
}
while read -r order <&8 && [ "$order" != ended ]; do
    show_trials
    answer=done
    case "$order" in
        kill) kill_leader || answer=failed ;;
        restore) restore || answer=failed ;;
        *) answer=failed ;;
    esac
    # Nobody reads when the load has been ended meanwhile.
    timeout 5 sh -c "echo $answer >'$RUN_DIR/answers'" || true
done
status=0
wait "${PIDS[load]}" || status=$?
unset "PIDS[load]"
show_trials
json=$(tail -n 1 "$RUN_DIR/result.json")
flotilla_down
verdict=$(verify_all)

number() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" <<<"$json"; }
above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'; }
echo "$json"
problem=
if [ "$status" != 0 ]; then
    problem="the load ended with $status"
elif above "$(number ack_gap_ms_median)" "$median_ms_max"; then
    problem="the median gap is above $median_ms_max ms"
elif above "$(sed 's/,"trials":.*/}/' <<<"$json" | sed -n 's/.*"ack_gap_ms_max":\([0-9.]*\).*/\1/p')" "$worst_ms_max"; then
    problem="the worst gap is above $worst_ms_max ms"
elif [ "$verdict" != ok ]; then
    problem="log verify: $verdict"
fi
if [ -n "$problem" ]; then
    tail -n 5 "$RUN_DIR/load.log" >&2
    die "$problem (kept: ${RUN_DIR#"$ROOT"/})"
fi
echo "$trials trials of $seconds s, $rate messages/s, kill -9 of the leader: median gap $(number ack_gap_ms_median) ms, as it must be; commit $(git -C "$ROOT" rev-parse --short HEAD), $(nproc) CPUs"
rm -rf "$RUN_DIR"
