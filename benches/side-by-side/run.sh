#!/usr/bin/env bash
# Flotilla and Apache RocketMQ in DLedger mode side by side: the same load by the same client on the same machine, three broker processes each,
# taking turns (A B A B ...), each warmed up before anything is measured.
#
#   benches/side-by-side/run.sh [--rounds N] [--seconds N] [--warm N] [--only flotilla|apache] [--rows "sync-1 sync-64 async-1024 batch-32"]
#                               [--flush SYNC_FLUSH|ASYNC_FLUSH] [--batch-threads N]
#
# Flotilla runs examples/three-node as it is, SYNC_FLUSH: fdatasync on a majority before the ack. Apache runs ASYNC_FLUSH, its best case.
# Prints a table with medians over the rounds and their ratios; writes every single result to target/side-by-side/results.json.
# Environment: FLOTILLA (binary), LOAD_JAVA (another load program, see Load.java), HEAP (of Apache's brokers), LOAD_HEAP.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=3 seconds=10 warm=15 servers="flotilla apache" rows="sync-1 sync-64 async-1024 batch-32" flush=SYNC_FLUSH batch_threads=16
while [ $# -gt 0 ]; do
    case "$1" in
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --warm) warm=$2 ;;
        --only) servers=$2 ;;
        --rows) rows=$2 ;;
        --flush) flush=$2 ;;
        --batch-threads) batch_threads=$2 ;;
        *) die "unknown option $1; see the head of $0" ;;
    esac
    shift 2
done

load_arguments() { # ROW
    case "$1" in
        sync-*) echo "sync $seconds 1024 ${1#sync-} 1" ;;
        async-*) echo "async $seconds 1024 4 ${1#async-}" ;;
        batch-*) echo "batch $seconds 1024 $batch_threads ${1#batch-}" ;;
        *) die "unknown row $1" ;;
    esac
}

load() { # TOPIC ARGUMENT...: prints the JSON line
    client_java Load "$NAMESRV" "$@" 2>>"$RUN_DIR/load.log" | tail -n 1
}

field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }                       # top-level number
latency() { sed -n "s/.*\"send_us\":{[^}]*\"$1\":\([0-9]*\).*/\1/p"; }   # of the sends, microseconds

results="$OUT/results.tsv"

one_server() { # SERVER ROUND
    local server=$1 round=$2 row arguments json cpu_before cpu sent
    new_run_dir "$server"
    if [ "$server" = flotilla ]; then flotilla_up --set "flushDiskType=$flush"; else apache_up; fi
    say "round $round: $server is up, warming for $warm s"
    # Many small sends and then large ones: both paths are compiled and the files exist before the first figure.
    load warm_sync sync "$((warm / 2 + 1))" 1024 64 1 warm=1 >/dev/null
    load warm_batch batch "$((warm / 2 + 1))" 1024 4 32 warm=1 >/dev/null
    for row in $rows; do
        # shellcheck disable=SC2046  # several words are meant
        set -- $(load_arguments "$row")
        cpu_before=$(cpu_seconds)
        json=$(load "row_${row//-/_}" "$@" warm=5)
        [ -n "$json" ] || { tail -n 5 "$RUN_DIR/load.log" >&2; die "$server, $row: no result"; }
        # The CPU time covers warm-up and the client's start too: good for comparing, not as a cost per message.
        cpu=$(awk -v a="$cpu_before" -v b="$(cpu_seconds)" 'BEGIN { printf "%.1f", b - a }')
        say "round $round: $server $row $(field msg_per_s <<<"$json") msg/s, p99 $(latency p99 <<<"$json") us, failed $(field failed <<<"$json"), brokers' memory $(anonymous_mb) MB"
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$server" "$round" "$row" "$(anonymous_mb)" "$cpu" "$json" >>"$results"
    done
    if [ "$server" = flotilla ]; then
        flotilla_down
        local verdict
        verdict=$(verify_all)
        [ "$verdict" = ok ] || die "log verify: $verdict (kept: $RUN_DIR)"
    else
        apache_down
    fi
    rm -rf "$RUN_DIR"
}

prepare
: >"$results"
for ((round = 1; round <= rounds; round++)); do
    for server in $servers; do one_server "$server" "$round"; done
done

{
    echo "{\"date\":\"$(date -u +%FT%TZ)\",\"commit\":\"$(git -C "$ROOT" rev-parse --short HEAD)\",\"cpus\":$(nproc),\"rounds\":$rounds,\"seconds\":$seconds,\"flotilla_flush\":\"$flush\",\"apache_flush\":\"ASYNC_FLUSH\",\"batch_threads\":$batch_threads,\"results\":["
    awk -F'\t' '{ printf "%s{\"server\":\"%s\",\"round\":%d,\"row\":\"%s\",\"memory_mb\":%d,\"cpu_s\":%s,\"load\":%s}", (NR > 1 ? ",\n" : ""), $1, $2, $3, $4, $5, $6 } END { print "" }' "$results"
    echo "]}"
} >"$OUT/results.json"

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; else print "-" }'; }
column() { awk -F'\t' -v s="$1" -v r="$2" '$1 == s && $3 == r { print $6 }' "$results"; }
memory() { awk -F'\t' -v s="$1" -v r="$2" '$1 == s && $3 == r { print $4 }' "$results" | median; }

echo
echo "1 KiB messages, $rounds round(s) of $seconds s, medians, $(nproc) CPUs, $(date -u +%F), commit $(git -C "$ROOT" rev-parse --short HEAD); batch with $batch_threads threads"
echo "Flotilla $flush, Apache RocketMQ + DLedger ASYNC_FLUSH; latencies in microseconds; memory: largest broker, without mapped files"
echo
printf '| %-10s | %12s | %12s | %6s | %8s %8s | %8s %8s | %6s | %6s |\n' load "Flotilla/s" "DLedger/s" ratio "F p50" "D p50" "F p99" "D p99" "F MB" "D MB"
printf '|------------|--------------|--------------|--------|-------------------|-------------------|--------|--------|\n'
for row in $rows; do
    f=$(column flotilla "$row" | field msg_per_s | median)
    d=$(column apache "$row" | field msg_per_s | median)
    ratio=$(awk -v f="$f" -v d="$d" 'BEGIN { if (f + 0 > 0 && d + 0 > 0) printf "%.1f", f / d; else print "-" }')
    printf '| %-10s | %12.0f | %12.0f | %6s | %8s %8s | %8s %8s | %6s | %6s |\n' "$row" "${f/-/0}" "${d/-/0}" "$ratio" \
        "$(column flotilla "$row" | latency p50 | median)" "$(column apache "$row" | latency p50 | median)" \
        "$(column flotilla "$row" | latency p99 | median)" "$(column apache "$row" | latency p99 | median)" \
        "$(memory flotilla "$row")" "$(memory apache "$row")"
done
echo
echo "single results: ${OUT#"$ROOT"/}/results.json"
