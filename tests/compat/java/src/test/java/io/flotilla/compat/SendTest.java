package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** The four ways to send, and that what was sent is what is stored. */
class SendTest extends Compat {
    @Test
    void syncSendsToOneQueueGetConsecutiveOffsets() throws Exception {
        String topic = newTopic("sync", 4);
        DefaultMQProducer producer = producer();
        MessageQueue queue = queues(producer, topic).get(2);
        Set<String> offsetIds = new HashSet<>();
        for (int i = 0; i < 100; i++) {
            SendResult result = producer.send(message(topic, "TagA", "body " + i), queue);
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            assertEquals(queue, result.getMessageQueue());
            assertEquals(i, result.getQueueOffset());
            assertTrue(offsetIds.add(result.getOffsetMsgId()), "offset message id given twice: " + result);
        }
    }

    @Test
    void syncSendsWithoutAQueueReachEveryQueue() throws Exception {
        String topic = newTopic("spread", 4);
        DefaultMQProducer producer = producer();
        Map<Integer, Integer> perQueue = new HashMap<>();
        for (int i = 0; i < 16; i++) {
            SendResult result = producer.send(message(topic, "", "body " + i));
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            perQueue.merge(result.getMessageQueue().getQueueId(), 1, Integer::sum);
        }
        assertEquals(Map.of(0, 4, 1, 4, 2, 4, 3, 4), perQueue);
    }

    @Test
    void asyncSendsAllSucceedWithoutHolesOrSharedOffsets() throws Exception {
        String topic = newTopic("async", 4);
        DefaultMQProducer producer = producer();
        int count = 500;
        CountDownLatch open = new CountDownLatch(count);
        ConcurrentLinkedQueue<SendResult> results = new ConcurrentLinkedQueue<>();
        ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();
        for (int i = 0; i < count; i++) {
            producer.send(message(topic, "", "body " + i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.add(result);
                    open.countDown();
                }

                @Override
                public void onException(Throwable failure) {
                    failures.add(failure);
                    open.countDown();
                }
            });
        }
        assertTrue(open.await(LIMIT.toSeconds(), TimeUnit.SECONDS), open.getCount() + " callbacks of " + count + " never came");
        assertEquals(List.of(), List.copyOf(failures));
        Map<Integer, Set<Long>> offsets = new HashMap<>();
        for (SendResult result : results) {
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            Set<Long> ofQueue = offsets.computeIfAbsent(result.getMessageQueue().getQueueId(), id -> new HashSet<>());
            assertTrue(ofQueue.add(result.getQueueOffset()), "offset given twice: " + result);
        }
        offsets.forEach((queue, ofQueue) ->
            assertEquals(LongStream.range(0, ofQueue.size()).boxed().collect(HashSet::new, HashSet::add, HashSet::addAll), ofQueue, "queue " + queue));
    }

    @Test
    void onewaySendsAreStored() throws Exception {
        String topic = newTopic("oneway", 2);
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 50; i++) {
            producer.sendOneway(message(topic, "", "body " + i));
        }
        DefaultMQPullConsumer consumer = pullConsumer(unique("oneway_reader"));
        List<MessageQueue> queues = queues(producer, topic);
        await("50 one-way messages in " + topic, LIMIT, () -> consumer.maxOffset(queues.get(0)) + consumer.maxOffset(queues.get(1)) == 50);
        Set<String> bodies = new HashSet<>();
        for (MessageQueue queue : queues) {
            readAll(consumer, queue).forEach(stored -> bodies.add(text(stored)));
        }
        assertEquals(IntStream.range(0, 50).mapToObj(i -> "body " + i).collect(HashSet::new, HashSet::add, HashSet::addAll), bodies);
    }

    @Test
    void aBatchIsStoredAsSingleMessagesInItsOrder() throws Exception {
        String topic = newTopic("batch", 1);
        DefaultMQProducer producer = producer();
        producer.send(message(topic, "", "first"));
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 32; i++) {
            Message message = message(topic, "Tag" + i % 2, "body " + i);
            message.putUserProperty("place", Integer.toString(i));
            batch.add(message);
        }
        SendResult result = producer.send(batch);
        assertEquals(SendStatus.SEND_OK, result.getSendStatus());
        assertEquals(1, result.getQueueOffset());
        assertEquals(32, result.getOffsetMsgId().split(",").length, result.getOffsetMsgId());

        MessageQueue queue = queues(producer, topic).get(0);
        List<MessageExt> stored = readAll(pullConsumer(unique("batch_reader")), queue);
        assertEquals(33, stored.size());
        for (int i = 0; i < 32; i++) {
            MessageExt message = stored.get(i + 1);
            assertEquals(i + 1, message.getQueueOffset());
            assertEquals("body " + i, text(message));
            assertEquals("Tag" + i % 2, message.getTags());
            assertEquals(Integer.toString(i), message.getUserProperty("place"));
        }
    }

    @Test
    void bodyKeysTagsFlagAndPropertiesAreStoredAsSent() throws Exception {
        String topic = newTopic("content", 1);
        DefaultMQProducer producer = producer();
        byte[] body = new byte[256];
        for (int i = 0; i < body.length; i++) {
            body[i] = (byte) i;
        }
        Message sent = new Message(topic, "TagZ", "key-1 key-2", 77, body, true);
        sent.putUserProperty("city", "Zürich 苏黎世 \uD83D\uDEA2");
        sent.putUserProperty("separators", "=;:|");
        long before = System.currentTimeMillis();
        SendResult result = producer.send(sent);

        MessageExt stored = readAll(pullConsumer(unique("content_reader")), result.getMessageQueue()).get(0);
        assertArrayEquals(body, stored.getBody());
        assertEquals(topic, stored.getTopic());
        assertEquals("TagZ", stored.getTags());
        assertEquals("key-1 key-2", stored.getKeys());
        assertEquals(77, stored.getFlag());
        assertEquals("Zürich 苏黎世 \uD83D\uDEA2", stored.getUserProperty("city"));
        assertEquals("=;:|", stored.getUserProperty("separators"));
        assertEquals(result.getMsgId(), stored.getMsgId());
        assertEquals(0, stored.getReconsumeTimes());
        assertTrue(stored.getBornTimestamp() >= before, "born at " + stored.getBornTimestamp() + ", sent after " + before);
        assertTrue(stored.getStoreTimestamp() >= before, "stored at " + stored.getStoreTimestamp() + ", sent after " + before);
    }

    @Test
    void aBodyThatTheClientCompressesComesBackWhole() throws Exception {
        String topic = newTopic("compressed", 1);
        DefaultMQProducer producer = producer();
        byte[] body = bytes("all work and no play ".repeat(5_000));
        SendResult result = producer.send(new Message(topic, body));
        MessageExt stored = readAll(pullConsumer(unique("compressed_reader")), result.getMessageQueue()).get(0);
        assertArrayEquals(body, stored.getBody());
        assertTrue(stored.getStoreSize() < body.length / 4, "stored in " + stored.getStoreSize() + " bytes");
    }

    @Test
    void aBodyCloseToTheLimitIsStored() throws Exception {
        String topic = newTopic("large", 1);
        DefaultMQProducer producer = newProducer();
        producer.setSendMsgTimeout(15_000);
        // Random bytes grow when compressed.
        producer.setCompressMsgBodyOverHowmuch(16 << 20);
        producer.start();
        closeAtEnd(producer::shutdown);
        byte[] body = new byte[(4 << 20) - (64 << 10)];
        new Random(7).nextBytes(body);
        SendResult result = producer.send(new Message(topic, body));
        assertEquals(SendStatus.SEND_OK, result.getSendStatus());
        assertArrayEquals(body, readAll(pullConsumer(unique("large_reader")), result.getMessageQueue()).get(0).getBody());
    }
}
