// franz-go: the scenarios of README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	. "odradek/clients/common"
)

var ctx, _ = context.WithTimeout(context.Background(), 2*time.Minute)

var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}}

func client(options Options, more ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(options.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100 * time.Millisecond)}, more...)...)
	Must(err, "client")
	return made
}

func create(options Options, topic string, partitions int32) string {
	admin := kadm.NewClient(client(options))
	defer admin.Close()
	_, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
	Must(err, "creating "+topic)
	return topic
}

func produce(options Options, topic string, first, last, partitions int, more ...kgo.Opt) {
	producer := client(options, append([]kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(5 * time.Millisecond)}, more...)...)
	defer producer.Close()
	var lock sync.Mutex
	var wrong error
	for i := first; i < last; i++ {
		record := NewRecord(i)
		sent := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: record.Key, Value: record.Value, Timestamp: time.UnixMilli(record.TimestampMs)}
		for _, header := range record.Headers {
			sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		producer.Produce(ctx, sent, func(done *kgo.Record, err error) {
			lock.Lock()
			defer lock.Unlock()
			if err == nil && done.Offset != int64(i/partitions) {
				err = fmt.Errorf("acknowledged at offset %d, expected %d", done.Offset, i/partitions)
			}
			if err != nil && wrong == nil {
				wrong = fmt.Errorf("record %d: %w", i, err)
			}
		})
	}
	Must(producer.Flush(ctx), "flush")
	lock.Lock()
	defer lock.Unlock()
	Must(wrong, "produce to "+topic)
}

// poll takes what is there within 100 ms.
func poll(member *kgo.Client, received *Received) {
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	fetches := member.PollRecords(soon, 500)
	for _, err := range fetches.Errors() {
		if !errors.Is(err.Err, context.DeadlineExceeded) {
			Must(err.Err, fmt.Sprintf("fetch of %s-%d", err.Topic, err.Partition))
		}
	}
	fetches.EachRecord(func(record *kgo.Record) {
		var headers []Header
		for _, header := range record.Headers {
			headers = append(headers, Header{Name: header.Key, Value: header.Value})
		}
		received.Add(record.Partition, record.Offset, record.Key, record.Value, headers, record.Timestamp.UnixMilli())
	})
}

func readAll(options Options, topic string) {
	reader := client(options, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	received := NewReceived(topic, Partitions)
	Until(fmt.Sprintf("%d records of %s", Records, topic), func() bool { poll(reader, received); return received.Count() >= Records })
	Equal(received.Duplicates, 0, topic+": records seen twice")
	listed, err := kadm.NewClient(reader).ListEndOffsets(ctx, topic)
	Must(err, "end offsets")
	sum := int64(0)
	listed.Each(func(offset kadm.ListedOffset) { sum += offset.Offset })
	Equal(sum, Records, topic+": end offsets")
}

func topics(options Options) string {
	topic, admin := options.Prefix+"-topics", kadm.NewClient(client(options))
	defer admin.Close()
	hour := "3600000"
	_, err := admin.CreateTopic(ctx, 5, 1, map[string]*string{"retention.ms": &hour}, topic)
	Must(err, "creating a topic")
	if _, err = admin.CreateTopic(ctx, 5, 1, nil, topic); !errors.Is(err, kerr.TopicAlreadyExists) {
		Fail("creating a topic twice: %v", err)
	}
	Until("the new topic in the list", func() bool {
		listed, err := admin.ListTopics(ctx)
		Must(err, "list")
		return listed.Has(topic) && len(listed[topic].Partitions) == 5
	})
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	Must(err, "describe configs")
	for _, config := range configs[0].Configs {
		if config.Key == "retention.ms" {
			Equal(*config.Value, hour, "retention.ms described")
		}
	}
	_, err = admin.DeleteTopic(ctx, topic)
	Must(err, "deleting a topic")
	Until("the topic to be gone", func() bool {
		listed, err := admin.ListTopics(ctx)
		Must(err, "list")
		return !listed.Has(topic)
	})
	return ""
}

func produceEveryCodec(kind string, more ...kgo.Opt) func(Options) string {
	return func(options Options) string {
		for _, each := range codecs {
			topic := create(options, fmt.Sprintf("%s-%s-%s", options.Prefix, kind, each.name), Partitions)
			produce(options, topic, 0, Records, Partitions, append(more, kgo.ProducerBatchCompression(each.codec))...)
			readAll(options, topic)
		}
		return "codecs none gzip snappy lz4 zstd"
	}
}

// member is one of a group, with what it owns.
type member struct {
	client *kgo.Client
	lock   sync.Mutex
	owned  map[int32]bool
}

func join(options Options, group, topic string) *member {
	joined := &member{owned: map[int32]bool{}}
	joined.client = client(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			joined.change(assigned[topic], true)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, revoking *kgo.Client, revoked map[string][]int32) {
			_ = revoking.CommitUncommittedOffsets(ctx)
			joined.change(revoked[topic], false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { joined.change(lost[topic], false) }))
	return joined
}

func (joined *member) change(partitions []int32, owned bool) {
	joined.lock.Lock()
	defer joined.lock.Unlock()
	for _, partition := range partitions {
		if owned {
			joined.owned[partition] = true
		} else {
			delete(joined.owned, partition)
		}
	}
}

func (joined *member) owns() int {
	joined.lock.Lock()
	defer joined.lock.Unlock()
	return len(joined.owned)
}

func group(options Options) string {
	name := options.Prefix + "-group"
	topic := create(options, name, 6)
	produce(options, topic, 0, 600, 6)
	received := NewReceived(topic, 6)
	first := join(options, name, topic)
	defer first.client.Close()
	Until("the first member to own all", func() bool { poll(first.client, received); return first.owns() == 6 })
	second := join(options, name, topic)
	defer second.client.Close()
	both := func() { poll(first.client, received); poll(second.client, received) }
	Until("two members to share", func() bool { both(); return first.owns() == 3 && second.owns() == 3 })
	produce(options, topic, 600, 1200, 6)
	Until("1200 records", func() bool { both(); return received.Count() == 1200 })
	Must(first.client.CommitUncommittedOffsets(ctx), "commit")
	Must(second.client.CommitUncommittedOffsets(ctx), "commit")
	second.client.Close()
	Until("the first member to own all again", func() bool { poll(first.client, received); return first.owns() == 6 })
	produce(options, topic, 1200, 1500, 6)
	Until("1500 records", func() bool { poll(first.client, received); return received.Count() == 1500 })
	Must(first.client.CommitUncommittedOffsets(ctx), "commit")
	committed, err := kadm.NewClient(first.client).FetchOffsets(ctx, name)
	Must(err, "committed offsets")
	for partition := int32(0); partition < 6; partition++ {
		back, _ := committed.Lookup(topic, partition)
		Equal(back.At, 250, fmt.Sprintf("committed offset of partition %d", partition))
	}
	return fmt.Sprintf("%d redelivered", received.Duplicates)
}

func timeSeek(options Options) string {
	topic := create(options, options.Prefix+"-time", 1)
	produce(options, topic, 0, Records, 1)
	admin := kadm.NewClient(client(options))
	defer admin.Close()
	for at, wanted := range map[int64]int64{BaseTimestampMs + 500_000: 500, BaseTimestampMs + 500_001: 501, 0: 0, BaseTimestampMs + 10_000_000: Records} {
		listed, err := admin.ListOffsetsAfterMilli(ctx, at, topic)
		Must(err, "list offsets")
		found, _ := listed.Lookup(topic, 0)
		Equal(found.Offset, wanted, fmt.Sprintf("offset for time %d", at))
	}
	greatest, err := admin.ListMaxTimestampOffsets(ctx, topic)
	Must(err, "offset of the greatest timestamp")
	found, _ := greatest.Lookup(topic, 0)
	Equal(found.Offset, Records-1, "offset of the greatest timestamp")
	reader := client(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AfterMilli(BaseTimestampMs + 500_000)}}))
	defer reader.Close()
	fetches := reader.PollRecords(ctx, 1)
	Must(fetches.Err(), "fetch")
	Equal(fetches.Records()[0].Offset, 500, "first record after the seek")
	return ""
}

func offsets(options Options) string {
	name := options.Prefix + "-offsets"
	topic := create(options, name, 1)
	produce(options, topic, 0, Records, 1)
	admin := kadm.NewClient(client(options))
	defer admin.Close()
	var wanted kadm.Offsets
	wanted.Add(kadm.Offset{Topic: topic, Partition: 0, At: 123, LeaderEpoch: -1, Metadata: "a note"})
	committed, err := admin.CommitOffsets(ctx, name, wanted)
	Must(err, "commit")
	Must(committed.Error(), "commit")
	back, err := admin.FetchOffsets(ctx, name)
	Must(err, "committed offsets")
	found, _ := back.Lookup(topic, 0)
	Equal(found.At, 123, "committed offset")
	Equal(found.Metadata, "a note", "committed metadata")
	reader := client(options, kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
	fetches := reader.PollRecords(ctx, 1)
	Must(fetches.Err(), "fetch")
	Equal(fetches.Records()[0].Offset, 123, "first offset after the committed one")
	reader.Close()
	Until("the group to be deleted", func() bool {
		_, err := admin.DeleteGroup(ctx, name)
		if errors.Is(err, kerr.NonEmptyGroup) {
			return false
		}
		Must(err, "deleting the group")
		return true
	})
	back, err = admin.FetchOffsets(ctx, name)
	Must(err, "committed offsets of a deleted group")
	if found, still := back.Lookup(topic, 0); still && found.At >= 0 {
		Fail("the deleted group still has offset %d", found.At)
	}
	return ""
}

func administer(options Options) string {
	name := options.Prefix + "-admin"
	topic := create(options, name, 2)
	produce(options, topic, 0, Records, 2)
	admin := kadm.NewClient(client(options))
	defer admin.Close()
	twoHours := "7200000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &twoHours}}, topic)
	Must(err, "alter configs")
	Must(altered[0].Err, "alter configs")
	Until("the changed config", func() bool {
		configs, err := admin.DescribeTopicConfigs(ctx, topic)
		Must(err, "describe configs")
		for _, config := range configs[0].Configs {
			if config.Key == "retention.ms" && config.MaybeValue() == twoHours {
				return true
			}
		}
		return false
	})
	grown, err := admin.UpdatePartitions(ctx, 4, topic)
	Must(err, "create partitions")
	Must(grown.Error(), "create partitions")
	Until("four partitions", func() bool {
		listed, err := admin.ListTopics(ctx, topic)
		Must(err, "list")
		return len(listed[topic].Partitions) == 4
	})
	var before kadm.Offsets
	before.Add(kadm.Offset{Topic: topic, Partition: 0, At: 100})
	deleted, err := admin.DeleteRecords(ctx, before)
	Must(err, "delete records")
	low, _ := deleted.Lookup(topic, 0)
	Must(low.Err, "delete records")
	Equal(low.LowWatermark, 100, "low watermark after deleting records")
	starts, err := admin.ListStartOffsets(ctx, topic)
	Must(err, "start offsets")
	start, _ := starts.Lookup(topic, 0)
	Equal(start.Offset, 100, "log start after deleting records")
	reader := client(options, kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	defer reader.Close()
	Must(reader.PollRecords(ctx, 1).Err(), "fetch")
	Must(reader.CommitUncommittedOffsets(ctx), "commit")
	described, err := admin.DescribeGroups(ctx, name)
	Must(err, "describe groups")
	Equal(len(described[name].Members), 1, "members described")
	groups, err := admin.ListGroups(ctx)
	Must(err, "list groups")
	if _, there := groups[name]; !there {
		Fail("the group is not listed")
	}
	metadata, err := admin.BrokerMetadata(ctx)
	Must(err, "cluster")
	if metadata.Cluster == "" || len(metadata.Brokers) == 0 || metadata.Controller < 0 {
		Fail("the cluster has no id, no controller or no node: %+v", metadata)
	}
	return ""
}

func cross(options Options) string {
	for _, topic := range options.Read {
		readAll(options, topic)
	}
	return fmt.Sprintf("%d topics of other clients", len(options.Read))
}

func main() {
	Main("franz-go", map[string]func(Options) string{
		"topics": topics, "produce": produceEveryCodec("produce", kgo.DisableIdempotentWrite()), "idempotent": produceEveryCodec("idempotent"),
		"group": group, "time": timeSeek, "offsets": offsets, "admin": administer, "cross": cross,
	})
}
