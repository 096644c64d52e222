# Waiting without guessing: for a port, for a process's end. Sourced; starts nothing.

# port_open HOST PORT: true when something accepts there.
port_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# wait_for_port HOST PORT SECONDS [PID]: until it accepts; gives up early when PID has ended.
wait_for_port() {
    local host=$1 port=$2 pid=${4:-} deadline=$((SECONDS + $3))
    until port_open "$host" "$port"; do
        if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then return 1; fi
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# wait_for_exit PID SECONDS: until the process is gone (a zombie counts as gone).
wait_for_exit() {
    local pid=$1 deadline=$((SECONDS + $2))
    while kill -0 "$pid" 2>/dev/null && [ "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ]; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# free_port: prints a port that nothing listened on a moment ago, with PORT+1 free as well.
free_port() {
    python3 - <<'P'
import socket
while True:
    first = socket.socket(); first.bind(("127.0.0.1", 0)); port = first.getsockname()[1]
    second = socket.socket()
    try:
        second.bind(("127.0.0.1", port + 1))
    except OSError:
        continue
    print(port)
    break
P
}
