import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * Notes where each acked message was stored, and later asks every node whether it is there.
 *
 *   Acked load NAMESRV TOPIC WINDOW FILE     sends until a line comes on standard input, then writes FILE
 *   Acked check TOPIC QUEUES FILE NODE...    reads the whole topic from each NODE (host:port of a broker)
 *
 * Each message is sent once, without the client's retries: one that is stored twice was doubled by the server. `load` prints
 * `acked COUNT failed COUNT` twice a second. `check` prints one line of JSON and exits with 1 when anything is wrong:
 * lost (acked, not at its place on some node), twice, holes (an offset between minimum and maximum without a message), and whether
 * minimum and maximum are the same on all nodes.
 */
public final class Acked {
    private static final int SIZE = 1024;
    private static final int PULL_MESSAGE = 11;
    private static final int GET_MAX_OFFSET = 30;
    private static final int GET_MIN_OFFSET = 31;

    public static void main(String[] arguments) throws Exception {
        switch (arguments.length == 0 ? "" : arguments[0]) {
            case "load" -> load(arguments[1], arguments[2], Integer.parseInt(arguments[3]), Path.of(arguments[4]));
            case "check" -> {
                List<String> nodes = Arrays.asList(arguments).subList(4, arguments.length);
                boolean sound = check(arguments[1], Integer.parseInt(arguments[2]), Path.of(arguments[3]), nodes);
                System.out.flush();
                Runtime.getRuntime().halt(sound ? 0 : 1);
            }
            default -> {
                System.err.println("usage: Acked load NAMESRV TOPIC WINDOW FILE | Acked check TOPIC QUEUES FILE NODE...");
                System.exit(2);
            }
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static void load(String namesrv, String topic, int window, Path file) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("acked_producer_" + System.nanoTime());
        producer.setNamesrvAddr(namesrv);
        producer.setPollNameServerInterval(200);
        producer.setSendMsgTimeout(3_000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        producer.start();
        Semaphore inFlight = new Semaphore(window);
        AtomicLong acked = new AtomicLong();
        AtomicLong failed = new AtomicLong();
        try (DataOutputStream out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(file), 1 << 16))) {
            Thread sender = new Thread(() -> send(producer, topic, inFlight, acked, failed, out), "sender");
            sender.setDaemon(true);
            sender.start();
            while (System.in.available() == 0) {
                System.out.println("acked " + acked.get() + " failed " + failed.get());
                System.out.flush();
                Thread.sleep(500);
            }
            sender.interrupt();
            sender.join();
            inFlight.tryAcquire(window, 10, TimeUnit.SECONDS);
            synchronized (out) {
                out.flush();
            }
        }
        System.out.println("acked " + acked.get() + " failed " + failed.get());
        System.out.println("done");
    }

    private static void send(DefaultMQProducer producer, String topic, Semaphore inFlight, AtomicLong acked, AtomicLong failed, DataOutputStream out) {
        for (long number = 0; !Thread.currentThread().isInterrupted(); number++) {
            long current = number;
            try {
                inFlight.acquire();
                byte[] body = new byte[SIZE];
                ByteBuffer.wrap(body).putLong(current);
                producer.send(new Message(topic, body), new SendCallback() {
                    @Override
                    public void onSuccess(SendResult result) {
                        if (result.getSendStatus() == SendStatus.SEND_OK) {
                            note(out, current, result);
                            acked.incrementAndGet();
                        } else {
                            failed.incrementAndGet();
                        }
                        inFlight.release();
                    }

                    @Override
                    public void onException(Throwable failure) {
                        failed.incrementAndGet();
                        inFlight.release();
                    }
                });
            } catch (InterruptedException stopped) {
                return;
            } catch (Exception failure) {
                failed.incrementAndGet();
                inFlight.release();
                try {
                    // Without any server a send fails at once: don't spin.
                    Thread.sleep(10);
                } catch (InterruptedException stopped) {
                    return;
                }
            }
        }
    }

    private static void note(DataOutputStream out, long number, SendResult result) {
        synchronized (out) {
            try {
                out.writeLong(number);
                out.writeInt(result.getMessageQueue().getQueueId());
                out.writeLong(result.getQueueOffset());
            } catch (IOException exception) {
                System.err.println("cannot note an ack: " + exception);
                Runtime.getRuntime().halt(3);
            }
        }
    }

    private static boolean check(String topic, int queues, Path file, List<String> nodes) throws Exception {
        Map<Long, String> acks = readAcks(file);
        NettyRemotingClient client = new NettyRemotingClient(new NettyClientConfig());
        client.start();
        Map<String, String> boundsByNode = new TreeMap<>();
        long lost = 0;
        long twice = 0;
        long holes = 0;
        long stored = 0;
        for (String node : nodes) {
            Map<Long, String> places = new HashMap<>();
            List<String> bounds = new ArrayList<>();
            for (int queue = 0; queue < queues; queue++) {
                long minimum = bound(client, node, GET_MIN_OFFSET, topic, queue);
                long maximum = bound(client, node, GET_MAX_OFFSET, topic, queue);
                bounds.add(minimum + "-" + maximum);
                long expected = minimum;
                while (expected < maximum) {
                    List<MessageExt> messages = pull(client, node, topic, queue, expected);
                    for (MessageExt message : messages) {
                        if (message.getQueueOffset() != expected) {
                            holes += 1;
                        }
                        expected = message.getQueueOffset() + 1;
                        long number = ByteBuffer.wrap(message.getBody()).getLong();
                        if (places.put(number, queue + "@" + message.getQueueOffset()) != null) {
                            twice += 1;
                        }
                    }
                }
            }
            stored = places.size();
            for (Map.Entry<Long, String> ack : acks.entrySet()) {
                String place = places.get(ack.getKey());
                if (!ack.getValue().equals(place)) {
                    lost += 1;
                    if (lost <= 5) {
                        System.err.println("message " + ack.getKey() + " was acked at " + ack.getValue() + ", node " + node + " has it at " + place);
                    }
                }
            }
            boundsByNode.put(node, String.join(",", bounds));
        }
        boolean boundsEqual = boundsByNode.values().stream().distinct().count() == 1;
        System.err.println("bounds " + boundsByNode);
        System.out.println(String.format(Locale.ROOT,
            "{\"acked\":%d,\"stored\":%d,\"lost\":%d,\"twice\":%d,\"holes\":%d,\"bounds_equal\":%b,\"nodes\":%d}",
            acks.size(), stored, lost, twice, holes, boundsEqual, nodes.size()));
        return lost == 0 && twice == 0 && holes == 0 && boundsEqual && !acks.isEmpty();
    }

    private static Map<Long, String> readAcks(Path file) throws IOException {
        Map<Long, String> acks = new HashMap<>();
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 16))) {
            while (true) {
                long number;
                try {
                    number = in.readLong();
                } catch (EOFException end) {
                    return acks;
                }
                acks.put(number, in.readInt() + "@" + in.readLong());
            }
        }
    }

    private static long bound(NettyRemotingClient client, String node, int code, String topic, int queue) throws Exception {
        Map<String, String> fields = Map.of("topic", topic, "queueId", Integer.toString(queue));
        RemotingCommand reply = call(client, node, code, fields);
        if (reply.getCode() != 0) {
            throw new IOException(node + " answers " + reply.getCode() + " to code " + code + ": " + reply.getRemark());
        }
        return Long.parseLong(reply.getExtFields().get("offset"));
    }

    /** At least one message at or after the offset, which is below the queue's maximum. */
    private static List<MessageExt> pull(NettyRemotingClient client, String node, String topic, int queue, long offset) throws Exception {
        Map<String, String> fields = new HashMap<>();
        fields.put("consumerGroup", "acked_checker");
        fields.put("topic", topic);
        fields.put("queueId", Integer.toString(queue));
        fields.put("queueOffset", Long.toString(offset));
        fields.put("maxMsgNums", "256");
        // Bit 2: the subscription comes with the request.
        fields.put("sysFlag", "4");
        fields.put("commitOffset", "0");
        fields.put("suspendTimeoutMillis", "0");
        fields.put("subscription", "*");
        fields.put("subVersion", "0");
        fields.put("expressionType", "TAG");
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (true) {
            RemotingCommand reply = call(client, node, PULL_MESSAGE, fields);
            if (reply.getCode() == 0) {
                return MessageDecoder.decodes(ByteBuffer.wrap(reply.getBody()));
            }
            if (System.nanoTime() > deadline) {
                throw new IOException(node + " answers " + reply.getCode() + " to a pull at " + offset + " of queue " + queue + ": " + reply.getRemark());
            }
            Thread.sleep(50);
        }
    }

    private static RemotingCommand call(NettyRemotingClient client, String node, int code, Map<String, String> fields) throws Exception {
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        request.setExtFields(new HashMap<>(fields));
        return client.invokeSync(node, request, 10_000);
    }
}
