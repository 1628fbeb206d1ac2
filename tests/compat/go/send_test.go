package compat

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func TestSyncSendsToOneQueueGetConsecutiveOffsets(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_sync", 4)
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	brokers, err := brokerNames(topic)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for i := int64(0); i < 50; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint("body ", i)))
		message.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: brokers[0], QueueId: 2}
		result := send(t, p, message)
		if result.QueueOffset != i || result.MessageQueue.QueueId != 2 {
			t.Fatalf("message %d: %v", i, result)
		}
		if ids[result.OffsetMsgID] {
			t.Fatalf("offset message id given twice: %v", result)
		}
		ids[result.OffsetMsgID] = true
	}
}

func TestTheFirstSendMakesTheTopic(t *testing.T) {
	t.Parallel()
	topic := unique("go_automatic")
	result := send(t, newProducer(t), primitive.NewMessage(topic, []byte("first")))
	if result.QueueOffset != 0 {
		t.Fatalf("%v", result)
	}
}

func TestAsyncSendsAllSucceed(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_async", 4)
	p := newProducer(t)
	var waiting sync.WaitGroup
	var mutex sync.Mutex
	places := map[string]bool{}
	for i := 0; i < 200; i++ {
		waiting.Add(1)
		err := p.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			defer waiting.Done()
			if err != nil {
				t.Errorf("async send: %v", err)
				return
			}
			mutex.Lock()
			defer mutex.Unlock()
			places[fmt.Sprint(result.MessageQueue.QueueId, "@", result.QueueOffset)] = true
		}, primitive.NewMessage(topic, []byte(fmt.Sprint("body ", i))))
		if err != nil {
			t.Fatal(err)
		}
	}
	waiting.Wait()
	if len(places) != 200 {
		t.Fatalf("200 messages at %d places", len(places))
	}
}

func TestOnewayAndBatchSendsAreStored(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_batch", 2)
	p := newProducer(t)
	var wanted []string
	var batch []*primitive.Message
	for i := 0; i < 20; i++ {
		name := fmt.Sprintf("oneway %02d", i)
		if err := p.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(name))); err != nil {
			t.Fatal(err)
		}
		wanted = append(wanted, name)
		name = fmt.Sprintf("batch %02d", i)
		batch = append(batch, primitive.NewMessage(topic, []byte(name)).WithTag("TagB").WithKeys([]string{name}))
		wanted = append(wanted, name)
	}
	result, err := p.SendSync(context.Background(), batch...)
	if err != nil || result.Status != primitive.SendOK {
		t.Fatalf("batch: %v %v", result, err)
	}
	if ids := strings.Split(result.OffsetMsgID, ","); len(ids) != 20 {
		t.Fatalf("%d offset ids for 20 messages: %s", len(ids), result.OffsetMsgID)
	}
	sort.Strings(wanted)
	var seen collector
	newConsumer(t, unique("go_batch_group"), topic, "", seen.accept())
	await(t, "40 messages", func() bool { return len(seen.bodies()) >= 40 })
	if got := seen.bodies(); !reflect.DeepEqual(got, wanted) {
		t.Fatalf("got %v", got)
	}
	if len(seen.deliveries()) != 40 {
		t.Fatalf("%d deliveries", len(seen.deliveries()))
	}
	for _, one := range seen.deliveries() {
		if strings.HasPrefix(one.body, "batch") && (one.tags != "TagB" || strings.TrimSpace(one.keys) != one.body) {
			t.Fatalf("tags and keys of %v", one)
		}
	}
}

func TestBodyTagsKeysAndPropertiesAreStoredAsSent(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "go_content", 1)
	p := newProducer(t)
	message := primitive.NewMessage(topic, []byte(strings.Repeat("compressible ", 2000))).WithTag("TagZ").WithKeys([]string{"one", "two"})
	message.WithProperty("colour", "blue ✓")
	result := send(t, p, message)
	var seen collector
	newConsumer(t, unique("go_content_group"), topic, "", seen.accept())
	await(t, "the message", func() bool { return len(seen.deliveries()) == 1 })
	one := seen.deliveries()[0]
	if one.body != strings.Repeat("compressible ", 2000) || one.tags != "TagZ" || strings.TrimSpace(one.keys) != "one two" || one.property != "blue ✓" {
		t.Fatalf("%v", one)
	}
	if one.id != result.MsgID {
		t.Fatalf("sent as %s, came as %s", result.MsgID, one.id)
	}
}
