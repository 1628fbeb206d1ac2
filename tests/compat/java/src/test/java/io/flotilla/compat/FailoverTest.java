package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Isolated;

/**
 * Ten leader changes during a running producer and a running consumer, both with the client's own defaults.
 *
 * Each change is asked for at the admin address FLOTILLA_ADMIN and must be followed by fresh acks and fresh deliveries before the next.
 * At the end every stored message was delivered, every acked one was stored at its acked place, and no send had failed.
 *
 * COMPAT_POLL_MS sets the clients' route refresh and COMPAT_FAILED_SENDS_MAX the sends that may fail: for servers whose followers don't forward.
 */
@Tag(Compat.FLOTILLA)
@Isolated("changes leaders")
class FailoverTest extends Compat {
    private static final int CHANGES = 10;
    private static final int SENDERS = 4;

    private final AtomicBoolean running = new AtomicBoolean(true);
    private final AtomicInteger sent = new AtomicInteger();
    /** Body to its place, as acked. */
    private final ConcurrentHashMap<String, String> acked = new ConcurrentHashMap<>();
    private final ConcurrentLinkedQueue<String> failed = new ConcurrentLinkedQueue<>();

    @Test
    void nothingIsLostOverTenLeaderChanges() throws Exception {
        Group group = Group.underTest();
        String topic = newTopic("failover", 4);
        Collector collector = new Collector();
        DefaultMQPushConsumer consumer = newPushConsumer(unique("failover_group"), topic, "*", collector);
        pollAsConfigured(consumer::setPollNameServerInterval);
        consumer.start();
        closeAtEnd(consumer::shutdown);

        DefaultMQProducer producer = newProducer();
        pollAsConfigured(producer::setPollNameServerInterval);
        producer.start();
        closeAtEnd(producer::shutdown);
        List<Thread> senders = startSenders(producer, topic);
        try {
            awaitProgress(collector, "before the first change");
            for (int change = 1; change <= CHANGES; change++) {
                group.changeLeader(change);
                awaitProgress(collector, "after leader change " + change);
            }
        } finally {
            running.set(false);
            for (Thread sender : senders) {
                sender.join(LIMIT.toMillis());
            }
        }
        assertTrue(senders.stream().noneMatch(Thread::isAlive), "a send hangs");

        DefaultMQPullConsumer reader = pullConsumer(unique("failover_reader"));
        Set<String> places = new HashSet<>();
        ConcurrentHashMap<String, String> storedBodies = new ConcurrentHashMap<>();
        for (MessageQueue queue : queues(producer, topic)) {
            readAll(reader, queue).forEach(message -> {
                String place = message.getQueueId() + "@" + message.getQueueOffset();
                assertTrue(places.add(place), "two messages at " + place);
                storedBodies.put(place, text(message));
            });
        }
        await("each of " + places.size() + " stored messages delivered", LIMIT, () -> collector.distinct() >= places.size());
        System.err.printf("fail-over: %d leader changes, sent %d, acked %d, failed %d, stored %d, delivered %d, delivered again %d, stored again %d%n",
            CHANGES, sent.get(), acked.size(), failed.size(), places.size(), collector.distinct(), collector.duplicates(),
            storedBodies.size() - new HashSet<>(storedBodies.values()).size());
        acked.forEach((body, place) -> assertEquals(body, storedBodies.get(place), "message acked at " + place));
        assertEquals(places.size(), collector.distinct());
        Set<String> missing = new HashSet<>(acked.keySet());
        missing.removeAll(collector.bodies());
        assertEquals(Set.of(), missing, "acked but never delivered");
        assertTrue(failed.size() <= failedSendsMax(), () -> failed.size() + " failed sends, the first: " + failed.peek());
    }

    private List<Thread> startSenders(DefaultMQProducer producer, String topic) {
        List<Thread> senders = new ArrayList<>();
        for (int i = 0; i < SENDERS; i++) {
            Thread sender = new Thread(() -> {
                while (running.get()) {
                    String body = "body " + sent.incrementAndGet();
                    try {
                        SendResult result = producer.send(message(topic, "", body));
                        if (result.getSendStatus() == SendStatus.SEND_OK) {
                            acked.put(body, result.getMessageQueue().getQueueId() + "@" + result.getQueueOffset());
                        } else {
                            failed.add(body + ": " + result.getSendStatus());
                        }
                    } catch (Exception exception) {
                        failed.add(body + ": " + exception);
                    }
                }
            }, "sender-" + i);
            sender.start();
            senders.add(sender);
        }
        return senders;
    }

    /** Both ends move on by a hundred messages that were not sent before this call. */
    private void awaitProgress(Collector collector, String when) {
        int ackedAtLeast = acked.size() + 100;
        await("100 more acks " + when, LIMIT, () -> acked.size() >= ackedAtLeast);
        int sentSoFar = sent.get();
        await("deliveries to go on " + when, LIMIT, () -> collector.distinct() >= sentSoFar - failed.size());
    }

    private interface PollSetter {
        void set(int milliseconds);
    }

    private static void pollAsConfigured(PollSetter setter) {
        String milliseconds = System.getenv("COMPAT_POLL_MS");
        if (milliseconds != null) {
            setter.set(Integer.parseInt(milliseconds));
        }
    }

    private static int failedSendsMax() {
        String most = System.getenv("COMPAT_FAILED_SENDS_MAX");
        return most == null ? 0 : Integer.parseInt(most);
    }
}
