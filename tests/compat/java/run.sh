#!/usr/bin/env bash
# The official Java client, unmodified, against a Flotilla server.
#
#   tests/compat/java/run.sh [4.9.8|5.x|all]      which client (default all); any other published version number works too
#
# NAMESRV_ADDR     the server to test; without it `flotilla standalone` is started on free ports and ended afterwards
# FLOTILLA_ADMIN   its admin address, http://HOST:PORT: without it the fail-over test is skipped (known when this script starts the server)
# FLOTILLA         the binary to start (default target/release/flotilla)
# MVN_ARGS         more arguments for mvn, e.g. -Dtest=ConsumeTest
#
# Exits 0 when everything passed, also when there is no java or mvn (it says "skipped"); 1 otherwise.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
newest=5.5.0

case "${1:-all}" in
    all) versions=(4.9.8 "$newest") ;;
    5.x) versions=("$newest") ;;
    [0-9]*) versions=("$1") ;;
    *)
        sed -n '2,4p' "$0" >&2
        exit 2
        ;;
esac

for tool in java mvn; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: needs $tool"
        exit 0
    fi
done

server=
folder=
finish() {
    local status=$?
    trap - EXIT INT TERM
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "$server" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ -n "$folder" ]; then
        if [ "$status" -ne 0 ] && [ -s "$folder/server.log" ]; then
            echo "--- last lines of the server's log"
            tail -n 40 "$folder/server.log"
        fi
        rm -rf "$folder"
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The block that standalone prints: a line `ready`, then `name server  ADDRESS`, `admin  URL`, ...
shown() { sed -n '/^ready/,$p' "$folder/server.log" | sed -n "s#^ *$1  *\([^ ]*\).*#\1#p" | head -n 1; }

start_server() {
    local binary=${FLOTILLA:-$root/target/release/flotilla} deadline
    if [ ! -x "$binary" ]; then
        echo "no $binary: run cargo build --release, or set NAMESRV_ADDR to a running server" >&2
        exit 1
    fi
    folder=$(mktemp -d)
    "$binary" standalone --data "$folder/data" --listen 127.0.0.1:0 >"$folder/server.log" 2>&1 </dev/null &
    server=$!
    deadline=$((SECONDS + 30))
    until [ -n "$(shown 'name server')" ] && [ -n "$(shown admin)" ]; do
        if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            echo "flotilla standalone was not ready within 30 s" >&2
            exit 1
        fi
        sleep 0.05
    done
    NAMESRV_ADDR=$(shown 'name server')
    FLOTILLA_ADMIN=$(shown admin)
    echo "flotilla standalone: name server $NAMESRV_ADDR, admin $FLOTILLA_ADMIN"
}

[ -n "${NAMESRV_ADDR:-}" ] || start_server
export NAMESRV_ADDR
[ -z "${FLOTILLA_ADMIN:-}" ] || export FLOTILLA_ADMIN

failed=()
for version in "${versions[@]}"; do
    echo "=== rocketmq-client $version"
    # shellcheck disable=SC2086  # MVN_ARGS is a list of words
    mvn -B -ntp -f "$here/pom.xml" -Drocketmq.version="$version" ${MVN_ARGS:-} test || failed+=("$version")
done
if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed with rocketmq-client ${failed[*]}"
    exit 1
fi
