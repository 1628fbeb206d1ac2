// Command member runs push consumers of one group by rocketmq-client-go at its defaults and writes down what they get, as must-hold/Members.java does.
//
//	member NAMESRV TOPIC GROUP concurrent|orderly CONSUMERS FILE
//
// Prints `ready`, and ends when a line comes on standard input.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 6 {
		return fmt.Errorf("usage: member NAMESRV TOPIC GROUP concurrent|orderly CONSUMERS FILE")
	}
	count, err := strconv.Atoi(arguments[4])
	if err != nil {
		return err
	}
	rlog.SetLogLevel("fatal")
	file, err := os.Create(arguments[5])
	if err != nil {
		return err
	}
	defer file.Close()
	var mutex sync.Mutex
	var members []rocketmq.PushConsumer
	for i := 0; i < count; i++ {
		name := fmt.Sprint("go", i)
		member, err := rocketmq.NewPushConsumer(consumer.WithNsResolver(primitive.NewPassthroughResolver(strings.Split(arguments[0], ";"))),
			consumer.WithGroupName(arguments[2]), consumer.WithInstance(name), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
			consumer.WithConsumerOrder(arguments[3] == "orderly"))
		if err != nil {
			return err
		}
		err = member.Subscribe(arguments[1], consumer.MessageSelector{}, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, message := range messages {
				begin := time.Now().UnixMicro()
				time.Sleep(2 * time.Millisecond)
				mutex.Lock()
				fmt.Fprintf(file, "%s %d %d %d %d %s\n", name, message.Queue.QueueId, message.QueueOffset, begin, time.Now().UnixMicro(), message.Body)
				mutex.Unlock()
			}
			return consumer.ConsumeSuccess, nil
		})
		if err != nil {
			return err
		}
		if err := member.Start(); err != nil {
			return err
		}
		members = append(members, member)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	for _, member := range members {
		_ = member.Shutdown()
	}
	return nil
}
