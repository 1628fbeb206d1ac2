package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** Messages that a consumer could not handle: they come back later with a count, and in the end rest in the group's dead-letter topic. */
class RetryTest extends Compat {
    @Test
    void aFailedMessageComesBackUnchangedWithItsCount() throws Exception {
        String topic = newTopic("retry", 2);
        String group = unique("retry_group");
        Deliveries deliveries = new Deliveries((message, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            return text(message).equals("again") && message.getReconsumeTimes() < 3 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        pushConsumer(group, topic, "*", deliveries);
        DefaultMQProducer producer = producer();
        Message sent = new Message(topic, "TagR", "key-r", 5, bytes("again"), true);
        sent.putUserProperty("colour", "blue");
        SendResult result = producer.send(sent);
        producer.send(message(topic, "", "bystander"));

        await("four deliveries", LIMIT, () -> deliveries.of("again").size() >= 4);
        List<Deliveries.Delivery> all = deliveries.of("again");
        assertEquals(List.of(0, 1, 2, 3), all.stream().map(Deliveries.Delivery::reconsumeTimes).toList());
        for (Deliveries.Delivery delivery : all) {
            // The client shows a retried message under the topic it was sent to.
            assertEquals(topic, delivery.topic());
            assertEquals("TagR", delivery.message().getTags());
            assertEquals("key-r", delivery.message().getKeys());
            assertEquals("blue", delivery.message().getUserProperty("colour"));
            assertEquals(5, delivery.message().getFlag());
            assertEquals(result.getMsgId(), delivery.message().getMsgId());
            assertEquals(all.get(0).message().getBornTimestamp(), delivery.message().getBornTimestamp());
        }
        for (int i = 1; i < all.size(); i++) {
            long apart = all.get(i).atMs() - all.get(i - 1).atMs();
            assertTrue(apart >= 1_000, "level 1 is one second; delivery " + i + " came after " + apart + " ms");
            // Of the first copy, however often it was sent back.
            assertEquals(result.getOffsetMsgId(), all.get(i).message().getProperty("ORIGIN_MESSAGE_ID"));
        }
        assertEquals(1, deliveries.of("bystander").size());
    }

    @Test
    void withoutALevelTheFirstRetryComesAfterTenSeconds() throws Exception {
        String topic = newTopic("retry_default", 1);
        Deliveries deliveries = new Deliveries((message, context) ->
            message.getReconsumeTimes() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        pushConsumer(newGroup("retry_default_group"), topic, "*", deliveries);
        producer().send(message(topic, "", "later"));
        await("two deliveries", LIMIT, () -> deliveries.count() >= 2);
        long apart = deliveries.all().get(1).atMs() - deliveries.all().get(0).atMs();
        // Level 3 for the first retry: levels 1 and 2 are skipped (RocketMQ 5.5 AbstractSendMessageProcessor).
        assertTrue(apart >= 10_000, "came back after " + apart + " ms");
        assertEquals(1, deliveries.all().get(1).reconsumeTimes());
    }

    @Test
    void anExceptionInTheListenerIsAFailure() throws Exception {
        String topic = newTopic("retry_exception", 1);
        List<Integer> counts = new CopyOnWriteArrayList<>();
        pushConsumer(newGroup("retry_exception_group"), topic, "*", (messages, context) -> {
            counts.add(messages.get(0).getReconsumeTimes());
            context.setDelayLevelWhenNextConsume(1);
            if (counts.size() == 1) {
                throw new IllegalStateException("the application's own fault");
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        producer().send(message(topic, "", "unlucky"));
        await("the second delivery", LIMIT, () -> counts.size() >= 2);
        assertEquals(List.of(0, 1), counts);
    }

    @Test
    void onlyTheMessagesAfterTheAckIndexComeBack() throws Exception {
        String topic = newTopic("retry_part", 1);
        String group = newGroup("retry_part_group");
        DefaultMQProducer producer = producer();
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            batch.add(message(topic, "", "body " + i));
        }
        producer.send(batch);
        List<String> again = new CopyOnWriteArrayList<>();
        List<Integer> sizes = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            if (messages.get(0).getReconsumeTimes() == 0) {
                sizes.add(messages.size());
                // The first five are done, the others not.
                context.setAckIndex(4);
            } else {
                messages.forEach(message -> again.add(text(message)));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.setConsumeMessageBatchMaxSize(8);
        consumer.start();
        closeAtEnd(consumer::shutdown);
        await("the three that were not acknowledged", LIMIT, () -> again.size() >= 3);
        assertEquals(List.of(8), sizes, "handed over in one piece");
        assertEquals(Set.of("body 5", "body 6", "body 7"), Set.copyOf(again));
        assertEquals(3, again.size());
    }

    @Test
    void afterTheLastTryAMessageRestsInTheDeadLetterTopic() throws Exception {
        String topic = newTopic("dead", 2);
        String group = newGroup("dead_group");
        Deliveries deliveries = Deliveries.failing(Integer.MAX_VALUE);
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", deliveries);
        consumer.setMaxReconsumeTimes(2);
        consumer.start();
        closeAtEnd(consumer::shutdown);
        DefaultMQProducer producer = producer();
        Message sent = new Message(topic, "TagD", "key-d", bytes("hopeless"));
        sent.putUserProperty("colour", "black");
        SendResult result = producer.send(sent);

        List<MessageExt> dead = deadLetters(group, 1);
        assertEquals(List.of(0, 1, 2), deliveries.all().stream().map(Deliveries.Delivery::reconsumeTimes).toList());
        assertEquals(1, dead.size());
        MessageExt letter = dead.get(0);
        assertArrayEquals(bytes("hopeless"), letter.getBody());
        assertEquals("TagD", letter.getTags());
        assertEquals("key-d", letter.getKeys());
        assertEquals("black", letter.getUserProperty("colour"));
        assertEquals(topic, letter.getProperty("RETRY_TOPIC"));
        assertEquals(result.getOffsetMsgId(), letter.getProperty("ORIGIN_MESSAGE_ID"));
        assertEquals(result.getMsgId(), letter.getMsgId());
        assertEquals(3, letter.getReconsumeTimes());
    }

    @Test
    void aDeadLetterTopicIsConsumedLikeAnyOther() throws Exception {
        String topic = newTopic("dead_read", 1);
        String group = unique("dead_read_group");
        // A negative level: at once to the dead letters.
        pushConsumer(group, topic, "*", (messages, context) -> {
            context.setDelayLevelWhenNextConsume(-1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 10; i++) {
            producer.send(message(topic, "", "letter " + i));
        }
        assertEquals(10, deadLetters(group, 10).size());
        Deliveries read = Deliveries.accepted();
        pushConsumer(unique("dead_reader"), "%DLQ%" + group, "*", read);
        await("ten dead letters at a push consumer", LIMIT, () -> read.count() >= 10);
        assertEquals(10, read.all().stream().map(Deliveries.Delivery::body).collect(Collectors.toSet()).size());
    }

    @Test
    void anOrderlyConsumerGivesUpIntoTheDeadLetterTopicToo() throws Exception {
        String topic = newTopic("dead_order", 1);
        String group = unique("dead_order_group");
        DefaultMQProducer producer = producer();
        producer.send(message(topic, "", "stuck"));
        producer.send(message(topic, "", "next"));
        List<String> seen = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = newOrderlyConsumer(group, topic, (messages, context) -> {
            String body = text(messages.get(0));
            seen.add(body);
            context.setSuspendCurrentQueueTimeMillis(100);
            return body.equals("stuck") ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.setMaxReconsumeTimes(2);
        consumer.start();
        closeAtEnd(consumer::shutdown);
        await("the next message of the queue", LIMIT, () -> seen.contains("next"));
        assertEquals(List.of("stuck", "stuck", "stuck", "next"), seen);
        List<MessageExt> dead = deadLetters(group, 1);
        assertEquals(List.of("stuck"), dead.stream().map(Compat::text).toList());
        assertEquals(topic, dead.get(0).getProperty("RETRY_TOPIC"));
    }

    @Test
    void aPullConsumerSendsAMessageBackByItself() throws Exception {
        String topic = newTopic("send_back", 1);
        String group = unique("send_back_group");
        DefaultMQProducer producer = producer();
        SendResult result = producer.send(message(topic, "", "returned"));
        DefaultMQPullConsumer consumer = pullConsumer(group);
        MessageExt message = readAll(consumer, result.getMessageQueue()).get(0);
        long before = System.currentTimeMillis();
        consumer.sendMessageBack(message, 1);
        List<MessageExt> back = readTopic("%RETRY%" + group, 1);
        long after = System.currentTimeMillis();
        assertEquals(List.of("returned"), back.stream().map(Compat::text).toList());
        assertEquals(1, back.get(0).getReconsumeTimes());
        assertTrue(after - before >= 1_000, "there after " + (after - before) + " ms");
    }

    /**
     * A group with its retry topic. RocketMQ makes it at the first heartbeat, and the client that sent this one finds its route at the next refresh only,
     * half a minute later: the first test waits for that, the others need not.
     */
    private String newGroup(String what) throws Exception {
        String group = unique(what);
        DefaultMQAdminExt admin = admin();
        putTopic(admin, "%RETRY%" + group, 1);
        awaitRoute(admin, "%RETRY%" + group, 1);
        return group;
    }

    /** What the group's dead-letter topic holds once it holds that many. */
    private List<MessageExt> deadLetters(String group, int count) throws Exception {
        return readTopic("%DLQ%" + group, count);
    }

    private List<MessageExt> readTopic(String topic, int count) throws Exception {
        DefaultMQPullConsumer reader = pullConsumer(unique("reader"));
        List<MessageExt> found = new ArrayList<>();
        await(count + " messages in " + topic, LIMIT, () -> {
            found.clear();
            for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
                found.addAll(readAll(reader, queue));
            }
            return found.size() >= count;
        });
        return found;
    }
}
