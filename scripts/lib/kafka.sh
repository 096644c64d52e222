# Where Apache Kafka's jars are, and which Java runs them. Sourced by the scripts; starts nothing.
KAFKA_VERSION=4.3.1
ODRADEK_CACHE=${ODRADEK_CACHE:-$HOME/.cache/odradek}
KAFKA_HOME=$ODRADEK_CACHE/kafka-$KAFKA_VERSION
KAFKA_LIBS=$KAFKA_HOME/libs

# Prints the home of a JDK (with javac) of version 17 or newer; fails when there is none.
# The oldest that will do is preferred last: brokers run best on the newest.
find_java_home() {
    local candidate major best= best_major=0
    for candidate in "${JAVA_HOME:-}" /usr/lib/jvm/* "$(dirname "$(dirname "$(readlink -f "$(command -v javac 2>/dev/null)" 2>/dev/null)")" 2>/dev/null)"; do
        [ -n "$candidate" ] && [ -x "$candidate/bin/javac" ] || continue
        major=$("$candidate/bin/javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
        [ -n "$major" ] && [ "$major" -ge 17 ] || continue
        if [ "$candidate" = "${JAVA_HOME:-}" ]; then echo "$candidate"; return 0; fi
        if [ "$major" -gt "$best_major" ]; then best=$candidate best_major=$major; fi
    done
    [ -n "$best" ] && echo "$best"
}

# kafka_main CLASS ARGS...: runs one main class from the jars, quietly, with a small heap.
kafka_main() {
    local class=$1
    shift
    "${KAFKA_JAVA:=$(find_java_home)/bin/java}" ${KAFKA_JAVA_OPTIONS:--Xmx256m -Xshare:auto -XX:TieredStopAtLevel=1} \
        -Dlog4j2.configurationFile="${KAFKA_LOG_CONFIG:-$LIB_FOLDER/../kafka/log4j2-tools.yaml}" \
        -cp "$KAFKA_LIBS/*" "$class" "$@"
}
LIB_FOLDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
