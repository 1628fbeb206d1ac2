package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// idleLimit: after so long without a message the rest is taken to be missing.
const idleLimit = 10 * time.Second

// consume drains what the stream holds, from the start, until `messages` have come: the clients share one pull consumer that asks for no acks,
// the cheapest that the server has for many readers. The time runs from when all have asked to the last message. With a warm-up other consumers
// read it over and over first.
func consume(s settings) error {
	all, version, err := contexts(s)
	if err != nil {
		return err
	}
	for end := time.Now().Add(duration(s.warmup)); time.Now().Before(end); {
		if _, err := drain(s, all, nil, end); err != nil {
			return err
		}
	}
	r := &report{}
	result, err := drain(s, all, r, time.Time{})
	if err != nil {
		return err
	}
	r.received.Store(result.messages)
	if result.messages == 0 {
		return fmt.Errorf("nothing came")
	}
	err = r.print(s, version, result.messages, float64(result.bytes)/float64(result.messages), result.elapsed.Seconds())
	if err == nil && result.messages < s.messages {
		return fmt.Errorf("only %d of %d messages came", result.messages, s.messages)
	}
	return err
}

type drained struct {
	messages, bytes int64
	elapsed         time.Duration
}

// drain ends when enough has come, nothing has come for a while, or at the deadline, if there is one.
func drain(s settings, all []jetstream.JetStream, r *report, deadline time.Time) (drained, error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
	defer cancel()
	consumer, err := all[0].CreateConsumer(ctx, s.topic, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Minute, MemoryStorage: true, Replicas: 1})
	if err != nil {
		return drained{}, fmt.Errorf("create consumer: %w", err)
	}
	name := consumer.CachedInfo().Name
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
		defer cancel()
		_ = all[0].DeleteConsumer(ctx, s.topic, name) // Without it the server deletes the consumer a minute later.
	}()
	var messages, bytes, last atomic.Int64
	if r != nil {
		r.begin()
	}
	start := time.Now()
	enough := make(chan struct{})
	var once sync.Once
	var running []jetstream.ConsumeContext
	defer func() {
		for _, client := range running {
			client.Stop()
		}
	}()
	for _, js := range all {
		shared, err := js.Consumer(ctx, s.topic, name)
		if err != nil {
			return drained{}, fmt.Errorf("find consumer: %w", err)
		}
		client, err := shared.Consume(func(message jetstream.Msg) {
			bytes.Add(int64(len(message.Data())))
			// What comes after enough is not looked at, so that the time of the last one stands.
			if number := messages.Add(1); number == s.messages {
				last.Store(int64(time.Since(start)))
				once.Do(func() { close(enough) })
			} else if number < s.messages && number%256 == 0 {
				last.Store(int64(time.Since(start)))
			}
		}, jetstream.PullMaxMessages(s.pull))
		if err != nil {
			return drained{}, fmt.Errorf("consume: %w", err)
		}
		running = append(running, client)
	}
	watch(enough, &messages, deadline)
	if r != nil {
		r.end()
	}
	return drained{messages.Load(), bytes.Load(), time.Duration(last.Load())}, nil
}

func watch(enough chan struct{}, messages *atomic.Int64, deadline time.Time) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	before, since := int64(-1), time.Now()
	for {
		select {
		case <-enough:
			return
		case now := <-ticker.C:
			if current := messages.Load(); current != before {
				before, since = current, now
			}
			if now.Sub(since) > idleLimit || (!deadline.IsZero() && now.After(deadline)) {
				return
			}
		}
	}
}
