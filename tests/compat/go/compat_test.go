// Package compat runs Apache's Go client (rocketmq-client-go v2), unmodified, against a running server: NAMESRV_ADDR names it (run.sh starts one).
//
// COMPAT_AGAINST=apache leaves out what names Flotilla's own behaviour; FLOTILLA_ADMIN is needed for leader changes.
package compat

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// limit is what a condition may take; mostly it takes milliseconds. A Go orderly consumer may need three rebalances of 20 s for its locks.
const limit = 120 * time.Second

var (
	run     = strconv.FormatInt(time.Now().UnixMilli(), 36)
	counter atomic.Int64
)

func TestMain(m *testing.M) {
	if os.Getenv("NAMESRV_ADDR") == "" {
		fmt.Fprintln(os.Stderr, "NAMESRV_ADDR is not set: it names the server under test, e.g. 127.0.0.1:9876 (run.sh starts one)")
		os.Exit(2)
	}
	rlog.SetLogLevel("fatal")
	os.Exit(m.Run())
}

// unique gives a name that no other run has used.
func unique(what string) string {
	return fmt.Sprintf("%s_%s_%d", what, run, counter.Add(1))
}

func nameServers() []string { return strings.Split(os.Getenv("NAMESRV_ADDR"), ";") }

func resolver() primitive.NsResolver { return primitive.NewPassthroughResolver(nameServers()) }

// await waits until the condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// leaderAddress asks a name server for the cluster (code 106) and takes the address under id 0: the Go client has no call for it.
func leaderAddress(t *testing.T) string {
	t.Helper()
	var found string
	await(t, "a broker with id 0", func() bool {
		_, body, err := call(nameServers()[0], 106, nil)
		if err != nil {
			return false
		}
		// RocketMQ writes the integer keys bare, which no JSON reader takes.
		match := regexp.MustCompile(`[{,]"?0"?:"([^"]+)"`).FindSubmatch(body)
		if match == nil {
			return false
		}
		found = string(match[1])
		return true
	})
	return found
}

// committed is the sum of a group's offsets as the broker knows them (code 14); -1 when it can't be had.
func committed(group, topic string, queues int) (sum int64) {
	_, body, err := call(nameServers()[0], 106, nil)
	match := regexp.MustCompile(`[{,]"?0"?:"([^"]+)"`).FindSubmatch(body)
	if err != nil || match == nil {
		return -1
	}
	for queue := 0; queue < queues; queue++ {
		fields, _, err := call(string(match[1]), 14, map[string]string{"consumerGroup": group, "topic": topic, "queueId": strconv.Itoa(queue)})
		if err != nil {
			return -1
		}
		offset, err := strconv.ParseInt(fields["offset"], 10, 64)
		if err != nil {
			return -1
		}
		sum += offset
	}
	return sum
}

// call is one request on a connection of its own.
func call(address string, code int, fields map[string]string) (map[string]string, []byte, error) {
	connection, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return nil, nil, err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	header, err := json.Marshal(map[string]any{"code": code, "flag": 0, "language": "GO", "opaque": 1, "version": 317, "extFields": fields})
	if err != nil {
		return nil, nil, err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header)))
	if _, err := connection.Write(append(frame, header...)); err != nil {
		return nil, nil, err
	}
	var sizes [8]byte
	if _, err := io.ReadFull(connection, sizes[:]); err != nil {
		return nil, nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(sizes[:4])-4)
	if _, err := io.ReadFull(connection, rest); err != nil {
		return nil, nil, err
	}
	length := binary.BigEndian.Uint32(sizes[4:]) & 0xFFFFFF
	var reply struct {
		Code      int               `json:"code"`
		Remark    string            `json:"remark"`
		ExtFields map[string]string `json:"extFields"`
	}
	if err := json.Unmarshal(rest[:length], &reply); err != nil {
		return nil, nil, err
	}
	if reply.Code != 0 {
		return nil, nil, fmt.Errorf("code %d: %s", reply.Code, reply.Remark)
	}
	return reply.ExtFields, rest[length:], nil
}

// newTopic makes a topic by the client's admin API and waits until its route is there.
func newTopic(t *testing.T, what string, queues int) string {
	t.Helper()
	topic := unique(what)
	tools, err := admin.NewAdmin(admin.WithResolver(resolver()))
	if err != nil {
		t.Fatal(err)
	}
	defer tools.Close()
	err = tools.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(leaderAddress(t)),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the route of "+topic, func() bool {
		found, err := tools.FetchPublishMessageQueues(context.Background(), topic)
		return err == nil && len(found) == queues
	})
	return topic
}

func newProducer(t *testing.T, options ...producer.Option) rocketmq.Producer {
	t.Helper()
	all := append([]producer.Option{producer.WithNsResolver(resolver()), producer.WithGroupName(unique("producer")),
		producer.WithInstanceName(unique("instance"))}, options...)
	made, err := rocketmq.NewProducer(all...)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Shutdown() })
	return made
}

type listener = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// newConsumer starts a push consumer; ending it is the caller's, or stop's at the test's end.
func newConsumer(t *testing.T, group, topic, tags string, listen listener, options ...consumer.Option) (stop func()) {
	t.Helper()
	all := append([]consumer.Option{consumer.WithNsResolver(resolver()), consumer.WithGroupName(group), consumer.WithInstance(unique("instance")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, options...)
	made, err := rocketmq.NewPushConsumer(all...)
	if err != nil {
		t.Fatal(err)
	}
	selector := consumer.MessageSelector{}
	if tags != "" {
		selector = consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	}
	if err := made.Subscribe(topic, selector, listen); err != nil {
		t.Fatal(err)
	}
	if err := made.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() { once.Do(func() { _ = made.Shutdown() }) }
	t.Cleanup(stop)
	return stop
}

// delivery is one message as a listener saw it.
type delivery struct {
	body, topic, tags, keys, id string
	reconsumeTimes              int32
	queue                       int
	offset                      int64
	property                    string
	at                          time.Time
}

// collector is a listener's memory.
type collector struct {
	mutex sync.Mutex
	all   []delivery
}

func (c *collector) add(messages []*primitive.MessageExt) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, message := range messages {
		c.all = append(c.all, delivery{string(message.Body), message.Topic, message.GetTags(), message.GetKeys(), message.MsgId,
			message.ReconsumeTimes, message.Queue.QueueId, message.QueueOffset, message.GetProperty("colour"), time.Now()})
	}
}

func (c *collector) deliveries() []delivery {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]delivery(nil), c.all...)
}

// bodies are sorted and each is named once.
func (c *collector) bodies() []string {
	seen := map[string]bool{}
	for _, one := range c.deliveries() {
		seen[one.body] = true
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (c *collector) accept() listener {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		c.add(messages)
		return consumer.ConsumeSuccess, nil
	}
}

func send(t *testing.T, p rocketmq.Producer, message *primitive.Message) *primitive.SendResult {
	t.Helper()
	result, err := p.SendSync(context.Background(), message)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	if result.Status != primitive.SendOK {
		t.Fatalf("send: %v", result)
	}
	return result
}

// group is the admin side of a broker group: who leads, and hand it over.
type group struct{ bases []string }

func groupUnderTest(t *testing.T) group {
	t.Helper()
	if os.Getenv("FLOTILLA_ADMIN") == "" {
		t.Skip("FLOTILLA_ADMIN is not set: no leader changes")
	}
	return group{strings.Split(os.Getenv("FLOTILLA_ADMIN"), ",")}
}

type view struct {
	Leader *string `json:"leader"`
	Term   uint64  `json:"term"`
}

// view is what the node with the highest term says.
func (g group) view() (latest view) {
	for _, base := range g.bases {
		reply, err := (&http.Client{Timeout: 2 * time.Second}).Get(base + "/v1/group")
		if err != nil {
			continue
		}
		var one view
		if json.NewDecoder(reply.Body).Decode(&one) == nil && (one.Term > latest.Term || (one.Term == latest.Term && latest.Leader == nil)) {
			latest = one
		}
		reply.Body.Close()
	}
	return latest
}

// changeLeader asks until it has happened: a member that is a little behind may be refused at first.
func (g group) changeLeader(t *testing.T) {
	t.Helper()
	await(t, "a leader", func() bool { return g.view().Leader != nil })
	before := g.view()
	number, err := strconv.Atoi(strings.TrimPrefix(*before.Leader, "n"))
	if err != nil {
		t.Fatal(err)
	}
	next := fmt.Sprintf("n%d", (number+1)%3)
	var askAgain time.Time
	await(t, "leadership of "+next, func() bool {
		now := g.view()
		if now.Leader != nil && *now.Leader == next && now.Term > before.Term {
			return true
		}
		if now.Leader != nil && *now.Leader != next && time.Now().After(askAgain) {
			askAgain = time.Now().Add(time.Second)
			for _, base := range g.bases {
				reply, err := (&http.Client{Timeout: 10 * time.Second}).Post(base+"/v1/group/transfer-leader", "application/json",
					bytes.NewReader([]byte(`{"to":"`+next+`"}`)))
				if err == nil {
					reply.Body.Close()
					if reply.StatusCode/100 == 2 {
						break
					}
				}
			}
		}
		return false
	})
}

// brokerNames are those that have the topic.
func brokerNames(topic string) ([]string, error) {
	tools, err := admin.NewAdmin(admin.WithResolver(resolver()))
	if err != nil {
		return nil, err
	}
	defer tools.Close()
	queues, err := tools.FetchPublishMessageQueues(context.Background(), topic)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, queue := range queues {
		names = append(names, queue.BrokerName)
	}
	return names, nil
}
