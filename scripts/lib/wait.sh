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

# process_gone PID: true when it has ended; a zombie counts as gone once its last thread, and so its sockets, are.
process_gone() {
    kill -0 "$1" 2>/dev/null || return 0
    [ "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" = Z ] || return 1
    [ "$(ls "/proc/$1/task" 2>/dev/null | wc -l)" -le 1 ]
}

# wait_for_exit PID SECONDS: until the process is gone.
wait_for_exit() {
    local deadline=$((SECONDS + $2))
    until process_gone "$1"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# wait_for_free_port HOST PORT SECONDS: until nothing accepts there any more.
wait_for_free_port() {
    local deadline=$((SECONDS + $3))
    while port_open "$1" "$2"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# free_port: prints a port that nothing listens on, with PORT+1 free as well. Below the range the kernel takes client ports
# from: there, a client that tries again while the server is down can connect to itself, and the server finds its port taken.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! port_open 127.0.0.1 "$port" && ! port_open 127.0.0.1 $((port + 1)); then echo "$port"; return; fi
    done
}
