// sarama's third of scripts/demo-flights: consumes in the group and writes a line per record until the stop file is there.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type flight struct {
	N        int    `json:"n"`
	Carrier  string `json:"carrier"`
	Month    int    `json:"month"`
	Distance int    `json:"distance"`
	AirTime  int    `json:"air_time"` // null stays 0
}

// writer is shared by the goroutines that sarama runs, one per partition.
type writer struct {
	lock  sync.Mutex
	out   *bufio.Writer
	count int
}

func (*writer) Setup(sarama.ConsumerGroupSession) error { return nil }

func (to *writer) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (to *writer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		var one flight
		if err := json.Unmarshal(message.Value, &one); err != nil {
			return err
		}
		key := "-"
		if message.Key != nil {
			key = fmt.Sprintf("%08x", crc32.ChecksumIEEE(message.Key))
		}
		to.lock.Lock()
		fmt.Fprintf(to.out, "%d\t%d\t%s\t%s\t%d\t%d\t%d\t%d\n", message.Partition, message.Offset, key, one.Carrier, one.Month, one.Distance, one.AirTime, one.N)
		to.count++
		to.lock.Unlock()
		session.MarkMessage(message, "")
	}
	return nil
}

func main() {
	bootstrap := flag.String("bootstrap", "", "host:port")
	topic := flag.String("topic", "", "where from")
	group := flag.String("group", "", "of which group")
	path := flag.String("out", "", "file of lines")
	stop := flag.String("stop", "", "ends when this file is there")
	flag.Parse()
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 500 * time.Millisecond
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = time.Second
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	config.Metadata.Retry.Max = 100
	config.Metadata.Retry.Backoff = 200 * time.Millisecond
	file, err := os.Create(*path)
	if err == nil {
		err = consume(config, *bootstrap, *group, *topic, *stop, &writer{out: bufio.NewWriter(file)})
	}
	if err != nil {
		fmt.Println("FAIL sarama:", err)
		os.Exit(1)
	}
}

func consume(config *sarama.Config, bootstrap, name, topic, stop string, to *writer) error {
	group, err := sarama.NewConsumerGroup([]string{bootstrap}, name, config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for range time.Tick(300 * time.Millisecond) {
			to.lock.Lock()
			to.out.Flush()
			to.lock.Unlock()
			if _, err := os.Stat(stop); err == nil {
				cancel()
				return
			}
		}
	}()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, to); err != nil && ctx.Err() == nil {
			fmt.Println("sarama:", err) // the server is away: try again
			time.Sleep(200 * time.Millisecond)
		}
	}
	if err := group.Close(); err != nil {
		fmt.Println("sarama: closing:", err)
	}
	fmt.Printf("ok sarama consumed %d records\n", to.count)
	return to.out.Flush()
}
