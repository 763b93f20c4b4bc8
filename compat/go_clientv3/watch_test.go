package compat

import (
	"context"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// a watch sees puts and deletes with what was there before
func TestWatch(t *testing.T) {
	w := start(t)
	ctx, cancel := context.WithCancel(w.ctx)
	watch := w.Watch(ctx, w.prefix+"a", clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	w.that((<-watch).Created)
	w.put("a", "1")
	w.put("b", "x")
	_, err := w.Delete(w.ctx, w.prefix+"a")
	w.ok(err)
	seen := w.events(watch, 2)
	w.that(seen[0].IsCreate() && seen[0].PrevKv == nil, seen[0])
	w.that(seen[1].Type == clientv3.EventTypeDelete && string(seen[1].PrevKv.Value) == "1", seen[1])
	cancel()
	for range watch { // It is closed once it is cancelled.
	}
}

// a watch of the past goes on into the present
func TestWatchHistory(t *testing.T) {
	w := start(t)
	first := w.put("a", "0")
	var expected []string
	for number := range 300 {
		w.put("a", fmt.Sprint(number))
		expected = append(expected, fmt.Sprint(number))
	}
	watch := w.Watch(w.ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithRev(first+1))
	w.put("b", "last")
	w.same(values(w.events(watch, 301)), append(expected, "last"))
}

// many watches share a stream, each with its own events
func TestManyWatches(t *testing.T) {
	w := start(t)
	var watches []clientv3.WatchChan
	for number := range 100 {
		watches = append(watches, w.Watch(w.ctx, fmt.Sprint(w.prefix, number), clientv3.WithCreatedNotify()))
	}
	for _, watch := range watches {
		w.that((<-watch).Created)
	}
	for number := range 100 {
		w.put(fmt.Sprint(number), fmt.Sprint(number))
	}
	for number, watch := range watches {
		w.same(values(w.events(watch, 1)), []string{fmt.Sprint(number)})
	}
}

// filters leave out kinds of events, and a large revision comes in fragments
func TestWatchFiltersAndFragments(t *testing.T) {
	w := start(t)
	deletes := w.Watch(w.ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithFilterPut(),
		clientv3.WithPrevKV(), clientv3.WithFragment(), clientv3.WithCreatedNotify())
	w.that((<-deletes).Created)
	for number := range 4 {
		w.put(fmt.Sprint(number), strings.Repeat("x", 700*1024))
	}
	_, err := w.Delete(w.ctx, w.prefix, clientv3.WithPrefix())
	w.ok(err)
	seen := w.events(deletes, 4)
	for _, event := range seen {
		w.that(event.Type == clientv3.EventTypeDelete && len(event.PrevKv.Value) == 700*1024)
		w.that(event.Kv.ModRevision == seen[0].Kv.ModRevision)
	}
}

// progress is told when asked for
func TestProgress(t *testing.T) {
	w := start(t)
	watch := w.Watch(w.ctx, w.prefix+"a", clientv3.WithCreatedNotify())
	w.that((<-watch).Created)
	revision := w.put("b", "x")
	// etcd 3.5 may still be bringing the watch up to date, and is then silent.
	for {
		w.ok(w.RequestProgress(w.ctx))
		response := <-watch
		w.that(response.IsProgressNotify(), response)
		if response.Header.Revision >= revision {
			return
		}
	}
}

// a watch and a lease go on after the server was restarted
func TestRestart(t *testing.T) {
	w := start(t)
	lease, err := w.Grant(w.ctx, 10)
	w.ok(err)
	kept, err := w.KeepAlive(w.ctx, lease.ID)
	w.ok(err)
	<-kept
	watch := w.Watch(w.ctx, w.prefix, clientv3.WithPrefix())
	w.put("a", "before", clientv3.WithLease(lease.ID))
	w.same(values(w.events(watch, 1)), []string{"before"})
	fmt.Println("restart")
	var seen []string
	for len(seen) == 0 {
		// A write is not tried again by the client, since it may have been done.
		_, err = w.Put(w.ctx, w.prefix+"b", "after")
		if err == nil {
			seen = values(w.events(watch, 1))
			w.that(seen[0] == "after", seen)
			break
		}
	}
	left, err := w.TimeToLive(w.ctx, lease.ID, clientv3.WithAttachedKeys())
	w.ok(err)
	w.that(left.TTL > 0 && len(left.Keys) == 1, left)
	answer, open := <-kept
	w.that(open && answer.TTL == 10, answer)
}
