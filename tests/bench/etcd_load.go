// SPDX-License-Identifier: Apache-2.0

// Drives etcd with its own Go client: tests/bench/compare builds and runs it. Prints one JSON
// document with the same names as `strait bench --json`.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/pkg/transport"
)

type options struct {
	endpoints, ca, certificate, key, workload string
	clients, connections, size, keys, seconds int
}

func parse() options {
	var o options
	flag.StringVar(&o.endpoints, "endpoints", "", "HOST:PORT,...")
	flag.StringVar(&o.ca, "ca", "", "PEM file")
	flag.StringVar(&o.certificate, "certificate", "", "PEM file")
	flag.StringVar(&o.key, "key", "", "PEM file")
	flag.StringVar(&o.workload, "workload", "put", "put or get (linearizable)")
	flag.IntVar(&o.clients, "clients", 64, "at once, one request each")
	flag.IntVar(&o.connections, "connections", 64, "they share")
	flag.IntVar(&o.size, "size", 256, "bytes of a value")
	flag.IntVar(&o.keys, "keys", 100000, "how many different ones")
	flag.IntVar(&o.seconds, "seconds", 10, "how long")
	flag.Parse()
	return o
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "etcd_load:", err)
	os.Exit(1)
}

func connect(o options) []*clientv3.Client {
	tls, err := transport.TLSInfo{CertFile: o.certificate, KeyFile: o.key, TrustedCAFile: o.ca}.ClientConfig()
	if err != nil {
		fail(err)
	}
	all := strings.Split(o.endpoints, ",")
	clients := make([]*clientv3.Client, o.connections)
	for i := range clients {
		// One connection each, to one member, spread over all of them.
		clients[i], err = clientv3.New(clientv3.Config{Endpoints: []string{all[i%len(all)]}, TLS: tls, DialTimeout: 10 * time.Second})
		if err != nil {
			fail(err)
		}
	}
	return clients
}

// One get each, so that all connections are made before the time begins.
func warm(clients []*clientv3.Client) {
	var wait sync.WaitGroup
	for _, client := range clients {
		wait.Add(1)
		go func(client *clientv3.Client) {
			defer wait.Done()
			if _, err := client.Get(context.Background(), key(0)); err != nil {
				fail(err)
			}
		}(client)
	}
	wait.Wait()
}

func key(n int) string { return fmt.Sprintf("bench/%012d", n) }

// One client's loop until `stop`; latencies in microseconds, and whether the gets found anything.
func drive(o options, client *clientv3.Client, seed int64, stop *int32, failed *int64) []float64 {
	random := rand.New(rand.NewSource(seed))
	value := strings.Repeat("v", o.size)
	latencies := make([]float64, 0, 1<<16)
	for atomic.LoadInt32(stop) == 0 {
		var err error
		name := key(random.Intn(o.keys))
		began := time.Now()
		if o.workload == "put" {
			_, err = client.Put(context.Background(), name, value)
		} else {
			_, err = client.Get(context.Background(), name)
		}
		if err != nil {
			atomic.AddInt64(failed, 1)
			continue
		}
		latencies = append(latencies, float64(time.Since(began).Nanoseconds())/1e3)
	}
	return latencies
}

func processorSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func main() {
	o := parse()
	if o.workload != "put" && o.workload != "get" {
		fail(fmt.Errorf("no workload %q: put or get", o.workload))
	}
	clients := connect(o)
	warm(clients)
	var stop int32
	var failed int64
	var wait sync.WaitGroup
	results := make([][]float64, o.clients)
	before, began := processorSeconds(), time.Now()
	for i := 0; i < o.clients; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			results[i] = drive(o, clients[i%len(clients)], int64(i+1), &stop, &failed)
		}(i)
	}
	time.Sleep(time.Duration(o.seconds) * time.Second)
	atomic.StoreInt32(&stop, 1)
	wait.Wait()
	elapsed, processor := time.Since(began).Seconds(), processorSeconds()-before
	var all []float64
	for _, one := range results {
		all = append(all, one...)
	}
	if len(all) == 0 {
		fail(fmt.Errorf("nothing succeeded, %d failed", failed))
	}
	sort.Float64s(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))] }
	document := map[string]interface{}{
		"per_second": float64(len(all)) / elapsed, "failed": failed, "operations": len(all),
		"p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999),
		"client_cpu_seconds_per_1000": processor / float64(len(all)) * 1000,
	}
	if err := json.NewEncoder(os.Stdout).Encode(document); err != nil {
		fail(err)
	}
}
