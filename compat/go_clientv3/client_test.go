// Package compat drives a server with etcd's own Go client. Every test is a scenario, whose title is
// the sentence above it; each runs in a process of its own, with keys of its own.
package compat

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const waitMax = 20 * time.Second

// world is what a scenario has: a client, others if it needs them, and a prefix nobody else uses.
type world struct {
	*testing.T
	*clientv3.Client
	ctx    context.Context
	prefix string
}

func start(t *testing.T) world {
	ctx, cancel := context.WithTimeout(context.Background(), 2*waitMax)
	t.Cleanup(cancel)
	w := world{T: t, ctx: ctx, prefix: os.Getenv("COMPAT_PREFIX")}
	w.Client = w.connect()
	return w
}

// connect makes one more client, as the environment says.
func (w world) connect() *clientv3.Client {
	w.Helper()
	config := clientv3.Config{
		Endpoints:   []string{os.Getenv("COMPAT_URL")},
		DialTimeout: waitMax,
		Logger:      zap.NewNop(),
	}
	if ca := os.Getenv("COMPAT_CA"); ca != "" {
		pem, err := os.ReadFile(ca)
		w.ok(err)
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			w.Fatal("no certificate in ", ca)
		}
		own, err := tls.LoadX509KeyPair(os.Getenv("COMPAT_CERT"), os.Getenv("COMPAT_KEY"))
		w.ok(err)
		config.TLS = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}}
	}
	client, err := clientv3.New(config)
	w.ok(err)
	w.Cleanup(func() { client.Close() })
	return client
}

func (w world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// is fails unless err is the very refusal that is expected.
func (w world) is(err, expected error) {
	w.Helper()
	if !errors.Is(err, expected) {
		w.Fatalf("%v, not %v", err, expected)
	}
}

func (w world) that(claim bool, otherwise ...any) {
	w.Helper()
	if !claim {
		w.Fatal(otherwise...)
	}
}

func (w world) put(key, value string, options ...clientv3.OpOption) int64 {
	w.Helper()
	response, err := w.Put(w.ctx, w.prefix+key, value, options...)
	w.ok(err)
	return response.Header.Revision
}

// get gives the values below the prefix, in the order they come.
func (w world) get(key string, options ...clientv3.OpOption) []string {
	w.Helper()
	response, err := w.Get(w.ctx, w.prefix+key, options...)
	w.ok(err)
	var values []string
	for _, kv := range response.Kvs {
		values = append(values, string(kv.Value))
	}
	return values
}

func (w world) same(got, expected []string) {
	w.Helper()
	if !slices.Equal(got, expected) {
		w.Fatalf("%q, not %q", got, expected)
	}
}

// events waits for that many events of a watch.
func (w world) events(watch clientv3.WatchChan, count int) []*clientv3.Event {
	w.Helper()
	var seen []*clientv3.Event
	for len(seen) < count {
		response, open := <-watch
		w.that(open, "the watch has ended")
		w.ok(response.Err())
		seen = append(seen, response.Events...)
	}
	return seen
}

func values(events []*clientv3.Event) []string {
	var values []string
	for _, event := range events {
		values = append(values, string(event.Kv.Value))
	}
	return values
}

func everyByte() string {
	var all bytes.Buffer
	for number := range 256 {
		all.WriteByte(byte(number))
	}
	return all.String()
}
