package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** The delay levels: never early, once, unchanged. */
class DelayTest extends Compat {
    /** Milliseconds of levels 1 to 3; messageDelayLevel's default begins with 1s 5s 10s. */
    private static final Map<Integer, Long> LEVELS = Map.of(1, 1_000L, 2, 5_000L, 3, 10_000L);

    @Test
    void delayedMessagesComeOnceAndNotEarly() throws Exception {
        String topic = newTopic("delay", 4);
        Deliveries deliveries = Deliveries.accepted();
        pushConsumer(unique("delay_group"), topic, "*", deliveries);
        DefaultMQProducer producer = producer();
        Map<String, Long> dueAt = new HashMap<>();
        for (int i = 0; i < 60; i++) {
            int level = 1 + i % 3;
            Message message = message(topic, "Tag" + level, "level " + level + " number " + i);
            message.setKeys("key-" + i);
            message.setDelayTimeLevel(level);
            // Before the send: a broker takes the time at which it stores.
            dueAt.put("level " + level + " number " + i, System.currentTimeMillis() + LEVELS.get(level));
            assertEquals(SendStatus.SEND_OK, producer.send(message).getSendStatus());
        }
        producer.send(message(topic, "", "at once"));
        await("61 messages", LIMIT, () -> deliveries.all().stream().map(Deliveries.Delivery::body).distinct().count() == 61);
        assertEquals(61, deliveries.count(), "each once");
        for (Deliveries.Delivery delivery : deliveries.all()) {
            Long due = dueAt.get(delivery.body());
            if (due != null) {
                assertTrue(delivery.atMs() >= due, delivery.body() + " came " + (due - delivery.atMs()) + " ms early");
                assertEquals(topic, delivery.topic());
                assertEquals("Tag" + delivery.body().charAt(6), delivery.message().getTags());
                assertEquals("key-" + delivery.body().substring(15), delivery.message().getKeys());
                assertEquals(0, delivery.reconsumeTimes());
            }
        }
    }

    @Test
    void aDelayedMessageIsNotInItsTopicBeforeItsTime() throws Exception {
        String topic = newTopic("delay_hidden", 1);
        DefaultMQProducer producer = producer();
        MessageQueue queue = queues(producer, topic).get(0);
        DefaultMQPullConsumer reader = pullConsumer(unique("delay_reader"));
        Message message = message(topic, "TagA", "hidden");
        message.setDelayTimeLevel(2);
        long before = System.currentTimeMillis();
        SendResult sent = producer.send(message);
        while (System.currentTimeMillis() < before + 4_500) {
            assertEquals(0, reader.maxOffset(queue));
            Thread.sleep(250);
        }
        await("the message in its topic", LIMIT, () -> reader.maxOffset(queue) == 1);
        MessageExt stored = readAll(reader, queue).get(0);
        assertTrue(stored.getStoreTimestamp() >= before + 5_000, "stored " + (stored.getStoreTimestamp() - before) + " ms after the send");
        assertEquals("hidden", text(stored));
        assertEquals(sent.getMsgId(), stored.getMsgId());
        // Kept as they were at the send; nothing reads them a second time.
        assertEquals("2", stored.getProperty("DELAY"));
        assertEquals(topic, stored.getProperty("REAL_TOPIC"));
        assertEquals(1, readAll(reader, queue).size());
    }

    @Test
    void aLevelAboveTheLastIsTheLast() throws Exception {
        String topic = newTopic("delay_last", 1);
        DefaultMQProducer producer = producer();
        Message message = message(topic, "", "in two hours");
        message.setDelayTimeLevel(99);
        SendResult sent = producer.send(message);
        assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
        MessageExt stored = producer.viewMessage(topic, sent.getOffsetMsgId());
        assertEquals("SCHEDULE_TOPIC_XXXX", stored.getTopic());
        assertEquals(17, stored.getQueueId());
        assertEquals(0, pullConsumer(unique("delay_last_reader")).maxOffset(queues(producer, topic).get(0)));
    }
}
