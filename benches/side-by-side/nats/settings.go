package main

import (
	"flag"
	"fmt"
	"strings"
	"time"
)

// settings is what the command line asks for.
type settings struct {
	command     string
	servers     []string
	topic       string // name of the stream and its only subject
	size        int    // bytes of a body
	clients     int
	window      int // publishes in flight per client
	batch       int // messages that a client publishes as one unit; 0: single messages
	rate        int // messages per second
	seconds     float64
	warmup      float64
	messages    int64
	connections int // that the clients share; 0: one each
	connect     string
	atomic      bool
	replicas    int
	pull        int // messages a consumer asks for ahead
}

func parse(arguments []string) (settings, error) {
	s := settings{command: arguments[0]}
	var servers string
	flags := flag.NewFlagSet(s.command, flag.ContinueOnError)
	flags.StringVar(&servers, "servers", "", "HOST:PORT,... of the nodes")
	flags.StringVar(&s.topic, "topic", "", "stream and subject")
	flags.IntVar(&s.size, "size", 1024, "bytes of a body")
	flags.IntVar(&s.clients, "clients", 1, "goroutines")
	flags.IntVar(&s.window, "window", 1, "publishes in flight per client")
	flags.IntVar(&s.batch, "batch", 0, "messages that a client publishes as one unit; 0: single messages")
	flags.IntVar(&s.rate, "rate", 0, "messages per second, e2e")
	flags.Float64Var(&s.seconds, "seconds", 10, "measured time")
	flags.Float64Var(&s.warmup, "warmup", 0, "seconds before it")
	flags.Int64Var(&s.messages, "messages", 0, "how many to drain, consume")
	flags.IntVar(&s.connections, "connections", 4, "connections that the clients share; 0: one each")
	flags.StringVar(&s.connect, "connect", "leader", "leader: to the node that leads the stream; spread: to all nodes in turn")
	flags.BoolVar(&s.atomic, "atomic", false, "a batch is one atomic batch of JetStream, not so many asynchronous publishes")
	flags.IntVar(&s.replicas, "replicas", 3, "of the stream, create")
	flags.IntVar(&s.pull, "pull", 5000, "messages a consumer asks for ahead")
	if err := flags.Parse(arguments[1:]); err != nil {
		return s, err
	}
	s.servers = strings.Split(servers, ",")
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("expected --option value, not %s", flags.Arg(0))
	case servers == "" || s.topic == "":
		return s, fmt.Errorf("--servers and --topic are needed")
	case s.size < headerSize:
		return s, fmt.Errorf("--size is at least %d", headerSize)
	case s.clients < 1 || s.window < 1 || s.batch < 0 || s.rate < 0 || s.connections < 0 || s.pull < 1:
		return s, fmt.Errorf("a count is below its least value")
	case s.connect != "leader" && s.connect != "spread":
		return s, fmt.Errorf("--connect is leader or spread")
	case s.command == "consume" && s.messages < 1:
		return s, fmt.Errorf("consume needs --messages")
	}
	return s, nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
