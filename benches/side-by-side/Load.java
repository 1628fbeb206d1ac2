import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.LongAdder;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Closed-loop load by the official Java client, the same against any server that speaks its protocol.
 *
 *   Load NAMESRV TOPIC sync|async|batch SECONDS SIZE THREADS [WINDOW] [consume] [warm=SECONDS] [poll=MS]
 *
 * sync keeps one send in flight a thread, async WINDOW sends in flight altogether, batch sends WINDOW messages at once.
 * warm is the time before measuring starts, poll the client's route refresh. With `consume` a push consumer runs beside it, and every
 * message acked at any time, also while warming, must reach it: `lost` counts those that did not within a minute of the end (-1: not asked).
 *
 * On stderr: `first_ack EPOCH_MS`, `measuring`, the first few failures. On stdout one line of JSON; latencies in microseconds. An ack is
 * a send with status SEND_OK. max_ack_gap_ms is the longest time between two acks: what a fail-over costs.
 *
 * Another program with this interface can be used instead: LOAD_JAVA in lib.sh.
 */
public final class Load {
    /** Header of a body: run, sequence number, System.nanoTime() of its birth. */
    private static final int HEADER_SIZE = 24;

    private final String namesrv;
    private final String topic;
    private final String mode;
    private final int seconds;
    private final int size;
    private final int threads;
    private final int window;
    private final boolean consume;
    private final int warm;
    private final int poll;

    private final long run = System.nanoTime();
    private final AtomicLong sequence = new AtomicLong();
    private final Bits acked = new Bits();
    private final Bits seen = new Bits();
    private final Latencies sendLatencies = new Latencies();
    private final Latencies deliveryLatencies = new Latencies();
    private final LongAdder ok = new LongAdder();
    private final LongAdder failed = new LongAdder();
    private final LongAdder consumed = new LongAdder();
    private final LongAdder duplicates = new LongAdder();
    private final AtomicLong lastAck = new AtomicLong();
    private final AtomicLong longestGap = new AtomicLong();
    private final AtomicInteger failuresShown = new AtomicInteger();
    private final AtomicBoolean running = new AtomicBoolean(true);
    private volatile boolean measuring;

    private Load(String[] arguments) {
        namesrv = arguments[0];
        topic = arguments[1];
        mode = arguments[2];
        seconds = Integer.parseInt(arguments[3]);
        size = Math.max(Integer.parseInt(arguments[4]), HEADER_SIZE);
        threads = Integer.parseInt(arguments[5]);
        List<String> rest = Arrays.asList(arguments).subList(6, arguments.length);
        window = rest.stream().filter(word -> word.matches("\\d+")).mapToInt(Integer::parseInt).findFirst().orElse(1);
        consume = rest.contains("consume");
        warm = option(rest, "warm=", 3);
        poll = option(rest, "poll=", 30_000);
        if (!List.of("sync", "async", "batch").contains(mode)) {
            throw new IllegalArgumentException("mode is sync, async or batch, not " + mode);
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 6) {
            System.err.println("usage: Load NAMESRV TOPIC sync|async|batch SECONDS SIZE THREADS [WINDOW] [consume] [warm=SECONDS] [poll=MS]");
            System.exit(2);
        }
        new Load(arguments).work();
        // The clients' shutdown may wait for a server that was killed: the result is out, so end here.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private void work() throws Exception {
        DefaultMQProducer producer = startProducer();
        firstSend(producer);
        if (consume) {
            startConsumer(producer);
        }
        List<Thread> senders = new ArrayList<>();
        Semaphore inFlight = new Semaphore(window);
        for (int i = 0; i < threads; i++) {
            Thread sender = new Thread(() -> sendUntilStopped(producer, inFlight), "sender-" + i);
            sender.setDaemon(true);
            sender.start();
            senders.add(sender);
        }
        Thread.sleep(warm * 1000L);
        long start = System.nanoTime();
        lastAck.set(start);
        longestGap.set(0);
        measuring = true;
        System.err.println("measuring");
        Thread.sleep(seconds * 1000L);
        measuring = false;
        long end = System.nanoTime();
        // An outage that is still open counts too.
        longestGap.accumulateAndGet(end - lastAck.get(), Math::max);
        long measured = ok.sum();
        running.set(false);
        for (Thread sender : senders) {
            sender.join(10_000);
        }
        if (mode.equals("async")) {
            inFlight.tryAcquire(window, 10, java.util.concurrent.TimeUnit.SECONDS);
        }
        long lost = consume ? awaitDelivery() : -1;
        double elapsed = (end - start) / 1e9;
        System.out.println(String.format(Locale.ROOT,
            "{\"mode\":\"%s\",\"size\":%d,\"threads\":%d,\"window\":%d,\"sent\":%d,\"failed\":%d,\"msg_per_s\":%.0f,\"MB_per_s\":%.1f,"
                + "\"send_us\":%s,\"max_ack_gap_ms\":%.1f,\"consumed\":%d,\"dup\":%d,\"lost\":%d,\"e2e_us\":%s}",
            mode, size, threads, window, measured, failed.sum(), measured / elapsed, measured / elapsed * size / 1e6,
            sendLatencies.json(), longestGap.get() / 1e6, consumed.sum(), duplicates.sum(), lost, consume ? deliveryLatencies.json() : "null"));
    }

    private DefaultMQProducer startProducer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("load_producer_" + run);
        producer.setNamesrvAddr(namesrv);
        producer.setPollNameServerInterval(poll);
        producer.setSendMsgTimeout(5_000);
        producer.setRetryTimesWhenSendFailed(10);
        producer.setRetryTimesWhenSendAsyncFailed(3);
        producer.setMaxMessageSize(8 << 20);
        // Bodies are stored as they are: compression would measure the client.
        producer.setCompressMsgBodyOverHowmuch(8 << 20);
        producer.start();
        return producer;
    }

    /** Makes the topic; a group that still elects its leader gets a minute. */
    private void firstSend(DefaultMQProducer producer) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (true) {
            try {
                producer.send(message(0));
                System.err.println("first_ack " + System.currentTimeMillis());
                return;
            } catch (Exception notYet) {
                if (System.nanoTime() > deadline) {
                    throw notYet;
                }
                Thread.sleep(100);
            }
        }
    }

    private void startConsumer(DefaultMQProducer producer) throws Exception {
        int queues = producer.fetchPublishMessageQueues(topic).size();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("load_consumer_" + run);
        consumer.setNamesrvAddr(namesrv);
        consumer.setPollNameServerInterval(poll);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.setPullBatchSize(256);
        consumer.setConsumeMessageBatchMaxSize(64);
        consumer.setPullThresholdForQueue(20_000);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(this::delivered);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> queue.getTopic().equals(topic)).count() < queues) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("the consumer does not own the " + queues + " queues of " + topic + " within a minute");
            }
            Thread.sleep(50);
        }
    }

    private void delivered(MessageExt message) {
        ByteBuffer header = ByteBuffer.wrap(message.getBody());
        if (header.getLong() != run) {
            return;
        }
        if (!seen.set(header.getLong())) {
            duplicates.increment();
            return;
        }
        consumed.increment();
        if (measuring) {
            deliveryLatencies.add(System.nanoTime() - header.getLong());
        }
    }

    private void sendUntilStopped(DefaultMQProducer producer, Semaphore inFlight) {
        while (running.get()) {
            try {
                switch (mode) {
                    case "sync" -> sendSync(producer);
                    case "batch" -> sendBatch(producer);
                    default -> sendAsync(producer, inFlight);
                }
            } catch (Exception failure) {
                sendFailed(failure.toString(), mode.equals("batch") ? window : 1);
            }
        }
    }

    private void sendSync(DefaultMQProducer producer) throws Exception {
        long number = sequence.incrementAndGet();
        long start = System.nanoTime();
        sendEnded(producer.send(message(number)), start, number, 1);
    }

    private void sendBatch(DefaultMQProducer producer) throws Exception {
        long first = sequence.getAndAdd(window) + 1;
        List<Message> batch = new ArrayList<>(window);
        for (int i = 0; i < window; i++) {
            batch.add(message(first + i));
        }
        long start = System.nanoTime();
        sendEnded(producer.send(batch), start, first, window);
    }

    private void sendAsync(DefaultMQProducer producer, Semaphore inFlight) throws Exception {
        inFlight.acquire();
        long number = sequence.incrementAndGet();
        long start = System.nanoTime();
        AtomicBoolean released = new AtomicBoolean();
        try {
            producer.send(message(number), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    if (released.compareAndSet(false, true)) {
                        inFlight.release();
                    }
                    sendEnded(result, start, number, 1);
                }

                @Override
                public void onException(Throwable failure) {
                    if (released.compareAndSet(false, true)) {
                        inFlight.release();
                    }
                    sendFailed(failure.toString(), 1);
                }
            });
        } catch (Exception failure) {
            if (released.compareAndSet(false, true)) {
                inFlight.release();
            }
            throw failure;
        }
    }

    private void sendEnded(SendResult result, long start, long first, int count) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            sendFailed(result.getSendStatus().toString(), count);
            return;
        }
        if (consume) {
            for (int i = 0; i < count; i++) {
                acked.set(first + i);
            }
        }
        if (measuring) {
            long now = System.nanoTime();
            sendLatencies.add(now - start);
            ok.add(count);
            longestGap.accumulateAndGet(now - lastAck.getAndSet(now), Math::max);
        }
    }

    private void sendFailed(String why, int count) {
        if (measuring) {
            failed.add(count);
        }
        if (failuresShown.incrementAndGet() <= 3) {
            System.err.println("failed: " + why);
        }
    }

    private long awaitDelivery() throws InterruptedException {
        long deadline = System.nanoTime() + 60_000_000_000L;
        long missing;
        while ((missing = acked.missingFrom(seen, sequence.get())) > 0 && System.nanoTime() < deadline) {
            Thread.sleep(100);
        }
        return missing;
    }

    private Message message(long number) {
        byte[] body = new byte[size];
        ByteBuffer.wrap(body).putLong(number == 0 ? 0 : run).putLong(number).putLong(System.nanoTime());
        return new Message(topic, body);
    }

    private static int option(List<String> words, String prefix, int otherwise) {
        return words.stream().filter(word -> word.startsWith(prefix)).map(word -> word.substring(prefix.length()))
            .mapToInt(Integer::parseInt).findFirst().orElse(otherwise);
    }

    /** A set of sequence numbers below 2^28. */
    private static final class Bits {
        private static final long LIMIT = 1L << 28;
        private final AtomicLongArray words = new AtomicLongArray((int) (LIMIT / 64));

        /** False when the number was there already. */
        boolean set(long number) {
            if (number < 0 || number >= LIMIT) {
                throw new IllegalStateException("sequence number " + number + " is not below " + LIMIT);
            }
            long bit = 1L << (number & 63);
            return (words.getAndAccumulate((int) (number >>> 6), bit, (old, more) -> old | more) & bit) == 0;
        }

        /** How many of these up to last are not in the other. */
        long missingFrom(Bits other, long last) {
            long missing = 0;
            for (int word = 0; word <= (int) (last >>> 6); word++) {
                missing += Long.bitCount(words.get(word) & ~other.words.get(word));
            }
            return missing;
        }
    }

    /** Counts in buckets of at most 1.6 % width. */
    private static final class Latencies {
        private static final int SUB_BITS = 6;
        private final AtomicLongArray buckets = new AtomicLongArray((64 - SUB_BITS) << SUB_BITS);
        private final AtomicLong longest = new AtomicLong();

        void add(long nanoseconds) {
            long value = Math.max(nanoseconds, 1);
            int shift = Math.max(0, 63 - SUB_BITS - Long.numberOfLeadingZeros(value));
            buckets.incrementAndGet((shift << SUB_BITS) + (int) (value >>> shift));
            longest.accumulateAndGet(value, Math::max);
        }

        String json() {
            long count = 0;
            for (int i = 0; i < buckets.length(); i++) {
                count += buckets.get(i);
            }
            if (count == 0) {
                return "null";
            }
            return String.format("{\"p50\":%d,\"p99\":%d,\"p999\":%d,\"max\":%d}", at(count, 0.5), at(count, 0.99), at(count, 0.999),
                longest.get() / 1000);
        }

        private long at(long count, double share) {
            long wanted = (long) Math.ceil(count * share);
            long passed = 0;
            for (int i = 0; i < buckets.length(); i++) {
                passed += buckets.get(i);
                if (passed >= wanted) {
                    int shift = i < (2 << SUB_BITS) ? 0 : (i >>> SUB_BITS) - 1;
                    return (((long) i - ((long) shift << SUB_BITS)) << shift) / 1000;
                }
            }
            throw new AssertionError("a share above one: " + share);
        }
    }
}
