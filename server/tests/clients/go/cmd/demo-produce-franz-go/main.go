// franz-go's half of scripts/demo-flights: produces the lines whose number is odd, with its idempotent producer.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	bootstrap := flag.String("bootstrap", "", "host:port")
	topic := flag.String("topic", "", "where to")
	rows := flag.String("rows", "", "the lines of demo_rows.py")
	rate := flag.Int("rate", 0, "rows a second; 0: as fast as it goes")
	flag.Parse()
	fail := func(err error) {
		if err != nil {
			fmt.Println("FAIL franz-go:", err)
			os.Exit(1)
		}
	}
	// The default partitioner hashes keys by murmur2, as Java does; records without a key go where it likes.
	client, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap), kgo.DefaultProduceTopic(*topic), kgo.ProducerLinger(20*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.RecordDeliveryTimeout(2*time.Minute), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 200 * time.Millisecond }))
	fail(err)
	file, err := os.Open(*rows)
	fail(err)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	started, sent := time.Now(), 0
	var failed atomic.Pointer[error]
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), "\t", 3)
		number, err := strconv.Atoi(parts[0])
		fail(err)
		if number%2 == 0 {
			continue
		}
		record := &kgo.Record{Value: []byte(parts[2])}
		if parts[1] != "" {
			record.Key = []byte(parts[1])
		}
		client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		if sent++; *rate > 0 && sent%500 == 0 {
			time.Sleep(time.Until(started.Add(time.Duration(sent) * time.Second / time.Duration(*rate))))
		}
	}
	fail(lines.Err())
	fail(client.Flush(context.Background()))
	if err := failed.Load(); err != nil {
		fail(*err)
	}
	fmt.Printf("ok franz-go produced %d rows in %.1f s\n", sent, time.Since(started).Seconds())
}
