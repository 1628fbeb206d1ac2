import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * A producer, push consumers of one group and a watcher of the group's offsets; everything they see is written down for Judge.
 *
 *   Members NAMESRV TOPIC GROUP concurrent|orderly CONSUMERS PRODUCERS PRODUCER_POLL_MS FOLDER
 *
 * Steered by lines on standard input: the first starts the sends, the second ends them, the third ends the program. Prints `ready`, `sending`,
 * `acked N failed N` and `done`. The consumers have the client's defaults; the producers as well but for the route refresh that is given.
 *
 * Times are microseconds of the system's clock, which the Go members of the group (go/cmd/member) have too. Files in FOLDER:
 *   deliveries-java.txt  CONSUMER QUEUE OFFSET BEGIN END BODY     one line a message
 *   acks.txt             QUEUE OFFSET TIME BODY
 *   failed.txt           TIME BODY: what
 *   committed.txt        TIME QUEUE OFFSET                        a look every half second, changes only
 */
public final class Members {
    private static final AtomicBoolean SENDING = new AtomicBoolean(true);
    private static final AtomicLong NUMBERS = new AtomicLong();
    private static final AtomicLong ACKED = new AtomicLong();
    private static final AtomicLong FAILED = new AtomicLong();

    public static void main(String[] arguments) throws Exception {
        String nameServers = arguments[0];
        String topic = arguments[1];
        String group = arguments[2];
        boolean orderly = arguments[3].equals("orderly");
        int consumers = Integer.parseInt(arguments[4]);
        int producers = Integer.parseInt(arguments[5]);
        int pollMs = Integer.parseInt(arguments[6]);
        Path folder = Path.of(arguments[7]);

        BufferedWriter deliveries = Files.newBufferedWriter(folder.resolve("deliveries-java.txt"));
        BufferedWriter acks = Files.newBufferedWriter(folder.resolve("acks.txt"));
        BufferedWriter failed = Files.newBufferedWriter(folder.resolve("failed.txt"));
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (int i = 0; i < consumers; i++) {
            members.add(consumer(nameServers, topic, group, "java" + i, orderly, deliveries));
        }
        Thread watcher = watch(nameServers, topic, group, folder.resolve("committed.txt"));
        System.out.println("ready");
        // The others of the group, and the dealing of queues, come before the load.
        awaitLine();
        List<Thread> senders = new ArrayList<>();
        List<DefaultMQProducer> made = new ArrayList<>();
        for (int i = 0; i < producers; i++) {
            DefaultMQProducer producer = new DefaultMQProducer(group + "_producer");
            producer.setNamesrvAddr(nameServers);
            producer.setInstanceName("producer" + i);
            producer.setPollNameServerInterval(pollMs);
            producer.start();
            made.add(producer);
            for (int thread = 0; thread < 2; thread++) {
                Thread sender = new Thread(() -> send(producer, topic, acks, failed), "sender-" + i + "-" + thread);
                sender.start();
                senders.add(sender);
            }
        }
        System.out.println("sending");
        awaitLine();
        SENDING.set(false);
        for (Thread sender : senders) {
            sender.join();
        }
        System.out.println("acked " + ACKED.get() + " failed " + FAILED.get());
        flush(acks, failed);
        Thread flusher = new Thread(() -> {
            while (true) {
                flush(deliveries);
                try {
                    Thread.sleep(200);
                } catch (InterruptedException stopped) {
                    return;
                }
            }
        }, "flusher");
        flusher.setDaemon(true);
        flusher.start();
        awaitLine();
        watcher.interrupt();
        watcher.join();
        members.forEach(DefaultMQPushConsumer::shutdown);
        made.forEach(DefaultMQProducer::shutdown);
        flush(deliveries, acks, failed);
        System.out.println("done");
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static void awaitLine() throws IOException {
        int read;
        do {
            read = System.in.read();
        } while (read != '\n' && read != -1);
    }

    private static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000 + now.getNano() / 1_000;
    }

    private static DefaultMQPushConsumer consumer(String nameServers, String topic, String group, String name, boolean orderly, BufferedWriter out)
        throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(nameServers);
        consumer.setInstanceName(name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        if (orderly) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                take(name, messages, out);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                take(name, messages, out);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        consumer.start();
        return consumer;
    }

    private static void take(String name, List<MessageExt> messages, BufferedWriter out) {
        for (MessageExt message : messages) {
            long begin = now();
            try {
                // Some work, so that another consumer in the same queue would be met.
                Thread.sleep(2);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
            write(out, name + " " + message.getQueueId() + " " + message.getQueueOffset() + " " + begin + " " + now() + " "
                + new String(message.getBody(), StandardCharsets.UTF_8));
        }
    }

    private static void send(DefaultMQProducer producer, String topic, BufferedWriter acks, BufferedWriter failed) {
        while (SENDING.get()) {
            String body = "m" + NUMBERS.incrementAndGet();
            try {
                SendResult result = producer.send(new Message(topic, body.getBytes(StandardCharsets.UTF_8)));
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    ACKED.incrementAndGet();
                    write(acks, result.getMessageQueue().getQueueId() + " " + result.getQueueOffset() + " " + now() + " " + body);
                } else {
                    FAILED.incrementAndGet();
                    write(failed, now() + " " + body + ": " + result.getSendStatus());
                }
                Thread.sleep(8);
            } catch (InterruptedException interrupted) {
                return;
            } catch (Exception exception) {
                FAILED.incrementAndGet();
                write(failed, now() + " " + body + ": " + exception.toString().replace('\n', ' '));
                try {
                    Thread.sleep(50);
                } catch (InterruptedException interrupted) {
                    return;
                }
            }
        }
    }

    /** Half a second between two looks; a look that fails, as in an election, is none. */
    private static Thread watch(String nameServers, String topic, String group, Path file) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(3_000);
        admin.setNamesrvAddr(nameServers);
        admin.setInstanceName("watcher");
        // Its own route must not be older than the consumers'.
        admin.setPollNameServerInterval(500);
        admin.start();
        BufferedWriter out = Files.newBufferedWriter(file);
        Thread watcher = new Thread(() -> {
            Map<Integer, Long> last = new HashMap<>();
            while (!Thread.currentThread().isInterrupted()) {
                try {
                    Thread.sleep(500);
                    admin.examineConsumeStats(group, topic).getOffsetTable().forEach((queue, offsets) -> {
                        long offset = offsets.getConsumerOffset();
                        Long before = last.put(queue.getQueueId(), offset);
                        if (before == null || before != offset) {
                            write(out, now() + " " + queue.getQueueId() + " " + offset);
                        }
                    });
                    flush(out);
                } catch (InterruptedException stopped) {
                    break;
                } catch (Exception noAnswer) {
                    // Looked again in half a second.
                }
            }
            admin.shutdown();
            flush(out);
        }, "watcher");
        watcher.start();
        return watcher;
    }

    private static void write(BufferedWriter out, String line) {
        synchronized (out) {
            try {
                out.write(line);
                out.newLine();
            } catch (IOException exception) {
                System.err.println("cannot write: " + exception);
                Runtime.getRuntime().halt(3);
            }
        }
    }

    private static void flush(BufferedWriter... outs) {
        for (BufferedWriter out : outs) {
            synchronized (out) {
                try {
                    out.flush();
                } catch (IOException exception) {
                    System.err.println("cannot write: " + exception);
                    Runtime.getRuntime().halt(3);
                }
            }
        }
    }
}
