package io.flotilla.compat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Numbered messages of several keys, and what orderly consumers make of them.
 *
 * A key's number must follow the one before it, or go back to one that was delivered already: a redelivery of what was not committed, after which
 * the numbers follow one another again. A number that was skipped, and two consumers in one queue at the same time, are faults.
 */
final class OrderCheck {
    private static final int FAULTS_SHOWN = 20;

    private final AtomicInteger faultCount = new AtomicInteger();
    private final Map<Integer, Integer> lastOfKey = new HashMap<>();
    private final Set<String> bodies = new HashSet<>();
    private final Set<Integer> active = new HashSet<>();
    private final ConcurrentMap<Integer, Integer> queueHolders = new ConcurrentHashMap<>();
    private final List<String> faults = new CopyOnWriteArrayList<>();
    private final AtomicInteger sent = new AtomicInteger();
    private final AtomicInteger listeners = new AtomicInteger();
    private int redelivered;

    /** Each key to the queue with its number, so that the order of a key is that of a queue. */
    static void send(DefaultMQProducer producer, String topic, int key, int number) throws Exception {
        var result = producer.send(Compat.message(topic, "", key + ":" + number), (queues, message, argument) -> queues.get((Integer) argument % queues.size()), key);
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException(result.toString());
        }
    }

    /** Sends again what failed: it may be stored twice then, one after the other. */
    void sendUntilStored(DefaultMQProducer producer, String topic, int key, int number) {
        while (true) {
            try {
                send(producer, topic, key, number);
                sent.incrementAndGet();
                return;
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                return;
            } catch (Exception failed) {
                fault("send of " + key + ":" + number + " failed: " + failed);
                pause();
            }
        }
    }

    /** One for each consumer, so that two of them in one queue are seen. */
    MessageListenerOrderly listener() {
        int own = active.size();
        active.add(own);
        Set<Integer> used = ConcurrentHashMap.newKeySet();
        return (messages, context) -> {
            if (used.add(0)) {
                listeners.incrementAndGet();
            }
            for (MessageExt message : messages) {
                Integer other = queueHolders.putIfAbsent(message.getQueueId(), own);
                if (other != null) {
                    fault("consumers " + other + " and " + own + " in queue " + message.getQueueId() + " at the same time");
                }
                note(Compat.text(message));
                // Long enough for another consumer to be met here.
                Thread.yield();
                queueHolders.remove(message.getQueueId(), own);
            }
            return ConsumeOrderlyStatus.SUCCESS;
        };
    }

    /** Keeps the first ones and counts all. */
    private void fault(String what) {
        if (faultCount.incrementAndGet() <= FAULTS_SHOWN) {
            faults.add(what);
        }
    }

    private static void pause() {
        try {
            Thread.sleep(100);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized void note(String body) {
        int colon = body.indexOf(':');
        int key = Integer.parseInt(body.substring(0, colon));
        int number = Integer.parseInt(body.substring(colon + 1));
        Integer last = lastOfKey.put(key, number);
        if (number > (last == null ? -1 : last) + 1) {
            fault("key " + key + ": " + number + " after " + last);
        }
        if (!bodies.add(body)) {
            redelivered += 1;
        }
    }

    synchronized int distinct() {
        return bodies.size();
    }

    synchronized int redelivered() {
        return redelivered;
    }

    /** Listeners that got at least one message. */
    int listeners() {
        return listeners.get();
    }

    int sent() {
        return sent.get();
    }

    List<String> faults() {
        List<String> shown = new ArrayList<>(faults);
        if (faultCount.get() > FAULTS_SHOWN) {
            shown.add("... " + faultCount.get() + " in all");
        }
        return shown;
    }
}
