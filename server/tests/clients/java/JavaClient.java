// Kafka's own Java client (KafkaProducer, KafkaConsumer with the classic group protocol, Admin): the scenarios of
// README.md. Its tools are driven by shell/java-tools.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class JavaClient {
    static final int RECORDS = 1000, PARTITIONS = 3;
    // Of record 0. A run gives all its programs the same recent time: a server may remove what is older than its retention.
    static final long BASE_TIMESTAMP_MS = Long.parseLong(System.getenv().getOrDefault("TEST_BASE_TIMESTAMP_MS", "1700000000000"));
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    static class Failure extends RuntimeException {
        Failure(String message) { super(message); }
    }

    final String bootstrap, prefix;
    final List<String> read;

    JavaClient(String bootstrap, String prefix, List<String> read) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.read = read;
    }

    // Record number i of every test topic: the same in every language.
    static byte[] key(int i) { return i % 7 == 0 ? null : String.format("key-%06d", i).getBytes(); }

    static byte[] value(int i) {
        if (i % 13 == 0 && i % 7 != 0) return null;
        return (String.format("value-%06d-", i) + String.valueOf((char) ('a' + i % 26)).repeat(i % 200)).getBytes();
    }

    static List<Header> headers(int i) {
        if (i % 5 == 0) return List.of();
        return List.of(new RecordHeader("n", String.valueOf(i).getBytes()), new RecordHeader("raw", new byte[] {0, (byte) 255, (byte) (i % 256)}));
    }

    static void check(boolean condition, String message) { if (!condition) throw new Failure(message); }

    static void equal(Object got, Object wanted, String what) { check(Objects.deepEquals(got, wanted), what + ": got " + got + ", expected " + wanted); }

    static void until(String what, BooleanSupplier attempt) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!attempt.getAsBoolean()) {
            check(System.nanoTime() < deadline, what + ": not within 30 s");
            Thread.sleep(20);
        }
    }

    static class Received {
        final String topic;
        final int partitions;
        final Set<Long> seen = new HashSet<>();
        int duplicates;

        Received(String topic, int partitions) { this.topic = topic; this.partitions = partitions; }

        void add(ConsumerRecord<byte[], byte[]> record) {
            int i = (int) record.offset() * partitions + record.partition();
            String where = topic + "-" + record.partition() + " offset " + record.offset();
            check(Arrays.equals(record.key(), key(i)), where + ": key differs");
            check(Arrays.equals(record.value(), value(i)), where + ": value differs");
            equal(Arrays.asList(record.headers().toArray()), headers(i), where + " headers");
            equal(record.timestamp(), BASE_TIMESTAMP_MS + i * 1000L, where + " timestamp");
            if (!seen.add((long) i)) duplicates++;
        }
    }

    Admin admin() { return Admin.create(Map.of("bootstrap.servers", bootstrap)); }

    static <T> T get(KafkaFuture<T> future) throws Exception { return future.get(30, TimeUnit.SECONDS); }

    String create(String topic, int partitions) throws Exception {
        try (Admin admin = admin()) {
            get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all());
        }
        return topic;
    }

    void produce(String topic, int first, int last, int partitions, boolean idempotent, String codec) throws Exception {
        // Without idempotence only one request in flight keeps order when one has to be sent again.
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "all", "linger.ms", 5, "enable.idempotence", idempotent, "compression.type", codec,
            "max.in.flight.requests.per.connection", idempotent ? 5 : 1);
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = first; i < last; i++)
                sent.add(producer.send(new ProducerRecord<>(topic, i % partitions, BASE_TIMESTAMP_MS + i * 1000L, key(i), value(i), headers(i))));
            producer.flush();
            for (int i = first; i < last; i++)
                equal(sent.get(i - first).get(30, TimeUnit.SECONDS).offset(), (long) (i / partitions), "offset of record " + i);
        }
    }

    Consumer<byte[], byte[]> consumer(String group, String assignor) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest", "enable.auto.commit", false,
            "group.protocol", "classic", "session.timeout.ms", 10000, "heartbeat.interval.ms", 1000, "partition.assignment.strategy", assignor));
        if (group != null) settings.put("group.id", group);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    Consumer<byte[], byte[]> consumer(String group) { return consumer(group, RangeAssignor.class.getName()); }

    static void poll(Received received, Collection<Consumer<byte[], byte[]>> members) {
        for (Consumer<byte[], byte[]> member : members) member.poll(Duration.ofMillis(50)).forEach(received::add);
    }

    void readAll(String topic) throws Exception {
        Received received = new Received(topic, PARTITIONS);
        try (Consumer<byte[], byte[]> reader = consumer(null)) {
            List<TopicPartition> partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1), new TopicPartition(topic, 2));
            reader.assign(partitions);
            until(RECORDS + " records of " + topic, () -> { poll(received, List.of(reader)); return received.seen.size() >= RECORDS; });
            equal(received.duplicates, 0, topic + ": records seen twice");
            equal(reader.endOffsets(partitions).values().stream().mapToLong(Long::longValue).sum(), (long) RECORDS, topic + ": end offsets");
        }
    }

    String topics() throws Exception {
        String topic = prefix + "-topics";
        try (Admin admin = admin()) {
            CreateTopicsResult made = admin.createTopics(List.of(new NewTopic(topic, 5, (short) 1).configs(Map.of("retention.ms", "3600000"))));
            get(made.all());
            equal(get(made.numPartitions(topic)), 5, "partitions in the answer");
            equal(get(made.config(topic)).get("retention.ms").value(), "3600000", "retention.ms in the answer");
            refused(TopicExistsException.class, () -> get(admin.createTopics(List.of(new NewTopic(topic, 5, (short) 1))).all()));
            refused(InvalidTopicException.class, () -> get(admin.createTopics(List.of(new NewTopic("not/allowed", 5, (short) 1))).all()));
            refused(InvalidPartitionsException.class, () -> get(admin.createTopics(List.of(new NewTopic(topic + "-none", 0, (short) 1))).all()));
            refused(InvalidReplicationFactorException.class, () -> get(admin.createTopics(List.of(new NewTopic(topic + "-many", 1, (short) 3))).all()));
            until("the new topic in the list", () -> listed(admin).contains(topic));
            TopicDescription described = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
            equal(described.partitions().size(), 5, "partitions described");
            check(described.partitions().stream().allMatch(p -> p.leader() != null && p.isr().size() == 1), "a partition has no leader or not one in-sync replica: " + described);
            equal(get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(described.topicId()))).allTopicIds()).get(described.topicId()).name(), topic, "name by id");
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            equal(get(admin.describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms").value(), "3600000", "retention.ms described");
            get(admin.deleteTopics(List.of(topic)).all());
            until("the topic to be gone", () -> !listed(admin).contains(topic));
            refused(UnknownTopicOrPartitionException.class, () -> get(admin.deleteTopics(List.of(topic)).all()));
        }
        return "";
    }

    static Set<String> listed(Admin admin) {
        try {
            return get(admin.listTopics().names());
        } catch (Exception failure) {
            throw new Failure("list: " + failure);
        }
    }

    interface Attempt { void run() throws Exception; }

    static void refused(Class<? extends Exception> wanted, Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (ExecutionException refusal) {
            check(wanted.isInstance(refusal.getCause()), "expected " + wanted.getSimpleName() + ", got " + refusal.getCause());
            return;
        }
        throw new Failure("accepted, where " + wanted.getSimpleName() + " was expected");
    }

    String produceEveryCodec(boolean idempotent) throws Exception {
        for (String codec : CODECS) {
            String topic = create(prefix + (idempotent ? "-idempotent-" : "-produce-") + codec, PARTITIONS);
            produce(topic, 0, RECORDS, PARTITIONS, idempotent, codec);
            readAll(topic);
        }
        return "codecs " + String.join(" ", CODECS);
    }

    // Both ways of rebalancing that the classic protocol has: eager (range) and cooperative (sticky).
    String group() throws Exception {
        return rebalance("range", RangeAssignor.class.getName()) + ", " + rebalance("cooperative", CooperativeStickyAssignor.class.getName());
    }

    String rebalance(String kind, String assignor) throws Exception {
        String name = prefix + "-group-" + kind, topic = create(name, 6);
        produce(topic, 0, 600, 6, true, "none");
        Received received = new Received(topic, 6);
        Consumer<byte[], byte[]> first = consumer(name, assignor), second = consumer(name, assignor);
        try {
            first.subscribe(List.of(topic), new CommitOnRevoke(first));
            until("the first member to own all", () -> { poll(received, List.of(first)); return first.assignment().size() == 6; });
            second.subscribe(List.of(topic), new CommitOnRevoke(second));
            until("two members to share", () -> { poll(received, List.of(first, second)); return first.assignment().size() == 3 && second.assignment().size() == 3; });
            check(Collections.disjoint(first.assignment(), second.assignment()), "a partition is owned twice");
            produce(topic, 600, 1200, 6, true, "none");
            until("1200 records", () -> { poll(received, List.of(first, second)); return received.seen.size() == 1200; });
            first.commitSync();
            second.commitSync();
            second.close();
            until("the first member to own all again", () -> { poll(received, List.of(first)); return first.assignment().size() == 6; });
            produce(topic, 1200, 1500, 6, true, "none");
            until("1500 records", () -> { poll(received, List.of(first)); return received.seen.size() == 1500; });
            first.commitSync();
            for (OffsetAndMetadata committed : first.committed(first.assignment()).values()) equal(committed.offset(), 250L, "committed offset");
        } finally {
            first.close(CloseOptions.timeout(Duration.ofSeconds(5)));
            second.close(CloseOptions.timeout(Duration.ofSeconds(5)));
        }
        return kind + " " + received.duplicates + " redelivered";
    }

    record CommitOnRevoke(Consumer<byte[], byte[]> member) implements ConsumerRebalanceListener {
        @Override public void onPartitionsRevoked(Collection<TopicPartition> revoked) { if (!revoked.isEmpty()) member.commitSync(); }
        @Override public void onPartitionsAssigned(Collection<TopicPartition> assigned) { }
    }

    String time() throws Exception {
        String topic = create(prefix + "-time", 1);
        produce(topic, 0, RECORDS, 1, true, "lz4");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Consumer<byte[], byte[]> reader = consumer(null); Admin admin = admin()) {
            reader.assign(List.of(partition));
            for (var wanted : Map.of(BASE_TIMESTAMP_MS + 500_000, 500L, BASE_TIMESTAMP_MS + 500_001, 501L, 0L, 0L).entrySet()) {
                OffsetAndTimestamp found = reader.offsetsForTimes(Map.of(partition, wanted.getKey())).get(partition);
                equal(found.offset(), wanted.getValue(), "offset for time " + wanted.getKey());
                equal(found.timestamp(), BASE_TIMESTAMP_MS + wanted.getValue() * 1000, "timestamp for time " + wanted.getKey());
            }
            equal(reader.offsetsForTimes(Map.of(partition, BASE_TIMESTAMP_MS + 10_000_000)).get(partition), null, "offset for a time past the end");
            reader.seek(partition, 500);
            Received received = new Received(topic, 1);
            until("the records after the seek", () -> { poll(received, List.of(reader)); return received.seen.size() >= 500; });
            check(received.seen.contains(500L) && !received.seen.contains(499L), "the seek went elsewhere");
            equal(get(admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition)).offset(), RECORDS - 1L, "offset of the greatest timestamp");
        }
        return "";
    }

    String offsets() throws Exception {
        String name = prefix + "-offsets", topic = create(name, 1);
        produce(topic, 0, RECORDS, 1, true, "none");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Consumer<byte[], byte[]> writer = consumer(name)) {
            writer.assign(List.of(partition));
            writer.commitSync(Map.of(partition, new OffsetAndMetadata(123, "a note")));
        }
        try (Consumer<byte[], byte[]> reader = consumer(name)) {
            equal(reader.committed(Set.of(partition)).get(partition), new OffsetAndMetadata(123, "a note"), "committed offset and metadata");
            reader.subscribe(List.of(topic));
            Received received = new Received(topic, 1);
            until("the records after the committed offset", () -> { poll(received, List.of(reader)); return received.seen.size() >= RECORDS - 123; });
            check(received.seen.contains(123L) && !received.seen.contains(122L), "the group went on elsewhere");
        }
        try (Admin admin = admin(); Consumer<byte[], byte[]> again = consumer(name)) {
            get(admin.alterConsumerGroupOffsets(name, Map.of(partition, new OffsetAndMetadata(7))).all());
            equal(get(admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata()).get(partition).offset(), 7L, "altered offset");
            get(admin.deleteConsumerGroupOffsets(name, Set.of(partition)).all());
            equal(again.committed(Set.of(partition)).get(partition), null, "deleted offset");
            again.assign(List.of(partition));
            again.commitSync(Map.of(partition, new OffsetAndMetadata(9)));
            get(admin.deleteConsumerGroups(List.of(name)).all());
            equal(again.committed(Set.of(partition)).get(partition), null, "committed offset after the group is deleted");
        }
        return "";
    }

    String administer() throws Exception {
        String name = prefix + "-admin", topic = create(name, 2);
        produce(topic, 0, RECORDS, 2, true, "none");
        TopicPartition zero = new TopicPartition(topic, 0);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin(); Consumer<byte[], byte[]> reader = consumer(name)) {
            get(admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "7200000"), AlterConfigOp.OpType.SET)))).all());
            until("the changed config", () -> retention(admin, resource).equals("7200000"));
            get(admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE)))).all());
            until("the default again", () -> retention(admin, resource).equals("604800000"));
            refused(InvalidConfigurationException.class, () -> get(admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)))).all()));
            get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
            until("four partitions", () -> partitions(admin, topic) == 4);
            refused(InvalidPartitionsException.class, () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all()));
            equal(get(admin.deleteRecords(Map.of(zero, RecordsToDelete.beforeOffset(100))).lowWatermarks().get(zero)).lowWatermark(), 100L, "low watermark after deleting records");
            equal(reader.beginningOffsets(List.of(zero)).get(zero), 100L, "log start after deleting records");
            reader.subscribe(List.of(topic));
            Received received = new Received(topic, 2);
            until("the records that are left", () -> { poll(received, List.of(reader)); return received.seen.size() >= RECORDS - 100; });
            reader.commitSync();
            ConsumerGroupDescription described = get(admin.describeConsumerGroups(List.of(name)).all()).get(name);
            equal(described.members().size(), 1, "members described");
            equal(described.members().iterator().next().assignment().topicPartitions().size(), 4, "partitions of the member described");
            check(get(admin.listGroups().all()).stream().anyMatch(group -> group.groupId().equals(name)), "the group is not listed");
            DescribeClusterResult cluster = admin.describeCluster();
            check(!get(cluster.clusterId()).isEmpty() && get(cluster.controller()) != null && !get(cluster.nodes()).isEmpty(), "the cluster has no id, controller or node");
            int node = get(cluster.nodes()).iterator().next().id();
            long bytes = get(admin.describeLogDirs(List.of(node)).allDescriptions()).get(node).values().stream()
                .flatMap(directory -> directory.replicaInfos().entrySet().stream()).filter(e -> e.getKey().topic().equals(topic)).mapToLong(e -> e.getValue().size()).sum();
            check(bytes > 0, "the log directories hold nothing of the topic");
            check(!get(admin.describeProducers(List.of(zero)).all()).get(zero).activeProducers().isEmpty(), "no producer is described");
            check(get(admin.describeMetadataQuorum().quorumInfo()).leaderId() >= 0, "the quorum has no leader");
            check(get(admin.describeFeatures().featureMetadata()).finalizedFeatures().containsKey("metadata.version"), "metadata.version is not finalized");
        }
        return "";
    }

    static String retention(Admin admin, ConfigResource resource) {
        try {
            return get(admin.describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms").value();
        } catch (Exception failure) {
            throw new Failure("describe configs: " + failure);
        }
    }

    static int partitions(Admin admin, String topic) {
        try {
            return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size();
        } catch (Exception failure) {
            throw new Failure("describe topics: " + failure);
        }
    }

    String cross() throws Exception {
        for (String topic : read) readAll(topic);
        return read.size() + " topics of other clients";
    }

    String run(String scenario) throws Exception {
        return switch (scenario) {
            case "topics" -> topics();
            case "produce" -> produceEveryCodec(false);
            case "idempotent" -> produceEveryCodec(true);
            case "group" -> group();
            case "time" -> time();
            case "offsets" -> offsets();
            case "admin" -> administer();
            case "cross" -> cross();
            default -> throw new Failure("this client has no such scenario");
        };
    }

    public static void main(String[] arguments) {
        Map<String, String> options = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) options.put(arguments[at], arguments[at + 1]);
        String scenario = options.get("--scenario"), read = options.getOrDefault("--read", "");
        JavaClient client = new JavaClient(options.get("--bootstrap"), options.get("--topic-prefix") + "-java", read.isEmpty() ? List.of() : List.of(read.split(",")));
        try {
            String note = client.run(scenario);
            System.out.println("ok java " + scenario + (note.isEmpty() ? "" : " (" + note + ")"));
            System.exit(0);
        } catch (Throwable failure) {
            if (!(failure instanceof Failure)) failure.printStackTrace();
            System.out.println("FAIL java " + scenario + ": " + failure);
            System.exit(1);
        }
    }
}
