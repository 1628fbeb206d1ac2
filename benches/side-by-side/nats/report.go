package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// headerSize is that of a body in e2e: run, sequence number, intended send time in nanoseconds.
const headerSize = 24

// report holds the counts of the measured window. Safe for many goroutines; each has a histogram of its own.
type report struct {
	sent, acked, failed, received atomic.Int64
	open                          atomic.Bool // figures count
	started                       time.Time
	startedCPU                    float64
	elapsed, cpu                  float64 // seconds
	failuresShown                 atomic.Int64
	mutex                         sync.Mutex
	histograms                    []*hdrhistogram.Histogram
}

func (r *report) histogram() *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, 600_000_000_000, 3)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.histograms = append(r.histograms, h)
	return h
}

func record(h *hdrhistogram.Histogram, latency time.Duration) {
	if err := h.RecordValue(max(1, latency.Nanoseconds())); err != nil {
		panic("a latency of more than ten minutes: " + err.Error())
	}
}

func (r *report) begin() {
	r.started, r.startedCPU = time.Now(), cpuSeconds()
	r.open.Store(true)
}

func (r *report) end() {
	r.open.Store(false)
	r.elapsed, r.cpu = time.Since(r.started).Seconds(), cpuSeconds()-r.startedCPU
}

// failure shows the first few.
func (r *report) failure(why error) {
	if r.failuresShown.Add(1) <= 3 {
		fmt.Fprintln(os.Stderr, "failed:", why)
	}
}

type latencies struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
	Mean int64 `json:"mean"`
}

type line struct {
	Tool      string     `json:"tool"`
	Command   string     `json:"command"`
	Target    string     `json:"target"`
	Version   string     `json:"version"`
	Topic     string     `json:"topic"`
	Size      int64      `json:"size"`
	Clients   int        `json:"clients"`
	Window    int        `json:"window"`
	Batch     int        `json:"batch"`
	Rate      int        `json:"rate"`
	Seconds   float64    `json:"seconds"`
	Sent      *int64     `json:"sent,omitempty"`
	Acked     *int64     `json:"acked,omitempty"`
	Failed    *int64     `json:"failed,omitempty"`
	Received  *int64     `json:"received,omitempty"`
	PerSecond float64    `json:"messages_per_second"`
	Bytes     float64    `json:"bytes_per_second"`
	Latency   *latencies `json:"latency_us,omitempty"`
	CPU       float64    `json:"client_cpu_seconds"`
}

// print writes the result line; counted is what messages_per_second is made of, in so many seconds.
func (r *report) print(s settings, version string, counted int64, size float64, seconds float64) error {
	out := line{Tool: "nats-load", Command: s.command, Target: "nats", Version: version, Topic: s.topic, Size: int64(size), Clients: s.clients,
		Window: s.window, Batch: s.batch, Rate: s.rate, Seconds: round(seconds), PerSecond: round(float64(counted) / seconds),
		Bytes: round(float64(counted) / seconds * size), CPU: round(r.cpu)}
	if s.command != "consume" {
		sent, acked, failed := r.sent.Load(), r.acked.Load(), r.failed.Load()
		out.Sent, out.Acked, out.Failed = &sent, &acked, &failed
	}
	if s.command != "produce" {
		received := r.received.Load()
		out.Received = &received
	}
	all := hdrhistogram.New(1, 600_000_000_000, 3)
	for _, h := range r.histograms {
		all.Merge(h)
	}
	if all.TotalCount() > 0 {
		out.Latency = &latencies{P50: all.ValueAtQuantile(50) / 1000, P90: all.ValueAtQuantile(90) / 1000, P99: all.ValueAtQuantile(99) / 1000,
			P999: all.ValueAtQuantile(99.9) / 1000, Max: all.Max() / 1000, Mean: int64(all.Mean() / 1000)}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}

// cpuSeconds is the CPU time of this process, user and system.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("getrusage: " + err.Error())
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// round keeps three digits after the point: more is noise.
func round(value float64) float64 { return math.Round(value*1000) / 1000 }
