package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** MessageListenerOrderly: the order of a key, one consumer at a time in a queue, and a queue that waits for its message. */
class OrderlyTest extends Compat {
    @Test
    void theMessagesOfAKeyArriveInTheirOrder() throws Exception {
        String topic = newTopic("order", 4);
        String group = unique("order_group");
        OrderCheck check = new OrderCheck();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = newOrderlyConsumer(group, topic, check.listener());
            consumer.start();
            closeAtEnd(consumer::shutdown);
            consumers.add(consumer);
        }
        awaitShared(topic, 4, consumers);
        DefaultMQProducer producer = producer();
        for (int number = 0; number < 60; number++) {
            for (int key = 0; key < 8; key++) {
                OrderCheck.send(producer, topic, key, number);
            }
        }
        await("480 messages", LIMIT, () -> check.distinct() == 480);
        assertEquals(List.of(), check.faults());
        assertEquals(0, check.redelivered());
        assertEquals(2, check.listeners(), "both consumers had a share");
    }

    @Test
    void aConsumerThatJoinsTakesOverWithoutBreakingTheOrder() throws Exception {
        String topic = newTopic("order_join", 4);
        String group = unique("order_join_group");
        OrderCheck check = new OrderCheck();
        DefaultMQPushConsumer first = newOrderlyConsumer(group, topic, check.listener());
        first.start();
        closeAtEnd(first::shutdown);
        awaitShared(topic, 4, List.of(first));
        DefaultMQProducer producer = producer();
        AtomicBoolean running = new AtomicBoolean(true);
        Thread sender = new Thread(() -> {
            for (int number = 0; running.get(); number++) {
                for (int key = 0; key < 8; key++) {
                    check.sendUntilStored(producer, topic, key, number);
                }
            }
        }, "sender");
        sender.start();
        try {
            await("some messages at the first", LIMIT, () -> check.distinct() > 100);
            DefaultMQPushConsumer second = newOrderlyConsumer(group, topic, check.listener());
            second.start();
            try {
                awaitShared(topic, 4, List.of(first, second));
                int before = check.distinct();
                await("messages at both", LIMIT, () -> check.distinct() > before + 100 && check.listeners() == 2);
            } finally {
                second.shutdown();
            }
            awaitShared(topic, 4, List.of(first));
        } finally {
            running.set(false);
            sender.join();
        }
        await("everything that was sent", LIMIT, () -> check.distinct() == check.sent());
        assertEquals(List.of(), check.faults());
    }

    @Test
    void aQueueWaitsForTheMessageThatFailed() throws Exception {
        String topic = newTopic("order_wait", 2);
        DefaultMQProducer producer = producer();
        List<MessageQueue> queues = queues(producer, topic);
        for (int i = 0; i < 3; i++) {
            producer.send(message(topic, "", "a" + i), queues.get(0));
            producer.send(message(topic, "", "b" + i), queues.get(1));
        }
        List<String> seen = new CopyOnWriteArrayList<>();
        List<Integer> counts = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = newOrderlyConsumer(unique("order_wait_group"), topic, (messages, context) -> {
            String body = text(messages.get(0));
            seen.add(body);
            context.setSuspendCurrentQueueTimeMillis(50);
            if (body.equals("a1")) {
                counts.add(messages.get(0).getReconsumeTimes());
                return counts.size() < 4 ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        closeAtEnd(consumer::shutdown);
        await("nine deliveries", LIMIT, () -> seen.size() >= 9);
        assertEquals(List.of("a0", "a1", "a1", "a1", "a1", "a2"), seen.stream().filter(body -> body.startsWith("a")).toList());
        assertEquals(List.of("b0", "b1", "b2"), seen.stream().filter(body -> body.startsWith("b")).toList());
        assertEquals(List.of(0, 1, 2, 3), counts);
    }
}
