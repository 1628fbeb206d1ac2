# The servers that compare.sh sets beside Flotilla, beyond those of lib.sh: Apache Kafka, NATS JetStream and a single broker of Apache RocketMQ.
# Sourced, not run, after lib.sh. Each server has up, down, and the same three things to do with it: create a topic, count it, load it.

BIN="$OUT/bin"
QUEUES=8                                # of RocketMQ's and Flotilla's topics; Kafka's partitions
KAFKA_FSYNC=${KAFKA_FSYNC:-no}          # yes: log.flush.interval.messages=1
NATS_SYNC=${NATS_SYNC:-2m}              # sync_interval: a time, or always
NATS_BATCH=${NATS_BATCH:-async}         # async: so many asynchronous publishes; atomic: JetStream's atomic batch
read -r -a BENCH <<<"${BENCH:-$FLOTILLA bench}"

# --- tools -----------------------------------------------------------------------------------------------------------

prepare_rocketmq() {
    prepare
    javac -nowarn -cp "$OUT/lib/*" -d "$OUT/classes" "$HERE/Topics.java" "$HERE/CompareTable.java" || die "javac failed"
}

prepare_kafka() {
    if [ ! -e "$OUT/kafka-lib/.complete" ] || [ "$HERE/kafka/pom.xml" -nt "$OUT/kafka-lib/.complete" ]; then
        say "fetching Apache Kafka by mvn"
        rm -rf "$OUT/kafka-lib"
        mvn -B -q -ntp -f "$HERE/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$OUT/kafka-lib" >&2 || die "mvn failed"
        touch "$OUT/kafka-lib/.complete"
    fi
    rm -rf "$OUT/kafka-classes"
    mkdir -p "$OUT/kafka-classes"
    javac -cp "$OUT/kafka-lib/*" -d "$OUT/kafka-classes" "$HERE"/kafka/*.java || die "javac failed"
}

# The versions of the server and of its client are those of nats/go.mod.
prepare_nats() {
    need go
    mkdir -p "$BIN"
    say "building nats-server and its load program by go"
    (cd "$HERE/nats" && go build -o "$BIN/nats-server" github.com/nats-io/nats-server/v2 && go build -o "$BIN/natsload" .) >&2 \
        || die "go build failed"
}

# --- servers ---------------------------------------------------------------------------------------------------------

# Three KRaft nodes, each controller and broker, with the JVM options of Kafka's own start script. Everything not named is Kafka's default.
kafka_up() {
    local ports i voters
    read -r -a ports <<<"$(free_ports 6)"
    NODES=("127.0.0.1:${ports[0]}" "127.0.0.1:${ports[1]}" "127.0.0.1:${ports[2]}")
    voters="0@127.0.0.1:${ports[3]},1@127.0.0.1:${ports[4]},2@127.0.0.1:${ports[5]}"
    for i in 0 1 2; do
        {
            printf '%s\n' process.roles=broker,controller "node.id=$i" "controller.quorum.voters=$voters" "log.dirs=$RUN_DIR/n$i" \
                "listeners=PLAINTEXT://${NODES[$i]},CONTROLLER://127.0.0.1:${ports[$((i + 3))]}" "advertised.listeners=PLAINTEXT://${NODES[$i]}" \
                listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT inter.broker.listener.name=PLAINTEXT \
                controller.listener.names=CONTROLLER auto.create.topics.enable=false default.replication.factor=3 min.insync.replicas=2 \
                offsets.topic.replication.factor=3 transaction.state.log.replication.factor=3
            [ "$KAFKA_FSYNC" != yes ] || echo log.flush.interval.messages=1
        } >"$RUN_DIR/n$i.properties"
        java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$OUT/kafka-lib/*" kafka.tools.StorageTool format \
            -t bench000000000000000AA -c "$RUN_DIR/n$i.properties" >>"$RUN_DIR/format.log" 2>&1 || { tail -n 20 "$RUN_DIR/format.log" >&2; die "Kafka's storage tool failed"; }
    done
    for i in 0 1 2; do kafka_node "$i"; done
    for i in 0 1 2; do
        wait_until 60 port_open "${NODES[$i]}" || { tail -n 20 "$RUN_DIR/n$i.log" >&2; die "Kafka's n$i did not open its port within 60 s"; }
    done
}

kafka_node() {
    start "n$1" java -server -Xms"$HEAP" -Xmx"$HEAP" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 \
        -XX:+ExplicitGCInvokesConcurrent -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$OUT/kafka-lib/*" kafka.Kafka "$RUN_DIR/n$1.properties"
}

nats_up() {
    local ports i routes=
    read -r -a ports <<<"$(free_ports 6)"
    NODES=("127.0.0.1:${ports[0]}" "127.0.0.1:${ports[1]}" "127.0.0.1:${ports[2]}")
    for i in 3 4 5; do routes="${routes:+$routes, }nats-route://127.0.0.1:${ports[$i]}"; done
    for i in 0 1 2; do
        cat >"$RUN_DIR/n$i.conf" <<CONF
server_name: n$i
listen: ${NODES[$i]}
jetstream { store_dir: "$RUN_DIR/n$i", max_file_store: 100GB, sync_interval: $NATS_SYNC }
cluster { name: side, listen: 127.0.0.1:${ports[$((i + 3))]}, routes: [$routes] }
CONF
    done
    for i in 0 1 2; do start "n$i" "$BIN/nats-server" -c "$RUN_DIR/n$i.conf"; done
    for i in 0 1 2; do
        wait_until 60 port_open "${NODES[$i]}" || { tail -n 20 "$RUN_DIR/n$i.log" >&2; die "NATS's n$i did not open its port within 60 s"; }
    done
}

# One broker, nothing replicated, each message flushed before its ack: what RocketMQ needs for the promise that Flotilla makes, on one machine.
single_up() {
    local ports
    read -r -a ports <<<"$(free_ports 2)"
    NAMESRV=127.0.0.1:${ports[0]}
    NODES=("127.0.0.1:${ports[1]}")
    printf 'listenPort=%s\nbindAddress=127.0.0.1\n' "${ports[0]}" >"$RUN_DIR/namesrv.conf"
    cat >"$RUN_DIR/n0.conf" <<CONF
brokerClusterName=DefaultCluster
brokerName=broker-a
brokerId=0
brokerRole=ASYNC_MASTER
brokerIP1=127.0.0.1
listenPort=${ports[1]}
namesrvAddr=$NAMESRV
storePathRootDir=$RUN_DIR/n0
storePathCommitLog=$RUN_DIR/n0/commitlog
flushDiskType=SYNC_FLUSH
autoCreateTopicEnable=true
CONF
    apache_namesrv
    wait_until 30 port_open "$NAMESRV" || { tail -n 20 "$RUN_DIR/namesrv.log" >&2; die "Apache's name server did not open its port within 30 s"; }
    apache_node 0
    wait_until 60 port_open "${NODES[0]}" || { tail -n 20 "$RUN_DIR/n0.log" >&2; die "Apache's broker did not open its port within 60 s"; }
}

server_up() { # SERVER
    case "$1" in
        flotilla) flotilla_up ;;
        rocketmq-dledger) apache_up ;;
        rocketmq-single) single_up ;;
        kafka) kafka_up ;;
        nats) nats_up ;;
        *) die "unknown server $1" ;;
    esac
}

# All end the same way: asked first, killed when they take too long.
server_down() {
    local name
    for name in n0 n1 n2 namesrv; do
        running "$name" && kill -TERM "${PIDS[$name]}" 2>/dev/null
    done
    for name in n0 n1 n2 namesrv; do stop "$name" 30; done
}

ack_policy() { # SERVER ROW
    case "$1" in
        flotilla) echo "Raft, 3 replicas, SYNC_FLUSH: acked after fdatasync on a majority" ;;
        rocketmq-dledger) echo "DLedger, 3 replicas, ASYNC_FLUSH: acked when a majority holds it in page cache, no fsync before the ack" ;;
        rocketmq-single) echo "1 broker, nothing replicated, SYNC_FLUSH: acked after fsync on its disk" ;;
        kafka)
            local held="all in-sync replicas hold it in page cache, no fsync before the ack (default)" linger="linger.ms=${KAFKA_LINGER:-5 (default)}"
            [ "$KAFKA_FSYNC" != yes ] || held="all in-sync replicas have written and fsynced it (log.flush.interval.messages=1)"
            case "$2" in sync-*) linger="linger.ms=${KAFKA_LINGER:-0}" ;; esac
            echo "acks=all, 3 replicas, min.insync.replicas=2: acked when $held; client: $linger, batch.size=16384 (default)"
            ;;
        nats)
            local held="in page cache, no fsync before the ack (sync_interval $NATS_SYNC)" batch=
            [ "$NATS_SYNC" != always ] || held="and synced (sync_interval always)"
            case "$2" in batch-*) batch="; client: $NATS_BATCH batches" ;; esac
            echo "JetStream R3, file storage: acked when a majority has it in its Raft log $held$batch"
            ;;
    esac
}

# --- what is done with a server ------------------------------------------------------------------------------------------

comma() { local IFS=,; echo "$*"; }

# Words of the command that loads a server, into LOAD_COMMAND.
load_command() { # SERVER COMMAND [OPTION]...
    local server=$1 command=$2 extra=()
    shift 2
    case "$server" in
        kafka)
            [ -z "${KAFKA_LINGER:-}" ] || [ "$command" = create ] || [ "$command" = count ] || extra=(--linger "$KAFKA_LINGER")
            LOAD_COMMAND=(java -Xms512m "-Xmx$LOAD_HEAP" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$OUT/kafka-classes:$OUT/kafka-lib/*"
                KafkaLoad "$command" --servers "$(comma "${NODES[@]}")" "$@" "${extra[@]}")
            ;;
        nats)
            [ "$NATS_BATCH" != atomic ] || [ "$command" != produce ] || extra=(--atomic)
            LOAD_COMMAND=("$BIN/natsload" "$command" --servers "$(comma "${NODES[@]}")" "$@" "${extra[@]}")
            ;;
        *) LOAD_COMMAND=("${BENCH[@]}" "$command" --namesrv "$NAMESRV" "$@" --json) ;;
    esac
}

create_topic() { # SERVER TOPIC
    case "$1" in
        kafka) load_command kafka create --topic "$2" --partitions "$QUEUES" && "${LOAD_COMMAND[@]}" ;;
        nats) load_command nats create --topic "$2" && "${LOAD_COMMAND[@]}" ;;
        *) client_java Topics create "$NAMESRV" "$2" "$QUEUES" ;;
    esac
}

count_topic() { # SERVER TOPIC: prints how many messages it has
    case "$1" in
        kafka | nats) load_command "$1" count --topic "$2" && "${LOAD_COMMAND[@]}" ;;
        # The client's log library may speak on stdout before it.
        *) client_java Topics count "$NAMESRV" "$2" | grep "^[0-9][0-9]*$" ;;
    esac
}

# Bytes that all nodes' files take on disk, with what was reserved and not yet written.
allocated_bytes() { du -s -c -B1 "$RUN_DIR"/n[012] 2>/dev/null | awk 'END { printf "%.0f", $1 }'; }

# Bytes that were written to all nodes' files: neither holes nor room that was only reserved, as Flotilla does for a whole segment. Where
# filefrag is missing or the file system can't tell, reserved room counts.
data_bytes() {
    sync -f "$RUN_DIR"
    if filefrag "$RUN_DIR/load.log" >/dev/null 2>&1; then
        find "$RUN_DIR"/n[012] -type f -print0 | xargs -0 filefrag -v -b1024 2>/dev/null \
            | awk '$1 ~ /^[0-9]+:$/ && !/unwritten/ { sub(":", "", $6); blocks += $6 } END { printf "%.0f", blocks * 1024 }'
    else
        allocated_bytes
    fi
}
