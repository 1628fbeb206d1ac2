package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Isolated;

/** What must hold while leaders change under clients at their defaults: retries, delays, order, replies, offsets. */
@Tag(Compat.FLOTILLA)
@Isolated("changes leaders")
class LeaderChangeTest extends Compat {
    private Group leaders;

    @BeforeEach
    void findGroup() {
        leaders = Group.underTest();
    }

    @Test
    void nothingSentBackIsLost() throws Exception {
        String topic = newTopic("retry_change", 4);
        Deliveries deliveries = Deliveries.failing(2);
        pushConsumer(unique("retry_change_group"), topic, "*", deliveries);
        DefaultMQProducer producer = producer();
        int count = 120;
        for (int i = 0; i < count; i++) {
            producer.send(message(topic, "", "body " + i));
            if (i % 30 == 15) {
                leaders.changeLeader(i / 30 + 1);
            }
        }
        await("a third delivery of each of " + count, LIMIT,
            () -> deliveries.all().stream().filter(delivery -> delivery.reconsumeTimes() == 2).map(Deliveries.Delivery::body).distinct().count() == count);
        assertTrue(deliveries.all().stream().allMatch(delivery -> delivery.reconsumeTimes() <= 2), "a message that was accepted came back");
    }

    @Test
    void delayedMessagesComeOnceAndNotEarly() throws Exception {
        Map<Integer, Long> levels = Map.of(1, 1_000L, 2, 5_000L, 3, 10_000L);
        String topic = newTopic("delay_change", 4);
        DefaultMQProducer producer = producer();
        DefaultMQPullConsumer reader = pullConsumer(unique("delay_change_reader"));
        Map<String, Long> dueAt = new HashMap<>();
        int count = 300;
        for (int i = 0; i < count; i++) {
            int level = 1 + i % 3;
            Message message = message(topic, "", "number " + i);
            message.setDelayTimeLevel(level);
            dueAt.put("number " + i, System.currentTimeMillis() + levels.get(level));
            producer.send(message);
            if (i % 60 == 30) {
                leaders.changeLeader(i / 60 + 1);
            }
        }
        // The changes go on while the wheel turns.
        for (int change = 6; change <= 12; change++) {
            leaders.changeLeader(change);
        }
        List<MessageQueue> queues = queues(producer, topic);
        await(count + " messages", LIMIT, () -> {
            long stored = 0;
            for (MessageQueue queue : queues) {
                stored += reader.maxOffset(queue);
            }
            return stored >= count;
        });
        List<MessageExt> stored = new ArrayList<>();
        for (MessageQueue queue : queues) {
            stored.addAll(readAll(reader, queue));
        }
        assertEquals(count, stored.size(), "each once");
        assertEquals(dueAt.keySet(), stored.stream().map(Compat::text).collect(Collectors.toSet()));
        Map<String, Long> early = new HashMap<>();
        stored.forEach(message -> {
            long ms = dueAt.get(text(message)) - message.getStoreTimestamp();
            if (ms > 0) {
                early.put(text(message), ms);
            }
        });
        assertEquals(Map.of(), early, "milliseconds too early");
    }

    @Test
    void theOrderOfAKeyHoldsOverTenChanges() throws Exception {
        String topic = newTopic("order_change", 4);
        String group = unique("order_change_group");
        OrderCheck check = new OrderCheck();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = newOrderlyConsumer(group, topic, check.listener());
            consumer.start();
            closeAtEnd(consumer::shutdown);
            consumers.add(consumer);
        }
        awaitShared(topic, 4, consumers);
        AtomicBoolean running = new AtomicBoolean(true);
        List<Thread> senders = new ArrayList<>();
        for (int thread = 0; thread < 4; thread++) {
            DefaultMQProducer producer = producer();
            int first = thread;
            Thread sender = new Thread(() -> {
                for (int number = 0; running.get(); number++) {
                    check.sendUntilStored(producer, topic, first, number);
                    check.sendUntilStored(producer, topic, first + 4, number);
                }
            }, "sender-" + thread);
            sender.start();
            senders.add(sender);
        }
        try {
            for (int change = 1; change <= 10; change++) {
                int before = check.distinct();
                await("100 more messages before change " + change, LIMIT, () -> check.distinct() >= before + 100);
                leaders.changeLeader(change);
            }
            int before = check.distinct();
            await("100 more messages after the last change", LIMIT, () -> check.distinct() >= before + 100);
        } finally {
            running.set(false);
            for (Thread sender : senders) {
                sender.join();
            }
        }
        await("everything that was sent", LIMIT, () -> check.distinct() >= check.sent());
        System.err.printf("order: 10 leader changes, sent %d, delivered %d, delivered again %d%n", check.sent(), check.distinct(), check.redelivered());
        assertEquals(List.of(), check.faults());
        // Both still have their share: nobody's locks or membership got lost.
        awaitShared(topic, 4, consumers);
    }

    @Test
    void everyRequestGetsItsReply() throws Exception {
        String topic = newTopic("reply_change", 4);
        Replier.start(this, unique("replier_group"), topic);
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 60; i++) {
            if (i % 10 == 5) {
                leaders.changeLeader(i / 10 + 1);
            }
            Message reply = producer.request(message(topic, "", "question " + i), 20_000);
            assertEquals("answer to question " + i, new String(reply.getBody(), java.nio.charset.StandardCharsets.UTF_8));
        }
    }

    @Test
    void committedOffsetsNeverGoBack() throws Exception {
        String topic = newTopic("offset_change", 4);
        String group = unique("offset_change_group");
        Deliveries deliveries = Deliveries.accepted();
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", deliveries);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.start();
        closeAtEnd(consumer::shutdown);
        DefaultMQProducer producer = producer();
        DefaultMQPullConsumer witness = pullConsumer(group + "_witness");
        var admin = admin();
        Map<MessageQueue, Long> highest = new HashMap<>();
        int sent = 0;
        for (int change = 1; change <= 10; change++) {
            for (int i = 0; i < 40; i++) {
                producer.send(message(topic, "", "body " + sent));
                sent += 1;
            }
            leaders.changeLeader(change);
            admin.examineConsumeStats(group, topic).getOffsetTable().forEach((queue, offsets) -> {
                Long before = highest.merge(queue, offsets.getConsumerOffset(), Math::max);
                assertTrue(offsets.getConsumerOffset() >= before, queue + " went back from " + before + " to " + offsets.getConsumerOffset());
                assertTrue(offsets.getBrokerOffset() >= offsets.getConsumerOffset(), queue + " has a negative lag");
            });
        }
        List<MessageQueue> queues = queues(producer, topic);
        await("all offsets at the end", LIMIT, () -> {
            long lag = 0;
            var table = admin.examineConsumeStats(group, topic).getOffsetTable();
            for (MessageQueue queue : queues) {
                lag += witness.maxOffset(queue) - table.get(queue).getConsumerOffset();
            }
            return lag == 0;
        });
        assertEquals(sent, deliveries.all().stream().map(Deliveries.Delivery::body).distinct().count());
    }
}
