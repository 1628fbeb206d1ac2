# Shared by the scripts beside it: the clients, compiled against Apache's jars, and the running of a group under load.

source "$(dirname "${BASH_SOURCE[0]}")/../servers.sh"
CLASSES="$ROOT/target/must-hold"

prepare() {
    local tool
    for tool in java javac mvn; do command -v "$tool" >/dev/null || die "needs $tool"; done
    need_flotilla
    apache_jars
    mkdir -p "$CLASSES"
    javac -nowarn -Xlint:-deprecation -cp "$APACHE_LIB/*" -d "$CLASSES" "$COMPAT/must-hold/Members.java" "$COMPAT/must-hold/Judge.java" || die "javac failed"
}

client_java() { java -Xmx256m -Duser.home="$FOLDER/home" -Drocketmq.client.logLevel=WARN -cp "$CLASSES:$APACHE_LIB/*" "$@"; }
judge() { java -Xmx256m -cp "$CLASSES" Judge "$@"; }
now_us() { date +%s%6N; }

# Starts Members with a pipe to steer it: tell LINE, told WORD.
members_start() { # TOPIC GROUP MODE CONSUMERS PRODUCERS POLL_MS
    mkfifo "$FOLDER/steer"
    client_java Members "$NAMESRV_ADDR" "$@" "$FOLDER" >"$FOLDER/members.log" 2>&1 <"$FOLDER/steer" &
    PIDS[members]=$!
    exec 9>"$FOLDER/steer"
    wait_until 60 told ready || die "the Java clients did not start"
}
# A reader that has died must not end the script without a word.
trap '' PIPE
tell() { running members || die "the Java clients ended: $(grep -v ' |-' "$FOLDER/members.log" | tail -n 5)"; echo >&9; }
told() { grep -q "^$1" "$FOLDER/members.log"; }
members_end() {
    tell
    exec 9>&-
    wait_until 60 ended "${PIDS[members]}" || true
    unset "PIDS[members]"
}

# The topic is made by the admin tool that lies beside the client.
new_topic() { # TOPIC QUEUES
    java -Xmx128m -Duser.home="$FOLDER/home" -Drocketmq.client.logLevel=WARN -cp "$APACHE_LIB/*" org.apache.rocketmq.tools.command.MQAdminStartup \
        updateTopic -n "$NAMESRV_ADDR" -c DefaultCluster -t "$1" -r "$2" -w "$2" >"$FOLDER/topic.txt" 2>&1
    grep -q success "$FOLDER/topic.txt" || die "no topic: $(cat "$FOLDER/topic.txt")"
}

applied() { http_get "${ADMIN[$1]}" /v1/group | tr -d '\n' | sed 's/"replicas".*//' | sed -n 's/.*"applied"[[:space:]]*:[[:space:]]*\([0-9]*\).*/\1/p'; }
has_applied() { local now; now=$(applied "$1"); [ -n "$now" ] && [ "$now" -ge "$2" ]; }
all_delivered() { judge delivered "$FOLDER"; }
