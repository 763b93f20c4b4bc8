package compat

import (
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
)

// what was put is got byte for byte, with its history
func TestHistory(t *testing.T) {
	w := start(t)
	first := w.put("ключ", "one")
	put, err := w.Put(w.ctx, w.prefix+"ключ", everyByte(), clientv3.WithPrevKV())
	w.ok(err)
	w.that(string(put.PrevKv.Value) == "one", put.PrevKv)
	got, err := w.Get(w.ctx, w.prefix+"ключ")
	w.ok(err)
	kv := got.Kvs[0]
	w.that(string(kv.Value) == everyByte() && kv.Version == 2, kv)
	w.that(kv.CreateRevision == first && kv.ModRevision == first+1, kv)
	w.same(w.get("ключ", clientv3.WithRev(first)), []string{"one"})
	w.that(len(w.get("none")) == 0)
}

// ranges have limits, orders and filters
func TestRanges(t *testing.T) {
	w := start(t)
	for _, name := range []string{"b", "c", "a"} {
		w.put(name, name)
	}
	all := clientv3.WithPrefix()
	w.same(w.get("", all), []string{"a", "b", "c"})
	w.same(w.get("", all, clientv3.WithLimit(2)), []string{"a", "b"})
	down := clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend)
	w.same(w.get("", all, down), []string{"a", "c", "b"})
	w.same(w.get("", clientv3.WithLastCreate()...), []string{"a"})
	w.same(w.get("", clientv3.WithFirstKey()...), []string{"a"})
	w.same(w.get("b", clientv3.WithFromKey(), clientv3.WithLimit(2)), []string{"b", "c"})
	w.same(w.get("", all, clientv3.WithKeysOnly()), []string{"", "", ""})
	counted, err := w.Get(w.ctx, w.prefix, all, clientv3.WithCountOnly())
	w.ok(err)
	w.that(counted.Count == 3 && len(counted.Kvs) == 0, counted)
}

// deletes tell what was there
func TestDeletes(t *testing.T) {
	w := start(t)
	w.put("a", "1")
	last := w.put("b", "2")
	gone, err := w.Delete(w.ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithPrevKV())
	w.ok(err)
	w.that(gone.Deleted == 2 && len(gone.PrevKvs) == 2 && gone.Header.Revision == last+1, gone)
	gone, err = w.Delete(w.ctx, w.prefix+"a")
	w.ok(err)
	w.that(gone.Deleted == 0 && gone.Header.Revision == last+1, gone)
}

// refusals are the ones that the client knows by name
func TestRefusals(t *testing.T) {
	w := start(t)
	_, err := w.Put(w.ctx, "", "x")
	w.is(err, rpctypes.ErrEmptyKey)
	_, err = w.Get(w.ctx, w.prefix, clientv3.WithRev(1<<40))
	w.is(err, rpctypes.ErrFutureRev)
	_, err = w.Put(w.ctx, w.prefix, "", clientv3.WithIgnoreValue())
	w.is(err, rpctypes.ErrKeyNotFound)
	_, err = w.Put(w.ctx, w.prefix, "x", clientv3.WithLease(4851))
	w.is(err, rpctypes.ErrLeaseNotFound)
	_, err = w.Put(w.ctx, w.prefix, strings.Repeat("x", 1536*1024))
	w.is(err, rpctypes.ErrRequestTooLarge)
	twice := clientv3.OpPut(w.prefix, "x")
	_, err = w.Txn(w.ctx).Then(twice, twice).Commit()
	w.is(err, rpctypes.ErrDuplicateKey)
	var many []clientv3.Op
	for number := range 129 {
		many = append(many, clientv3.OpPut(fmt.Sprint(w.prefix, number), ""))
	}
	_, err = w.Txn(w.ctx).Then(many...).Commit()
	w.is(err, rpctypes.ErrTooManyOps)
}

// what is compacted is refused
func TestCompaction(t *testing.T) {
	w := start(t)
	first := w.put("a", "1")
	second := w.put("a", "2")
	_, err := w.Compact(w.ctx, second, clientv3.WithCompactPhysical())
	w.ok(err)
	_, err = w.Get(w.ctx, w.prefix+"a", clientv3.WithRev(first))
	w.is(err, rpctypes.ErrCompacted)
	_, err = w.Compact(w.ctx, second)
	w.is(err, rpctypes.ErrCompacted)
	watch := <-w.Watch(w.ctx, w.prefix+"a", clientv3.WithRev(first))
	w.is(watch.Err(), rpctypes.ErrCompacted)
	w.that(watch.CompactRevision == second, watch)
}

// the compares of a transaction decide between its branches, nested ones too
func TestTransactions(t *testing.T) {
	w := start(t)
	a, b := w.prefix+"a", w.prefix+"b"
	revision := w.put("a", "1")
	inner := clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Version(a), "=", 1)},
		[]clientv3.Op{clientv3.OpPut(b, "inner"), clientv3.OpGet(b)},
		nil,
	)
	done, err := w.Txn(w.ctx).
		If(clientv3.Compare(clientv3.Value(a), "=", "1"), clientv3.Compare(clientv3.ModRevision(a), "<", revision+1)).
		Then(inner, clientv3.OpGet(a)).
		Else(clientv3.OpDelete(a)).
		Commit()
	w.ok(err)
	w.that(done.Succeeded && done.Header.Revision == revision+1, done)
	nested := done.Responses[0].GetResponseTxn()
	w.that(nested.Succeeded && string(nested.Responses[1].GetResponseRange().Kvs[0].Value) == "inner", nested)
	whole := clientv3.Compare(clientv3.LeaseValue(w.prefix).WithPrefix(), "=", 0)
	done, err = w.Txn(w.ctx).If(whole, clientv3.Compare(clientv3.CreateRevision(b), "=", 0)).
		Then(clientv3.OpPut(a, "no")).
		Else(clientv3.OpDelete(w.prefix, clientv3.WithPrefix())).
		Commit()
	w.ok(err)
	w.that(!done.Succeeded && done.Responses[0].GetResponseDeleteRange().Deleted == 2, done)
}

// a thousand puts at once share a connection
func TestManyCalls(t *testing.T) {
	w := start(t)
	failed := make(chan error)
	for number := range 1000 {
		go func() {
			_, err := w.Put(w.ctx, fmt.Sprint(w.prefix, number), "x")
			failed <- err
		}()
	}
	for range 1000 {
		w.ok(<-failed)
	}
	counted, err := w.Get(w.ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	w.ok(err)
	w.that(counted.Count == 1000, counted)
}

// a namespace sees its own keys without their prefix
func TestNamespace(t *testing.T) {
	w := start(t)
	kv, watcher := namespace.NewKV(w.KV, w.prefix), namespace.NewWatcher(w.Watcher, w.prefix)
	watch := watcher.Watch(clientv3.WithRequireLeader(w.ctx), "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	w.that((<-watch).Created)
	_, err := kv.Put(w.ctx, "a", "1")
	w.ok(err)
	w.that(string(w.events(watch, 1)[0].Kv.Key) == "a")
	w.same(w.get("a"), []string{"1"})
}

// a mirror begins with what is there and follows what comes
func TestMirror(t *testing.T) {
	w := start(t)
	for number := range 2500 { // More than one page.
		w.put(fmt.Sprintf("%04d", number), "x")
	}
	syncer := mirror.NewSyncer(w.Client, w.prefix, 0)
	pages, errs := syncer.SyncBase(w.ctx)
	count := 0
	for page := range pages {
		count += len(page.Kvs)
	}
	w.ok(<-errs)
	w.that(count == 2500, count)
	updates := syncer.SyncUpdates(w.ctx)
	w.put("new", "1")
	w.same(values(w.events(updates, 1)), []string{"1"})
}

// a client that leases keys reads them from its own memory until another writes
func TestLeasing(t *testing.T) {
	w := start(t)
	kv, closeKV, err := leasing.NewKV(w.Client, w.prefix+"leases/")
	w.ok(err)
	defer closeKV()
	other, closeOther, err := leasing.NewKV(w.connect(), w.prefix+"leases/")
	w.ok(err)
	defer closeOther()
	w.put("key", "1")
	for range 3 {
		got, err := kv.Get(w.ctx, w.prefix+"key")
		w.ok(err)
		w.that(string(got.Kvs[0].Value) == "1", got)
	}
	_, err = other.Put(w.ctx, w.prefix+"key", "2")
	w.ok(err)
	got, err := kv.Get(w.ctx, w.prefix+"key")
	w.ok(err)
	w.that(string(got.Kvs[0].Value) == "2", got)
}

// the only member leads and tells its state
func TestMember(t *testing.T) {
	w := start(t)
	w.put("a", "1")
	members, err := w.MemberList(w.ctx)
	w.ok(err)
	w.that(len(members.Members) == 1, members)
	status, err := w.Status(w.ctx, w.Endpoints()[0])
	w.ok(err)
	w.that(status.Leader == members.Members[0].ID && status.DbSize > 0, status)
	hashed, err := w.HashKV(w.ctx, w.Endpoints()[0], 0)
	w.ok(err)
	w.that(hashed.Hash != 0, hashed)
	w.ok(w.Sync(w.ctx))
	w.that(len(w.Endpoints()) == 1, w.Endpoints())
	w.same(w.get("a"), []string{"1"})
}
