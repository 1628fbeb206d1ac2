package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	deliveryLimit = 10 * time.Second
	// inFlightLimit bounds the publishes that wait for an ack; when it is met the next one is late, and its latency says so.
	inFlightLimit = 1 << 16
)

// exchange is an open loop: message i is due at start + i / rate, whatever became of those before it, and its latency is the time from then to
// its receipt. Without a rate it is a closed loop: at most `window` messages are between their publish and their receipt, and each receipt lets
// the next one go. Messages due within the measured window count. `clients` is the number of consumers; one goroutine publishes.
type exchange struct {
	s                      settings
	r                      *report
	run                    int64
	origin                 time.Time     // times in bodies count from here
	windowStart, windowEnd atomic.Int64  // nanoseconds after origin
	room                   chan struct{} // holds one for each message between publish and receipt; nil with a rate
}

func endToEnd(s settings) error {
	all, version, err := contexts(s)
	if err != nil {
		return err
	}
	order, err := preferred(s)
	if err != nil {
		return err
	}
	_, js, err := connect(order...)
	if err != nil {
		return err
	}
	e := &exchange{s: s, r: &report{}, run: time.Now().UnixNano(), origin: time.Now()}
	e.windowStart.Store(1 << 62)
	if s.rate == 0 {
		e.room = make(chan struct{}, s.window)
	}
	stop, err := e.consume(all)
	defer stop()
	if err != nil {
		return err
	}
	if err := e.publish(js); err != nil {
		return err
	}
	for deadline := time.Now().Add(deliveryLimit); e.r.received.Load() < e.r.acked.Load() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	return e.r.print(s, version, e.r.received.Load(), float64(s.size), s.seconds)
}

// consume starts consumers that begin with the next message, and returns what ends them.
func (e *exchange) consume(all []jetstream.JetStream) (func(), error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
	defer cancel()
	var running []jetstream.ConsumeContext
	var once sync.Once
	stop := func() {
		once.Do(func() {
			for _, client := range running {
				client.Stop()
				<-client.Closed()
			}
		})
	}
	consumer, err := all[0].CreateConsumer(ctx, e.s.topic, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Minute, MemoryStorage: true, Replicas: 1})
	if err != nil {
		return stop, fmt.Errorf("create consumer: %w", err)
	}
	for _, js := range all {
		shared, err := js.Consumer(ctx, e.s.topic, consumer.CachedInfo().Name)
		if err != nil {
			return stop, fmt.Errorf("find consumer: %w", err)
		}
		latencies := e.r.histogram()
		client, err := shared.Consume(func(message jetstream.Msg) { e.receive(message.Data(), latencies) }, jetstream.PullMaxMessages(e.s.pull))
		if err != nil {
			return stop, fmt.Errorf("consume: %w", err)
		}
		running = append(running, client)
	}
	return stop, nil
}

func (e *exchange) receive(body []byte, latencies *hdrhistogram.Histogram) {
	if len(body) < headerSize || int64(binary.BigEndian.Uint64(body)) != e.run {
		return
	}
	e.makeRoom()
	due := int64(binary.BigEndian.Uint64(body[16:]))
	if due >= e.windowStart.Load() && due < e.windowEnd.Load() {
		record(latencies, time.Duration(int64(time.Since(e.origin))-due))
		e.r.received.Add(1)
	}
}

type counted struct {
	future jetstream.PubAckFuture
	counts bool
}

func (e *exchange) publish(js jetstream.JetStream) error {
	// A goroutine's own sleep is as coarse as a millisecond; the thread's is not.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	open := make(chan counted, inFlightLimit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for publish := range open {
			e.await(publish)
		}
	}()
	start := int64(time.Since(e.origin))
	e.windowEnd.Store(start + int64(duration(e.s.warmup+e.s.seconds)))
	e.windowStart.Store(start + int64(duration(e.s.warmup)))
	var problem error
	for number := int64(0); ; number++ {
		var due int64
		if e.room == nil {
			due = start + int64(float64(number)*1e9/float64(e.s.rate))
		} else {
			due = e.whenThereIsRoom()
		}
		if due >= e.windowEnd.Load() {
			break
		}
		counts := due >= e.windowStart.Load()
		if counts && !e.r.open.Load() {
			e.r.begin()
		}
		if e.room == nil {
			sleepUntil(e.origin, due)
		}
		body := make([]byte, e.s.size)
		binary.BigEndian.PutUint64(body, uint64(e.run))
		binary.BigEndian.PutUint64(body[8:], uint64(number))
		binary.BigEndian.PutUint64(body[16:], uint64(due))
		if counts {
			e.r.sent.Add(1)
		}
		future, err := js.PublishAsync(e.s.topic, body)
		if err != nil {
			problem = fmt.Errorf("publish: %w", err)
			break
		}
		open <- counted{future, counts}
	}
	e.r.end()
	close(open)
	<-done
	return problem
}

func (e *exchange) await(publish counted) {
	var err error
	select {
	case <-publish.future.Ok():
	case err = <-publish.future.Err():
		e.r.failure(err)
		e.makeRoom()
	}
	switch {
	case !publish.counts:
	case err == nil:
		e.r.acked.Add(1)
	default:
		e.r.failed.Add(1)
	}
}

// whenThereIsRoom takes a place and tells the time; what is waited for may have been lost, so the end of the window ends it too.
func (e *exchange) whenThereIsRoom() int64 {
	for {
		// No timer where there is room at once.
		select {
		case e.room <- struct{}{}:
			return int64(time.Since(e.origin))
		default:
		}
		select {
		case e.room <- struct{}{}:
			return int64(time.Since(e.origin))
		case <-time.After(100 * time.Millisecond):
			if now := int64(time.Since(e.origin)); now >= e.windowEnd.Load() {
				return now
			}
		}
	}
}

// makeRoom frees a place; a message that failed and arrives all the same frees none twice.
func (e *exchange) makeRoom() {
	select {
	case <-e.room:
	default:
	}
}

func sleepUntil(origin time.Time, due int64) {
	for {
		wait := due - int64(time.Since(origin))
		if wait <= 0 {
			return
		}
		pause := syscall.NsecToTimespec(wait)
		_ = syscall.Nanosleep(&pause, nil) // Interrupted: the loop looks again.
	}
}
