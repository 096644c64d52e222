// Turns an answer into JSON that two servers can agree on: what must differ (ids, addresses, times, sizes on disk)
// becomes a name, everything else stays as it came.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.*;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.record.internal.*;

class Normal {
    static final JsonNodeFactory JSON = JsonNodeFactory.instance;
    static final Set<String> NODES = Set.of("nodeId", "brokerId", "leaderId", "controllerId", "replicaId", "voterId", "id");
    static final Set<String> NODE_LISTS = Set.of("replicaNodes", "isrNodes", "offlineReplicas", "eligibleLeaderReplicas", "lastKnownElr", "brokerIds", "replicas", "isr", "adding", "removing");
    static final Set<String> TIMES = Set.of("logAppendTimeMs", "lastFetchTimestamp", "lastCaughtUpTimestamp", "lastTimestamp", "producerIdExpirationMs");
    static final Set<String> SIZES = Set.of("partitionSize", "totalBytes", "usableBytes");
    static final Set<String> QUORUM = Set.of("highWatermark", "logEndOffset", "leaderEpoch", "leaderId");

    static JsonNode of(Wire wire, ApiKeys api, short version, ApiMessage answer) throws Exception {
        Class<?> converter = Class.forName(answer.getClass().getName() + "JsonConverter");
        JsonNode json = (JsonNode) converter.getMethod("write", answer.getClass(), short.class).invoke(null, answer, version);
        return walk(wire, api, "", json);
    }

    static JsonNode walk(Wire wire, ApiKeys api, String field, JsonNode node) {
        if (node.isObject()) {
            ObjectNode made = JSON.objectNode();
            node.properties().forEach(entry -> made.set(entry.getKey(), walk(wire, api, entry.getKey(), entry.getValue())));
            return made;
        }
        if (node.isArray()) {
            ArrayNode made = JSON.arrayNode();
            for (JsonNode element : node) made.add(NODE_LISTS.contains(field) && element.isIntegralNumber() ? node(wire, element) : walk(wire, api, field, element));
            return made;
        }
        return leaf(wire, api, field, node);
    }

    static JsonNode leaf(Wire wire, ApiKeys api, String field, JsonNode value) {
        boolean set = !value.isNull() && !(value.isIntegralNumber() && value.asLong() <= 0) && !(value.isTextual() && value.asText().isEmpty());
        if (NODES.contains(field) && value.isIntegralNumber()) return node(wire, value);
        if (!set) return value;
        if (field.equals("recordSizeInBytes") || field.equals("sizeInBytes")) return JSON.textNode("BYTES");
        if (field.equals("records") && value.isBinary()) return records(wire, value);
        if (field.equals("host") || field.equals("port") || field.equals("logDir") || field.equals("clusterId") || field.equals("rack")) return JSON.textNode(field.toUpperCase(Locale.ROOT));
        if (field.endsWith("rrorMessage") || field.equals("message")) return JSON.textNode("MESSAGE");
        if (TIMES.contains(field)) return JSON.textNode("TIME");
        if (SIZES.contains(field)) return JSON.textNode("BYTES");
        if (field.equals("producerId")) return JSON.textNode("PRODUCER");
        if (field.equals("brokerEpoch")) return JSON.textNode("EPOCH");
        if (field.equals("sessionId")) return JSON.textNode("SESSION");
        if (field.equals("clientHost")) return JSON.textNode("HOST");
        if (field.equals("finalizedFeaturesEpoch")) return JSON.textNode("EPOCH");
        if (api == ApiKeys.DESCRIBE_QUORUM && QUORUM.contains(field)) return JSON.textNode("N");
        if (field.equals("memberId") || field.equals("leader") || field.equals("replicaDirectoryId") || field.equals("directoryId") || field.equals("clientInstanceId")) return name(wire, field.equals("leader") ? "memberId" : field, value);
        if (field.equals("topicId")) return name(wire, field, value);
        return value;
    }

    static JsonNode node(Wire wire, JsonNode value) {
        return value.asInt() >= 0 && value.asInt() == wire.number.getOrDefault("node", -2L) ? JSON.textNode("NODE") : value;
    }

    /** The k-th id of its kind that this server showed: only told apart, never compared by value. */
    static JsonNode name(Wire wire, String kind, JsonNode value) {
        if (value.asText().equals(Uuid.ZERO_UUID.toString())) return JSON.textNode("ZERO");
        if (kind.equals("topicId"))
            for (Map.Entry<String, String> known : wire.text.entrySet())
                if (known.getKey().startsWith("topic ") && known.getValue().equals(value.asText())) return JSON.textNode(known.getKey());
        return JSON.textNode(kind.toUpperCase(Locale.ROOT));
    }

    /** A fetched record set, batch by batch and record by record. */
    static JsonNode records(Wire wire, JsonNode value) {
        ArrayNode batches = JSON.arrayNode();
        try {
            for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(value.binaryValue())).batches()) {
                ObjectNode made = batches.addObject();
                made.put("baseOffset", batch.baseOffset()).put("lastOffset", batch.lastOffset()).put("magic", batch.magic());
                made.put("leaderEpoch", batch.partitionLeaderEpoch()).put("compression", batch.compressionType().name).put("timestampType", batch.timestampType().name);
                made.put("valid", batch.isValid()).put("control", batch.isControlBatch()).put("producerEpoch", batch.producerEpoch()).put("baseSequence", batch.baseSequence());
                made.put("maxTimestamp", batch.maxTimestamp());
                ArrayNode list = made.putArray("records");
                for (org.apache.kafka.common.record.internal.Record record : batch) {
                    ObjectNode one = list.addObject();
                    one.put("offset", record.offset()).put("timestamp", record.timestamp()).put("keyText", text(record.key())).put("value", text(record.value()));
                    for (Header header : record.headers()) one.put("header " + header.key(), new String(header.value()));
                }
            }
        } catch (Exception failure) {
            batches.addObject().put("unreadable", failure.toString());
        }
        return batches;
    }

    static String text(ByteBuffer bytes) {
        if (bytes == null) return null;
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return new String(copy);
    }
}
