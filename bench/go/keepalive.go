package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// readIDs reads a file of lease ids, eight bytes each, and deals them to n streams in turn.
func readIDs(path string, n int) [][]int64 {
	data, err := os.ReadFile(path)
	check(err)
	dealt := make([][]int64, n)
	for i := 0; i*8 < len(data); i++ {
		id := int64(binary.BigEndian.Uint64(data[i*8:]))
		dealt[i%n] = append(dealt[i%n], id)
	}
	if len(dealt[n-1]) == 0 {
		check(fmt.Errorf("fewer leases than streams"))
	}
	return dealt
}

func renewal(id int64) []byte {
	message, err := (&etcdserverpb.LeaseKeepAliveRequest{ID: id}).Marshal()
	check(err)
	return framed(message)
}

// renewed fails unless the reply says that the lease lives.
func renewed(message []byte) {
	var reply etcdserverpb.LeaseKeepAliveResponse
	check(reply.Unmarshal(message))
	if reply.TTL <= 0 {
		check(fmt.Errorf("lease %x is gone", reply.ID))
	}
}

// paced keeps one lease alive on each of conns x streams long-lived streams, one message a frame,
// one frame a write, every stream by its own clock, whether or not the last reply is there.
func paced(arguments []string) {
	set := flag.NewFlagSet("paced", flag.ExitOnError)
	var t target
	t.flags(set)
	ids := set.String("ids", "", "file of lease ids")
	every := set.Duration("every", 100*time.Millisecond, "a stream's pause between its messages")
	seconds := set.Float64("seconds", 2, "how long")
	check(set.Parse(arguments))
	leases := readIDs(*ids, t.conns*t.streams)
	config := t.tls()
	var group pacers
	group.begun.Add(t.conns)
	group.start = make(chan time.Time)
	var done sync.WaitGroup
	for i := range t.conns {
		c, err := dial(&t, config)
		check(err)
		p := &pacer{conn: c, group: &group, every: *every}
		p.offset = *every * time.Duration(i) / time.Duration(t.conns*t.streams)
		p.rounds = int(*seconds / every.Seconds())
		for j := range t.streams {
			p.ids = append(p.ids, leases[i*t.streams+j][0])
		}
		done.Go(func() { p.run() })
	}
	group.begun.Wait()
	waitForGo()
	began := time.Now()
	for range t.conns {
		group.start <- began
	}
	done.Wait()
	out := result{Requests: len(group.took), Seconds: time.Since(began).Seconds()}
	out.latencies(group.took)
	out.print()
}

type pacers struct {
	begun sync.WaitGroup
	start chan time.Time
	mu    sync.Mutex
	took  []time.Duration
}

// pacer is one connection: a goroutine that writes by the clock and one that reads.
type pacer struct {
	*conn
	group  *pacers
	ids    []int64
	every  time.Duration
	offset time.Duration
	rounds int
	mu     sync.Mutex // Guards the writer: the reader answers pings and settings.
	due    map[uint32][]time.Time
}

func (p *pacer) run() {
	p.due = map[uint32][]time.Time{}
	streams := make([]uint32, len(p.ids))
	bodies := make([][]byte, len(p.ids))
	index := map[uint32]int{}
	for i, id := range p.ids {
		stream, err := p.open("Lease/LeaseKeepAlive")
		check(err)
		streams[i], bodies[i], index[stream] = stream, renewal(id), i
		check(p.send(stream, bodies[i], false))
	}
	for left := len(p.ids); left > 0; {
		check(p.take(func(a arrival) error {
			if a.ended {
				return fmt.Errorf("a keepalive stream ended")
			}
			renewed(a.message)
			left--
			return nil
		}))
	}
	p.group.begun.Done()
	began := <-p.group.start
	finished := make(chan []time.Duration)
	go func() { finished <- p.read(p.rounds * len(streams)) }()
	for round := range p.rounds {
		for i, stream := range streams {
			at := began.Add(p.offset + time.Duration(round)*p.every +
				p.every*time.Duration(i)/time.Duration(len(streams)))
			time.Sleep(time.Until(at))
			p.mu.Lock()
			p.due[stream] = append(p.due[stream], at)
			check(p.send(stream, bodies[i], false))
			check(p.flush())
			p.mu.Unlock()
		}
	}
	took := <-finished
	p.group.mu.Lock()
	p.group.took = append(p.group.took, took...)
	p.group.mu.Unlock()
	check(p.socket.Close())
}

// read takes `wanted` replies.
func (p *pacer) read(wanted int) []time.Duration {
	took := make([]time.Duration, 0, wanted)
	for len(took) < wanted {
		check(p.takeLocked(&p.mu, func(a arrival) error {
			if a.ended {
				return fmt.Errorf("a keepalive stream ended")
			}
			renewed(a.message)
			waiting := p.due[a.stream]
			took = append(took, time.Since(waiting[0]))
			p.due[a.stream] = waiting[1:]
			return nil
		}))
	}
	return took
}

// herd is clients that come back at once: all connect, each stream renews all of its leases in one
// go, and every reply must say that the lease lives. Latencies are those of whole streams.
func herd(arguments []string) {
	set := flag.NewFlagSet("herd", flag.ExitOnError)
	var t target
	t.flags(set)
	ids := set.String("ids", "", "file of lease ids")
	check(set.Parse(arguments))
	dealt := readIDs(*ids, t.conns*t.streams)
	config := t.tls()
	bodies := make([][]byte, len(dealt))
	leases := 0
	for i, each := range dealt {
		leases += len(each)
		for _, id := range each {
			bodies[i] = append(bodies[i], renewal(id)...)
		}
	}
	waitForGo()
	began := time.Now()
	took := make([][]time.Duration, t.conns)
	var done sync.WaitGroup
	for i := range t.conns {
		done.Go(func() {
			c, err := dial(&t, config)
			check(err)
			left := map[uint32]int{}
			for j := range t.streams {
				stream, err := c.open("Lease/LeaseKeepAlive")
				check(err)
				left[stream] = len(dealt[i*t.streams+j])
				check(c.send(stream, bodies[i*t.streams+j], false))
			}
			for len(left) > 0 {
				check(c.take(func(a arrival) error {
					if a.ended {
						return fmt.Errorf("a keepalive stream ended")
					}
					renewed(a.message)
					left[a.stream]--
					if left[a.stream] == 0 {
						delete(left, a.stream)
						took[i] = append(took[i], time.Since(began))
					}
					return nil
				}))
			}
			check(c.socket.Close())
		})
	}
	done.Wait()
	out := result{Requests: leases, Seconds: time.Since(began).Seconds()}
	var all []time.Duration
	for _, each := range took {
		all = append(all, each...)
	}
	out.latencies(all)
	out.print()
}
