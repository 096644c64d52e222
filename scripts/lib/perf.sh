# Builds what is measured and finds out of which commit it is. Sourced by perf-quick and perf-full after `here` and `say` are set; starts nothing.
# Environment: ODRADEK_PERF_TARGET (a cargo target folder), ODRADEK_PERF_BINARIES with ODRADEK_PERF_COMMIT (a folder with binaries built
# before, and of what: nothing is built then), ODRADEK_PERF_FOLDER (where the servers' data go, 40 GB), ODRADEK_PERF_RESULTS (where results go).

# Sets BINARIES, PERF, COMMIT, RESULTS and DATA.
prepare_perf() {
    RESULTS=${ODRADEK_PERF_RESULTS:-$here/../perf/results}
    DATA=${ODRADEK_PERF_FOLDER:-${TMPDIR:-/tmp}}
    mkdir -p "$RESULTS" "$DATA"
    if [ -n "${ODRADEK_PERF_BINARIES:-}" ]; then
        BINARIES=$ODRADEK_PERF_BINARIES
        COMMIT=${ODRADEK_PERF_COMMIT:-unknown}
    else
        local target=${ODRADEK_PERF_TARGET:-$here/../target}
        say "building in $target"
        (cd "$here/.." && CARGO_TARGET_DIR=$target nice -n 5 cargo build --release --quiet -p odradek-server -p odradek-perf)
        BINARIES=$target/release
        COMMIT=$(git -C "$here" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
        [ -z "$(git -C "$here/.." status --porcelain -- server wal shard raft protocol perf/src 2>/dev/null)" ] || COMMIT=$COMMIT-modified
    fi
    PERF=$BINARIES/odradek-perf
    [ -x "$PERF" ] && [ -x "$BINARIES/odradek" ] || { say "$BINARIES holds no odradek and odradek-perf"; exit 1; }
}

# Prints --no-kafka, with a reason on standard error, where Apache Kafka's jars cannot be had.
kafka_or_not() {
    if "$here/setup-kafka" >/dev/null 2>&1; then return; fi
    say "Apache Kafka's jars or a JDK are missing (scripts/setup-kafka says what): rows that need them are not measured"
    echo --no-kafka
}
