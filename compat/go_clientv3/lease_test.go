package compat

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// a lease holds keys, is listed, tells its TTL, and takes its keys with it
func TestLease(t *testing.T) {
	w := start(t)
	lease, err := w.Grant(w.ctx, 600)
	w.ok(err)
	w.put("b", "2", clientv3.WithLease(lease.ID))
	last := w.put("a", "1", clientv3.WithLease(lease.ID))
	left, err := w.TimeToLive(w.ctx, lease.ID, clientv3.WithAttachedKeys())
	w.ok(err)
	w.that(left.GrantedTTL == 600 && left.TTL <= 600 && left.TTL >= 590 && len(left.Keys) == 2, left)
	listed, err := w.Leases(w.ctx)
	w.ok(err)
	found := false
	for _, each := range listed.Leases {
		found = found || each.ID == lease.ID
	}
	w.that(found, listed)
	watch := w.Watch(w.ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithRev(last+1))
	_, err = w.Revoke(w.ctx, lease.ID)
	w.ok(err)
	seen := w.events(watch, 2)
	w.that(string(seen[0].Kv.Key) == w.prefix+"a" && string(seen[1].Kv.Key) == w.prefix+"b", seen)
	w.that(seen[0].Kv.ModRevision == last+1 && seen[1].Kv.ModRevision == last+1, seen)
}

// leases that are not there are told in etcd's ways
func TestLeaseRefusals(t *testing.T) {
	w := start(t)
	_, err := w.Revoke(w.ctx, 4861)
	w.is(err, rpctypes.ErrLeaseNotFound)
	_, err = w.KeepAliveOnce(w.ctx, 4861)
	w.is(err, rpctypes.ErrLeaseNotFound)
	left, err := w.TimeToLive(w.ctx, 4861)
	w.ok(err)
	w.that(left.TTL == -1, left)
	_, err = w.Grant(w.ctx, 9_000_000_001)
	w.is(err, rpctypes.ErrLeaseTTLTooLarge)
}

// a keepalive keeps a lease three times its TTL, and when it stops the lease ends
func TestKeepAlive(t *testing.T) {
	w := start(t)
	begin := time.Now()
	lease, err := w.Grant(w.ctx, 2)
	w.ok(err)
	w.put("a", "1", clientv3.WithLease(lease.ID))
	ctx, cancel := context.WithCancel(w.ctx)
	kept, err := w.KeepAlive(ctx, lease.ID)
	w.ok(err)
	for time.Since(begin) < 6*time.Second {
		answer, open := <-kept
		w.that(open && answer.TTL == 2, answer)
	}
	w.same(w.get("a"), []string{"1"})
	watch := w.Watch(w.ctx, w.prefix+"a", clientv3.WithFilterPut())
	cancel()
	w.events(watch, 1)
	_, err = w.KeepAliveOnce(w.ctx, lease.ID)
	w.is(err, rpctypes.ErrLeaseNotFound)
}

// two hundred leases are kept alive on one stream
func TestManyKeepAlives(t *testing.T) {
	w := start(t)
	var all []<-chan *clientv3.LeaseKeepAliveResponse
	for number := range 200 {
		lease, err := w.Grant(w.ctx, 3)
		w.ok(err)
		w.put(fmt.Sprint(number), "x", clientv3.WithLease(lease.ID))
		kept, err := w.KeepAlive(w.ctx, lease.ID)
		w.ok(err)
		all = append(all, kept)
	}
	for range 5 { // One a second.
		for _, kept := range all {
			answer, open := <-kept
			w.that(open && answer.TTL == 3, answer)
		}
	}
	w.that(len(w.get("", clientv3.WithPrefix())) == 200)
}

// a mutex is held by one session, and goes to the next when that ends
func TestMutex(t *testing.T) {
	w := start(t)
	mine, err := concurrency.NewSession(w.Client, concurrency.WithTTL(30))
	w.ok(err)
	theirs, err := concurrency.NewSession(w.connect(), concurrency.WithTTL(30))
	w.ok(err)
	held, wanted := concurrency.NewMutex(mine, w.prefix), concurrency.NewMutex(theirs, w.prefix)
	w.ok(held.Lock(w.ctx))
	w.is(wanted.TryLock(w.ctx), concurrency.ErrLocked)
	got := make(chan error, 1)
	go func() { got <- wanted.Lock(w.ctx) }()
	locked, err := w.Txn(w.ctx).If(held.IsOwner()).Then(clientv3.OpPut(w.prefix+"done", "1")).Commit()
	w.ok(err)
	w.that(locked.Succeeded, locked)
	w.ok(mine.Close())
	w.ok(<-got)
	w.ok(wanted.Unlock(w.ctx))
}

// an election has one leader, whom all observe, and the next when it resigns
func TestElection(t *testing.T) {
	w := start(t)
	var elections []*concurrency.Election
	for range 2 {
		session, err := concurrency.NewSession(w.connect(), concurrency.WithTTL(30))
		w.ok(err)
		elections = append(elections, concurrency.NewElection(session, w.prefix))
	}
	w.ok(elections[0].Campaign(w.ctx, "first"))
	leaders := elections[1].Observe(w.ctx)
	w.that(string((<-leaders).Kvs[0].Value) == "first")
	won := make(chan error, 1)
	go func() { won <- elections[1].Campaign(w.ctx, "second") }()
	w.ok(elections[0].Proclaim(w.ctx, "still first"))
	w.that(string((<-leaders).Kvs[0].Value) == "still first")
	w.ok(elections[0].Resign(w.ctx))
	w.ok(<-won)
	leader, err := elections[0].Leader(w.ctx)
	w.ok(err)
	w.that(string(leader.Kvs[0].Value) == "second", leader)
}

// transactions of software that conflict are run again
func TestSTM(t *testing.T) {
	w := start(t)
	failed := make(chan error)
	for range 4 {
		client := w.connect()
		go func() {
			for range 10 {
				_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
					stm.Put(w.prefix, stm.Get(w.prefix)+"x")
					return nil
				})
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range 4 {
		w.ok(<-failed)
	}
	w.that(len(w.get("")[0]) == 40, w.get(""))
}
