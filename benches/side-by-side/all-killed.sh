#!/usr/bin/env bash
# All three brokers are killed with kill -9 at full load and started again: what was acked must be there.
#
#   benches/side-by-side/all-killed.sh [--trials N] [--window N] [--kill-after N] [--set key=value]... [--server flotilla|apache]
#
# Each trial: a fresh group, asynchronous sends with WINDOW in flight and without the client's retries, all three killed at once after KILL-AFTER
# seconds, started again, sends go on until 1000 more are acked. Then every node is asked for the whole topic: each acked message must be at its acked queue
# offset, none there twice, no hole, minimum and maximum equal on all nodes (Acked.java). At the end `flotilla log verify` of the three folders.
# Exits with 1 when a trial failed. With --server apache it shows what a group without fdatasync keeps of a killed process (not of a power cut).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

trials=5 window=1024 kill_after=5 server=flotilla settings=()
queues=4
while [ $# -gt 0 ]; do
    case "$1" in
        --trials) trials=$2 ;;
        --window) window=$2 ;;
        --kill-after) kill_after=$2 ;;
        --server) server=$2 ;;
        --set) settings+=(--set "$2") ;;
        *) die "unknown option $1; see the head of $0" ;;
    esac
    shift 2
done

up() { if [ "$server" = flotilla ]; then flotilla_up "${settings[@]}"; else apache_up; fi; }
down() { if [ "$server" = flotilla ]; then flotilla_down; else apache_down; fi; }
node() { if [ "$server" = flotilla ]; then flotilla_node "$1" "${settings[@]}"; else apache_node "$1"; fi; }

acked() { sed -n 's/^acked \([0-9]*\).*/\1/p' "$RUN_DIR/acked.log" 2>/dev/null | tail -n 1; }
acked_at_least() { local now; now=$(acked); [ -n "$now" ] && [ "$now" -ge "$1" ]; }
load_done() { grep -q '^done' "$RUN_DIR/acked.log"; }
value() { sed -n "s/.*\"$1\":\([a-z0-9.]*\).*/\1/p" <<<"$2"; }

bad=0
trial() { # NUMBER
    local i before restarted_at back_ms json verdict=- problem=
    new_run_dir "all-killed-$server"
    up
    mkfifo "$RUN_DIR/stop"
    client_java Acked load "$NAMESRV" acked_topic "$window" "$RUN_DIR/acks" >"$RUN_DIR/acked.log" 2>"$RUN_DIR/acked.err" <"$RUN_DIR/stop" &
    PIDS[load]=$!
    exec 9>"$RUN_DIR/stop"
    wait_until 120 acked_at_least 1000 || { cat "$RUN_DIR/acked.err" >&2; die "the load did not start"; }
    sleep "$kill_after"
    # One signal to all three, so that none is left to write on.
    kill -9 "${PIDS[n0]}" "${PIDS[n1]}" "${PIDS[n2]}"
    for i in 0 1 2; do kill9 "n$i"; done
    before=$(acked)
    for i in 0 1 2; do node "$i"; done
    restarted_at=$(now_ms)
    if wait_until 120 acked_at_least $((before + 1000)); then back_ms=$(($(now_ms) - restarted_at)); else back_ms=never problem="no acks after the restart"; fi
    echo stop >&9
    exec 9>&-
    wait_until 30 load_done || problem="the load did not stop"
    wait "${PIDS[load]}" 2>/dev/null || true
    unset "PIDS[load]"
    [ "$server" = apache ] || wait_until 60 all_applied_equal || problem="the replicas did not become equal"
    local nodes=("${NODES[@]}")
    # Only the leader of a DLedger group answers for its bounds and its newest messages.
    [ "$server" = flotilla ] || nodes=("${NODES[$(apache_leader_index)]}")
    json=$(client_java Acked check acked_topic "$queues" "$RUN_DIR/acks" "${nodes[@]}" 2>"$RUN_DIR/check.err") || problem=${problem:-"see check.err"}
    down
    if [ "$server" = flotilla ]; then
        verdict=$(verify_all)
        [ "$verdict" = ok ] || problem="log verify: $verdict"
        [ "$1" -gt 1 ] || verify_detects_damage || problem="log verify does not see a flipped byte"
    fi
    printf '| %5d | %9s | %9s | %5s | %5s | %5s | %5s | %9s | %s\n' "$1" "$(value acked "$json")" "$(value stored "$json")" "$(value lost "$json")" \
        "$(value twice "$json")" "$(value holes "$json")" "$(value bounds_equal "$json")" "$back_ms" "$verdict ${problem:+- $problem}"
    if [ -n "$problem" ]; then
        bad=$((bad + 1))
        tail -n 8 "$RUN_DIR/check.err" "$RUN_DIR/acked.err" >&2 || true
        say "kept: $RUN_DIR"
    else
        rm -rf "$RUN_DIR"
    fi
}

prepare
echo "$server, all three killed by kill -9 with $window sends in flight, 1 KiB; commit $(git -C "$ROOT" rev-parse --short HEAD), $(nproc) CPUs"
printf '| trial | acked | stored | lost | twice | holes | bounds equal | back ms | log verify |\n|---|---|---|---|---|---|---|---|---|\n'
for ((number = 1; number <= trials; number++)); do trial "$number"; done
echo
echo "$((trials - bad)) of $trials trials as they must be"
[ "$bad" -eq 0 ]
