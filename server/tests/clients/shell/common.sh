# What the shell-driven clients share: options, checks and the answer line. Sourced with CLIENT set.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/lib/kafka.sh"
RECORDS=1000
bootstrap= scenario= prefix= read_topics=
while [ $# -gt 1 ]; do
    case "$1" in
    --bootstrap) bootstrap=$2 ;;
    --scenario) scenario=$2 ;;
    --topic-prefix) prefix=$2-$CLIENT ;;
    --read) read_topics=${2//,/ } ;;
    esac
    shift 2
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A failure inside $(...) or a pipe ends the whole program, and its reason is not swallowed.
exec 3>&1
trap 'exit 1' USR1
fail() {
    echo "FAIL $CLIENT $scenario: $(echo "$*" | head -c 1000 | tr '\n' ' ')" >&3
    kill -s USR1 $$
    exit 1
}
equal() { [ "$1" = "$2" ] || fail "$3: got '$1', expected '$2'"; }
has() { grep -qE -- "$2" <<<"$1" || fail "$3: no '$2' in: $1"; }

# until_ok WHAT SECONDS COMMAND...: repeats until the command succeeds.
until_ok() {
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what: not in time"
        sleep 0.2
    done
}

# run_scenario: calls scenario_NAME and prints the answer line.
run_scenario() {
    declare -F "scenario_$scenario" >/dev/null || fail "this client has no such scenario"
    "scenario_$scenario"
    echo "ok $CLIENT $scenario${note:+ ($note)}"
}
