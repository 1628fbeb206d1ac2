package compat

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func sendAll(t *testing.T, p rocketmq.Producer, topic, name string, count int) {
	t.Helper()
	for i := 0; i < count; i++ {
		send(t, p, primitive.NewMessage(topic, []byte(fmt.Sprintf("%s %03d", name, i))))
	}
}

func TestAPushConsumerGetsEveryMessageOnce(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_push", 4)
	p := newProducer(t)
	var seen collector
	sendAll(t, p, topic, "early", 100)
	newConsumer(t, unique("go_push_group"), topic, "", seen.accept())
	sendAll(t, p, topic, "late", 100)
	await(t, "200 messages", func() bool { return len(seen.bodies()) == 200 })
	if count := len(seen.deliveries()); count != 200 {
		t.Fatalf("%d deliveries of 200 messages", count)
	}
}

func TestAPushConsumerGetsOnlyItsTags(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_tags", 2)
	p := newProducer(t)
	var some, every collector
	newConsumer(t, unique("go_some_tags"), topic, "TagA || TagC", some.accept())
	newConsumer(t, unique("go_every_tag"), topic, "", every.accept())
	for i := 0; i < 60; i++ {
		tag := "Tag" + string("ABC"[i%3])
		send(t, p, primitive.NewMessage(topic, []byte(fmt.Sprint(tag, i))).WithTag(tag))
	}
	await(t, "all at the consumer without a filter", func() bool { return len(every.bodies()) == 60 })
	await(t, "40 at the consumer with a filter", func() bool { return len(some.bodies()) >= 40 })
	for _, body := range some.bodies() {
		if strings.HasPrefix(body, "TagB") {
			t.Fatalf("unwanted tag in %v", some.bodies())
		}
	}
}

func TestOffsetsSurviveARestartOfTheClient(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_restart", 4)
	group := unique("go_restart_group")
	p := newProducer(t)
	sendAll(t, p, topic, "before", 40)
	var first, second collector
	stop := newConsumer(t, group, topic, "", first.accept())
	await(t, "40 messages", func() bool { return len(first.bodies()) == 40 })
	await(t, "40 messages committed", func() bool { return committed(group, topic, 4) == 40 })
	stop()
	sendAll(t, p, topic, "after", 20)
	newConsumer(t, group, topic, "", second.accept())
	await(t, "20 messages", func() bool { return len(second.bodies()) >= 20 })
	for _, body := range second.bodies() {
		if !strings.HasPrefix(body, "after") {
			t.Fatalf("%s came again after the restart", body)
		}
	}
}

func TestTwoConsumersShareTheQueuesAndOneTakesOver(t *testing.T) {
	t.Parallel()
	const queues = 8
	topic := newTopic(t, "go_share", queues)
	group := unique("go_share_group")
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	brokers, err := brokerNames(topic)
	if err != nil {
		t.Fatal(err)
	}
	round := 0
	// Sends one message to each queue; counts what each of the two got of it.
	var first, second collector
	share := func() (int, int) {
		round++
		name := fmt.Sprintf("round %03d", round)
		for queue := 0; queue < queues; queue++ {
			message := primitive.NewMessage(topic, []byte(name))
			message.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: brokers[0], QueueId: queue}
			send(t, p, message)
		}
		got := func(c *collector) map[int]bool {
			own := map[int]bool{}
			for _, one := range c.deliveries() {
				if one.body == name {
					own[one.queue] = true
				}
			}
			return own
		}
		await(t, name+" consumed", func() bool {
			all := got(&first)
			for queue := range got(&second) {
				all[queue] = true
			}
			return len(all) == queues
		})
		return len(got(&first)), len(got(&second))
	}
	newConsumer(t, group, topic, "", first.accept())
	if one, other := share(); one != queues || other != 0 {
		t.Fatalf("alone: %d and %d", one, other)
	}
	stop := newConsumer(t, group, topic, "", second.accept())
	await(t, "half of the queues for each", func() bool {
		one, other := share()
		return one == queues/2 && other == queues/2
	})
	stop()
	await(t, "all queues for the first again", func() bool {
		one, other := share()
		return one == queues && other == 0
	})
}

func TestEveryBroadcastConsumerGetsEveryMessage(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_broadcast", 2)
	group := unique("go_broadcast_group")
	collectors := []*collector{{}, {}}
	for _, seen := range collectors {
		newConsumer(t, group, topic, "", seen.accept(), consumer.WithConsumerModel(consumer.BroadCasting))
	}
	sendAll(t, newProducer(t), topic, "all", 30)
	for _, seen := range collectors {
		await(t, "30 messages at each", func() bool { return len(seen.bodies()) == 30 })
	}
}

func TestOrderlyConsumersKeepTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_order", 4)
	group := unique("go_order_group")
	check := newOrderCheck()
	for i := 0; i < 2; i++ {
		newConsumer(t, group, topic, "", check.listener(), consumer.WithConsumerOrder(true), consumer.WithConsumeMessageBatchMaxSize(1))
	}
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	for number := 0; number < 40; number++ {
		for key := 0; key < 8; key++ {
			message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%d:%d", key, number)))
			send(t, p, message.WithShardingKey(fmt.Sprint(key)))
		}
	}
	await(t, "320 messages", func() bool { return check.distinct() == 320 })
	if faults := check.faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
}

func TestAFailedMessageComesBackAndEndsInTheDeadLetterTopic(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_dead", 2)
	group := unique("go_dead_group")
	var seen collector
	newConsumer(t, group, topic, "", func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		seen.add(messages)
		if own, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			own.DelayLevelWhenNextConsume = 1
		}
		return consumer.ConsumeRetryLater, nil
	}, consumer.WithMaxReconsumeTimes(2))
	p := newProducer(t)
	result := send(t, p, primitive.NewMessage(topic, []byte("hopeless")).WithTag("TagD").WithKeys([]string{"key-d"}))
	await(t, "three deliveries", func() bool { return len(seen.deliveries()) >= 3 })
	for i, one := range seen.deliveries() {
		if one.reconsumeTimes != int32(i) || one.topic != topic || one.id != result.MsgID {
			t.Fatalf("delivery %d: %+v", i, one)
		}
		if i > 0 {
			if apart := one.at.Sub(seen.deliveries()[i-1].at); apart < time.Second {
				t.Fatalf("level 1 is one second; came after %s", apart)
			}
		}
	}
	var dead collector
	await(t, "the route of the dead letters", func() bool {
		names, err := brokerNames("%DLQ%" + group)
		return err == nil && len(names) > 0
	})
	newConsumer(t, unique("go_dead_reader"), "%DLQ%"+group, "", dead.accept())
	await(t, "the dead letter", func() bool { return len(dead.deliveries()) == 1 })
	letter := dead.deliveries()[0]
	if letter.body != "hopeless" || letter.tags != "TagD" || letter.reconsumeTimes != 3 {
		t.Fatalf("%+v", letter)
	}
	if len(seen.deliveries()) != 3 {
		t.Fatalf("%d deliveries", len(seen.deliveries()))
	}
}

func TestDelayedMessagesComeOnceAndNotEarly(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_delay", 2)
	var seen collector
	newConsumer(t, unique("go_delay_group"), topic, "", seen.accept())
	p := newProducer(t)
	delays := map[int]time.Duration{1: time.Second, 2: 5 * time.Second, 3: 10 * time.Second}
	due := map[string]time.Time{}
	for i := 0; i < 30; i++ {
		level := 1 + i%3
		name := fmt.Sprint("number ", i)
		due[name] = time.Now().Add(delays[level])
		send(t, p, primitive.NewMessage(topic, []byte(name)).WithDelayTimeLevel(level))
	}
	await(t, "30 messages", func() bool { return len(seen.bodies()) == 30 })
	if count := len(seen.deliveries()); count != 30 {
		t.Fatalf("%d deliveries", count)
	}
	for _, one := range seen.deliveries() {
		// Brokers count whole milliseconds.
		if early := due[one.body].Truncate(time.Millisecond).Sub(one.at); early > 0 {
			t.Fatalf("%s came %s early", one.body, early)
		}
	}
}

func TestAPullConsumerPollsAndPullsAndKeepsItsOffset(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_pull", 2)
	group := unique("go_pull_group")
	p := newProducer(t)
	sendAll(t, p, topic, "body", 20)
	pull := func() (rocketmq.PullConsumer, func()) {
		made, err := rocketmq.NewPullConsumer(consumer.WithNsResolver(resolver()), consumer.WithGroupName(group), consumer.WithInstance(unique("instance")),
			consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
		if err != nil {
			t.Fatal(err)
		}
		if err := made.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}); err != nil {
			t.Fatal(err)
		}
		if err := made.Start(); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		stop := func() { once.Do(func() { _ = made.Shutdown() }) }
		t.Cleanup(stop)
		return made, stop
	}
	first, stop := pull()
	var seen collector
	poll := func(from rocketmq.PullConsumer) {
		request, err := from.Poll(context.Background(), time.Second)
		if err != nil {
			return
		}
		seen.add(request.GetMsgList())
		from.ACK(context.Background(), request, consumer.ConsumeSuccess)
	}
	await(t, "20 messages polled", func() bool { poll(first); return len(seen.bodies()) == 20 })
	stop()
	sendAll(t, p, topic, "later", 6)
	second, _ := pull()
	await(t, "only the later ones", func() bool { poll(second); return len(seen.bodies()) == 26 })
	if count := len(seen.deliveries()); count != 26 {
		t.Fatalf("%d deliveries of 26 messages", count)
	}

	brokers, err := brokerNames(topic)
	if err != nil {
		t.Fatal(err)
	}
	result, err := second.PullFrom(context.Background(), &primitive.MessageQueue{Topic: topic, BrokerName: brokers[0], QueueId: 0}, 3, 4)
	if err != nil || result.Status != primitive.PullFound {
		t.Fatalf("%v %v", result, err)
	}
	messages := result.GetMessageExts()
	if len(messages) != 4 || messages[0].QueueOffset != 3 || result.NextBeginOffset != 7 {
		t.Fatalf("%d messages, next %d", len(messages), result.NextBeginOffset)
	}
}

func TestARequestGetsItsReply(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_request", 2)
	replies := newProducer(t)
	newConsumer(t, unique("go_replier"), topic, "", func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			reply, err := consumer.CreateReplyMessage(message, nil)
			if err == nil {
				// CreateReplyMessage of v2.1.2 takes the body for properties and leaves the body empty.
				reply.Body = []byte("answer to " + string(message.Body))
				_, err = replies.SendSync(context.Background(), reply)
			}
			if err != nil {
				return consumer.ConsumeRetryLater, nil
			}
		}
		return consumer.ConsumeSuccess, nil
	})
	p := newProducer(t)
	// A Go producer is known to the broker from its first heartbeat with a route on, half a minute after its start at the latest; replies before that are lost.
	await(t, "a first reply", func() bool {
		reply, err := p.Request(context.Background(), 3*time.Second, primitive.NewMessage(topic, []byte("anybody?")))
		return err == nil && string(reply.Body) == "answer to anybody?"
	})
	for i := 0; i < 5; i++ {
		reply, err := p.Request(context.Background(), 20*time.Second, primitive.NewMessage(topic, []byte(fmt.Sprint("question ", i))))
		if err != nil {
			t.Fatal(err)
		}
		if string(reply.Body) != fmt.Sprint("answer to question ", i) {
			t.Fatalf("%s", reply.Body)
		}
	}
	// A reply may overtake the acknowledgement of its question, and this client panics when it is shut down while one is open.
	send(t, p, primitive.NewMessage(unique("go_request_end"), []byte("end")))
}
