package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** Pulling by hand: offsets, tags, holding, consumer offsets, and the look-up of a message by its offset id. */
class OffsetTest extends Compat {
    @Test
    void minimumAndMaximumFrameWhatIsStored() throws Exception {
        String topic = newTopic("bounds", 2);
        DefaultMQProducer producer = producer();
        DefaultMQPullConsumer consumer = pullConsumer(unique("bounds_reader"));
        MessageQueue written = queues(producer, topic).get(0);
        MessageQueue empty = queues(producer, topic).get(1);
        fill(producer, topic, written, 10);
        assertEquals(0, consumer.minOffset(written));
        assertEquals(10, consumer.maxOffset(written));
        assertEquals(0, consumer.minOffset(empty));
        assertEquals(0, consumer.maxOffset(empty));
    }

    @Test
    void searchByTimeFindsTheFirstMessageStoredThen() throws Exception {
        String topic = newTopic("search", 1);
        DefaultMQProducer producer = producer();
        DefaultMQPullConsumer consumer = pullConsumer(unique("search_reader"));
        MessageQueue queue = queues(producer, topic).get(0);
        fill(producer, topic, queue, 20);
        List<MessageExt> stored = readAll(consumer, queue);
        assertEquals(20, stored.size());
        for (MessageExt message : stored) {
            long time = message.getStoreTimestamp();
            long first = stored.stream().filter(other -> other.getStoreTimestamp() >= time).mapToLong(MessageExt::getQueueOffset).min().getAsLong();
            assertEquals(first, consumer.searchOffset(queue, time), "first message stored at or after " + time);
        }
        assertEquals(0, consumer.searchOffset(queue, stored.get(0).getStoreTimestamp() - 60_000));
        assertEquals(20, consumer.searchOffset(queue, stored.get(19).getStoreTimestamp() + 60_000));
        assertEquals(stored.get(0).getStoreTimestamp(), consumer.earliestMsgStoreTime(queue));
    }

    @Test
    void aMessageIsFoundByItsOffsetId() throws Exception {
        String topic = newTopic("by_id", 1);
        DefaultMQProducer producer = producer();
        List<SendResult> sent = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            sent.add(producer.send(message(topic, "TagA", "body " + i)));
        }
        for (int i = 0; i < 5; i++) {
            MessageExt found = producer.viewMessage(topic, sent.get(i).getOffsetMsgId());
            assertEquals("body " + i, text(found));
            assertEquals(i, found.getQueueOffset());
            assertEquals(topic, found.getTopic());
        }
    }

    @Test
    void anOffsetIdBeyondTheLogIsRefused() throws Exception {
        String topic = newTopic("by_wrong_id", 1);
        DefaultMQProducer producer = producer();
        String id = producer.send(message(topic, "", "only")).getOffsetMsgId();
        String beyond = id.substring(0, 16) + "00007FFFFFFFFFF0";
        assertThrows(Exception.class, () -> producer.viewMessage(topic, beyond));
    }

    @Test
    void aPullOutsideTheQueueIsToldWhereToGoOn() throws Exception {
        String topic = newTopic("outside", 1);
        DefaultMQProducer producer = producer();
        DefaultMQPullConsumer consumer = pullConsumer(unique("outside_reader"));
        MessageQueue queue = queues(producer, topic).get(0);
        fill(producer, topic, queue, 10);

        PullResult inside = consumer.pull(queue, "*", 4, 3);
        assertEquals(PullStatus.FOUND, inside.getPullStatus());
        assertEquals(List.of("body 4", "body 5", "body 6"), inside.getMsgFoundList().stream().map(Compat::text).toList());
        assertEquals(7, inside.getNextBeginOffset());
        assertEquals(0, inside.getMinOffset());
        assertEquals(10, inside.getMaxOffset());

        PullResult atEnd = consumer.pull(queue, "*", 10, 32);
        assertEquals(PullStatus.NO_NEW_MSG, atEnd.getPullStatus());
        assertEquals(10, atEnd.getNextBeginOffset());

        PullResult beyond = consumer.pull(queue, "*", 500, 32);
        assertEquals(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus());
        assertEquals(10, beyond.getNextBeginOffset());
    }

    @Test
    void aPullByTagSkipsTheOthers() throws Exception {
        String topic = newTopic("tag_pull", 1);
        DefaultMQProducer producer = producer();
        DefaultMQPullConsumer consumer = pullConsumer(unique("tag_reader"));
        MessageQueue queue = queues(producer, topic).get(0);
        for (int i = 0; i < 9; i++) {
            producer.send(message(topic, "Tag" + "ABC".charAt(i % 3), "body " + i), queue);
        }
        PullResult tagged = consumer.pull(queue, "TagB", 0, 32);
        assertEquals(List.of("body 1", "body 4", "body 7"), tagged.getMsgFoundList().stream().map(Compat::text).toList());
        assertEquals(9, tagged.getNextBeginOffset());

        PullResult none = consumer.pull(queue, "TagD", 0, 32);
        assertEquals(PullStatus.NO_MATCHED_MSG, none.getPullStatus());
        assertEquals(9, none.getNextBeginOffset());
    }

    @Test
    void aHeldPullIsAnsweredWhenAMessageArrives() throws Exception {
        String topic = newTopic("held", 1);
        DefaultMQProducer producer = producer();
        DefaultMQPullConsumer consumer = pullConsumer(unique("held_reader"));
        MessageQueue queue = queues(producer, topic).get(0);
        fill(producer, topic, queue, 1);
        CompletableFuture<PullResult> held = CompletableFuture.supplyAsync(() -> {
            try {
                return consumer.pullBlockIfNotFound(queue, "*", 1, 32);
            } catch (Exception exception) {
                throw new IllegalStateException(exception);
            }
        });
        // Not answered while nothing is there: an early answer would show as a busy loop in every consumer.
        assertThrows(java.util.concurrent.TimeoutException.class, () -> held.get(500, TimeUnit.MILLISECONDS));
        producer.send(message(topic, "", "arrival"), queue);
        // The client would wait 20 s; the broker must wake the pull itself.
        PullResult result = held.get(5, TimeUnit.SECONDS);
        assertEquals(PullStatus.FOUND, result.getPullStatus());
        assertEquals("arrival", text(result.getMsgFoundList().get(0)));
    }

    @Test
    void aConsumerOffsetIsKeptByGroupAndQueue() throws Exception {
        String topic = newTopic("stored_offset", 2);
        DefaultMQProducer producer = producer();
        String group = unique("offset_keeper");
        List<MessageQueue> queues = queues(producer, topic);
        fill(producer, topic, queues.get(0), 10);
        fill(producer, topic, queues.get(1), 10);
        DefaultMQPullConsumer first = pullConsumer(group);
        // A first pull makes the group known; without it the update may be refused.
        first.pull(queues.get(0), "*", 0, 1);
        first.getOffsetStore().updateConsumeOffsetToBroker(queues.get(0), 7, false);
        first.getOffsetStore().updateConsumeOffsetToBroker(queues.get(1), 3, false);
        DefaultMQPullConsumer second = pullConsumer(group);
        assertEquals(7, second.fetchConsumeOffset(queues.get(0), true));
        assertEquals(3, second.fetchConsumeOffset(queues.get(1), true));
        // A group that never committed on a young queue starts at its beginning.
        long unknown = pullConsumer(unique("other_group")).fetchConsumeOffset(queues.get(0), true);
        assertTrue(unknown <= 0, "a group without an offset was given " + unknown);
    }

    private static void fill(DefaultMQProducer producer, String topic, MessageQueue queue, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            producer.send(message(topic, "", "body " + i), queue);
        }
    }
}
