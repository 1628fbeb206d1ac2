# Sourced by the run.sh of each suite: the servers a suite can run against, on free ports and in a folder of their own, ended with the script.
#
#   suite_arguments "$@"     takes --against and --test out of the arguments, the others go to ARGS
#   servers_up               starts what AGAINST names and exports NAMESRV_ADDR, FLOTILLA_ADMIN and COMPAT_AGAINST
#
# AGAINST is one of
#   standalone   `flotilla standalone`: a name server and three replicas in one process
#   three        two `flotilla namesrv` and three `flotilla broker` with examples/three-node
#   apache       Apache RocketMQ 5.5.0, two name servers and one broker, fetched by Maven: the reference
# With NAMESRV_ADDR set nothing is started: the suite runs against what is there (FLOTILLA_ADMIN names its admin addresses, by commas).
#
# FLOTILLA         the binary to start (default target/release/flotilla)

COMPAT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$COMPAT/../.." && pwd)
FLOTILLA=${FLOTILLA:-$ROOT/target/release/flotilla}
APACHE_LIB=$ROOT/target/side-by-side/lib
AGAINST=standalone
# The machine's disk may be nearly full, at which a broker deletes, refuses and hands over: not what these suites are about.
ROOMY=(--set cleanFileForciblyEnable=false --set diskSpaceWarningLevelRatio=99)
TEST=
ARGS=()

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

suite_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --against) AGAINST=${2:-}; shift ;;
            --test) TEST=${2:-}; shift ;;
            -h | --help)
                sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
                exit 0
                ;;
            *) ARGS+=("$1") ;;
        esac
        shift
    done
    case "$AGAINST" in
        standalone | three | apache) ;;
        *) die "--against is standalone, three or apache, not '$AGAINST'" ;;
    esac
}

# A suite without its tool is no failure, but it says so.
skip_without() {
    local tool
    for tool in "$@"; do
        if ! command -v "$tool" >/dev/null; then
            echo "skipped: needs $tool"
            exit 0
        fi
    done
}

# --- ports ---------------------------------------------------------------------------------------------------------------

# Below the range from which the system takes the ports of outgoing connections: a client can't have taken one between this look and its use.
# The neighbours P-2 and P+1 are free as well: RocketMQ's broker also opens listenPort-2 and, for replication, listenPort+1.
free_ports() { # COUNT
    local highest used port near count=0 chosen=
    highest=$(cut -f1 /proc/sys/net/ipv4/ip_local_port_range)
    [ "$highest" -gt 16000 ] || highest=32768
    # Local ports of all sockets, decimal, each between spaces.
    used=" $(awk 'FNR > 1 { split($2, a, ":"); print a[2] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u | while read -r hex; do printf '%d ' "0x$hex"; done)"
    while [ "$count" -lt "$1" ]; do
        port=$((12000 + (RANDOM * 32768 + RANDOM) % (highest - 12010)))
        for near in $((port - 2)) $((port - 1)) "$port" $((port + 1)); do
            case "$used" in *" $near "*) continue 2 ;; esac
        done
        used+="$((port - 2)) $((port - 1)) $port $((port + 1)) "
        chosen+="$port "
        count=$((count + 1))
    done
    echo "$chosen"
}

# --- processes -----------------------------------------------------------------------------------------------------------

declare -A PIDS=()
FOLDER=

ended() { ! kill -0 "$1" 2>/dev/null || [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" = Z ]; }
running() { [ -n "${PIDS[$1]:-}" ] && ! ended "${PIDS[$1]}"; }

wait_until() { # LIMIT_SECONDS COMMAND...: false when the limit has passed
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

start() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >>"$FOLDER/$name.log" 2>&1 </dev/null &
    PIDS[$name]=$!
}

kill9() { # NAME
    kill -9 "${PIDS[$1]}" 2>/dev/null || true
    wait "${PIDS[$1]}" 2>/dev/null || true
    unset "PIDS[$1]"
}

terminate() { # NAME [LIMIT_SECONDS]: SIGTERM, and the time its drain may take
    local pid=${PIDS[$1]:-}
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    if ! wait_until "${2:-45}" ended "$pid"; then
        say "$1 did not stop within ${2:-45} s: killed"
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        unset "PIDS[$1]"
        return 1
    fi
    wait "$pid" 2>/dev/null || true
    unset "PIDS[$1]"
}

# Twice SIGTERM: a broker of Flotilla then leaves without draining.
servers_down() {
    local name round
    for round in 1 2; do
        for name in "${!PIDS[@]}"; do kill -TERM "${PIDS[$name]}" 2>/dev/null || true; done
        sleep 0.3
    done
    for name in "${!PIDS[@]}"; do
        wait_until 10 ended "${PIDS[$name]}" || kill -9 "${PIDS[$name]}" 2>/dev/null || true
        wait "${PIDS[$name]}" 2>/dev/null || true
    done
    PIDS=()
}

at_exit() {
    local status=$? log
    trap - EXIT INT TERM
    servers_down
    if [ -n "$FOLDER" ]; then
        if [ "$status" -ne 0 ]; then
            for log in "$FOLDER"/*.log; do
                [ -s "$log" ] || continue
                say "--- last lines of ${log##*/}"
                grep -v ' |-' "$log" | tail -n 25 >&2 || true
            done
        fi
        if [ "$status" -ne 0 ] && [ -n "${KEEP:-}" ]; then say "kept: $FOLDER"; else rm -rf "$FOLDER"; fi
    fi
    exit "$status"
}

new_folder() {
    FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/flotilla-compat.XXXXXX")
    trap at_exit EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# --- the servers -----------------------------------------------------------------------------------------------------------

servers_up() {
    if [ -n "${NAMESRV_ADDR:-}" ]; then
        export NAMESRV_ADDR COMPAT_AGAINST=$AGAINST
        [ -z "${FLOTILLA_ADMIN:-}" ] || export FLOTILLA_ADMIN
        return
    fi
    new_folder
    unset FLOTILLA_ADMIN
    "${AGAINST}_up"
    export NAMESRV_ADDR COMPAT_AGAINST=$AGAINST
    [ -z "${FLOTILLA_ADMIN:-}" ] || export FLOTILLA_ADMIN
    echo "$AGAINST: name servers $NAMESRV_ADDR${FLOTILLA_ADMIN:+, admin $FLOTILLA_ADMIN}"
}

need_flotilla() { [ -x "$FLOTILLA" ] || die "no $FLOTILLA: run cargo build --release, or set FLOTILLA or NAMESRV_ADDR"; }

# The block that standalone prints: a line `ready`, then `name server  ADDRESS`, `admin  URL`, ...
shown() { sed -n '/^ready/,$p' "$FOLDER/standalone.log" | sed -n "s#^ *$1  *\([^ ]*\).*#\1#p" | head -n 1; }
standalone_ready() { { [ -n "$(shown 'name server')" ] && [ -n "$(shown admin)" ]; } || ! running standalone; }

standalone_up() {
    need_flotilla
    start standalone "$FLOTILLA" standalone --data "$FOLDER/data" --listen 127.0.0.1:0 "${ROOMY[@]}" ${FLOTILLA_SET:-}
    wait_until 30 standalone_ready && running standalone || die "flotilla standalone was not ready within 30 s"
    NAMESRV_ADDR=$(shown 'name server')
    FLOTILLA_ADMIN=$(shown admin)
}

# Addresses of two name servers and three nodes: NAMESRV, LISTEN, RAFT, ADMIN (ports), PEERS.
three_prepare() {
    local ports
    need_flotilla
    read -r -a ports <<<"$(free_ports 11)"
    NAMESRV=("127.0.0.1:${ports[0]}" "127.0.0.1:${ports[1]}")
    LISTEN=("${ports[@]:2:3}")
    RAFT=("${ports[@]:5:3}")
    ADMIN=("${ports[@]:8:3}")
    PEERS="n0-127.0.0.1:${RAFT[0]};n1-127.0.0.1:${RAFT[1]};n2-127.0.0.1:${RAFT[2]}"
    NAMESRV_ADDR="${NAMESRV[0]};${NAMESRV[1]}"
    FLOTILLA_ADMIN="http://127.0.0.1:${ADMIN[0]},http://127.0.0.1:${ADMIN[1]},http://127.0.0.1:${ADMIN[2]}"
}

three_namesrv() { start "namesrv$1" "$FLOTILLA" namesrv --listen "${NAMESRV[$1]}"; } # INDEX

three_node() { # INDEX
    # shellcheck disable=SC2086  # FLOTILLA_SET is a list of words: --set key=value
    start "n$1" "$FLOTILLA" broker -c "$ROOT/examples/three-node/n$1.properties" --set "namesrvAddr=$NAMESRV_ADDR" \
        --set "listenPort=${LISTEN[$1]}" --set "adminListen=127.0.0.1:${ADMIN[$1]}" --set "dLegerPeers=$PEERS" \
        --set "storePathRootDir=$FOLDER/n$1" --set mappedFileSizeCommitLog=67108864 "${ROOMY[@]}" ${FLOTILLA_SET:-}
}

three_up() {
    local i
    three_prepare
    for i in 0 1; do three_namesrv "$i"; done
    for i in 0 1 2; do three_node "$i"; done
    wait_until 60 leader_known || die "no leader within 60 s"
    for i in 0 1 2; do wait_until 60 node_ready "$i" || die "n$i was not ready within 60 s"; done
}

http_get() { # PORT PATH: the body's lines, nothing when it can't be had within two seconds
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET %s HTTP/1.0\r\nhost: localhost\r\n\r\n" "$1" >&3 && cat <&3' "$1" "$2" 2>/dev/null || true
}

node_ready() { http_get "${ADMIN[$1]}" /readyz | head -n 1 | grep -q ' 200 '; }

# Index of the leader as the first answering node knows it; false when there is none.
leader_index() {
    local i found
    for i in 0 1 2; do
        running "n$i" || continue
        found=$(http_get "${ADMIN[$i]}" /v1/group | sed -n 's/.*"leader"[[:space:]]*:[[:space:]]*"n\([0-9]*\)".*/\1/p' | head -n 1)
        if [ -n "$found" ] && running "n$found"; then
            echo "$found"
            return 0
        fi
    done
    return 1
}
leader_known() { leader_index >/dev/null; }

# --- Apache RocketMQ -------------------------------------------------------------------------------------------------------

JAVA_OPENINGS=(--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED --add-exports=java.base/sun.nio.ch=ALL-UNNAMED
    --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/sun.nio.ch=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED
    --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED)

# Jars of Apache's servers and of the client, fetched once by the same pom as the measurements side by side use.
apache_jars() {
    local pom="$ROOT/benches/side-by-side/pom.xml"
    if [ ! -e "$APACHE_LIB/.complete" ] || [ "$pom" -nt "$APACHE_LIB/.complete" ]; then
        say "fetching Apache's servers by mvn"
        rm -rf "$APACHE_LIB"
        mvn -B -q -ntp -f "$pom" dependency:copy-dependencies -DoutputDirectory="$APACHE_LIB" >&2 || die "mvn failed"
        touch "$APACHE_LIB/.complete"
    fi
}

apache_java() { # NAME HEAP MAIN ARGUMENT...
    local name=$1 heap=$2
    shift 2
    mkdir -p "$FOLDER/home"
    start "$name" env ROCKETMQ_HOME="$FOLDER/home" NAMESRV_ADDR= java "-Xms$heap" "-Xmx$heap" -XX:+UseSerialGC -XX:MaxDirectMemorySize=256m \
        "${JAVA_OPENINGS[@]}" -Duser.home="$FOLDER/home/$name" -cp "$APACHE_LIB/*" "$@"
}

port_open() { (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }

# Opens the name server's port and waits for it.
apache_namesrv_up() { # NAME PORT
    printf 'listenPort=%s\nbindAddress=127.0.0.1\n' "$2" >"$FOLDER/$1.conf"
    apache_java "$1" 128m org.apache.rocketmq.namesrv.NamesrvStartup -c "$FOLDER/$1.conf"
    wait_until 60 port_open "127.0.0.1:$2" || die "Apache's $1 did not open its port within 60 s"
}

# A broker and its store; more settings come from stdin.
apache_broker_up() { # NAME PORT NAMESRV_ADDR
    {
        cat <<CONF
brokerClusterName=DefaultCluster
brokerName=broker-a
brokerId=0
brokerRole=ASYNC_MASTER
brokerIP1=127.0.0.1
listenPort=$2
haListenPort=$(($2 + 1))
namesrvAddr=$3
storePathRootDir=$FOLDER/$1-store
storePathCommitLog=$FOLDER/$1-store/commitlog
mappedFileSizeCommitLog=67108864
autoCreateTopicEnable=true
# A busy machine is no reason to refuse a send here; the default is 200.
waitTimeMillsInSendQueue=3000
CONF
        cat
    } >"$FOLDER/$1.conf"
    apache_java "$1" 512m org.apache.rocketmq.broker.BrokerStartup -c "$FOLDER/$1.conf"
    wait_until 90 port_open "127.0.0.1:$2" || die "Apache's $1 did not open its port within 90 s"
}

apache_up() {
    local ports i
    skip_without java mvn
    apache_jars
    read -r -a ports <<<"$(free_ports 3)"
    NAMESRV_ADDR="127.0.0.1:${ports[0]};127.0.0.1:${ports[1]}"
    for i in 0 1; do apache_namesrv_up "namesrv$i" "${ports[$i]}"; done
    apache_broker_up broker "${ports[2]}" "$NAMESRV_ADDR" <<CONF
# Without it the topic of traces exists only once a client's trace made it, at one name server before the other.
traceTopicEnable=true
# Off by default.
recallMessageEnable=true
${APACHE_EXTRA:-}
CONF
}

# One more group of Apache's, which asks everybody for a signature: a name server and a broker with users and policies (ACL 2.0; the accounts of
# plain_acl.yml, ACL 1.0, are not part of 5.5.0). Exports COMPAT_ACL_NAMESRV_ADDR, and the keys of the account that may do everything.
apache_acl_up() {
    local ports auth=org.apache.rocketmq.auth
    read -r -a ports <<<"$(free_ports 2)"
    export COMPAT_ACL_NAMESRV_ADDR=127.0.0.1:${ports[0]} COMPAT_ACL_ACCESS_KEY=compat COMPAT_ACL_SECRET_KEY=compat-secret
    apache_namesrv_up acl-namesrv "${ports[0]}"
    apache_broker_up acl-broker "${ports[1]}" "$COMPAT_ACL_NAMESRV_ADDR" <<CONF
authenticationEnabled=true
authenticationProvider=$auth.authentication.provider.DefaultAuthenticationProvider
authenticationMetadataProvider=$auth.authentication.provider.LocalAuthenticationMetadataProvider
initAuthenticationUser={"username":"$COMPAT_ACL_ACCESS_KEY","password":"$COMPAT_ACL_SECRET_KEY"}
innerClientAuthenticationCredentials={"accessKey":"$COMPAT_ACL_ACCESS_KEY","secretKey":"$COMPAT_ACL_SECRET_KEY"}
authorizationEnabled=true
authorizationProvider=$auth.authorization.provider.DefaultAuthorizationProvider
authorizationMetadataProvider=$auth.authorization.provider.LocalAuthorizationMetadataProvider
CONF
    echo "apache with authentication: name server $COMPAT_ACL_NAMESRV_ADDR"
}
