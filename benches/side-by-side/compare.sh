#!/usr/bin/env bash
# Flotilla and its peers side by side: the same matrix on each, one server at a time, and a run of Flotilla before each run of a peer
# (A B A C A D ...), so that every ratio is of two neighbours.
#
#   benches/side-by-side/compare.sh [--rounds N] [--seconds N] [--with "rocketmq-dledger rocketmq-single kafka nats"]
#                                   [--rows "sync-1 sync-64 async-1024 batch-32 consume-100 e2e"] [--warm N] [--warmup N]
#                                   [--consume-messages N] [--consume-clients N] [--e2e-rate N] [--data-max GB] [--flotilla yes|no]
#                                   [--kafka-fsync] [--kafka-linger MS] [--nats-sync TIME|always] [--nats-batch async|atomic]
#
#   sync-N      N clients, one message of 1 KiB in flight each         async-N   4 clients, N messages of 1 KiB in flight altogether
#   batch-N     16 clients that send N messages of 1 KiB at once       consume-N  messages of N bytes, produced first, drained from the start
#   e2e         two rows, producer and consumer together, 1 KiB: e2e-peak, closed loop, 1024 messages between their send and their receipt; then e2e,
#               open loop at half of that, or at --e2e-rate (no e2e-peak then); latency from the intended send time to the receipt
#
# A server is warmed before its first row in turns of --warm seconds, until they get no faster; --warmup is spent at the start of each row.
# Every result is one line of target/side-by-side/compare.jsonl: what the load program printed, and
#   server, round, pair (the peer of this pair of runs), row, ack_policy, cores, commit
#   stored_messages       what the topic holds after the row, its warm-up included (consume: what was drained)
#   server_cpu_seconds    of the brokers over the row, its warm-up included (consume: over the drain that is measured)
#   disk_bytes            by which what is written to the brokers' files grew over the row, its warm-up included (consume: while the messages
#                         were produced); what a server deleted or compacted meanwhile is not in it
#   cpu_us_per_message    server_cpu_seconds / stored_messages
# so each cost is divided by the messages that caused it. A table of medians and of the pairs' ratios comes at the end, and from a file by itself:
#   benches/side-by-side/compare.sh --table FILE
#
# Flotilla's binary is FLOTILLA, the load on it and on RocketMQ `flotilla bench`, or BENCH, a command with the same interface.
# A server's data is deleted after its run, and between rows when it is above half of --data-max; a row that passes --data-max, or that finds
# the disk three quarters full, is ended and not counted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=3 seconds=10 warm=10 warmup=5 peers="rocketmq-dledger rocketmq-single kafka nats" rows="sync-1 sync-64 async-1024 batch-32 consume-100 e2e"
consume_messages=2000000 consume_clients=4 e2e_rate= data_max=24 flotilla=yes table=
while [ $# -gt 0 ]; do
    case "$1" in
        --kafka-fsync) KAFKA_FSYNC=yes; shift; continue ;;
    esac
    [ $# -gt 1 ] || die "$1 needs a value; see the head of $0"
    case "$1" in
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --with) peers=$2 ;;
        --rows) rows=$2 ;;
        --warm) warm=$2 ;;
        --warmup) warmup=$2 ;;
        --consume-messages) consume_messages=$2 ;;
        --consume-clients) consume_clients=$2 ;;
        --e2e-rate) e2e_rate=$2 ;;
        --data-max) data_max=$2 ;;
        --flotilla) flotilla=$2 ;;
        --kafka-linger) KAFKA_LINGER=$2 ;;
        --nats-sync) NATS_SYNC=$2 ;;
        --nats-batch) NATS_BATCH=$2 ;;
        --table) table=$2 ;;
        *) die "unknown option $1; see the head of $0" ;;
    esac
    shift 2
done
source "$HERE/peers.sh"

# What is left after a failure is the logs, not the data.
trap 'kill_all; rm -rf "${RUN_DIR:-/nonexistent}"/n[012]' EXIT

# Above this the brokers of RocketMQ begin to delete and to refuse.
disk_percent_max=75
results="$OUT/compare.jsonl"
commit=$(git -C "$ROOT" rev-parse --short HEAD)
missing=0

disk_percent() { df --output=pcent "$RUN_DIR" | tr -dc '0-9'; }
too_much() { [ "$(allocated_bytes)" -gt $((data_max << 30)) ] || [ "$(disk_percent)" -ge "$disk_percent_max" ]; }
field() { sed -n "s/.*\"$1\":\([0-9.eE+]*\).*/\1/p"; }

# Runs the load in the background and looks at the disk meanwhile. The line of JSON goes to RESULT.
load() { # SERVER COMMAND [OPTION]...
    local turn=0 status=0
    RESULT=
    load_command "$@"
    "${LOAD_COMMAND[@]}" >"$RUN_DIR/load.json" 2>>"$RUN_DIR/load.log" </dev/null &
    PIDS[load]=$!
    while ! ended "${PIDS[load]}"; do
        sleep 0.1
        turn=$((turn + 1))
        if [ $((turn % 20)) = 0 ] && too_much; then
            kill9 load
            say "$* was ended: more than $data_max GB of data, or the disk is $disk_percent_max % full"
            return 1
        fi
    done
    wait "${PIDS[load]}" || status=$?
    unset "PIDS[load]"
    RESULT=$(grep "^{.*}$" "$RUN_DIR/load.json" | tail -n 1) || true
    [ "$status" = 0 ] && [ -n "$RESULT" ] || { say "$*: exit code $status, no valid result"; return 1; }
}

row_arguments() { # ROW
    case "$1" in
        sync-*) echo "--clients ${1#sync-} --window 1 --batch 0" ;;
        async-*) echo "--clients 4 --window $((${1#async-} / 4)) --batch 0" ;;
        batch-*) echo "--clients 16 --window 1 --batch ${1#batch-}" ;;
        *) die "unknown row $1" ;;
    esac
}

produce() { # SERVER TOPIC ROW SIZE SECONDS WARMUP: RESULT
    local arguments
    read -r -a arguments <<<"$(row_arguments "$3")"
    load "$1" produce --topic "$2" --size "$4" "${arguments[@]}" --seconds "$5" --warmup "$6"
}

# Many small sends, then large ones, over and over until the small ones got no faster twice running: a JVM that is still compiling its hot
# paths has no figures. The files exist then, too. The turns are bounded, and how many it took is said.
warm_turns_max=8
bring_up() { # SERVER
    local turn rate best=0 still=0
    server_up "$1"
    create_topic "$1" warm >>"$RUN_DIR/load.log" 2>&1 || { tail -n 5 "$RUN_DIR/load.log" >&2; die "$1: no topic"; }
    for ((turn = 1; turn <= warm_turns_max; turn++)); do
        produce "$1" warm sync-64 1024 "$((warm / 2 + 1))" 0 || die "$1 cannot be warmed"
        rate=$(field messages_per_second <<<"$RESULT")
        produce "$1" warm async-1024 1024 "$((warm / 4 + 1))" 0 && produce "$1" warm batch-32 1024 "$((warm / 4 + 1))" 0 || die "$1 cannot be warmed"
        if awk -v r="$rate" -v b="$best" 'BEGIN { exit !(r < b * 1.1) }'; then
            still=$((still + 1))
            [ "$still" -lt 2 ] || break
        else
            still=0 best=$rate
        fi
    done
    [ "$turn" -le "$warm_turns_max" ] || turn="the most allowed, $warm_turns_max,"
    say "$1 is up and warm after $turn turn(s): $rate msg/s in sync-64"
}

begin_run() { new_run_dir "$1"; bring_up "$1"; }
end_run() { server_down; rm -rf "$RUN_DIR"; }

record() { # SERVER ROUND PAIR ROW STORED CPU DISK JSON
    local json="${8%\}}" each
    # flotilla bench tells its own version, which is the server's only where that is Flotilla.
    case "$1" in rocketmq-*) json=$(sed "s/\"version\":\"[^\"]*\"/\"version\":\"$(rocketmq_version)\"/" <<<"$json") ;; esac
    each=$(awk -v c="$6" -v n="$5" 'BEGIN { printf "%.3f", (n > 0 ? c * 1e6 / n : 0) }')
    printf '%s,"server":"%s","round":%d,"pair":"%s","row":"%s","stored_messages":%d,"server_cpu_seconds":%s,"cpu_us_per_message":%s,' \
        "$json" "$1" "$2" "$3" "$4" "$5" "$6" "$each" >>"$results"
    printf '"disk_bytes":%d,"ack_policy":"%s","cores":%d,"commit":"%s"}\n' "$7" "$(ack_policy "$1" "$4")" "$(nproc)" "$commit" >>"$results"
    say "round $2: $1 $4 $(field messages_per_second <<<"$8") msg/s, p99 $(field p99 <<<"$8") us;" \
        "a message: $each us of CPU, $(awk -v d="$7" -v n="$5" 'BEGIN { printf "%.0f", (n > 0 ? d / n : 0) }') bytes on disk"
}

rocketmq_version() { basename "$OUT"/lib/rocketmq-broker-*.jar .jar | sed 's/rocketmq-broker-//'; }

difference() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b - a }'; }

one_row() { # SERVER ROUND PAIR ROW
    local server=$1 row=$4 topic="row_${4//-/_}" cpu disk stored rate tries=0
    create_topic "$server" "$topic" >>"$RUN_DIR/load.log" 2>&1 || return 1
    # This also syncs: what earlier rows left to be written back is not this row's cost.
    disk=$(data_bytes) cpu=$(cpu_seconds)
    case "$row" in
        consume-*)
            stored=0
            # Large units: filling is not measured, and takes the slowest server long enough.
            while [ "$stored" -lt "$consume_messages" ]; do
                [ $((tries += 1)) -le 100 ] || { say "$server: $consume_messages messages don't come together"; return 1; }
                produce "$server" "$topic" batch-256 "${row#consume-}" 3 0 || return 1
                stored=$(count_topic "$server" "$topic" 2>>"$RUN_DIR/load.log") || return 1
            done
            disk=$(awk -v g="$(($(data_bytes) - disk))" -v s="$stored" -v n="$consume_messages" 'BEGIN { printf "%.0f", g / s * n }')
            # The first drain warms the server.
            load "$server" consume --topic "$topic" --clients "$consume_clients" --messages "$consume_messages" || return 1
            cpu=$(cpu_seconds)
            load "$server" consume --topic "$topic" --clients "$consume_clients" --messages "$consume_messages" || return 1
            record "$@" "$consume_messages" "$(difference "$cpu" "$(cpu_seconds)")" "$disk" "$RESULT"
            return 0
            ;;
        e2e-peak)
            peak=
            # Of Kafka's and NATS's programs a client is a consumer: one, as flotilla bench has.
            load "$server" e2e --topic "$topic" --rate 0 --clients 1 --window 1024 --size 1024 --seconds "$seconds" --warmup "$warmup" || return 1
            peak=$(field messages_per_second <<<"$RESULT" | half)
            ;;
        e2e)
            rate=${e2e_rate:-$peak}
            [ -n "$rate" ] || { say "$server e2e: its peak is not known"; return 1; }
            load "$server" e2e --topic "$topic" --rate "$rate" --size 1024 --seconds "$seconds" --warmup "$warmup" || return 1
            ;;
        *)
            produce "$server" "$topic" "$row" 1024 "$seconds" "$warmup" || return 1
            ;;
    esac
    cpu=$(difference "$cpu" "$(cpu_seconds)")
    disk=$(($(data_bytes) - disk))
    stored=$(count_topic "$server" "$topic" 2>>"$RUN_DIR/load.log") || return 1
    [ "$stored" -ge "$(field acked <<<"$RESULT")" ] || { say "$server $row: acked more than the topic holds: $stored"; return 1; }
    record "$@" "$stored" "$cpu" "$disk" "$RESULT"
}

half() { awk '{ printf "%d", $1 / 2 }'; }

one_server() { # SERVER ROUND PAIR
    local row peak=
    begin_run "$1"
    for row in $rows; do
        if [ "$(allocated_bytes)" -gt $((data_max << 29)) ]; then
            say "the data is above half of $data_max GB: $1 starts afresh"
            end_run
            begin_run "$1"
        fi
        if ! one_row "$1" "$2" "$3" "$row"; then
            missing=$((missing + 1))
            say "round $2: $1 $row has no result; the end of its log:"
            tail -n 5 "$RUN_DIR/load.log" >&2
        fi
    done
    end_run
}

if [ -n "$table" ]; then
    mkdir -p "$OUT/classes"
    javac -nowarn -d "$OUT/classes" "$HERE/CompareTable.java"
    exec java -Xmx128m -cp "$OUT/classes" CompareTable "$table"
fi

case "$flotilla" in yes | no) ;; *) die "--flotilla is yes or no" ;; esac
[ -n "$e2e_rate" ] || rows=$(awk -v RS='[[:space:]]+' '$1 != "e2e-peak" { printf "%s ", ($1 == "e2e" ? "e2e-peak e2e" : $1) }' <<<"$rows")
for row in $rows; do case "$row" in consume-[0-9]* | e2e-peak | e2e) ;; *) row_arguments "$row" >/dev/null ;; esac; done
prepare_rocketmq
for server in $peers; do
    case "$server" in
        kafka) prepare_kafka ;;
        nats) prepare_nats ;;
        rocketmq-dledger | rocketmq-single) ;;
        *) die "unknown peer $server; see the head of $0" ;;
    esac
done
[ ! -e "$results" ] || mv "$results" "$OUT/compare.previous.jsonl"
: >"$results"
for ((round = 1; round <= rounds; round++)); do
    for server in $peers; do
        [ "$flotilla" = no ] || one_server flotilla "$round" "$server"
        one_server "$server" "$round" "$server"
    done
done

echo "$rounds round(s) of $seconds s, $(nproc) CPUs, $(date -u +%F), commit $commit"
java -Xmx128m -cp "$OUT/classes" CompareTable "$results"
echo
echo "single results: ${results#"$ROOT"/}"
[ "$missing" = 0 ] || die "$missing row(s) without a result"
