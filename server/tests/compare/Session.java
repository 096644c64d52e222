// The session itself: a fixed list of calls, good and bad, over every API a single broker offers, in several versions.
// Each call builds its request for the server it goes to; Compare runs it on both and compares the answers.

import java.nio.ByteBuffer;
import java.util.*;
import java.util.function.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.record.internal.*;

class Session {
    /** Of record 0, an hour ago: a server may remove what is older than its retention. */
    static final long TIME = System.currentTimeMillis() - 3_600_000;
    final Compare compare;

    Session(Compare compare) { this.compare = compare; }

    void run() throws Exception {
        versionsAndFrames();
        prepare();
        topics();
        metadata();
        producing();
        idempotence();
        reading();
        configs();
        partitionsAndRecords();
        new Groups(compare, this).run();
        cluster();
        deleting();
    }

    static int[] all(ApiKeys api) { return api.allVersions().stream().mapToInt(Short::intValue).filter(v -> v <= api.latestVersion(false)).toArray(); }

    /** `make` in every stable version of `api`. */
    void each(String name, ApiKeys api, BiFunction<Integer, Wire, ApiMessage> make) {
        for (int version : all(api)) compare.call(name, api, version, wire -> make.apply(version, wire));
    }

    // ---- Frames, versions ----

    void versionsAndFrames() {
        each("plain", ApiKeys.API_VERSIONS, (v, wire) -> new ApiVersionsRequestData().setClientSoftwareName(v >= 3 ? "compare" : "").setClientSoftwareVersion(v >= 3 ? "1.0" : ""));
        compare.call("bad software name", ApiKeys.API_VERSIONS, 3, wire -> new ApiVersionsRequestData().setClientSoftwareName("bad name!").setClientSoftwareVersion("1"));
        raw("ApiVersions v99 is answered in v0 with the supported range", hex("0012 0063 00000007 ffff 00"));
        raw("unknown API key", hex("7fff 0000 00000001 ffff"));
        raw("unsupported version of Metadata", hex("0003 0063 00000001 ffff"));
        raw("negative size", new byte[] {-1, -1, -1, -1});
        raw("size of 200 MiB", new byte[] {0x0c, (byte) 0x80, 0, 0});
        raw("size 0", new byte[] {0, 0, 0, 0});
        raw("HTTP on the port", "GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes());
        raw("array longer than the request", hex("0003 0001 00000001 ffff 7fffffff"));
        raw("null where a string must be (DescribeGroups)", hex("000f 0000 00000001 ffff 00000001 ffff"));
        raw("string longer than the request", hex("000f 0000 00000001 ffff 00000001 7fff 61"));
        raw("trailing bytes after ListGroups", hex("0010 0000 00000001 ffff 00000000"));
        raw("half a header", hex("0003"));
    }

    /** Whole bytes as `frame`, unless they begin with a size of their own (4 bytes and no more, or text). */
    void raw(String name, byte[] bytes) {
        byte[] sent = bytes.length <= 4 && bytes.length != 2 || bytes[0] == 'G' ? bytes : Wire.frame(ByteBuffer.wrap(bytes));
        compare.both("raw " + name, wire -> {
            String answer = wire.raw(sent);
            // ApiVersions' own list is compared elsewhere; here only that, and how, it was answered.
            return Normal.JSON.textNode(answer.startsWith("answered") ? answer.substring(0, Math.min(answer.length(), 9 + 12)) : answer);
        });
    }

    static byte[] hex(String text) { return HexFormat.of().parseHex(text.replace(" ", "")); }

    // ---- Topics ----

    void prepare() {
        compare.both("prepare node id", wire -> {
            MetadataResponseData answer = (MetadataResponseData) wire.call(ApiKeys.METADATA, (short) 1, new MetadataRequestData().setTopics(null));
            wire.number.put("node", (long) answer.brokers().iterator().next().nodeId());
            return Normal.JSON.numberNode(answer.brokers().size());
        });
        for (String topic : List.of("data", "more", "small", "compacted", "appended")) create(topic, 3);
    }

    void create(String topic, int partitions) {
        compare.both("prepare topic " + topic, wire -> {
            CreateTopicsRequestData.CreatableTopic made = topic(topic, partitions);
            if (topic.equals("small")) config(made, "max.message.bytes", "500");
            if (topic.equals("compacted")) config(made, "cleanup.policy", "compact");
            if (topic.equals("appended")) config(made, "message.timestamp.type", "LogAppendTime");
            CreateTopicsResponseData answer = (CreateTopicsResponseData) wire.call(ApiKeys.CREATE_TOPICS, (short) 7, creation(false, made));
            wire.text.put("topic " + topic, answer.topics().iterator().next().topicId().toString());
            ready(wire, topic, partitions);
            return Normal.JSON.numberNode(answer.topics().iterator().next().errorCode());
        });
    }

    /** Until every partition answers with its offsets. */
    static void ready(Wire wire, String topic, int partitions) throws Exception {
        for (int attempt = 0; attempt < 200; attempt++) {
            ListOffsetsRequestData.ListOffsetsTopic asked = new ListOffsetsRequestData.ListOffsetsTopic().setName(topic);
            for (int at = 0; at < partitions; at++) asked.partitions().add(new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(at).setTimestamp(-1));
            ListOffsetsResponseData answer = (ListOffsetsResponseData) wire.call(ApiKeys.LIST_OFFSETS, (short) 4, new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(asked)));
            if (answer.topics().get(0).partitions().stream().allMatch(partition -> partition.errorCode() == 0)) return;
            Thread.sleep(25);
        }
        throw new IllegalStateException(topic + " is not ready after 5 s");
    }

    static CreateTopicsRequestData.CreatableTopic topic(String name, int partitions) {
        return new CreateTopicsRequestData.CreatableTopic().setName(name).setNumPartitions(partitions).setReplicationFactor((short) 1);
    }

    static CreateTopicsRequestData.CreatableTopic config(CreateTopicsRequestData.CreatableTopic topic, String name, String value) {
        topic.configs().add(new CreateTopicsRequestData.CreatableTopicConfig().setName(name).setValue(value));
        return topic;
    }

    static CreateTopicsRequestData creation(boolean validateOnly, CreateTopicsRequestData.CreatableTopic... topics) {
        return new CreateTopicsRequestData().setTimeoutMs(10_000).setValidateOnly(validateOnly).setTopics(new CreateTopicsRequestData.CreatableTopicCollection(Arrays.asList(topics).iterator()));
    }

    void topics() {
        each("new, with a config", ApiKeys.CREATE_TOPICS, (v, wire) -> creation(false, config(topic("made-v" + v, 2), "retention.ms", "60000")));
        each("validate only", ApiKeys.CREATE_TOPICS, (v, wire) -> creation(true, topic("validated-v" + v, 2)));
        each("existing", ApiKeys.CREATE_TOPICS, (v, wire) -> creation(false, topic("data", 2)));
        Map<String, CreateTopicsRequestData.CreatableTopic> bad = new LinkedHashMap<>();
        for (String name : List.of("", ".", "..", "a/b", "with space", "x".repeat(250), "__consumer_offsets")) bad.put("name '" + (name.length() > 20 ? "250 letters" : name) + "'", topic(name, 1));
        bad.put("0 partitions", topic("bad", 0));
        bad.put("-2 partitions", topic("bad", -2));
        bad.put("replication factor 2", topic("bad", 1).setReplicationFactor((short) 2));
        bad.put("replication factor 0", topic("bad", 1).setReplicationFactor((short) 0));
        bad.put("unknown config", config(topic("bad", 1), "no.such.config", "1"));
        bad.put("bad config value", config(topic("bad", 1), "retention.ms", "soon"));
        bad.put("config value out of range", config(topic("bad", 1), "min.insync.replicas", "0"));
        bad.put("bad cleanup policy", config(topic("bad", 1), "cleanup.policy", "burn"));
        bad.put("null config value", config(topic("bad", 1), "retention.ms", null));
        bad.put("assignment to an unknown broker", assigned(topic("bad", -1).setReplicationFactor((short) -1), 0, 99));
        bad.put("assignment with a gap", assigned(topic("bad", -1).setReplicationFactor((short) -1), 1, 1));
        bad.put("assignment beside a count", assigned(topic("bad", 1), 0, 1));
        bad.forEach((name, request) -> { for (int v : new int[] {5, 7}) compare.call("refused: " + name, ApiKeys.CREATE_TOPICS, v, wire -> creation(true, request.duplicate())); });
        compare.call("the same topic twice", ApiKeys.CREATE_TOPICS, 7, wire -> creation(true, topic("twice", 1), topic("twice", 2)));
        compare.call("defaults (-1, -1)", ApiKeys.CREATE_TOPICS, 7, wire -> creation(true, topic("defaults", -1).setReplicationFactor((short) -1)));
        compare.call("no topic at all", ApiKeys.CREATE_TOPICS, 7, wire -> creation(false));
    }

    static CreateTopicsRequestData.CreatableTopic assigned(CreateTopicsRequestData.CreatableTopic topic, int partition, int broker) {
        topic.assignments().add(new CreateTopicsRequestData.CreatableReplicaAssignment().setPartitionIndex(partition).setBrokerIds(List.of(broker)));
        return topic;
    }

    void metadata() throws Exception {
        Thread.sleep(500); // both have published what was made
        each("named", ApiKeys.METADATA, (v, wire) -> asking(v, named("data"), named("made-v7")));
        // Below v4 every unknown name asked for is created: a bad one only, there.
        each("unknown and bad names", ApiKeys.METADATA, (v, wire) -> v < 4 ? asking(v, named("a/b")) : asking(v, named("nowhere"), named("a/b")));
        compare.both("prepare auto-creation", wire -> {
            wire.call(ApiKeys.METADATA, (short) 9, asking(9, named("automatic")).setAllowAutoTopicCreation(true));
            ready(wire, "automatic", 1);
            return Normal.JSON.textNode("ready");
        });
        compare.call("auto-created", ApiKeys.METADATA, 9, wire -> asking(9, named("automatic")));
        each("none", ApiKeys.METADATA, (v, wire) -> asking(v).setTopics(v == 0 ? List.of(named("more")) : List.of()));
        for (int v : new int[] {1, 9, 12, 13}) compare.call("all", ApiKeys.METADATA, v, wire -> asking(v).setTopics(null));
        for (int v : new int[] {12, 13}) {
            compare.call("by id", ApiKeys.METADATA, v, wire -> asking(v, new MetadataRequestData.MetadataRequestTopic().setName(null).setTopicId(wire.topicId("data"))));
            compare.call("by unknown id", ApiKeys.METADATA, v, wire -> asking(v, new MetadataRequestData.MetadataRequestTopic().setName(null).setTopicId(new Uuid(5, 7))));
        }
        compare.call("with authorized operations", ApiKeys.METADATA, 10, wire -> asking(10, named("data")).setIncludeTopicAuthorizedOperations(true).setIncludeClusterAuthorizedOperations(true));
        compare.call("two topics, limit 2", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, wire -> describing("data", "more").setResponsePartitionLimit(2));
        compare.call("unknown and bad", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, wire -> describing("nowhere", "data", "a/b"));
        compare.call("from a cursor", ApiKeys.DESCRIBE_TOPIC_PARTITIONS, 0, wire -> describing("data", "more").setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName("data").setPartitionIndex(1)));
    }

    static MetadataRequestData asking(int version, MetadataRequestData.MetadataRequestTopic... topics) {
        return new MetadataRequestData().setTopics(Arrays.asList(topics)).setAllowAutoTopicCreation(version < 4);
    }

    static MetadataRequestData.MetadataRequestTopic named(String name) { return new MetadataRequestData.MetadataRequestTopic().setName(name); }

    static DescribeTopicPartitionsRequestData describing(String... topics) {
        return new DescribeTopicPartitionsRequestData().setTopics(Arrays.stream(topics).map(name -> new DescribeTopicPartitionsRequestData.TopicRequest().setName(name)).toList());
    }

    // ---- Produce ----

    static MemoryRecords batch(Compression compression, int first, int count) {
        SimpleRecord[] records = new SimpleRecord[count];
        for (int at = 0; at < count; at++) records[at] = new SimpleRecord(TIME + (first + at) * 1000L, ("k" + (first + at)).getBytes(), ("value " + (first + at)).getBytes());
        return MemoryRecords.withRecords(compression, records);
    }

    static ProduceRequestData producing(int version, Wire wire, String topic, int partition, int acks, BaseRecords records) {
        ProduceRequestData.TopicProduceData data = new ProduceRequestData.TopicProduceData();
        if (version >= 13) data.setTopicId(topic.equals("nowhere") ? new Uuid(5, 7) : wire.topicId(topic)); else data.setName(topic);
        data.setPartitionData(List.of(new ProduceRequestData.PartitionProduceData().setIndex(partition).setRecords(records)));
        return new ProduceRequestData().setAcks((short) acks).setTimeoutMs(5_000).setTopicData(new ProduceRequestData.TopicProduceDataCollection(List.of(data).iterator()));
    }

    void producing() {
        int[] next = {0};
        for (int v : all(ApiKeys.PRODUCE)) {
            int first = next[0];
            compare.call("two records", ApiKeys.PRODUCE, v, wire -> producing(v, wire, "data", 0, -1, batch(Compression.NONE, first, 2)));
            next[0] += 2;
        }
        List<Compression> codecs = List.of(Compression.gzip().build(), Compression.snappy().build(), Compression.lz4().build(), Compression.zstd().build());
        for (Compression codec : codecs) compare.call("codec " + codec.type().name, ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 1, 1, batch(codec, 0, 5)));
        compare.call("zstd is refused", ApiKeys.PRODUCE, 6, wire -> producing(6, wire, "data", 1, 1, batch(Compression.zstd().build(), 0, 5)));
        compare.call("LogAppendTime", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "appended", 0, -1, batch(Compression.NONE, 0, 3)));
        for (int v : new int[] {3, 7, 8, 9, 12, 13}) {
            compare.call("refused: bad CRC", ApiKeys.PRODUCE, v, wire -> producing(v, wire, "data", 2, -1, changed(17, (byte) 0x55)));
            compare.call("refused: unknown partition", ApiKeys.PRODUCE, v, wire -> producing(v, wire, "data", 77, -1, batch(Compression.NONE, 0, 1)));
            compare.call("refused: unknown topic", ApiKeys.PRODUCE, v, wire -> producing(v, wire, "nowhere", 0, -1, batch(Compression.NONE, 0, 1)));
            compare.call("refused: too large", ApiKeys.PRODUCE, v, wire -> producing(v, wire, "small", 0, -1, batch(Compression.NONE, 0, 100)));
            compare.call("refused: no key on a compacted topic", ApiKeys.PRODUCE, v, wire -> producing(v, wire, "compacted", 0, -1, MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(TIME, "k".getBytes(), "v".getBytes()), new SimpleRecord(TIME, null, "v".getBytes()))));
            compare.call("refused: acks 2", ApiKeys.PRODUCE, v, wire -> producing(v, wire, "data", 2, 2, batch(Compression.NONE, 0, 1)));
        }
        compare.call("refused: wrong record count", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, recounted(5)));
        compare.call("refused: wrong last offset delta", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, withChecksum(bytes -> bytes.putInt(23, 9))));
        compare.call("refused: magic 1", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, MemoryRecords.withRecords(RecordBatch.MAGIC_VALUE_V1, Compression.NONE, new SimpleRecord(TIME, "v".getBytes()))));
        compare.call("refused: control batch", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, withChecksum(bytes -> bytes.putShort(21, (short) 0x20))));
        compare.call("refused: no batch", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, MemoryRecords.EMPTY));
        compare.call("refused: null records", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, null));
        compare.call("refused: two batches", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, twice()));
        compare.call("refused: half a batch", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, cut(40)));
        compare.call("refused: timestamp a year ahead", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(System.currentTimeMillis() + 365L * 86_400_000, "v".getBytes()))));
        compare.call("refused: broken gzip", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, -1, brokenStream()));
        compare.call("refused: to the offsets topic", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "__consumer_offsets", 0, -1, batch(Compression.NONE, 0, 1)));
        compare.call("transactional id", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "data", 2, 1, batch(Compression.NONE, 0, 1)).setTransactionalId("t"));
        // acks 0: no answer; the connection stays usable, and the records are there.
        compare.both("Produce v9 acks 0, then Metadata on the same connection", wire -> {
            ProduceRequestData request = producing(9, wire, "more", 0, 0, batch(Compression.NONE, 0, 3));
            RequestHeaderData header = new RequestHeaderData().setRequestApiKey((short) 0).setRequestApiVersion((short) 9).setCorrelationId(++wire.correlation).setClientId("compare");
            wire.connected().getOutputStream().write(Wire.frame(org.apache.kafka.common.requests.RequestUtils.serialize(header, (short) 2, request, (short) 9)));
            return Normal.of(wire, ApiKeys.METADATA, (short) 9, wire.call(ApiKeys.METADATA, (short) 9, asking(9, named("more"))));
        });
    }

    static ByteBuffer bytes() { return batch(Compression.NONE, 0, 3).buffer().duplicate(); }

    static MemoryRecords changed(int at, byte value) {
        ByteBuffer copy = copied();
        copy.put(at, (byte) (copy.get(at) ^ value));
        return MemoryRecords.readableRecords(copy);
    }

    static ByteBuffer copied() {
        ByteBuffer from = bytes(), copy = ByteBuffer.allocate(from.remaining());
        copy.put(from).flip();
        return copy;
    }

    static MemoryRecords recounted(int count) { return withChecksum(copy -> copy.putInt(57, count)); }

    /** The batch with some header field changed and its checksum made right again. */
    static MemoryRecords withChecksum(Consumer<ByteBuffer> change) { return withChecksum(copied(), change); }

    static MemoryRecords withChecksum(ByteBuffer copy, Consumer<ByteBuffer> change) {
        change.accept(copy);
        copy.putInt(17, (int) org.apache.kafka.common.utils.Crc32C.compute(copy, 21, copy.limit() - 21));
        return MemoryRecords.readableRecords(copy);
    }

    static MemoryRecords twice() {
        ByteBuffer one = bytes(), two = ByteBuffer.allocate(one.remaining() * 2);
        two.put(one.duplicate()).put(one.duplicate()).flip();
        return MemoryRecords.readableRecords(two);
    }

    static MemoryRecords cut(int length) {
        ByteBuffer copy = copied();
        copy.limit(length);
        return MemoryRecords.readableRecords(copy.slice());
    }

    static MemoryRecords brokenStream() { return withChecksum(copy -> copy.putShort(21, (short) 1)); }

    /** Apache Kafka answers that it loads until its first block of ids has come. */
    static long producerId(Wire wire) throws Exception {
        for (int attempt = 0; attempt < 200; attempt++) {
            InitProducerIdResponseData answer = (InitProducerIdResponseData) wire.call(ApiKeys.INIT_PRODUCER_ID, (short) 4, new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000));
            if (answer.errorCode() != 14) return answer.producerId();
            Thread.sleep(50);
        }
        return -1;
    }

    void idempotence() {
        compare.both("prepare producer ids", wire -> Normal.JSON.booleanNode(producerId(wire) >= 0));
        each("new", ApiKeys.INIT_PRODUCER_ID, (v, wire) -> new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000));
        compare.call("empty transactional id", ApiKeys.INIT_PRODUCER_ID, 4, wire -> new InitProducerIdRequestData().setTransactionalId("").setTransactionTimeoutMs(60_000));
        compare.call("id without epoch", ApiKeys.INIT_PRODUCER_ID, 4, wire -> new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000).setProducerId(5));
        compare.both("prepare producer", wire -> {
            InitProducerIdResponseData answer = (InitProducerIdResponseData) wire.call(ApiKeys.INIT_PRODUCER_ID, (short) 4, new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000));
            wire.number.put("producer", answer.producerId());
            return Normal.JSON.numberNode(answer.producerEpoch());
        });
        Object[][] steps = {{"first", 0, 0, 2}, {"second", 0, 2, 3}, {"the second again", 0, 2, 3}, {"the first again", 0, 0, 2}, {"a gap", 0, 9, 1}, {"next", 0, 5, 1}, {"new epoch, sequence 0", 1, 0, 1}, {"stale epoch", 0, 6, 1}, {"new epoch, wrong sequence", 2, 4, 1}, {"negative sequence", 1, -1, 1}};
        for (Object[] step : steps)
            compare.call("idempotent: " + step[0], ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "more", 1, -1, sequenced(wire.number.get("producer"), (int) step[1], (int) step[2], (int) step[3])));
        compare.call("idempotent: an unknown producer that does not begin at 0", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "more", 2, -1, sequenced(wire.number.get("producer"), 0, 7, 1)));
        compare.call("of a partition", ApiKeys.DESCRIBE_PRODUCERS, 0, wire -> new DescribeProducersRequestData().setTopics(List.of(
            new DescribeProducersRequestData.TopicRequest().setName("more").setPartitionIndexes(List.of(0, 1, 77)), new DescribeProducersRequestData.TopicRequest().setName("nowhere").setPartitionIndexes(List.of(0)))));
    }

    static MemoryRecords sequenced(long producer, int epoch, int sequence, int count) {
        SimpleRecord[] records = new SimpleRecord[count];
        for (int at = 0; at < count; at++) records[at] = new SimpleRecord(TIME, ("s" + (sequence + at)).getBytes());
        MemoryRecords made = MemoryRecords.withIdempotentRecords(Compression.NONE, producer, (short) epoch, Math.max(sequence, 0), records);
        return sequence >= 0 ? made : withChecksum(made.buffer().duplicate(), bytes -> bytes.putInt(53, sequence)); // Kafka's own builder refuses it
    }

    // ---- Fetch, ListOffsets, OffsetForLeaderEpoch ----

    static FetchRequestData fetching(int version, Wire wire, String topic, int partition, long offset, Consumer<FetchRequestData.FetchPartition> more) {
        FetchRequestData.FetchPartition asked = new FetchRequestData.FetchPartition().setPartition(partition).setFetchOffset(offset).setPartitionMaxBytes(1 << 20);
        more.accept(asked);
        FetchRequestData.FetchTopic data = new FetchRequestData.FetchTopic().setPartitions(List.of(asked));
        if (version >= 13) data.setTopicId(topic.equals("nowhere") ? new Uuid(5, 7) : wire.topicId(topic)); else data.setTopic(topic);
        FetchRequestData request = new FetchRequestData().setMaxWaitMs(200).setMinBytes(1).setMaxBytes(1 << 20).setTopics(List.of(data));
        if (version < 15) request.setReplicaId(-1);
        if (version >= 7) request.setSessionId(0).setSessionEpoch(-1);
        return request;
    }

    void reading() {
        each("from the start", ApiKeys.FETCH, (v, wire) -> fetching(v, wire, "data", 0, 0, asked -> { }));
        each("from the middle", ApiKeys.FETCH, (v, wire) -> fetching(v, wire, "data", 0, 3, asked -> { }));
        each("at the end", ApiKeys.FETCH, (v, wire) -> fetching(v, wire, "data", 0, 22, asked -> { }).setMaxWaitMs(10));
        each("refused: past the end", ApiKeys.FETCH, (v, wire) -> fetching(v, wire, "data", 0, 1000, asked -> { }));
        each("refused: unknown partition", ApiKeys.FETCH, (v, wire) -> fetching(v, wire, "data", 77, 0, asked -> { }));
        each("refused: unknown topic", ApiKeys.FETCH, (v, wire) -> fetching(v, wire, "nowhere", 0, 0, asked -> { }));
        for (int v : new int[] {4, 10, 12, 16, 17}) {
            compare.call("every codec", ApiKeys.FETCH, v, wire -> fetching(v, wire, "data", 1, 0, asked -> { }));
            compare.call("one byte at most", ApiKeys.FETCH, v, wire -> fetching(v, wire, "data", 0, 0, asked -> asked.setPartitionMaxBytes(1)).setMaxBytes(1));
            compare.call("read committed", ApiKeys.FETCH, v, wire -> fetching(v, wire, "more", 1, 0, asked -> { }).setIsolationLevel((byte) 1));
        }
        for (int v : new int[] {9, 12, 17}) {
            compare.call("current leader epoch 0", ApiKeys.FETCH, v, wire -> fetching(v, wire, "data", 0, 0, asked -> asked.setCurrentLeaderEpoch(0)));
            compare.call("refused: newer leader epoch", ApiKeys.FETCH, v, wire -> fetching(v, wire, "data", 0, 0, asked -> asked.setCurrentLeaderEpoch(5)));
            compare.call("refused: unknown session", ApiKeys.FETCH, v, wire -> fetching(v, wire, "data", 0, 0, asked -> { }).setSessionId(4711).setSessionEpoch(3));
            compare.call("new session", ApiKeys.FETCH, v, wire -> fetching(v, wire, "data", 0, 0, asked -> { }).setSessionId(0).setSessionEpoch(0));
        }
        sessions();
        for (long timestamp : new long[] {-1, -2, TIME, TIME + 3000, TIME + 3001, TIME + 1_000_000, 0, -3, -4, -5, -9}) {
            for (int v : all(ApiKeys.LIST_OFFSETS)) compare.call("timestamp " + timestamp, ApiKeys.LIST_OFFSETS, v, wire -> listing("data", 0, timestamp, -1));
        }
        each("unknown topic", ApiKeys.LIST_OFFSETS, (v, wire) -> listing("nowhere", 0, -1, -1));
        each("unknown partition", ApiKeys.LIST_OFFSETS, (v, wire) -> listing("data", 77, -1, -1));
        for (int v : new int[] {4, 7, 10}) compare.call("newer leader epoch", ApiKeys.LIST_OFFSETS, v, wire -> listing("data", 0, -1, 5));
        for (int v : new int[] {2, 5, 9}) compare.call("read committed", ApiKeys.LIST_OFFSETS, v, wire -> listing("more", 1, -1, -1).setIsolationLevel((byte) 1));
        for (int epoch : new int[] {0, 1, -1}) each("epoch " + epoch, ApiKeys.OFFSET_FOR_LEADER_EPOCH, (v, wire) -> epochs(v, "data", 0, epoch, -1));
        each("newer current epoch", ApiKeys.OFFSET_FOR_LEADER_EPOCH, (v, wire) -> epochs(v, "data", 0, 0, 5));
        each("unknown partition", ApiKeys.OFFSET_FOR_LEADER_EPOCH, (v, wire) -> epochs(v, "data", 77, 0, -1));
        each("unknown topic", ApiKeys.OFFSET_FOR_LEADER_EPOCH, (v, wire) -> epochs(v, "nowhere", 0, 0, -1));
    }

    /** A fetch session: full, nothing new, something new, wrong epoch, closed. */
    void sessions() {
        compare.both("prepare session", wire -> {
            FetchResponseData answer = (FetchResponseData) wire.call(ApiKeys.FETCH, (short) 12, fetching(12, wire, "appended", 0, 3, asked -> { }).setSessionId(0).setSessionEpoch(0).setMaxWaitMs(10));
            wire.number.put("session", (long) answer.sessionId());
            return Normal.JSON.booleanNode(answer.sessionId() > 0);
        });
        compare.call("session: nothing new", ApiKeys.FETCH, 12, wire -> incremental(wire, 1));
        compare.call("session: more records", ApiKeys.PRODUCE, 9, wire -> producing(9, wire, "appended", 0, -1, batch(Compression.NONE, 0, 1)));
        compare.both("Fetch v12 session: something new", wire -> {
            FetchResponseData answer = (FetchResponseData) wire.call(ApiKeys.FETCH, (short) 12, incremental(wire, 2));
            answer.responses().forEach(topic -> topic.partitions().forEach(partition -> partition.setRecords(null))); // their timestamps are the servers' own
            return Normal.of(wire, ApiKeys.FETCH, (short) 12, answer);
        });
        compare.call("session: wrong epoch", ApiKeys.FETCH, 12, wire -> incremental(wire, 9));
        compare.call("session: closed", ApiKeys.FETCH, 12, wire -> incremental(wire, -1));
    }

    static FetchRequestData incremental(Wire wire, int epoch) {
        return new FetchRequestData().setReplicaId(-1).setMaxWaitMs(50).setMinBytes(1).setMaxBytes(1 << 20).setSessionId(wire.number.get("session").intValue()).setSessionEpoch(epoch);
    }

    static ListOffsetsRequestData listing(String topic, int partition, long timestamp, int epoch) {
        return new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(new ListOffsetsRequestData.ListOffsetsTopic().setName(topic).setPartitions(List.of(
            new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(partition).setTimestamp(timestamp).setCurrentLeaderEpoch(epoch)))));
    }

    static OffsetForLeaderEpochRequestData epochs(int version, String topic, int partition, int epoch, int current) {
        OffsetForLeaderEpochRequestData.OffsetForLeaderTopic asked = new OffsetForLeaderEpochRequestData.OffsetForLeaderTopic().setTopic(topic).setPartitions(List.of(
            new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(partition).setLeaderEpoch(epoch).setCurrentLeaderEpoch(current)));
        OffsetForLeaderEpochRequestData request = new OffsetForLeaderEpochRequestData().setTopics(new OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection(List.of(asked).iterator()));
        return version >= 3 ? request.setReplicaId(-1) : request;
    }

    // ---- Configs ----

    static DescribeConfigsRequestData describing(int type, String name, List<String> keys) {
        return new DescribeConfigsRequestData().setResources(List.of(new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType((byte) type).setResourceName(name).setConfigurationKeys(keys)));
    }

    static IncrementalAlterConfigsRequestData altering(int type, String name, Object... triples) {
        IncrementalAlterConfigsRequestData.AlterConfigsResource resource = new IncrementalAlterConfigsRequestData.AlterConfigsResource().setResourceType((byte) type).setResourceName(name);
        for (int at = 0; at < triples.length; at += 3)
            resource.configs().add(new IncrementalAlterConfigsRequestData.AlterableConfig().setName((String) triples[at]).setConfigOperation(((Integer) triples[at + 1]).byteValue()).setValue((String) triples[at + 2]));
        return new IncrementalAlterConfigsRequestData().setResources(new IncrementalAlterConfigsRequestData.AlterConfigsResourceCollection(List.of(resource).iterator()));
    }

    void configs() throws Exception {
        final int topic = 2, broker = 4, logger = 8, set = 0, delete = 1, append = 2, subtract = 3;
        each("topic, all", ApiKeys.DESCRIBE_CONFIGS, (v, wire) -> describing(topic, "data", null));
        each("topic, with synonyms", ApiKeys.DESCRIBE_CONFIGS, (v, wire) -> describing(topic, "small", List.of("max.message.bytes", "retention.ms")).setIncludeSynonyms(v >= 1));
        each("topic, an unknown key", ApiKeys.DESCRIBE_CONFIGS, (v, wire) -> describing(topic, "data", List.of("no.such.config")));
        each("unknown topic", ApiKeys.DESCRIBE_CONFIGS, (v, wire) -> describing(topic, "nowhere", null));
        compare.call("no resource name", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(topic, "", null));
        compare.call("unknown resource type", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(99, "x", null));
        compare.call("broker, some", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(broker, String.valueOf(wire.number.get("node")), List.of("num.partitions", "message.max.bytes", "log.retention.ms", "auto.create.topics.enable", "default.replication.factor", "offsets.retention.minutes")).setIncludeSynonyms(true));
        compare.call("another broker", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(broker, "4711", null));
        compare.call("cluster default of brokers", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(broker, "", null));
        each("set", ApiKeys.INCREMENTAL_ALTER_CONFIGS, (v, wire) -> altering(topic, "data", "retention.ms", set, "86400000", "retention.bytes", set, "1000000"));
        Thread.sleep(300);
        compare.call("topic, after set", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(topic, "data", List.of("retention.ms", "retention.bytes")).setIncludeSynonyms(true));
        Object[][] bad = {{"bad value", "retention.ms", set, "soon"}, {"unknown key", "no.such.config", set, "1"}, {"null value", "retention.ms", set, null}, {"append to a number", "retention.ms", append, "1"}, {"unknown operation", "retention.ms", 9, "1"}, {"out of range", "min.insync.replicas", set, "0"}};
        for (Object[] each : bad) each("refused: " + each[0], ApiKeys.INCREMENTAL_ALTER_CONFIGS, (v, wire) -> altering(topic, "data", each[1], each[2], each[3]));
        compare.call("refused: the same key twice", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(topic, "data", "retention.ms", set, "1", "retention.ms", set, "2"));
        compare.call("refused: unknown topic", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(topic, "nowhere", "retention.ms", set, "1"));
        compare.call("append and subtract in a list", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(topic, "data", "cleanup.policy", append, "compact"));
        Thread.sleep(300);
        compare.call("topic, after append", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(topic, "data", List.of("cleanup.policy")));
        compare.call("subtract", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(topic, "data", "cleanup.policy", subtract, "compact"));
        compare.call("delete", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(topic, "data", "retention.ms", delete, null, "retention.bytes", delete, null));
        compare.call("validate only", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(topic, "data", "retention.ms", set, "5").setValidateOnly(true));
        compare.call("cluster default of brokers", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(broker, "", "log.retention.ms", set, "700000000"));
        Thread.sleep(300);
        compare.call("topic, after delete, and with a new broker default", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(topic, "data", List.of("retention.ms", "retention.bytes", "cleanup.policy")).setIncludeSynonyms(true));
        compare.call("cluster default of brokers, back", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(broker, "", "log.retention.ms", delete, null));
        compare.call("refused: a read-only broker config", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(broker, "", "num.partitions", set, "5", "node.id", set, "5"));
        each("replace", ApiKeys.ALTER_CONFIGS, (v, wire) -> replacing("more", "retention.ms", "90000"));
        each("refused: bad value", ApiKeys.ALTER_CONFIGS, (v, wire) -> replacing("more", "retention.ms", "soon"));
        each("refused: unknown topic", ApiKeys.ALTER_CONFIGS, (v, wire) -> replacing("nowhere", "retention.ms", "1"));
        Thread.sleep(300);
        compare.call("topic, after replace", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(topic, "more", List.of("retention.ms")));
        compare.call("topics", ApiKeys.LIST_CONFIG_RESOURCES, 1, wire -> new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) 2)));
        compare.call("client metrics", ApiKeys.LIST_CONFIG_RESOURCES, 0, wire -> new ListConfigResourcesRequestData());
        compare.call("unknown type", ApiKeys.LIST_CONFIG_RESOURCES, 1, wire -> new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) 99)));
        compare.call("logger, one", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(logger, "4711", List.of("root")));
        Object[][] levels = {{"level", set, "WARN"}, {"no such level", set, "LOUD"}, {"no level", set, null}, {"delete", delete, null}, {"append", append, "WARN"}};
        for (Object[] each : levels) each("logger root: " + each[0], ApiKeys.INCREMENTAL_ALTER_CONFIGS, (v, wire) -> altering(logger, String.valueOf(wire.number.get("node")), "root", each[1], each[2]));
        compare.call("logger root, after", ApiKeys.DESCRIBE_CONFIGS, 4, wire -> describing(logger, String.valueOf(wire.number.get("node")), List.of("root")));
        compare.call("logger root, back", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(logger, String.valueOf(wire.number.get("node")), "root", set, "INFO"));
        compare.call("logger of another node", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(logger, "4711", "root", set, "INFO"));
        compare.call("unknown logger", ApiKeys.INCREMENTAL_ALTER_CONFIGS, 1, wire -> altering(logger, String.valueOf(wire.number.get("node")), "no.such.logger", set, "INFO"));
    }

    static AlterConfigsRequestData replacing(String topic, String name, String value) {
        AlterConfigsRequestData.AlterConfigsResource resource = new AlterConfigsRequestData.AlterConfigsResource().setResourceType((byte) 2).setResourceName(topic);
        resource.configs().add(new AlterConfigsRequestData.AlterableConfig().setName(name).setValue(value));
        return new AlterConfigsRequestData().setResources(new AlterConfigsRequestData.AlterConfigsResourceCollection(List.of(resource).iterator()));
    }

    // ---- Partitions, records, cluster, deletion ----

    static CreatePartitionsRequestData growing(String topic, int count, boolean validateOnly) {
        return new CreatePartitionsRequestData().setTimeoutMs(10_000).setValidateOnly(validateOnly).setTopics(new CreatePartitionsRequestData.CreatePartitionsTopicCollection(List.of(
            new CreatePartitionsRequestData.CreatePartitionsTopic().setName(topic).setCount(count).setAssignments(null)).iterator()));
    }

    static DeleteRecordsRequestData cutting(String topic, int partition, long offset) {
        return new DeleteRecordsRequestData().setTimeoutMs(10_000).setTopics(List.of(new DeleteRecordsRequestData.DeleteRecordsTopic().setName(topic).setPartitions(List.of(
            new DeleteRecordsRequestData.DeleteRecordsPartition().setPartitionIndex(partition).setOffset(offset)))));
    }

    void partitionsAndRecords() {
        each("one more", ApiKeys.CREATE_PARTITIONS, (v, wire) -> growing("small", 4 + v, false));
        each("validate only", ApiKeys.CREATE_PARTITIONS, (v, wire) -> growing("more", 9, true));
        for (int count : new int[] {1, 3, 0, -1}) compare.call("refused: to " + count, ApiKeys.CREATE_PARTITIONS, 3, wire -> growing("more", count, false));
        compare.call("refused: unknown topic", ApiKeys.CREATE_PARTITIONS, 3, wire -> growing("nowhere", 5, false));
        each("some", ApiKeys.DELETE_RECORDS, (v, wire) -> cutting("data", 0, 2 + v));
        each("refused: past the end", ApiKeys.DELETE_RECORDS, (v, wire) -> cutting("data", 0, 1000));
        each("refused: below -1", ApiKeys.DELETE_RECORDS, (v, wire) -> cutting("data", 0, -2));
        each("refused: unknown partition", ApiKeys.DELETE_RECORDS, (v, wire) -> cutting("data", 77, 0));
        each("refused: unknown topic", ApiKeys.DELETE_RECORDS, (v, wire) -> cutting("nowhere", 0, 0));
        for (int v : new int[] {4, 12, 17}) compare.call("refused: below the log start", ApiKeys.FETCH, v, wire -> fetching(v, wire, "data", 0, 1, asked -> { }));
        compare.call("earliest after deletion", ApiKeys.LIST_OFFSETS, 7, wire -> listing("data", 0, -2, -1));
        compare.call("everything (-1)", ApiKeys.DELETE_RECORDS, 2, wire -> cutting("data", 1, -1));
        compare.call("earliest after deleting everything", ApiKeys.LIST_OFFSETS, 7, wire -> listing("data", 1, -2, -1));
    }

    void cluster() {
        each("brokers", ApiKeys.DESCRIBE_CLUSTER, (v, wire) -> new DescribeClusterRequestData());
        compare.call("controllers, from a broker", ApiKeys.DESCRIBE_CLUSTER, 1, wire -> new DescribeClusterRequestData().setEndpointType((byte) 2));
        each("metadata quorum", ApiKeys.DESCRIBE_QUORUM, (v, wire) -> quorum("__cluster_metadata", 0));
        each("quorum of another topic", ApiKeys.DESCRIBE_QUORUM, (v, wire) -> quorum("data", 0));
        each("one topic", ApiKeys.DESCRIBE_LOG_DIRS, (v, wire) -> new DescribeLogDirsRequestData().setTopics(new DescribeLogDirsRequestData.DescribableLogDirTopicCollection(List.of(
            new DescribeLogDirsRequestData.DescribableLogDirTopic().setTopic("data").setPartitions(List.of(0, 1))).iterator())));
        each("unknown feature", ApiKeys.UPDATE_FEATURES, (v, wire) -> feature(v, "no.such.feature", 1));
        each("metadata.version, too new", ApiKeys.UPDATE_FEATURES, (v, wire) -> feature(v, "metadata.version", 999));
        compare.call("no subscription", ApiKeys.GET_TELEMETRY_SUBSCRIPTIONS, 0, wire -> new GetTelemetrySubscriptionsRequestData().setClientInstanceId(Uuid.ZERO_UUID));
    }

    static DescribeQuorumRequestData quorum(String topic, int partition) {
        return new DescribeQuorumRequestData().setTopics(List.of(new DescribeQuorumRequestData.TopicData().setTopicName(topic).setPartitions(List.of(new DescribeQuorumRequestData.PartitionData().setPartitionIndex(partition)))));
    }

    static UpdateFeaturesRequestData feature(int version, String name, int level) {
        UpdateFeaturesRequestData request = new UpdateFeaturesRequestData();
        request.featureUpdates().add(new UpdateFeaturesRequestData.FeatureUpdateKey().setFeature(name).setMaxVersionLevel((short) level));
        return version >= 1 ? request.setValidateOnly(true) : request;
    }

    void deleting() throws Exception {
        for (int v : all(ApiKeys.DELETE_TOPICS)) {
            compare.call("by name", ApiKeys.DELETE_TOPICS, v, wire -> v < 6
                ? new DeleteTopicsRequestData().setTimeoutMs(10_000).setTopicNames(List.of("made-v" + v, "nowhere"))
                : new DeleteTopicsRequestData().setTimeoutMs(10_000).setTopics(List.of(state("made-v" + v, Uuid.ZERO_UUID), state("nowhere", Uuid.ZERO_UUID))));
        }
        compare.call("by id", ApiKeys.DELETE_TOPICS, 6, wire -> new DeleteTopicsRequestData().setTimeoutMs(10_000).setTopics(List.of(state(null, wire.topicId("more")), state(null, new Uuid(5, 7)))));
        compare.call("by name and id", ApiKeys.DELETE_TOPICS, 6, wire -> new DeleteTopicsRequestData().setTimeoutMs(10_000).setTopics(List.of(state("data", wire.topicId("data")))));
        compare.call("the same name twice", ApiKeys.DELETE_TOPICS, 6, wire -> new DeleteTopicsRequestData().setTimeoutMs(10_000).setTopics(List.of(state("data", Uuid.ZERO_UUID), state("data", Uuid.ZERO_UUID))));
        Thread.sleep(1000);
        compare.call("what is left", ApiKeys.METADATA, 12, wire -> asking(12).setTopics(null));
        compare.call("refused: a deleted topic by id", ApiKeys.FETCH, 17, wire -> fetching(17, wire, "more", 0, 0, asked -> { }));
    }

    static DeleteTopicsRequestData.DeleteTopicState state(String name, Uuid id) { return new DeleteTopicsRequestData.DeleteTopicState().setName(name).setTopicId(id); }
}
