# Starts and ends the server under test. Sourced; keeps the pids it started and ends only those.
# The binary is $ODRADEK_BINARY, run with $ODRADEK_OPTIONS besides; every start_server call starts one node in a folder, on a port.
declare -A SERVER_PIDS=()

# start_server DIR PORT: runs the server on DIR and waits (at most 30 s) until it accepts on PORT.
start_server() {
    local dir=$1 port=$2 pid
    [ -x "${ODRADEK_BINARY:-}" ] || { echo "start_server: ODRADEK_BINARY='${ODRADEK_BINARY:-}' is no program" >&2; return 1; }
    if ! wait_for_free_port 127.0.0.1 "$port" 5; then echo "start_server: port $port is in use" >&2; return 1; fi
    mkdir -p "$dir"
    "$ODRADEK_BINARY" dev --data-dir "$dir" --listen "127.0.0.1:$port" ${ODRADEK_OPTIONS:-} >>"$dir.log" 2>&1 </dev/null &
    pid=$!
    SERVER_PIDS[$port]=$pid
    if ! wait_for_port 127.0.0.1 "$port" 30 "$pid"; then
        echo "start_server: the server on port $port did not come up; the end of $dir.log:" >&2
        tail -20 "$dir.log" >&2
        stop_server "$port" KILL
        return 1
    fi
}

# stop_server PORT [SIGNAL]: ends the server that start_server started on PORT (TERM, and KILL after 20 s).
stop_server() {
    local pid=${SERVER_PIDS[$1]:-}
    [ -n "$pid" ] || return 0
    unset "SERVER_PIDS[$1]"
    kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
    if ! wait_for_exit "$pid" 20; then
        echo "stop_server: pid $pid did not end on ${2:-TERM} within 20 s; killing it" >&2
        kill -s KILL "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
}

# stop_all_servers: for an EXIT trap.
stop_all_servers() { local port; for port in "${!SERVER_PIDS[@]}"; do stop_server "$port"; done; }
