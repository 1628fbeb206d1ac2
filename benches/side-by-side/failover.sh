#!/usr/bin/env bash
# The leader is killed with kill -9 under load and started again; nothing else is done by hand.
#
#   benches/side-by-side/failover.sh [--trials N] [--seconds N] [--kill-after N] [--poll MS] [--server flotilla|apache]
#                                    [--set key=value]...
#
# Each trial: a fresh group (examples/three-node on free ports, a folder of its own), Load with `sync, 8 threads, consume`, the leader killed
# KILL-AFTER seconds into the measured window, restarted 3 s later. Columns: lost (acked but never consumed within a minute), failed sends,
# duplicates, the longest time between two acks in ms, time until another leader was known, time from the restart until the killed node
# had applied what the leader had then, and what `flotilla log verify` says of the three folders after everything stopped.
# Exits with 1 when a trial lost a message, did not rejoin, or left a damaged log; the ack gap is reported, and judged with --gap-max MS.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

trials=10 seconds=20 kill_after=6 poll=100 server=flotilla gap_max=0 settings=()
while [ $# -gt 0 ]; do
    case "$1" in
        --trials) trials=$2 ;;
        --seconds) seconds=$2 ;;
        --kill-after) kill_after=$2 ;;
        --poll) poll=$2 ;;
        --server) server=$2 ;;
        --gap-max) gap_max=$2 ;;
        --set) settings+=(--set "$2") ;;
        *) die "unknown option $1; see the head of $0" ;;
    esac
    shift 2
done

up() { if [ "$server" = flotilla ]; then flotilla_up "${settings[@]}"; else apache_up; fi; }
down() { if [ "$server" = flotilla ]; then flotilla_down; else apache_down; fi; }
current_leader() { if [ "$server" = flotilla ]; then leader_index; else apache_leader_index; fi; }
node() { if [ "$server" = flotilla ]; then flotilla_node "$1" "${settings[@]}"; else apache_node "$1"; fi; }
has_leader() { current_leader >/dev/null; }
measuring() { grep -q '^measuring' "$RUN_DIR/load.log" 2>/dev/null || ! running load; }
load_ended() { ! running load || ended "${PIDS[load]}"; }
rejoined() { # INDEX ENTRY
    if [ "$server" = flotilla ]; then has_applied "$1" "$2"; else port_open "${NODES[$1]}"; fi
}

value() { sed -n "s/.*\"$1\":\(-\{0,1\}[0-9.]*\).*/\1/p" <<<"$2"; }

bad=0
trial() { # NUMBER
    local leader killed_at leader_ms restarted_at target rejoin_ms=- json verdict=- problem=
    new_run_dir "failover-$server"
    up
    : >"$RUN_DIR/load.json"
    client_java Load "$NAMESRV" failover_topic sync "$seconds" 1024 8 1 consume warm=3 "poll=$poll" >"$RUN_DIR/load.json" 2>"$RUN_DIR/load.log" </dev/null &
    PIDS[load]=$!
    wait_until 180 measuring && running load || { cat "$RUN_DIR/load.log" >&2; die "the load did not start"; }
    sleep "$kill_after"
    leader=$(current_leader) || die "no leader to kill"
    kill9 "n$leader"
    killed_at=$(now_ms)
    if wait_until 60 has_leader; then leader_ms=$(($(now_ms) - killed_at)); else leader_ms=none problem="no new leader"; fi
    sleep 3
    node "$leader"
    restarted_at=$(now_ms)
    target=0
    [ "$server" = apache ] || target=$(applied "$(current_leader || echo 0)")
    if wait_until 60 rejoined "$leader" "${target:-0}"; then rejoin_ms=$(($(now_ms) - restarted_at)); else rejoin_ms=never problem="n$leader did not rejoin"; fi
    wait_until $((seconds + 120)) load_ended || problem="the load did not end"
    wait "${PIDS[load]}" 2>/dev/null || true
    unset "PIDS[load]"
    json=$(tail -n 1 "$RUN_DIR/load.json")
    if [ "$server" = flotilla ]; then
        wait_until 30 all_applied_equal || problem="the replicas did not become equal"
        down
        verdict=$(verify_all)
        [ "$verdict" = ok ] || problem="log verify: $verdict"
        [ "$1" -gt 1 ] || verify_detects_damage || problem="log verify does not see a flipped byte"
    else
        down
    fi
    [ "$(value lost "$json")" = 0 ] || problem="lost: $(value lost "$json")"
    if [ "$gap_max" -gt 0 ] && awk -v g="$(value max_ack_gap_ms "$json")" -v m="$gap_max" 'BEGIN { exit !(g > m) }'; then problem="ack gap above $gap_max ms"; fi
    printf '| %5d | n%s | %8s | %6s | %6s | %6s | %8s | %9s | %8s | %s\n' "$1" "$leader" "$(value sent "$json")" "$(value lost "$json")" \
        "$(value failed "$json")" "$(value dup "$json")" "$(value max_ack_gap_ms "$json")" "$leader_ms" "$rejoin_ms" "$verdict ${problem:+- $problem}"
    if [ -n "$problem" ]; then
        bad=$((bad + 1))
        say "kept: $RUN_DIR"
        tail -n 5 "$RUN_DIR/load.log" >&2
    else
        rm -rf "$RUN_DIR"
    fi
}

prepare
echo "$server, leader killed by kill -9 under load: sync, 8 threads, 1 KiB, consumer beside it, poll=$poll ms; commit $(git -C "$ROOT" rev-parse --short HEAD), $(nproc) CPUs"
printf '| trial | killed | sent | lost | failed | dup | gap ms | leader ms | rejoin ms | log verify |\n|---|---|---|---|---|---|---|---|---|---|\n'
for ((number = 1; number <= trials; number++)); do trial "$number"; done
echo
echo "$((trials - bad)) of $trials trials as they must be"
[ "$bad" -eq 0 ]
