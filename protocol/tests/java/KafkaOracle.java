import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

/**
 * Answers what Kafka's own classes make of encoded messages.
 *
 * In: a line for each case, "name version hex", the name being a message's, "@batch" or "@metadata". Out: a line for each, four columns parted by tabs: "ok", the hex that
 * Kafka writes for what it read, the hex that it writes for what it made from its own JSON of that, the JSON; or "error" and
 * what went wrong.
 */
public class KafkaOracle {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
        "org.apache.kafka.raft.generated.",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.",
    };

    private static final ObjectMapper MAPPER = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] columns = line.split(" ", -1);
            try {
                if (columns[0].equals("@batch")) {
                    out.println(batch(HexFormat.of().parseHex(columns[2])));
                    continue;
                }
                if (columns[0].equals("@metadata")) {
                    out.println(metadata(HexFormat.of().parseHex(columns[2])));
                    continue;
                }
                out.println(answer(columns[0], Short.parseShort(columns[1]), HexFormat.of().parseHex(columns[2])));
            } catch (Throwable error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                out.println("error\t" + String.valueOf(cause).replace('\n', ' '));
            }
        }
        out.flush();
    }

    private static String answer(String name, short version, byte[] bytes) throws Exception {
        Class<?> type = find(name);
        Message message = (Message) type.getDeclaredConstructor().newInstance();
        ByteBufferAccessor accessor = new ByteBufferAccessor(ByteBuffer.wrap(bytes));
        message.read(accessor, version);
        if (accessor.remaining() != 0) {
            return "error\t" + accessor.remaining() + " bytes left over";
        }
        Class<?> converter = Class.forName(type.getName() + "JsonConverter");
        Method write = converter.getMethod("write", type, short.class);
        Method read = converter.getMethod("read", JsonNode.class, short.class);
        String json = MAPPER.writeValueAsString(write.invoke(null, message, version));
        String again;
        try {
            again = encode((Message) read.invoke(null, MAPPER.readTree(json), version), version);
        } catch (Exception error) {
            again = "error: " + error.getCause();
        }
        return "ok\t" + encode(message, version) + "\t" + again + "\t" + json;
    }

    /** A record batch: checked, read, and built again by Kafka with the same compression. The last column lists the records. */
    private static String batch(byte[] bytes) {
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        StringBuilder listed = new StringBuilder();
        List<SimpleRecord> simple = new ArrayList<>();
        Compression compression = null;
        long baseOffset = 0;
        for (RecordBatch batch : records.batches()) {
            batch.ensureValid();
            baseOffset = batch.baseOffset();
            compression = Compression.of(batch.compressionType()).build();
            listed.append("batch ").append(batch.baseOffset()).append(' ').append(batch.lastOffset())
                .append(' ').append(batch.maxTimestamp()).append(' ').append(batch.producerId())
                .append(' ').append(batch.producerEpoch()).append(' ').append(batch.baseSequence())
                .append(' ').append(batch.lastSequence()).append(' ').append(batch.partitionLeaderEpoch())
                .append(' ').append(batch.isTransactional()).append(' ').append(batch.isControlBatch()).append(';');
            for (Record record : batch) {
                listed.append(record.offset()).append(' ').append(record.timestamp())
                    .append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
                for (Header header : record.headers()) {
                    listed.append(' ').append(hex(ByteBuffer.wrap(header.key().getBytes(StandardCharsets.UTF_8))))
                        .append('=').append(header.value() == null ? "null" : hex(ByteBuffer.wrap(header.value())));
                }
                listed.append(';');
                simple.add(new SimpleRecord(record));
            }
        }
        MemoryRecords again = MemoryRecords.withRecords(baseOffset, compression, simple.toArray(new SimpleRecord[0]));
        return "ok\t" + hex(again.buffer()) + "\t\t" + listed;
    }

    /** A metadata record with its frame. */
    private static String metadata(byte[] bytes) {
        MetadataRecordSerde serde = MetadataRecordSerde.INSTANCE;
        ApiMessageAndVersion record = serde.read(new ByteBufferAccessor(ByteBuffer.wrap(bytes)), bytes.length);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(serde.recordSize(record, cache));
        serde.write(record, cache, new ByteBufferAccessor(buffer));
        buffer.flip();
        return "ok\t" + hex(buffer) + "\t\t" + record.message().getClass().getSimpleName();
    }

    private static String hex(ByteBuffer buffer) {
        if (buffer == null) {
            return "null";
        }
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return "x" + HexFormat.of().formatHex(bytes);
    }

    private static String encode(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = message.size(cache, version);
        ByteBuffer buffer = ByteBuffer.allocate(size);
        message.write(new ByteBufferAccessor(buffer), cache, version);
        buffer.flip();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        for (String prefix : PACKAGES) {
            for (String suffix : new String[] {"", "Data"}) {
                try {
                    return Class.forName(prefix + name + suffix);
                } catch (ClassNotFoundException ignored) {
                    // The next place.
                }
            }
        }
        throw new ClassNotFoundException(name);
    }
}
