// Load for an etcd server, for the bench beside it: `go build`, then one of
//
//	load replay  -addr HOST:PORT -bodies FILE -requests N -conns C -streams S
//	load paced   -addr HOST:PORT -ids FILE -conns C -streams S -every 50ms -seconds 2
//	load herd    -addr HOST:PORT -ids FILE -conns C -streams S
//	load watch   -addr HOST:PORT -watchers N -keys K -conns C -streams S -puts P [-every 50ms]
//	load client  -addr HOST:PORT -kind put -workers 16 -seconds 2
//
// Each prints one line of JSON. All but `client` speak HTTP/2 by hand (conn.go), because a client
// library would take most of a machine of two cores; `client` is etcd's own clientv3.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"time"
)

// target is what every command is told about the server.
type target struct {
	addr    string
	ca      string
	conns   int
	streams int
}

func (t *target) flags(set *flag.FlagSet) {
	set.StringVar(&t.addr, "addr", "", "HOST:PORT of the server")
	set.StringVar(&t.ca, "ca", "", "PEM file of the CA; empty: without TLS")
	set.IntVar(&t.conns, "conns", 8, "connections")
	set.IntVar(&t.streams, "streams", 16, "streams on each connection")
}

// tls returns nil for a server without TLS.
func (t *target) tls() *tls.Config {
	if t.ca == "" {
		return nil
	}
	pem, err := os.ReadFile(t.ca)
	check(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		check(fmt.Errorf("no certificate in %s", t.ca))
	}
	return &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// waitForGo says that the scene is set, and returns when the caller has read its clocks.
func waitForGo() {
	fmt.Println("ready")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	check(err)
}

// result is what every command prints; what does not apply to one is left out.
type result struct {
	Requests  int     `json:"requests"`
	Seconds   float64 `json:"seconds"`
	Refused   int     `json:"refused"`
	DataBytes int64   `json:"data_bytes"`
	MeanUs    float64 `json:"mean_us"`
	P50Us     float64 `json:"p50_us"`
	P99Us     float64 `json:"p99_us"`
	MaxUs     float64 `json:"max_us"`
}

// latencies fills in the quantiles: the smallest latency that at least that part does not exceed.
func (r *result) latencies(all []time.Duration) {
	if len(all) == 0 {
		return
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	var sum time.Duration
	for _, each := range all {
		sum += each
	}
	at := func(fraction float64) float64 {
		index := int(fraction*float64(len(all))+0.999999) - 1
		return float64(all[max(0, index)].Nanoseconds()) / 1e3
	}
	r.MeanUs = float64(sum.Nanoseconds()) / 1e3 / float64(len(all))
	r.P50Us, r.P99Us, r.MaxUs = at(0.5), at(0.99), at(1)
}

func (r *result) print() {
	check(json.NewEncoder(os.Stdout).Encode(r))
}

func main() {
	commands := map[string]func([]string){
		"replay": replay, "paced": paced, "herd": herd, "watch": watch, "client": client,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		check(fmt.Errorf("one of replay, paced, herd, watch, client is needed"))
	}
	commands[os.Args[1]](os.Args[2:])
}
