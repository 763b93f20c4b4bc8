package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const callTimeout = 30 * time.Second // A deadline for each call, so its header differs each time.

// client is a load by etcd's own client: workers that each wait for their answer, eight to a
// connection, keys drawn from a seed. A refused call ends the run.
func client(arguments []string) {
	set := flag.NewFlagSet("client", flag.ExitOnError)
	var t target
	t.flags(set)
	kind := set.String("kind", "put", "put, range, grant or mixed (4 ranges, 1 put)")
	workers := set.Int("workers", 16, "calls in flight")
	seconds := set.Float64("seconds", 2, "how long")
	keys := set.Int("keys", 10000, "distinct keys")
	size := set.Int("value", 64, "bytes of a value")
	seed := set.Uint64("seed", 1, "of keys")
	check(set.Parse(arguments))
	clients := make([]*clientv3.Client, (*workers+7)/8)
	for i := range clients {
		made, err := clientv3.New(clientv3.Config{
			Endpoints: []string{t.addr}, TLS: t.tls(), DialTimeout: dialTimeout, Logger: zap.NewNop(),
		})
		check(err)
		clients[i] = made
	}
	value := string(make([]byte, *size))
	var group sync.WaitGroup
	var all []time.Duration
	var mu sync.Mutex
	var over atomic.Bool
	began := time.Now()
	for i := range *workers {
		group.Go(func() {
			w := worker{clients[i/8], rand.New(rand.NewPCG(*seed, uint64(i))), *keys, value}
			call := w.of(*kind)
			var took []time.Duration
			for !over.Load() {
				sent := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
				check(call(ctx))
				cancel()
				took = append(took, time.Since(sent))
			}
			mu.Lock()
			all = append(all, took...)
			mu.Unlock()
		})
	}
	time.Sleep(time.Duration(*seconds * float64(time.Second)))
	over.Store(true)
	group.Wait()
	out := result{Requests: len(all), Seconds: time.Since(began).Seconds()}
	out.latencies(all)
	out.print()
}

type worker struct {
	client *clientv3.Client
	random *rand.Rand
	keys   int
	value  string
}

func (w *worker) of(kind string) func(context.Context) error {
	switch kind {
	case "put":
		return w.put
	case "range":
		return w.get
	case "grant":
		return w.grant
	case "mixed":
		return func(ctx context.Context) error {
			if w.random.IntN(5) == 0 {
				return w.put(ctx)
			}
			return w.get(ctx)
		}
	}
	check(fmt.Errorf("no kind %q", kind))
	return nil
}

func (w *worker) key() string { return fmt.Sprintf("bench/many/%06d", w.random.IntN(w.keys)) }

func (w *worker) put(ctx context.Context) error {
	_, err := w.client.Put(ctx, w.key(), w.value)
	return err
}

func (w *worker) get(ctx context.Context) error {
	reply, err := w.client.Get(ctx, w.key())
	if err == nil && len(reply.Kvs) != 1 {
		return fmt.Errorf("%d keys read, not 1", len(reply.Kvs))
	}
	return err
}

func (w *worker) grant(ctx context.Context) error {
	reply, err := w.client.Grant(ctx, 3600)
	if err == nil && reply.TTL != 3600 {
		return fmt.Errorf("TTL %d granted, not 3600", reply.TTL)
	}
	return err
}
