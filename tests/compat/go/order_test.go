package compat

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// orderCheck judges deliveries of messages named "key:number": a number follows the one before it, or goes back to one that was delivered already (a
// redelivery of what was not committed). A number that was skipped, and two consumers in one queue at the same time, are faults.
type orderCheck struct {
	mutex     sync.Mutex
	last      map[int]int
	seen      map[string]int
	holders   map[int]int
	found     []string
	listeners int
}

func newOrderCheck() *orderCheck {
	return &orderCheck{last: map[int]int{}, seen: map[string]int{}, holders: map[int]int{}}
}

// listener is one for each consumer, so that two of them in one queue are seen.
func (c *orderCheck) listener() listener {
	c.listeners++
	own := c.listeners
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			c.begin(own, message)
			time.Sleep(time.Millisecond)
			c.mutex.Lock()
			delete(c.holders, message.Queue.QueueId)
			c.mutex.Unlock()
		}
		return consumer.ConsumeSuccess, nil
	}
}

func (c *orderCheck) begin(own int, message *primitive.MessageExt) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if other, held := c.holders[message.Queue.QueueId]; held {
		c.found = append(c.found, fmt.Sprintf("consumers %d and %d in queue %d at the same time", other, own, message.Queue.QueueId))
	}
	c.holders[message.Queue.QueueId] = own
	var key, number int
	if _, err := fmt.Sscanf(string(message.Body), "%d:%d", &key, &number); err != nil {
		c.found = append(c.found, "not one of ours: "+string(message.Body))
		return
	}
	last, known := c.last[key]
	if !known {
		last = -1
	}
	if number > last+1 {
		c.found = append(c.found, fmt.Sprintf("key %d: %d after %d", key, number, last))
	}
	c.last[key] = number
	c.seen[string(message.Body)]++
}

func (c *orderCheck) distinct() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.seen)
}

func (c *orderCheck) faults() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]string(nil), c.found...)
}
