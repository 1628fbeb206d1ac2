# Shared by the scripts beside it: tools, free ports, processes that end with the script, and the two kinds of groups.
# Sourced, not run. Everything it writes goes to target/side-by-side below the workspace.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
OUT="$ROOT/target/side-by-side"
FLOTILLA=${FLOTILLA:-$ROOT/target/release/flotilla}
LOAD_JAVA=${LOAD_JAVA:-$HERE/Load.java}   # any program with the interface that Load.java's header documents
LOAD_HEAP=${LOAD_HEAP:-3g}
HEAP=${HEAP:-1g}                          # of each of Apache's brokers

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "needs $tool"
    done
}

# --- tools -----------------------------------------------------------------------------------------------------------

# Jars of the official client and of Apache's servers, and the programs here compiled against them.
prepare() {
    need java javac mvn curl
    mkdir -p "$OUT"
    if [ ! -e "$OUT/lib/.complete" ] || [ "$HERE/pom.xml" -nt "$OUT/lib/.complete" ]; then
        say "fetching the official client and Apache's servers by mvn"
        rm -rf "$OUT/lib"
        mvn -B -q -ntp -f "$HERE/pom.xml" dependency:copy-dependencies -DoutputDirectory="$OUT/lib" >&2 || die "mvn failed"
        touch "$OUT/lib/.complete"
    fi
    rm -rf "$OUT/classes"
    mkdir -p "$OUT/classes"
    javac -nowarn -Xlint:-deprecation -cp "$OUT/lib/*" -d "$OUT/classes" "$LOAD_JAVA" "$HERE/Acked.java" "$HERE/FreePorts.java" || die "javac failed"
}

# Log files and stored offsets of the clients go below the run's folder, not to the user's home.
client_java() {
    java -Xms512m -Xmx"$LOAD_HEAP" -Duser.home="$RUN_DIR/home" -Drocketmq.client.logLevel=WARN -cp "$OUT/classes:$OUT/lib/*" "$@"
}

free_ports() { java -Xmx64m -cp "$OUT/classes" FreePorts "$1"; }

# --- processes -------------------------------------------------------------------------------------------------------

declare -A PIDS=()

new_run_dir() { # NAME
    mkdir -p "$OUT/runs"
    RUN_DIR=$(mktemp -d "$OUT/runs/$1.XXXXXX")
    mkdir -p "$RUN_DIR/home"
    say "run folder ${RUN_DIR#"$ROOT"/}"
}

start() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >>"$RUN_DIR/$name.log" 2>&1 </dev/null &
    PIDS[$name]=$!
}

running() { [ -n "${PIDS[$1]:-}" ] && kill -0 "${PIDS[$1]}" 2>/dev/null; }

kill9() { # NAME
    kill -9 "${PIDS[$1]}" 2>/dev/null || true
    wait "${PIDS[$1]}" 2>/dev/null || true
    unset "PIDS[$1]"
}

# Asks, and after the limit ends it: a drained broker may take a while.
stop() { # NAME [LIMIT_SECONDS]
    local pid=${PIDS[$1]:-} limit=${2:-45}
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    if ! wait_until "$limit" ended "$pid"; then
        say "$1 did not stop within $limit s: killed"
        kill -9 "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
    unset "PIDS[$1]"
}

ended() { ! kill -0 "$1" 2>/dev/null || [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" = Z ]; }

kill_all() {
    local name
    for name in "${!PIDS[@]}"; do
        kill -9 "${PIDS[$name]}" 2>/dev/null || true
        wait "${PIDS[$name]}" 2>/dev/null || true
    done
    PIDS=()
}
trap kill_all EXIT
trap 'exit 130' INT TERM

wait_until() { # LIMIT_SECONDS COMMAND...: false when the limit has passed
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

now_ms() { date +%s%3N; }

# --- Flotilla: name server and examples/three-node on free ports ---------------------------------------------------------

flotilla_prepare() { # sets the addresses
    [ -x "$FLOTILLA" ] || die "no $FLOTILLA: cargo build --release"
    local ports
    read -r -a ports <<<"$(free_ports 11)"
    NAMESRV=127.0.0.1:${ports[0]}
    NAMESRV_ADMIN=127.0.0.1:${ports[1]}
    LISTEN=("${ports[@]:2:3}")
    RAFT=("${ports[@]:5:3}")
    ADMIN=("${ports[@]:8:3}")
    PEERS="n0-127.0.0.1:${RAFT[0]};n1-127.0.0.1:${RAFT[1]};n2-127.0.0.1:${RAFT[2]}"
    NODES=("127.0.0.1:${LISTEN[0]}" "127.0.0.1:${LISTEN[1]}" "127.0.0.1:${LISTEN[2]}")
}

flotilla_namesrv() { start namesrv "$FLOTILLA" namesrv --listen "$NAMESRV" --admin "$NAMESRV_ADMIN"; }

flotilla_node() { # INDEX [--set key=value]...
    local i=$1
    shift
    start "n$i" "$FLOTILLA" broker -c "$ROOT/examples/three-node/n$i.properties" \
        --set "namesrvAddr=$NAMESRV" --set "listenPort=${LISTEN[$i]}" --set "adminListen=127.0.0.1:${ADMIN[$i]}" \
        --set "dLegerPeers=$PEERS" --set "storePathRootDir=$RUN_DIR/n$i" "$@"
}

flotilla_up() { # [--set key=value]...
    flotilla_prepare
    flotilla_namesrv
    local i
    for i in 0 1 2; do flotilla_node "$i" "$@"; done
    wait_until 60 leader_known || { tail -n 20 "$RUN_DIR"/*.log >&2; die "no leader within 60 s"; }
}

flotilla_down() {
    local name
    for name in n0 n1 n2 namesrv; do
        running "$name" && kill -TERM "${PIDS[$name]}" 2>/dev/null
    done
    for name in n0 n1 n2 namesrv; do stop "$name"; done
}

group_json() { curl -s -m 2 "http://127.0.0.1:${ADMIN[$1]}/v1/group"; }

# Index of the leader as the first answering node knows it, nothing when there is none.
leader_index() {
    local i found
    for i in 0 1 2; do
        running "n$i" || continue
        found=$(group_json "$i" | sed -n 's/.*"leader"[[:space:]]*:[[:space:]]*"n\([0-9]*\)".*/\1/p' | head -n 1)
        if [ -n "$found" ] && running "n$found"; then
            echo "$found"
            return 0
        fi
    done
    return 1
}

leader_known() { leader_index >/dev/null; }

number_of() { # FIELD, reads JSON
    tr -d '\n' | sed -n "s/.*[{,][[:space:]]*\"$1\"[[:space:]]*:[[:space:]]*\(-\{0,1\}[0-9][0-9]*\).*/\1/p" | head -n 1
}

# A node has caught up when its own applied index has reached what the given one had when this was asked first.
applied() { group_json "$1" | tr -d '\n' | sed 's/"replicas".*//; s/"progress".*//' | number_of applied; }

has_applied() { # INDEX ENTRY
    local now
    now=$(applied "$1")
    [ -n "$now" ] && [ "$now" -ge "$2" ]
}

all_applied_equal() {
    local a b c
    a=$(applied 0) b=$(applied 1) c=$(applied 2)
    [ -n "$a" ] && [ "$a" = "$b" ] && [ "$b" = "$c" ]
}

# `flotilla log verify` of all three folders: prints ok, or what is damaged.
verify_all() {
    local i result=ok
    for i in 0 1 2; do
        if ! "$FLOTILLA" log verify "$RUN_DIR/n$i" >>"$RUN_DIR/verify.log" 2>&1; then
            result="n$i damaged"
            say "log verify of n$i failed:"
            tail -n 5 "$RUN_DIR/verify.log" >&2
        fi
    done
    echo "$result"
}

flip_byte() { # FILE OFFSET
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059  # the format is the byte
    printf "\\x$(printf '%02x' $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# The clean verdicts mean nothing unless a flipped byte changes them: flips one in n0's first segment, looks, and flips it back.
verify_detects_damage() {
    local segment failed=0
    segment=$(find "$RUN_DIR/n0" -path '*/log/[0-9]*' -type f | sort | head -n 1)
    [ -n "$segment" ] || { say "no segment below n0"; return 1; }
    flip_byte "$segment" 10000
    "$FLOTILLA" log verify "$RUN_DIR/n0" >>"$RUN_DIR/verify.log" 2>&1 || failed=1
    flip_byte "$segment" 10000
    [ "$failed" = 1 ]
}

# --- Apache RocketMQ: name server and a three-process DLedger group ----------------------------------------------------------

JAVA_OPENINGS=(--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED --add-exports=java.base/sun.nio.ch=ALL-UNNAMED
    --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/sun.nio.ch=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED
    --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED)

apache_java() { # NAME HEAP MAIN ARGUMENT...
    local name=$1 heap=$2
    shift 2
    start "$name" env ROCKETMQ_HOME="$RUN_DIR/home" NAMESRV_ADDR= java -server "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC -XX:MaxDirectMemorySize=1g \
        -XX:-OmitStackTraceInFastThrow "${JAVA_OPENINGS[@]}" -Duser.home="$RUN_DIR/home/$name" -cp "$OUT/lib/*" "$@"
}

apache_prepare() {
    local ports i
    read -r -a ports <<<"$(free_ports 7)"
    NAMESRV=127.0.0.1:${ports[0]}
    LISTEN=("${ports[@]:1:3}")
    RAFT=("${ports[@]:4:3}")
    PEERS="n0-127.0.0.1:${RAFT[0]};n1-127.0.0.1:${RAFT[1]};n2-127.0.0.1:${RAFT[2]}"
    NODES=("127.0.0.1:${LISTEN[0]}" "127.0.0.1:${LISTEN[1]}" "127.0.0.1:${LISTEN[2]}")
    printf 'listenPort=%s\nbindAddress=127.0.0.1\n' "${ports[0]}" >"$RUN_DIR/namesrv.conf"
    for i in 0 1 2; do
        cat >"$RUN_DIR/n$i.conf" <<CONF
brokerClusterName=DefaultCluster
brokerName=broker-a
brokerIP1=127.0.0.1
listenPort=${LISTEN[$i]}
namesrvAddr=$NAMESRV
storePathRootDir=$RUN_DIR/n$i
storePathCommitLog=$RUN_DIR/n$i/commitlog
enableDLegerCommitLog=true
dLegerGroup=broker-a
dLegerPeers=$PEERS
dLegerSelfId=n$i
flushDiskType=ASYNC_FLUSH
autoCreateTopicEnable=true
${APACHE_EXTRA:-}
CONF
    done
}

apache_namesrv() { apache_java namesrv 256m org.apache.rocketmq.namesrv.NamesrvStartup -c "$RUN_DIR/namesrv.conf"; }
apache_node() { apache_java "n$1" "$HEAP" org.apache.rocketmq.broker.BrokerStartup -c "$RUN_DIR/n$1.conf"; }

apache_up() {
    apache_prepare
    apache_namesrv
    wait_until 30 port_open "$NAMESRV" || { tail -n 20 "$RUN_DIR/namesrv.log" >&2; die "Apache's name server did not open its port within 30 s"; }
    local i
    for i in 0 1 2; do apache_node "$i"; done
    for i in 0 1 2; do
        wait_until 60 port_open "${NODES[$i]}" || { tail -n 20 "$RUN_DIR/n$i.log" >&2; die "Apache's broker n$i did not open its port within 60 s"; }
    done
}

apache_down() {
    local name
    for name in n0 n1 n2 namesrv; do
        running "$name" && kill -TERM "${PIDS[$name]}" 2>/dev/null
    done
    for name in n0 n1 n2 namesrv; do stop "$name" 20; done
}

port_open() { (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }

# Index of the DLedger leader by the role line in its log: the last role change that each running node reports.
apache_leader_index() {
    local i file
    for i in 0 1 2; do
        running "n$i" || continue
        file="$RUN_DIR/home/n$i/logs/rocketmqlogs/broker.log"
        if grep -h 'Begin handling broker role change\|Finish handling broker role change' "$file" 2>/dev/null | tail -n 1 | grep -q 'Finish.*role=LEADER'; then
            echo "$i"
            return 0
        fi
    done
    return 1
}

# --- figures of processes ----------------------------------------------------------------------------------------------------

# CPU seconds used so far by the three brokers.
cpu_seconds() {
    local i total=0 ticks
    for i in 0 1 2; do
        running "n$i" || continue
        ticks=$(sed 's/.*) //' "/proc/${PIDS[n$i]}/stat" | awk '{print $12 + $13}')
        total=$((total + ticks))
    done
    awk -v ticks="$total" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.2f", ticks / hz }'
}

# Largest resident memory beyond mapped files among the three brokers, MB.
anonymous_mb() {
    local i
    for i in 0 1 2; do
        running "n$i" || continue
        awk '/^RssAnon/ { print int($2 / 1024) }' "/proc/${PIDS[n$i]}/status"
    done | sort -n | tail -n 1
}
