import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * Drains what the topic holds, from the start, until `messages` have come: each client is a thread with a consumer that owns its share of the
 * partitions. The time runs from when all are connected and positioned to the last message. With a warm-up they read it over and over first.
 */
final class Consume {
    /** After so long without a message the rest is taken to be missing. */
    private static final long IDLE_NANOS = 10_000_000_000L;

    private final Settings settings;
    private final Report report = new Report();
    private final LongAdder bytes = new LongAdder();
    private final AtomicLong received = new AtomicLong();
    private final AtomicLong last = new AtomicLong();
    private volatile Throwable broken;

    Consume(Settings settings) {
        if (settings.messages < 1) {
            throw new IllegalArgumentException("consume needs --messages");
        }
        this.settings = settings;
    }

    void work() throws Exception {
        int clients = settings.clients;
        long[] start = new long[1];
        CyclicBarrier ready = new CyclicBarrier(clients, () -> {
            report.begin();
            start[0] = System.nanoTime();
            last.set(start[0]);
        });
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < clients; i++) {
            int index = i;
            Thread thread = new Thread(() -> client(index, ready), "client-" + i);
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        report.end();
        if (broken != null) {
            throw new IllegalStateException("a client ended early", broken);
        }
        long total = received.get();
        report.received.add(total);
        report.print(settings, total, total == 0 ? 0 : (double) bytes.sum() / total, (last.get() - start[0]) / 1e9);
        if (total < settings.messages) {
            System.err.println("only " + total + " of " + settings.messages + " messages came");
            System.out.flush();
            Runtime.getRuntime().halt(1);
        }
    }

    private void client(int index, CyclicBarrier ready) {
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings.consumer())) {
            List<TopicPartition> mine = KafkaLoad.share(consumer, settings.topic, index, settings.clients);
            consumer.assign(mine);
            consumer.seekToBeginning(mine);
            mine.forEach(consumer::position);
            warm(consumer, mine);
            ready.await();
            drain(consumer, !mine.isEmpty());
        } catch (Exception failure) {
            broken = failure;
            ready.reset();
        }
    }

    private void warm(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> mine) {
        long end = System.nanoTime() + (long) (settings.warmup * 1e9);
        while (System.nanoTime() < end && !mine.isEmpty()) {
            if (consumer.poll(Duration.ofMillis(200)).isEmpty()) {
                consumer.seekToBeginning(mine);
            }
        }
        consumer.seekToBeginning(mine);
        mine.forEach(consumer::position);
    }

    private void drain(KafkaConsumer<byte[], byte[]> consumer, boolean any) {
        while (any && received.get() < settings.messages && System.nanoTime() - last.get() < IDLE_NANOS) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) {
                continue;
            }
            long size = 0;
            for (ConsumerRecord<byte[], byte[]> record : records) {
                size += record.value().length;
            }
            bytes.add(size);
            long now = System.nanoTime();
            last.accumulateAndGet(now, Math::max);
            received.addAndGet(records.count());
        }
    }
}
