// Load on NATS JetStream by its Go client, in the shapes and with the result line of `flotilla bench`.
//
//	natsload create  --servers HOST:PORT,... --topic T [--replicas 3]
//	natsload count   --servers S --topic T                            prints how many messages the stream holds
//	natsload produce --servers S --topic T --size 1024 --clients N --window W --batch B --seconds S --warmup S
//	natsload consume --servers S --topic T --clients N --messages N [--warmup S]
//	natsload e2e     --servers S --topic T --rate R --size 1024 --seconds S --warmup S [--clients N]
//
// A client is a goroutine. They share 4 connections, or --connections N (0: one each): 64 clients that wait for each ack get about twice as many of them
// from shared connections. These go to the node that leads the stream, where a publish has the shortest way; --connect spread lets them go to all nodes
// in turn. The stream has one subject and file storage. One line of JSON on stdout, everything else on stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// setupLimit is for what happens before and after the load.
const setupLimit = 60 * time.Second

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: natsload create|count|produce|consume|e2e --servers HOST:PORT,... --topic T [--option value]...")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "natsload:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	s, err := parse(arguments)
	if err != nil {
		return err
	}
	switch s.command {
	case "create":
		return create(s)
	case "count":
		return count(s)
	case "produce":
		return produce(s)
	case "consume":
		return consume(s)
	case "e2e":
		return endToEnd(s)
	default:
		return fmt.Errorf("unknown command %s", s.command)
	}
}

// create tries for a minute: a cluster that still elects the leader of its metadata, or has not met all its nodes, refuses.
func create(s settings) error {
	_, js, err := connect(s.servers...)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(setupLimit)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: s.topic, Subjects: []string{s.topic}, Replicas: s.replicas,
			Storage: jetstream.FileStorage, AllowAtomicPublish: true})
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no stream within a minute: %w", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for {
		info, err := streamInfo(js, s.topic)
		if err == nil && inSync(info, s.replicas) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the replicas of %s are not in sync within a minute: %v", s.topic, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func inSync(info *jetstream.StreamInfo, replicas int) bool {
	if replicas == 1 {
		return true
	}
	if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != replicas-1 {
		return false
	}
	for _, replica := range info.Cluster.Replicas {
		if !replica.Current {
			return false
		}
	}
	return true
}

func count(s settings) error {
	_, js, err := connect(s.servers...)
	if err != nil {
		return err
	}
	info, err := streamInfo(js, s.topic)
	if err != nil {
		return err
	}
	fmt.Println(info.State.Msgs)
	return nil
}

func streamInfo(js jetstream.JetStream, topic string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, topic)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// connect keeps to the first server that answers, in the order given.
func connect(servers ...string) (*nats.Conn, jetstream.JetStream, error) {
	options := nats.GetDefaultOptions()
	options.NoRandomize = true
	options.IgnoreDiscoveredServers = true
	for _, server := range servers {
		options.Servers = append(options.Servers, "nats://"+server)
	}
	connection, err := options.Connect()
	if err != nil {
		return nil, nil, err
	}
	// Each client bounds what it has in flight itself; the library's own bound must not be met first.
	js, err := jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(1<<20), jetstream.WithPublishAsyncTimeout(30*time.Second))
	return connection, js, err
}

// contexts opens the clients' connections: the one of client i is contexts[i].
func contexts(s settings) ([]jetstream.JetStream, string, error) {
	order, err := preferred(s)
	if err != nil {
		return nil, "", err
	}
	number := s.connections
	if number == 0 || number > s.clients {
		number = s.clients
	}
	var version string
	shared := make([]jetstream.JetStream, number)
	for i := range shared {
		servers := order
		if s.connect == "spread" {
			turn := i % len(order)
			servers = append(append([]string{}, order[turn:]...), order[:turn]...)
		}
		connection, js, err := connect(servers...)
		if err != nil {
			return nil, "", err
		}
		version = connection.ConnectedServerVersion()
		shared[i] = js
	}
	all := make([]jetstream.JetStream, s.clients)
	for i := range all {
		all[i] = shared[i%number]
	}
	return all, version, nil
}

// preferred puts the node that leads the stream first; servers know each other by name only, so each is asked for its own.
func preferred(s settings) ([]string, error) {
	_, js, err := connect(s.servers...)
	if err != nil {
		return nil, err
	}
	info, err := streamInfo(js, s.topic)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.topic, err)
	}
	if info.Cluster == nil {
		return s.servers, nil
	}
	for i, server := range s.servers {
		connection, _, err := connect(server)
		if err != nil {
			continue
		}
		name := connection.ConnectedServerName()
		connection.Close()
		if name == info.Cluster.Leader {
			return append([]string{server}, append(append([]string{}, s.servers[:i]...), s.servers[i+1:]...)...), nil
		}
	}
	return nil, errors.New("no server is the stream's leader " + info.Cluster.Leader)
}
