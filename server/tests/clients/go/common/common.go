// Package common is what the Go client programs share: the records every client writes, the checks on what comes back,
// and the command line. README.md of the folder above describes the scenarios.
package common

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	Records    = 1000
	Partitions = 3
)

// BaseTimestampMs is that of record 0. A run gives all its programs the same recent time: a server may remove what is
// older than its retention.
var BaseTimestampMs = baseTimestampMs()

func baseTimestampMs() int64 {
	if given, err := strconv.ParseInt(os.Getenv("TEST_BASE_TIMESTAMP_MS"), 10, 64); err == nil {
		return given
	}
	return 1_700_000_000_000
}

type Header struct {
	Name  string
	Value []byte
}

// Record is record number I of every test topic: the same in every language.
type Record struct {
	I           int
	Key, Value  []byte
	Headers     []Header
	TimestampMs int64
}

func NewRecord(i int) Record {
	record := Record{I: i, TimestampMs: BaseTimestampMs + int64(i)*1000}
	if i%7 != 0 {
		record.Key = []byte(fmt.Sprintf("key-%06d", i))
	}
	if i%13 != 0 || i%7 == 0 {
		record.Value = []byte(fmt.Sprintf("value-%06d-%s", i, strings.Repeat(string(rune('a'+i%26)), i%200)))
	}
	if i%5 != 0 {
		record.Headers = []Header{{"n", []byte(fmt.Sprint(i))}, {"raw", []byte{0, 255, byte(i % 256)}}}
	}
	return record
}

type failure string

// Fail ends the scenario with a reason.
func Fail(format string, arguments ...any) { panic(failure(fmt.Sprintf(format, arguments...))) }

// Must ends the scenario with err, when there is one.
func Must(err error, what string) {
	if err != nil {
		Fail("%s: %v", what, err)
	}
}

func Equal[T comparable](got, wanted T, what string) {
	if got != wanted {
		Fail("%s: got %v, expected %v", what, got, wanted)
	}
}

// Until calls attempt until it is true, for at most 30 s.
func Until(what string, attempt func() bool) {
	deadline := time.Now().Add(30 * time.Second)
	for !attempt() {
		if time.Now().After(deadline) {
			Fail("%s: not within 30 s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Received collects what came back and compares it with what was written (record i at offset i / partitions).
type Received struct {
	lock       sync.Mutex
	topic      string
	partitions int
	seen       map[[2]int64]bool
	Duplicates int
	wrong      string
}

func NewReceived(topic string, partitions int) *Received {
	return &Received{topic: topic, partitions: partitions, seen: map[[2]int64]bool{}}
}

// Add may be called from any goroutine: what is wrong is kept, and told by Count.
func (received *Received) Add(partition int32, offset int64, key, value []byte, headers []Header, timestampMs int64) {
	received.lock.Lock()
	defer received.lock.Unlock()
	wanted := NewRecord(int(offset)*received.partitions + int(partition))
	same := func(got, wanted []byte) bool { return (got == nil) == (wanted == nil) && bytes.Equal(got, wanted) }
	ok := same(key, wanted.Key) && same(value, wanted.Value) && len(headers) == len(wanted.Headers) && timestampMs == wanted.TimestampMs
	for at := range headers {
		ok = ok && headers[at].Name == wanted.Headers[at].Name && bytes.Equal(headers[at].Value, wanted.Headers[at].Value)
	}
	if !ok && received.wrong == "" {
		received.wrong = fmt.Sprintf("%s-%d offset %d: got key %q value %q headers %v timestamp %d, expected %+v", received.topic, partition, offset, key, value, headers, timestampMs, wanted)
	}
	if received.seen[[2]int64{int64(partition), offset}] {
		received.Duplicates++
	}
	received.seen[[2]int64{int64(partition), offset}] = true
}

// Count tells how many different records came, and ends the scenario when one was wrong.
func (received *Received) Count() int {
	received.lock.Lock()
	defer received.lock.Unlock()
	if received.wrong != "" {
		Fail("%s", received.wrong)
	}
	return len(received.seen)
}

// Options of one run; Prefix already holds the client's name.
type Options struct {
	Bootstrap string
	Prefix    string
	Read      []string
}

// Main runs one scenario and prints `ok CLIENT SCENARIO` or the reason.
func Main(client string, scenarios map[string]func(Options) string) {
	bootstrap := flag.String("bootstrap", "", "host:port")
	scenario := flag.String("scenario", "", "which")
	prefix := flag.String("topic-prefix", "", "before every topic's and group's name")
	read := flag.String("read", "", "cross: topics that other clients filled, with commas")
	flag.Parse()
	run, known := scenarios[*scenario]
	if !known {
		fmt.Printf("FAIL %s %s: this client has no such scenario\n", client, *scenario)
		os.Exit(2)
	}
	defer func() {
		if reason := recover(); reason != nil {
			if _, ours := reason.(failure); !ours {
				panic(reason)
			}
			fmt.Printf("FAIL %s %s: %v\n", client, *scenario, reason)
			os.Exit(1)
		}
	}()
	options := Options{Bootstrap: *bootstrap, Prefix: *prefix + "-" + client}
	if *read != "" {
		options.Read = strings.Split(*read, ",")
	}
	if note := run(options); note != "" {
		fmt.Printf("ok %s %s (%s)\n", client, *scenario, note)
	} else {
		fmt.Printf("ok %s %s\n", client, *scenario)
	}
}
