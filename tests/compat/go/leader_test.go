package compat

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// Not parallel: these change leaders, and run before the others.

func TestNothingIsLostOverTenLeaderChanges(t *testing.T) {
	leaders := groupUnderTest(t)
	topic := newTopic(t, "go_failover", 4)
	var seen collector
	newConsumer(t, unique("go_failover_group"), topic, "", seen.accept())
	p := newProducer(t)
	var running atomic.Bool
	running.Store(true)
	var sent atomic.Int64
	var mutex sync.Mutex
	acked := map[string]bool{}
	var failed []string
	var senders sync.WaitGroup
	for thread := 0; thread < 4; thread++ {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for running.Load() {
				body := fmt.Sprint("body ", sent.Add(1))
				result, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte(body)))
				mutex.Lock()
				if err == nil && result.Status == primitive.SendOK {
					acked[body] = true
				} else {
					failed = append(failed, fmt.Sprint(body, ": ", result, " ", err))
				}
				mutex.Unlock()
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
	progress := func(when string) {
		target := len(seen.bodies()) + 100
		await(t, "100 more deliveries "+when, func() bool { return len(seen.bodies()) >= target })
	}
	progress("before the first change")
	for change := 1; change <= 10; change++ {
		leaders.changeLeader(t)
		progress(fmt.Sprint("after change ", change))
	}
	running.Store(false)
	senders.Wait()
	if len(failed) > 0 {
		t.Errorf("%d failed sends, the first: %s", len(failed), failed[0])
	}
	await(t, "every acked message", func() bool {
		delivered := map[string]bool{}
		for _, body := range seen.bodies() {
			delivered[body] = true
		}
		for body := range acked {
			if !delivered[body] {
				return false
			}
		}
		return true
	})
	t.Logf("10 leader changes: acked %d, failed %d, delivered %d, deliveries %d", len(acked), len(failed), len(seen.bodies()), len(seen.deliveries()))
}

func TestTheOrderOfAKeyHoldsOverLeaderChanges(t *testing.T) {
	leaders := groupUnderTest(t)
	topic := newTopic(t, "go_order_change", 4)
	group := unique("go_order_change_group")
	check := newOrderCheck()
	for i := 0; i < 2; i++ {
		newConsumer(t, group, topic, "", check.listener(), consumer.WithConsumerOrder(true), consumer.WithConsumeMessageBatchMaxSize(1))
	}
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	number := 0
	round := func() {
		for ; number%20 != 19; number++ {
			for key := 0; key < 8; key++ {
				send(t, p, primitive.NewMessage(topic, []byte(fmt.Sprintf("%d:%d", key, number))).WithShardingKey(fmt.Sprint(key)))
			}
		}
		for key := 0; key < 8; key++ {
			send(t, p, primitive.NewMessage(topic, []byte(fmt.Sprintf("%d:%d", key, number))).WithShardingKey(fmt.Sprint(key)))
		}
		number++
	}
	for change := 0; change < 5; change++ {
		round()
		leaders.changeLeader(t)
	}
	round()
	await(t, "everything that was sent", func() bool { return check.distinct() == number*8 })
	if faults := check.faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
}
