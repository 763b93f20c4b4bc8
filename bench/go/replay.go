package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// methods that a record of a bodies file names by its first byte.
var methods = []string{
	"KV/Put", "KV/Range", "KV/Txn", "KV/DeleteRange", "Lease/LeaseGrant", "Lease/LeaseRevoke",
	"Lease/LeaseTimeToLive", "Lease/LeaseKeepAlive",
}

type record struct {
	method string
	body   []byte // Framed.
}

// readRecords reads a file of records: a byte for the method, four for the length, the framed body.
func readRecords(path string) []record {
	data, err := os.ReadFile(path)
	check(err)
	var records []record
	for len(data) > 0 {
		end := 5 + int(binary.BigEndian.Uint32(data[1:5]))
		records = append(records, record{methods[data[0]], data[5:end]})
		data = data[end:]
	}
	if len(records) == 0 {
		check(fmt.Errorf("%s holds no record", path))
	}
	return records
}

// replay is h2load with a body for each request: as many in flight, the next when one is answered.
func replay(arguments []string) {
	set := flag.NewFlagSet("replay", flag.ExitOnError)
	var t target
	t.flags(set)
	bodies := set.String("bodies", "", "file of records, sent in turn, then from the start again")
	requests := set.Int("requests", 0, "how many in all")
	check(set.Parse(arguments))
	r := &replayer{records: readRecords(*bodies), requests: int64(*requests)}
	config := t.tls()
	lanes := make([]*lane, t.conns)
	for i := range lanes {
		c, err := dial(&t, config)
		check(err)
		lanes[i] = &lane{conn: c, all: r, sent: map[uint32]time.Time{}}
	}
	var done sync.WaitGroup
	began := time.Now()
	for _, each := range lanes {
		done.Go(func() { check(each.run(t.streams)) })
	}
	done.Wait()
	out := result{Requests: *requests, Seconds: time.Since(began).Seconds()}
	var took []time.Duration
	for _, each := range lanes {
		took = append(took, each.took...)
		out.Refused += each.refused
		out.DataBytes += each.bytes
	}
	out.latencies(took)
	out.print()
}

type replayer struct {
	records  []record
	requests int64
	started  atomic.Int64
}

type lane struct {
	*conn
	all     *replayer
	sent    map[uint32]time.Time
	took    []time.Duration
	refused int
	bytes   int64
}

func (l *lane) run(streams int) error {
	for range streams {
		if err := l.begin(); err != nil {
			return err
		}
	}
	for len(l.sent) > 0 {
		if err := l.take(l.got); err != nil {
			return err
		}
	}
	return l.socket.Close()
}

func (l *lane) begin() error {
	number := l.all.started.Add(1) - 1
	if number >= l.all.requests {
		return nil
	}
	each := l.all.records[number%int64(len(l.all.records))]
	stream, err := l.open(each.method)
	if err != nil {
		return err
	}
	l.sent[stream] = time.Now()
	return l.send(stream, each.body, true)
}

func (l *lane) got(a arrival) error {
	l.bytes += int64(a.size)
	if !a.ended {
		return nil
	}
	began, some := l.sent[a.stream]
	if !some {
		return nil
	}
	delete(l.sent, a.stream)
	l.took = append(l.took, time.Since(began))
	if a.refused {
		l.refused++
	}
	return l.begin()
}
