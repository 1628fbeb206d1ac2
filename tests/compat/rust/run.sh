#!/usr/bin/env bash
# The Rust client's own tests against a server, and the Rust client beside the official Java client at one server.
#
#   tests/compat/rust/run.sh [--against standalone|three|apache] [--test NAME]
#
# Which server (default standalone; ../servers.sh says what each is), and which tests alone: those of client-rs/tests/NAME.rs, else those whose name
# contains NAME. Tests of Flotilla's own behaviour, and those that need a server of their own to break, say "skipped".
# With --against apache a second broker is started, which asks for signatures (client-rs/tests/acl.rs).
# NAMESRV_ADDR, FLOTILLA_ADMIN and FLOTILLA as in ../servers.sh. MVN_ARGS: more arguments for mvn. CARGO_ARGS: more for cargo test.
#
# Without java or mvn the tests beside the Java client say "skipped", the others run. Exits 0 when everything passed, also when there is no cargo; 1
# otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../servers.sh"
suite_arguments "$@"
skip_without cargo

if command -v java >/dev/null && command -v mvn >/dev/null; then
    # shellcheck disable=SC2086  # MVN_ARGS is a list of words
    mvn -B -q -ntp -f "$here/java/pom.xml" ${MVN_ARGS:-} compile dependency:copy-dependencies "-DoutputDirectory=$here/target/lib" >&2 ||
        die "mvn failed"
    export COMPAT_JAVA_CLASSPATH="$here/target/classes:$here/target/lib/*"
fi
suite='*' package=(-p flotilla-client)
if [ -n "$TEST" ] && [ -e "$ROOT/client-rs/tests/$TEST.rs" ]; then
    # With the features of the whole workspace, as `cargo test --workspace` has built everything: nothing is built twice.
    suite=$TEST package=(--workspace)
    TEST=
fi
# Before the servers start: building takes all the machine has.
# shellcheck disable=SC2086  # CARGO_ARGS is a list of words
cargo test --manifest-path "$ROOT/Cargo.toml" "${package[@]}" --test "$suite" --no-run ${CARGO_ARGS:-}
servers_up
[ "$AGAINST" != apache ] || [ -z "$FOLDER" ] || case "$suite" in '*' | acl) apache_acl_up ;; esac
echo "=== flotilla-client against $AGAINST"
# A server is shared by all tests: as many at a time as a small machine can serve.
# shellcheck disable=SC2086
cargo test --manifest-path "$ROOT/Cargo.toml" "${package[@]}" --test "$suite" --no-fail-fast ${CARGO_ARGS:-} -- --test-threads 4 --nocapture $TEST
