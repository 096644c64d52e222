// sarama: the scenarios of README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	. "odradek/clients/common"
)

var codecs = []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD}

func config() *sarama.Config {
	made := sarama.NewConfig()
	made.Version = sarama.MaxVersion
	made.Producer.RequiredAcks = sarama.WaitForAll
	made.Producer.Partitioner = sarama.NewManualPartitioner
	made.Producer.Return.Successes = true
	made.Producer.Return.Errors = true
	made.Consumer.Return.Errors = true
	made.Consumer.Offsets.Initial = sarama.OffsetOldest
	made.Consumer.Offsets.AutoCommit.Enable = false
	made.Consumer.Group.Session.Timeout = 10 * time.Second
	made.Consumer.Group.Heartbeat.Interval = time.Second
	return made
}

func connect(options Options, with *sarama.Config) sarama.Client {
	client, err := sarama.NewClient([]string{options.Bootstrap}, with)
	Must(err, "client")
	return client
}

func administrator(options Options) sarama.ClusterAdmin {
	admin, err := sarama.NewClusterAdmin([]string{options.Bootstrap}, config())
	Must(err, "admin client")
	return admin
}

func create(options Options, topic string, partitions int32) string {
	admin := administrator(options)
	defer admin.Close()
	Must(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false), "creating "+topic)
	return topic
}

func produce(options Options, topic string, first, last, partitions int, idempotent bool, codec sarama.CompressionCodec) {
	with := config()
	with.Producer.Idempotent = idempotent
	with.Producer.Compression = codec
	with.Producer.Flush.Frequency = 5 * time.Millisecond
	with.Net.MaxOpenRequests = 1 // sarama asks for it with idempotence, and keeps order without only so
	producer, err := sarama.NewAsyncProducer([]string{options.Bootstrap}, with)
	Must(err, "producer")
	go func() {
		for i := first; i < last; i++ {
			record := NewRecord(i)
			message := &sarama.ProducerMessage{Topic: topic, Partition: int32(i % partitions), Timestamp: time.UnixMilli(record.TimestampMs), Metadata: i}
			if record.Key != nil {
				message.Key = sarama.ByteEncoder(record.Key)
			}
			if record.Value != nil {
				message.Value = sarama.ByteEncoder(record.Value)
			}
			for _, header := range record.Headers {
				message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
			}
			producer.Input() <- message
		}
	}()
	for done := first; done < last; done++ {
		select {
		case sent := <-producer.Successes():
			Equal(sent.Offset, int64(sent.Metadata.(int)/partitions), fmt.Sprintf("offset of record %d", sent.Metadata))
		case failed := <-producer.Errors():
			Fail("record %d: %v", failed.Msg.Metadata, failed.Err)
		case <-time.After(30 * time.Second):
			Fail("%d of %d records acknowledged within 30 s", done-first, last-first)
		}
	}
	Must(producer.Close(), "closing the producer")
}

func add(received *Received, message *sarama.ConsumerMessage) {
	var headers []Header
	for _, header := range message.Headers {
		headers = append(headers, Header{Name: string(header.Key), Value: header.Value})
	}
	received.Add(message.Partition, message.Offset, message.Key, message.Value, headers, message.Timestamp.UnixMilli())
}

func readAll(options Options, topic string) {
	client := connect(options, config())
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	Must(err, "consumer")
	received, sum := NewReceived(topic, Partitions), int64(0)
	var readers []sarama.PartitionConsumer
	// All partitions are opened before one is closed: sarama now and then loses a partition that is opened while the
	// last one of the same broker closes.
	for partition := int32(0); partition < Partitions; partition++ {
		reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		Must(err, "consume")
		readers = append(readers, reader)
	}
	for partition, reader := range readers {
		end, err := client.GetOffset(topic, int32(partition), sarama.OffsetNewest)
		Must(err, "end offset")
		sum += end
		for at := int64(0); at < end; at++ {
			select {
			case message := <-reader.Messages():
				add(received, message)
			case failed := <-reader.Errors():
				Must(failed, "consume")
			case <-time.After(30 * time.Second):
				Fail("%s-%d: nothing after offset %d within 30 s", topic, partition, at)
			}
		}
	}
	for _, reader := range readers {
		reader.AsyncClose()
	}
	Equal(received.Count(), Records, topic+": records")
	Equal(received.Duplicates, 0, topic+": records seen twice")
	Equal(sum, Records, topic+": end offsets")
}

func topics(options Options) string {
	topic, admin := options.Prefix+"-topics", administrator(options)
	defer admin.Close()
	hour := "3600000"
	Must(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 5, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &hour}}, false), "creating a topic")
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 5, ReplicationFactor: 1}, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		Fail("creating a topic twice: %v", err)
	}
	Until("the new topic in the list", func() bool {
		listed, err := admin.ListTopics()
		Must(err, "list")
		found, there := listed[topic]
		return there && found.NumPartitions == 5 && found.ConfigEntries["retention.ms"] != nil && *found.ConfigEntries["retention.ms"] == hour
	})
	described, err := admin.DescribeTopics([]string{topic})
	Must(err, "describe")
	Equal(len(described[0].Partitions), 5, "partitions described")
	Must(admin.DeleteTopic(topic), "deleting a topic")
	Until("the topic to be gone", func() bool {
		listed, err := admin.ListTopics()
		Must(err, "list")
		_, there := listed[topic]
		return !there
	})
	return ""
}

func produceEveryCodec(kind string, idempotent bool) func(Options) string {
	return func(options Options) string {
		for _, codec := range codecs {
			topic := create(options, fmt.Sprintf("%s-%s-%s", options.Prefix, kind, codec), Partitions)
			produce(options, topic, 0, Records, Partitions, idempotent, codec)
			readAll(options, topic)
		}
		return "codecs none gzip snappy lz4 zstd"
	}
}

// member is one of a group; sarama calls its handler from goroutines of its own.
type member struct {
	group    sarama.ConsumerGroup
	received *Received
	cancel   context.CancelFunc
	done     chan struct{}
	lock     sync.Mutex
	owned    int
	failure  error
}

func (joined *member) Setup(session sarama.ConsumerGroupSession) error {
	joined.set(len(session.Claims()[joined.topicOf(session)]))
	return nil
}

func (joined *member) topicOf(session sarama.ConsumerGroupSession) string {
	for topic := range session.Claims() {
		return topic
	}
	return ""
}

func (joined *member) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	joined.set(0)
	return nil
}

func (joined *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		add(joined.received, message)
		session.MarkMessage(message, "")
	}
	return nil
}

func (joined *member) set(owned int) {
	joined.lock.Lock()
	defer joined.lock.Unlock()
	joined.owned = owned
}

func (joined *member) owns() int {
	joined.lock.Lock()
	defer joined.lock.Unlock()
	Must(joined.failure, "group member")
	return joined.owned
}

func join(options Options, name, topic string, received *Received) *member {
	group, err := sarama.NewConsumerGroup([]string{options.Bootstrap}, name, config())
	Must(err, "consumer group")
	ctx, cancel := context.WithCancel(context.Background())
	joined := &member{group: group, received: received, cancel: cancel, done: make(chan struct{})}
	go func() {
		for range group.Errors() { // an empty queue is all that is wanted: failures show in what is read
		}
	}()
	go func() {
		defer close(joined.done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, joined); err != nil && ctx.Err() == nil {
				joined.lock.Lock()
				joined.failure = err
				joined.lock.Unlock()
				return
			}
		}
	}()
	return joined
}

func (joined *member) leave() {
	joined.cancel()
	<-joined.done
	Must(joined.group.Close(), "leaving the group")
}

func group(options Options) string {
	name := options.Prefix + "-group"
	topic := create(options, name, 6)
	produce(options, topic, 0, 600, 6, true, sarama.CompressionNone)
	received := NewReceived(topic, 6)
	first := join(options, name, topic, received)
	Until("the first member to own all", func() bool { return first.owns() == 6 })
	second := join(options, name, topic, received)
	Until("two members to share", func() bool { return first.owns() == 3 && second.owns() == 3 })
	produce(options, topic, 600, 1200, 6, true, sarama.CompressionNone)
	Until("1200 records", func() bool { return received.Count() == 1200 })
	second.leave()
	Until("the first member to own all again", func() bool { return first.owns() == 6 })
	produce(options, topic, 1200, 1500, 6, true, sarama.CompressionNone)
	Until("1500 records", func() bool { return received.Count() == 1500 })
	first.leave()
	for partition := int32(0); partition < 6; partition++ {
		Equal(committed(options, name, topic, partition).Offset, 250, fmt.Sprintf("committed offset of partition %d", partition))
	}
	return fmt.Sprintf("%d redelivered", received.Duplicates)
}

func committed(options Options, name, topic string, partition int32) *sarama.OffsetFetchResponseBlock {
	admin := administrator(options)
	defer admin.Close()
	back, err := admin.ListConsumerGroupOffsets(name, map[string][]int32{topic: {partition}})
	Must(err, "committed offsets")
	return back.GetBlock(topic, partition)
}

func timeSeek(options Options) string {
	topic := create(options, options.Prefix+"-time", 1)
	produce(options, topic, 0, Records, 1, true, sarama.CompressionNone)
	client := connect(options, config())
	defer client.Close()
	for at, wanted := range map[int64]int64{BaseTimestampMs + 500_000: 500, BaseTimestampMs + 500_001: 501, 0: 0} {
		found, err := client.GetOffset(topic, 0, at)
		Must(err, "offset for a time")
		Equal(found, wanted, fmt.Sprintf("offset for time %d", at))
	}
	if found, err := client.GetOffset(topic, 0, BaseTimestampMs+10_000_000); err == nil && found != -1 && found != Records {
		Fail("offset for a time past the end: %d", found)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	Must(err, "consumer")
	reader, err := consumer.ConsumePartition(topic, 0, 500)
	Must(err, "consume")
	defer reader.Close()
	Equal((<-reader.Messages()).Offset, 500, "first record after the seek")
	return ""
}

func offsets(options Options) string {
	name := options.Prefix + "-offsets"
	topic := create(options, name, 1)
	produce(options, topic, 0, Records, 1, true, sarama.CompressionNone)
	client := connect(options, config())
	manager, err := sarama.NewOffsetManagerFromClient(name, client)
	Must(err, "offset manager")
	partition, err := manager.ManagePartition(topic, 0)
	Must(err, "offset manager")
	partition.MarkOffset(123, "a note")
	manager.Commit()
	Must(manager.Close(), "offset manager")
	Must(client.Close(), "client")
	back := committed(options, name, topic, 0)
	Equal(back.Offset, 123, "committed offset")
	Equal(back.Metadata, "a note", "committed metadata")
	received := NewReceived(topic, 1)
	reader := join(options, name, topic, received)
	Until("the records after the committed offset", func() bool { reader.owns(); return received.Count() == Records-123 })
	reader.leave()
	admin := administrator(options)
	defer admin.Close()
	Must(admin.DeleteConsumerGroup(name), "deleting the group")
	if still := committed(options, name, topic, 0); still != nil && still.Offset >= 0 {
		Fail("the deleted group still has offset %d", still.Offset)
	}
	return ""
}

func administer(options Options) string {
	name := options.Prefix + "-admin"
	topic := create(options, name, 2)
	produce(options, topic, 0, Records, 2, true, sarama.CompressionNone)
	admin := administrator(options)
	defer admin.Close()
	twoHours := "7200000"
	Must(admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &twoHours}}, false), "alter configs")
	Until("the changed config", func() bool {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
		Must(err, "describe configs")
		return len(entries) == 1 && entries[0].Value == twoHours
	})
	Must(admin.CreatePartitions(topic, 4, nil, false), "create partitions")
	Until("four partitions", func() bool {
		described, err := admin.DescribeTopics([]string{topic})
		Must(err, "describe")
		return len(described[0].Partitions) == 4
	})
	Must(admin.DeleteRecords(topic, map[int32]int64{0: 100}), "delete records")
	client := connect(options, config())
	defer client.Close()
	start, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
	Must(err, "start offset")
	Equal(start, 100, "log start after deleting records")
	received := NewReceived(topic, 2)
	reader := join(options, name, topic, received)
	Until("the records that are left", func() bool { reader.owns(); return received.Count() == Records-100 })
	described, err := admin.DescribeConsumerGroups([]string{name})
	Must(err, "describe groups")
	Equal(len(described[0].Members), 1, "members described")
	groups, err := admin.ListConsumerGroups()
	Must(err, "list groups")
	Equal(groups[name], "consumer", "protocol of the group listed")
	reader.leave()
	brokers, controller, err := admin.DescribeCluster()
	Must(err, "cluster")
	if len(brokers) == 0 || controller < 0 {
		Fail("the cluster has no controller or no node")
	}
	directories, err := admin.DescribeLogDirs([]int32{brokers[0].ID()})
	Must(err, "log directories")
	Equal(len(directories), 1, "brokers with log directories")
	return ""
}

func cross(options Options) string {
	for _, topic := range options.Read {
		readAll(options, topic)
	}
	return fmt.Sprintf("%d topics of other clients", len(options.Read))
}

func main() {
	Main("sarama", map[string]func(Options) string{
		"topics": topics, "produce": produceEveryCodec("produce", false), "idempotent": produceEveryCodec("idempotent", true),
		"group": group, "time": timeSeek, "offsets": offsets, "admin": administer, "cross": cross,
	})
}
