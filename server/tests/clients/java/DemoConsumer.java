// The Java client's third of scripts/demo-flights: consumes in the group and writes a line per record until the stop
// file is there. Usage: DemoConsumer --bootstrap H:P --topic T --group G --out FILE --stop FILE

import com.fasterxml.jackson.databind.*;
import java.io.*;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class DemoConsumer {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) options.put(arguments[at], arguments[at + 1]);
        Map<String, Object> settings = Map.of("bootstrap.servers", options.get("--bootstrap"), "group.id", options.get("--group"), "group.protocol", "classic", "auto.offset.reset", "earliest",
            "auto.commit.interval.ms", 500, "session.timeout.ms", 10_000, "heartbeat.interval.ms", 1_000, "partition.assignment.strategy", RangeAssignor.class.getName());
        ObjectMapper json = new ObjectMapper();
        Path stop = Path.of(options.get("--stop"));
        long count = 0;
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
             PrintWriter out = new PrintWriter(new BufferedWriter(new FileWriter(options.get("--out"))))) {
            consumer.subscribe(List.of(options.get("--topic")));
            while (!Files.exists(stop)) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(300))) {
                    JsonNode flight = json.readTree(record.value());
                    out.printf("%d\t%d\t%s\t%s\t%d\t%d\t%d\t%d\n", record.partition(), record.offset(), hash(record.key()), flight.get("carrier").asText(), flight.get("month").asInt(),
                        flight.get("distance").asInt(), flight.get("air_time").asInt(0), flight.get("n").asInt());
                    count++;
                }
                out.flush();
            }
        }
        System.out.println("ok java consumed " + count + " records");
    }

    static String hash(byte[] key) {
        if (key == null) return "-";
        CRC32 crc = new CRC32();
        crc.update(key);
        return String.format("%08x", crc.getValue());
    }
}
