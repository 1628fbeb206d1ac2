import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * Open loop: message i is due at start + i / rate, whatever became of those before it, and its latency is the time from then to its receipt.
 * Without a rate a closed loop: at most `window` messages are between their send and their receipt, and each receipt lets the next one go.
 *
 * Messages due within the measured window count. `clients` is the number of consumers; one thread sends.
 */
final class EndToEnd {
    private static final long DELIVERY_LIMIT_NANOS = 10_000_000_000L;

    private final Settings settings;
    private final Report report = new Report();
    private final long run = System.nanoTime();
    private volatile long windowStart;
    private volatile long windowEnd;
    private volatile boolean running = true;
    /** Places for messages between send and receipt; null with a rate. */
    private final Semaphore room;

    EndToEnd(Settings settings) {
        this.settings = settings;
        room = settings.rate > 0 ? null : new Semaphore(settings.window);
    }

    void work() throws Exception {
        CountDownLatch positioned = new CountDownLatch(settings.clients);
        List<Thread> consumers = new ArrayList<>();
        for (int i = 0; i < settings.clients; i++) {
            int index = i;
            Thread consumer = new Thread(() -> consume(index, positioned), "consumer-" + i);
            consumer.setDaemon(true);
            consumer.start();
            consumers.add(consumer);
        }
        if (!positioned.await(60, TimeUnit.SECONDS)) {
            throw new IllegalStateException("the consumers are not positioned within a minute");
        }
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings.producer())) {
            producer.partitionsFor(settings.topic);
            send(producer);
            report.end();
            producer.flush();
            awaitDelivery();
            running = false;
            for (Thread consumer : consumers) {
                consumer.join(10_000);
            }
            report.print(settings, report.received.sum(), settings.size, settings.seconds);
        }
    }

    private void send(KafkaProducer<byte[], byte[]> producer) throws InterruptedException {
        long start = System.nanoTime();
        windowStart = start + (long) (settings.warmup * 1e9);
        windowEnd = windowStart + (long) (settings.seconds * 1e9);
        for (long number = 0; ; number++) {
            long due = room == null ? start + (long) (number * (1e9 / settings.rate)) : whenThereIsRoom();
            if (due >= windowEnd) {
                return;
            }
            if (due >= windowStart && !report.open()) {
                report.begin();
            }
            for (long wait = due - System.nanoTime(); wait > 0; wait = due - System.nanoTime()) {
                LockSupport.parkNanos(wait);
            }
            sendOne(producer, number, due);
        }
    }

    /** Takes a place and tells the time; what is waited for may have been lost, so the end of the window ends it too. */
    private long whenThereIsRoom() throws InterruptedException {
        while (!room.tryAcquire(100, TimeUnit.MILLISECONDS)) {
            if (System.nanoTime() >= windowEnd) {
                break;
            }
        }
        return System.nanoTime();
    }

    private void sendOne(KafkaProducer<byte[], byte[]> producer, long number, long due) {
        boolean counts = due >= windowStart;
        byte[] body = new byte[settings.size];
        ByteBuffer.wrap(body).putLong(run).putLong(number).putLong(due);
        if (counts) {
            report.sent.increment();
        }
        producer.send(new ProducerRecord<>(settings.topic, body), (where, failure) -> {
            if (failure != null) {
                report.failure(failure);
                if (room != null) {
                    room.release();
                }
            }
            if (counts) {
                (failure == null ? report.acked : report.failed).increment();
            }
        });
    }

    private void consume(int index, CountDownLatch positioned) {
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings.consumer())) {
            List<TopicPartition> mine = KafkaLoad.share(consumer, settings.topic, index, settings.clients);
            consumer.assign(mine);
            consumer.seekToEnd(mine);
            mine.forEach(consumer::position);
            positioned.countDown();
            while (running && !mine.isEmpty()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    receive(ByteBuffer.wrap(record.value()));
                }
            }
        }
    }

    private void receive(ByteBuffer header) {
        if (header.getLong() != run) {
            return;
        }
        header.getLong();
        if (room != null) {
            room.release();
        }
        long due = header.getLong();
        if (due >= windowStart && due < windowEnd) {
            report.latency(System.nanoTime() - due);
            report.received.increment();
        }
    }

    private void awaitDelivery() throws InterruptedException {
        long deadline = System.nanoTime() + DELIVERY_LIMIT_NANOS;
        while (report.received.sum() < report.acked.sum() && System.nanoTime() < deadline) {
            Thread.sleep(10);
        }
    }
}
