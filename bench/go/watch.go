package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// watch spreads watchers over conns x streams streams and keys, then puts: as many in flight as
// -inflight says, or one every -every. A value holds the moment of its put, so that a delivery is
// timed from there to the watcher, by one clock. Every put must reach each of its key's watchers.
func watch(arguments []string) {
	set := flag.NewFlagSet("watch", flag.ExitOnError)
	var t target
	t.flags(set)
	watchers := set.Int("watchers", 1000, "how many")
	keys := set.Int("keys", 1, "distinct keys, watched by equally many each")
	puts := set.Int("puts", 100, "how many puts, each key in turn")
	inflight := set.Int("inflight", 16, "puts in flight while not paced")
	every := set.Duration("every", 0, "pause between puts; 0: as fast as they are answered")
	check(set.Parse(arguments))
	if *watchers%*keys != 0 || *watchers < t.conns*t.streams {
		check(fmt.Errorf("watchers must be a multiple of keys, and at least one a stream"))
	}
	events := *puts * (*watchers / *keys)
	config := t.tls()
	lanes := make([]*watchLane, t.conns)
	for i := range lanes {
		c, err := dial(&t, config)
		check(err)
		lanes[i] = &watchLane{conn: c, streams: t.streams}
	}
	for number := range *watchers {
		lane := lanes[number%t.conns]
		lane.keys = append(lane.keys, number%*keys)
	}
	for _, each := range lanes {
		check(each.create())
	}
	own, err := dial(&t, config)
	check(err)
	p := &putter{conn: own, puts: *puts, keys: *keys}
	waitForGo()
	began := time.Now()
	var done sync.WaitGroup
	for i, each := range lanes {
		mine := 0
		for _, key := range each.keys {
			mine += (*puts - key + *keys - 1) / *keys // Puts of this key.
		}
		done.Go(func() { check(lanes[i].receive(mine)) })
	}
	if *every > 0 {
		check(p.byTheClock(*every, began))
	} else {
		check(p.flatOut(*inflight))
	}
	done.Wait()
	out := result{Requests: events, Seconds: time.Since(began).Seconds()}
	var took []time.Duration
	for _, each := range lanes {
		took = append(took, each.took...)
	}
	if len(took) != events {
		check(fmt.Errorf("%d events came, not %d", len(took), events))
	}
	out.latencies(took)
	out.print()
}

func watchedKey(number int) []byte { return fmt.Appendf(nil, "bench/watched/%06d", number) }

// putter sends the puts on a connection of its own and takes their replies.
type putter struct {
	*conn
	puts, keys  int
	sent, ended int
}

func (p *putter) begin() error {
	value := make([]byte, 32)
	binary.BigEndian.PutUint64(value, uint64(time.Now().UnixNano()))
	request := &etcdserverpb.PutRequest{Key: watchedKey(p.sent % p.keys), Value: value}
	message, err := request.Marshal()
	if err != nil {
		return err
	}
	stream, err := p.open("KV/Put")
	if err != nil {
		return err
	}
	p.sent++
	return p.send(stream, framed(message), true)
}

func (p *putter) got(a arrival) error {
	if !a.ended {
		return nil
	}
	p.ended++
	if a.refused {
		return fmt.Errorf("a put was refused")
	}
	return nil
}

// flatOut sends the next put when one is answered.
func (p *putter) flatOut(inflight int) error {
	for p.ended < p.puts {
		for p.sent < p.puts && p.sent-p.ended < inflight {
			if err := p.begin(); err != nil {
				return err
			}
		}
		if err := p.take(p.got); err != nil {
			return err
		}
	}
	return nil
}

// byTheClock sends a put every so often, answered or not, while another goroutine reads.
func (p *putter) byTheClock(every time.Duration, began time.Time) error {
	var mu sync.Mutex
	read := make(chan error, 1)
	go func() {
		for p.ended < p.puts {
			err := p.takeLocked(&mu, p.got)
			if err != nil {
				read <- err
				return
			}
		}
		read <- nil
	}()
	for number := range p.puts {
		time.Sleep(time.Until(began.Add(every * time.Duration(number))))
		mu.Lock()
		err := p.begin()
		if err == nil {
			err = p.flush()
		}
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return <-read
}

// watchLane is one connection with its watchers, spread over its streams.
type watchLane struct {
	*conn
	streams int
	keys    []int
	took    []time.Duration
}

func (l *watchLane) create() error {
	bodies := make([][]byte, l.streams)
	for i, key := range l.keys {
		request := &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
			CreateRequest: &etcdserverpb.WatchCreateRequest{Key: watchedKey(key)},
		}}
		message, err := request.Marshal()
		if err != nil {
			return err
		}
		bodies[i%l.streams] = append(bodies[i%l.streams], framed(message)...)
	}
	for _, body := range bodies {
		stream, err := l.open("Watch/Watch")
		if err != nil {
			return err
		}
		if err := l.send(stream, body, false); err != nil {
			return err
		}
	}
	created := 0
	for created < len(l.keys) {
		if err := l.take(func(a arrival) error {
			var reply etcdserverpb.WatchResponse
			if err := reply.Unmarshal(a.message); err != nil || a.ended || !reply.Created {
				return fmt.Errorf("a watch was not created: %v", err)
			}
			created++
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (l *watchLane) receive(events int) error {
	l.took = make([]time.Duration, 0, events)
	for len(l.took) < events {
		if err := l.take(func(a arrival) error {
			var reply etcdserverpb.WatchResponse
			if err := reply.Unmarshal(a.message); err != nil || a.ended || reply.Canceled {
				return fmt.Errorf("a watch ended: %v", err)
			}
			now := time.Now().UnixNano()
			for _, event := range reply.Events {
				sent := int64(binary.BigEndian.Uint64(event.Kv.Value))
				l.took = append(l.took, time.Duration(now-sent))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return l.socket.Close()
}
