import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Closed loop: each client is a thread that keeps `window` sends in flight, or sends `batch` messages and waits for all of them.
 *
 * What is acked within the measured window counts. A batch is one latency: from its first send to its last ack.
 */
final class Produce {
    private final Settings settings;
    private final Report report = new Report();
    private volatile boolean running = true;

    Produce(Settings settings) {
        this.settings = settings;
    }

    void work() throws InterruptedException {
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (int i = 0; i < Math.min(settings.connections, settings.clients); i++) {
            producers.add(new KafkaProducer<>(settings.producer()));
        }
        List<Thread> clients = new ArrayList<>();
        for (int i = 0; i < settings.clients; i++) {
            KafkaProducer<byte[], byte[]> producer = producers.get(i % producers.size());
            Thread client = new Thread(() -> client(producer), "client-" + i);
            client.setDaemon(true);
            client.start();
            clients.add(client);
        }
        TimeUnit.MICROSECONDS.sleep((long) (settings.warmup * 1e6));
        report.begin();
        TimeUnit.MICROSECONDS.sleep((long) (settings.seconds * 1e6));
        report.end();
        running = false;
        for (Thread client : clients) {
            client.join(10_000);
        }
        report.print(settings, report.acked.sum(), settings.size, 0);
        producers.forEach(producer -> producer.close(Duration.ofSeconds(5)));
    }

    private void client(KafkaProducer<byte[], byte[]> producer) {
        Semaphore inFlight = new Semaphore(settings.window);
        byte[] body = new byte[settings.size];
        try {
            while (running) {
                if (settings.batch > 0) {
                    batch(producer, body);
                } else {
                    inFlight.acquire();
                    single(producer, body, inFlight);
                }
            }
            inFlight.tryAcquire(settings.window, 10, TimeUnit.SECONDS);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    private void single(KafkaProducer<byte[], byte[]> producer, byte[] body, Semaphore inFlight) {
        long start = System.nanoTime();
        countSent(1);
        try {
            producer.send(new ProducerRecord<>(settings.topic, body), (where, failure) -> {
                inFlight.release();
                ended(start, 1, failure == null ? 0 : 1);
                if (failure != null) {
                    report.failure(failure);
                }
            });
        } catch (RuntimeException failure) {
            inFlight.release();
            ended(start, 1, 1);
            report.failure(failure);
        }
    }

    private void batch(KafkaProducer<byte[], byte[]> producer, byte[] body) throws InterruptedException {
        long start = System.nanoTime();
        countSent(settings.batch);
        CountDownLatch open = new CountDownLatch(settings.batch);
        AtomicInteger bad = new AtomicInteger();
        for (int i = 0; i < settings.batch; i++) {
            try {
                producer.send(new ProducerRecord<>(settings.topic, body), (where, failure) -> {
                    if (failure != null) {
                        bad.incrementAndGet();
                        report.failure(failure);
                    }
                    open.countDown();
                });
            } catch (RuntimeException failure) {
                bad.incrementAndGet();
                report.failure(failure);
                open.countDown();
            }
        }
        open.await();
        ended(start, settings.batch, bad.get());
    }

    private void countSent(int count) {
        if (report.open()) {
            report.sent.add(count);
        }
    }

    private void ended(long start, int count, int failed) {
        if (!report.open()) {
            return;
        }
        report.failed.add(failed);
        report.acked.add(count - failed);
        if (failed == 0) {
            report.latency(System.nanoTime() - start);
        }
    }
}
