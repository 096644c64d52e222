# Where Apache Kafka's jars are, and which Java runs them. Sourced by the scripts; starts nothing.
KAFKA_VERSION=4.3.1
ODRADEK_CACHE=${ODRADEK_CACHE:-$HOME/.cache/odradek}
KAFKA_HOME=$ODRADEK_CACHE/kafka-$KAFKA_VERSION
KAFKA_LIBS=$KAFKA_HOME/libs

# Prints the home of a JDK (with javac) of version 17 or newer; fails when there is none.
# JAVA_HOME wins; then the newest.
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

# kafka_main CLASS ARGS...: runs one main class from the jars, quietly, with a small heap. From Java 19 on the classes
# loaded by the first run are archived in the cache: later runs start twice as fast.
kafka_main() {
    local class=$1 archive=
    shift
    : "${KAFKA_JAVA:=$(find_java_home)/bin/java}"
    if [ -z "${KAFKA_JAVA_MAJOR:-}" ]; then KAFKA_JAVA_MAJOR=$("$KAFKA_JAVA" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p'); fi
    [ "$KAFKA_JAVA_MAJOR" -ge 19 ] && archive="-XX:+AutoCreateSharedArchive -XX:SharedArchiveFile=$KAFKA_HOME/$class.jsa"
    "$KAFKA_JAVA" ${KAFKA_JAVA_OPTIONS:--Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1} --enable-native-access=ALL-UNNAMED $archive -Xlog:disable -Xlog:all=off \
        -Dlog4j2.configurationFile="$LIB_FOLDER/../kafka/log4j2-tools.yaml" \
        -cp "${KAFKA_CLASSES:+$KAFKA_CLASSES:}$KAFKA_LIBS/*" "$class" "$@"
}
LIB_FOLDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
