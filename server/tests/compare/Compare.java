// The same session of calls against two servers side by side; the answers are turned to JSON by Kafka's own converters,
// normalised (ids, ports, times) and compared field by field.
//
//   Compare --left HOST:PORT --right HOST:PORT [--expected FILE] [--verbose] [--only PREFIX]
//
// Each request goes out as raw bytes on a socket of its own server: no client library smooths anything over. `left` is
// the server under test, `right` the oracle. The file of expected differences has a line per kind: call pattern, path
// pattern and reason, parted by tabs; `*` stands for anything. Ends with `N passed, N failed` (calls), exit code 1 when
// a difference is not expected. The session itself is in Session.java, the socket in Wire.java.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.Function;
import java.util.regex.Pattern;
import org.apache.kafka.common.protocol.*;

public class Compare {
    record Expected(Pattern call, Pattern path, String reason, int[] used) { }

    final Wire left, right;
    final List<Expected> expected = new ArrayList<>();
    final boolean verbose;
    final String only;
    final ExecutorService pair = Executors.newFixedThreadPool(2, task -> { Thread thread = new Thread(task); thread.setDaemon(true); return thread; });
    int passed, failed, fields, expectedDifferences, skipped;

    Compare(Map<String, String> options) throws Exception {
        left = new Wire(options.get("--left"));
        right = new Wire(options.get("--right"));
        verbose = options.containsKey("--verbose");
        only = options.getOrDefault("--only", "");
        if (options.containsKey("--expected")) {
            for (String line : Files.readAllLines(Path.of(options.get("--expected")))) {
                if (line.isBlank() || line.startsWith("#")) continue;
                String[] parts = line.split("\t+");
                if (parts.length != 3) throw new IllegalArgumentException("expected three fields parted by tabs: " + line);
                expected.add(new Expected(glob(parts[0]), glob(parts[1]), parts[2], new int[1]));
            }
        }
    }

    static Pattern glob(String pattern) {
        return Pattern.compile(Arrays.stream(pattern.split("\\*", -1)).map(Pattern::quote).reduce((a, b) -> a + ".*" + b).orElse(""));
    }

    /** What one server said: the answer (or `closed`), as JSON after normalisation. */
    interface Call { JsonNode on(Wire wire) throws Exception; }

    /** Runs `call` on both servers at once and compares; returns false when the answers differ unexpectedly. */
    boolean both(String name, Call call) {
        if (!name.startsWith(only) && !name.startsWith("prepare")) return true;
        JsonNode[] answers = new JsonNode[2];
        try {
            Future<JsonNode> first = pair.submit(() -> call.on(left)), second = pair.submit(() -> call.on(right));
            answers[0] = first.get(60, TimeUnit.SECONDS);
            answers[1] = second.get(60, TimeUnit.SECONDS);
        } catch (ExecutionException failure) {
            failed++;
            System.out.println("FAIL " + name + ": " + failure.getCause());
            if (verbose) failure.getCause().printStackTrace(System.out);
            return false;
        } catch (Exception failure) {
            failed++;
            System.out.println("FAIL " + name + ": no answer within 60 s from one of the two: " + failure);
            left.reset();
            right.reset();
            return false;
        }
        List<String> found = new ArrayList<>();
        difference("", answers[0], answers[1], name, found);
        if (verbose) System.out.println("     " + name + "\n       left  " + answers[0] + "\n       right " + answers[1]);
        if (found.isEmpty()) {
            passed++;
            return true;
        }
        failed++;
        System.out.println("FAIL " + name);
        found.forEach(line -> System.out.println("       " + line));
        return false;
    }

    /** One API call in one version. `make` builds the request for one server (topic and member ids differ). */
    void call(String name, ApiKeys api, int version, Function<Wire, ApiMessage> make) {
        String label = api.name + " v" + version + " " + name;
        if (!left.speaks(api, version) || !right.speaks(api, version)) {
            skipped++; // the ApiVersions call shows it as a difference of its own
            return;
        }
        both(label, wire -> {
            ApiMessage request;
            try {
                request = make.apply(wire);
            } catch (RuntimeException failure) {
                throw new IllegalStateException("building the request: " + failure, failure);
            }
            try {
                return Normal.of(wire, api, (short) version, wire.call(api, (short) version, request));
            } catch (Wire.Closed closed) {
                return Normal.JSON.textNode("closed");
            } catch (Wire.Silent silent) {
                return Normal.JSON.textNode("silent");
            }
        });
    }

    void difference(String path, JsonNode a, JsonNode b, String call, List<String> found) {
        if (a != null && b != null && a.isObject() && b.isObject()) {
            Set<String> names = new TreeSet<>();
            a.fieldNames().forEachRemaining(names::add);
            b.fieldNames().forEachRemaining(names::add);
            for (String name : names) difference(path + "/" + name, a.get(name), b.get(name), call, found);
        } else if (a != null && b != null && a.isArray() && b.isArray()) {
            Map<String, JsonNode> first = keyed((ArrayNode) a), second = keyed((ArrayNode) b);
            Set<String> keys = new LinkedHashSet<>(first.keySet());
            keys.addAll(second.keySet());
            for (String key : keys) difference(path + "[" + key + "]", first.get(key), second.get(key), call, found);
        } else {
            fields++;
            if (Objects.equals(a, b)) return;
            for (Expected each : expected) {
                if (each.call.matcher(call).matches() && each.path.matcher(path).matches()) {
                    each.used[0]++;
                    expectedDifferences++;
                    return;
                }
            }
            found.add(path + ": left " + (a == null ? "has none" : a) + ", right " + (b == null ? "has none" : b));
        }
    }

    /** Whether a field tells its element from others: ids without a name of their own do not. */
    static boolean names(JsonNode element, String field) {
        if (!element.has(field)) return false;
        String text = element.get(field).asText();
        return field.equals("groupId") || !text.isEmpty() && !text.equals("TOPICID") && !text.equals("ZERO");
    }

    /** Elements by what names them (or by place), so that a missing one is one difference and order does not count. */
    static Map<String, JsonNode> keyed(ArrayNode array) {
        Map<String, JsonNode> map = new TreeMap<>();
        for (int at = 0; at < array.size(); at++) {
            JsonNode element = array.get(at);
            String key = null;
            for (String field : List.of("apiKey", "topicName", "topic", "topicId", "name", "resourceName", "partitionIndex", "partition", "index", "groupId", "memberId", "key", "feature", "errorCode", "nodeId", "baseOffset", "offset", "logDir"))
                if (key == null && element.isObject() && names(element, field)) key = field + "=" + element.get(field).asText();
            if (key == null) key = String.valueOf(at);
            while (map.containsKey(key)) key += "'";
            map.put(key, element);
        }
        return map;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int at = 0; at < arguments.length; at++) {
            if (arguments[at].equals("--verbose")) options.put("--verbose", "");
            else options.put(arguments[at], arguments[++at]);
        }
        Compare compare = new Compare(options);
        new Session(compare).run();
        for (Expected each : compare.expected)
            if (each.used[0] == 0) System.out.println("note: this expected difference did not occur: " + each.reason);
        System.out.printf("%d fields compared, %d differences as expected, %d calls left out because one side does not offer the version%n", compare.fields, compare.expectedDifferences, compare.skipped);
        System.out.printf("%d passed, %d failed%n", compare.passed, compare.failed);
        System.exit(compare.failed == 0 && compare.passed > 0 ? 0 : 1);
    }
}
