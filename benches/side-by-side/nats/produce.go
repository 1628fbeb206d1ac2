package main

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// produce is a closed loop: each client keeps `window` publishes in flight, or publishes `batch` messages and waits for all of them.
//
// What is acked within the measured window counts. A batch is one latency: from its first publish to its last ack.
func produce(s settings) error {
	all, version, err := contexts(s)
	if err != nil {
		return err
	}
	r := &report{}
	var running atomic.Bool
	running.Store(true)
	var clients sync.WaitGroup
	for i := range s.clients {
		clients.Add(1)
		p := &publisher{s: s, r: r, js: all[i], body: make([]byte, s.size), latencies: r.histogram()}
		go func() {
			defer clients.Done()
			p.work(&running)
		}()
	}
	time.Sleep(duration(s.warmup))
	r.begin()
	time.Sleep(duration(s.seconds))
	r.end()
	running.Store(false)
	clients.Wait()
	return r.print(s, version, r.acked.Load(), float64(s.size), r.elapsed)
}

type publisher struct {
	s         settings
	r         *report
	js        jetstream.JetStream
	body      []byte
	latencies *hdrhistogram.Histogram
}

func (p *publisher) work(running *atomic.Bool) {
	switch {
	case p.s.batch > 0 && p.s.atomic:
		p.loop(running, p.atomicBatch)
	case p.s.batch > 0:
		p.loop(running, p.batch)
	case p.s.window == 1:
		p.loop(running, p.single)
	default:
		p.windowed(running)
	}
}

func (p *publisher) loop(running *atomic.Bool, unit func() error) {
	count := int64(max(1, p.s.batch))
	for running.Load() {
		start := time.Now()
		p.sent(count)
		err := unit()
		p.ended(start, count, err)
	}
}

func (p *publisher) single() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := p.js.Publish(ctx, p.s.topic, p.body)
	return err
}

func (p *publisher) batch() error {
	futures := make([]jetstream.PubAckFuture, 0, p.s.batch)
	for range p.s.batch {
		future, err := p.js.PublishAsync(p.s.topic, p.body)
		if err != nil {
			return err
		}
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return err
		}
	}
	return nil
}

// atomicBatch is JetStream's own batch (NATS 2.12): the server stores all or none when the last message, which asks for the commit, has come.
func (p *publisher) atomicBatch() error {
	id := nuid.Next()
	connection := p.js.Conn()
	for i := 1; ; i++ {
		message := nats.NewMsg(p.s.topic)
		message.Data = p.body
		message.Header["Nats-Batch-Id"] = []string{id}
		message.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i)}
		if i == p.s.batch {
			message.Header["Nats-Batch-Commit"] = []string{"1"}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := p.js.PublishMsg(ctx, message)
			return err
		}
		if err := connection.PublishMsg(message); err != nil {
			return err
		}
	}
}

type pending struct {
	future jetstream.PubAckFuture
	start  time.Time
}

// windowed lets a second goroutine wait for the acks, which come in the order of the publishes.
func (p *publisher) windowed(running *atomic.Bool) {
	slots := make(chan struct{}, p.s.window)
	open := make(chan pending, p.s.window)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for publish := range open {
			var err error
			select {
			case <-publish.future.Ok():
			case err = <-publish.future.Err():
			}
			p.ended(publish.start, 1, err)
			<-slots
		}
	}()
	for running.Load() {
		slots <- struct{}{}
		start := time.Now()
		p.sent(1)
		future, err := p.js.PublishAsync(p.s.topic, p.body)
		if err != nil {
			p.r.failure(err)
			if p.r.open.Load() {
				p.r.failed.Add(1)
			}
			<-slots
			continue
		}
		open <- pending{future, start}
	}
	close(open)
	<-done
}

func (p *publisher) sent(count int64) {
	if p.r.open.Load() {
		p.r.sent.Add(count)
	}
}

// ended: of a unit that failed nothing counts as acked, even if parts of it were.
func (p *publisher) ended(start time.Time, count int64, err error) {
	if err != nil {
		p.r.failure(err)
	}
	switch {
	case !p.r.open.Load():
	case err != nil:
		p.r.failed.Add(count)
	default:
		p.r.acked.Add(count)
		record(p.latencies, time.Since(start))
	}
}
