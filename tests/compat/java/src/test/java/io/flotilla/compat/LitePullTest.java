package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** DefaultLitePullConsumer (code 361): subscribed and assigned, seek, commit. */
class LitePullTest extends Compat {
    @Test
    void twoSubscribedConsumersShareTheQueuesAndPollEverythingOnce() throws Exception {
        String topic = newTopic("lite", 4);
        String group = unique("lite_group");
        DefaultLitePullConsumer first = subscribed(group, topic, "*");
        DefaultLitePullConsumer second = subscribed(group, topic, "*");
        Set<String> bodies = new HashSet<>();
        List<MessageExt> polled = new ArrayList<>();
        await("two queues for each", LIMIT, () -> {
            // Polling keeps both alive in the way an application does.
            polled.addAll(first.poll(10));
            polled.addAll(second.poll(10));
            Set<MessageQueue> one = new HashSet<>(first.assignment());
            Set<MessageQueue> other = new HashSet<>(second.assignment());
            one.retainAll(other);
            return first.assignment().size() == 2 && other.size() == 2 && one.isEmpty();
        });
        assertEquals(0, polled.size());
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 80; i++) {
            producer.send(message(topic, "", "body " + i));
        }
        await("80 messages", LIMIT, () -> {
            for (DefaultLitePullConsumer consumer : List.of(first, second)) {
                for (MessageExt message : consumer.poll(100)) {
                    polled.add(message);
                    bodies.add(text(message));
                }
            }
            return bodies.size() == 80;
        });
        assertEquals(80, polled.size(), "each once");
    }

    @Test
    void aCommittedOffsetIsWhereTheNextConsumerStarts() throws Exception {
        String topic = newTopic("lite_commit", 1);
        String group = unique("lite_commit_group");
        DefaultMQProducer producer = producer();
        MessageQueue queue = queues(producer, topic).get(0);
        for (int i = 0; i < 30; i++) {
            producer.send(message(topic, "", "body " + i));
        }
        DefaultLitePullConsumer first = newLitePull(group);
        first.setAutoCommit(false);
        first.setPullBatchSize(10);
        first.subscribe(topic, "*");
        first.start();
        List<String> got = new ArrayList<>();
        try {
            await("ten messages", LIMIT, () -> {
                first.poll(100).forEach(message -> got.add(text(message)));
                return got.size() >= 10;
            });
            first.commitSync();
        } finally {
            first.shutdown();
        }
        assertEquals("body 0", got.get(0));
        await("the broker to have " + got.size(), LIMIT, () -> committedOffset(group, queue) == got.size());

        DefaultLitePullConsumer second = subscribed(group, topic, "*");
        List<String> rest = new ArrayList<>();
        await("the rest", LIMIT, () -> {
            second.poll(100).forEach(message -> rest.add(text(message)));
            return rest.size() >= 30 - got.size();
        });
        assertEquals("body " + got.size(), rest.get(0));
        assertEquals(30 - got.size(), rest.size());
    }

    @Test
    void anAssignedConsumerReadsWhereItSeeks() throws Exception {
        String topic = newTopic("lite_seek", 2);
        String group = unique("lite_seek_group");
        DefaultMQProducer producer = producer();
        List<MessageQueue> queues = queues(producer, topic);
        for (int i = 0; i < 20; i++) {
            producer.send(message(topic, "", "a" + i), queues.get(0));
            producer.send(message(topic, "", "b" + i), queues.get(1));
        }
        DefaultLitePullConsumer consumer = newLitePull(group);
        consumer.setAutoCommit(false);
        consumer.start();
        closeAtEnd(consumer::shutdown);
        assertEquals(new HashSet<>(queues), new HashSet<>(consumer.fetchMessageQueues(topic)));
        consumer.assign(List.of(queues.get(0)));
        // Everything first: what is fetched ahead while a consumer seeks may still come.
        assertEquals("a0", poll(consumer, 20).get(0));
        consumer.seek(queues.get(0), 15);
        assertEquals(List.of("a15", "a16", "a17", "a18", "a19"), poll(consumer, 5));
        consumer.seekToBegin(queues.get(0));
        assertEquals("a0", poll(consumer, 20).get(0));
        consumer.seekToEnd(queues.get(0));
        producer.send(message(topic, "", "a20"), queues.get(0));
        assertEquals(List.of("a20"), poll(consumer, 1));
        consumer.commitSync();
        await("the committed offset", LIMIT, () -> consumer.committed(queues.get(0)) == 21);
        await("the broker's", LIMIT, () -> committedOffset(group, queues.get(0)) == 21);

        consumer.assign(queues);
        assertEquals("b0", poll(consumer, 20).get(0));
        consumer.seek(queues.get(1), 18);
        assertEquals(List.of("b18", "b19"), poll(consumer, 2));
        long time = System.currentTimeMillis() + 60_000;
        assertEquals(20, consumer.offsetForTimestamp(queues.get(1), time));
    }

    @Test
    void tagsAreFilteredForLitePullToo() throws Exception {
        String topic = newTopic("lite_tags", 2);
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 30; i++) {
            producer.send(message(topic, "Tag" + "ABC".charAt(i % 3), "Tag" + "ABC".charAt(i % 3) + i));
        }
        DefaultLitePullConsumer consumer = subscribed(unique("lite_tags_group"), topic, "TagA || TagB");
        List<String> got = poll(consumer, 20);
        assertEquals(20, new HashSet<>(got).size());
        assertTrue(got.stream().noneMatch(body -> body.startsWith("TagC")), () -> "unwanted tag in " + got);
    }

    private long committedOffset(String group, MessageQueue queue) throws Exception {
        return admin().examineConsumeStats(group, queue.getTopic()).getOffsetTable().get(queue).getConsumerOffset();
    }

    /** At least that many bodies, in the order in which they were polled. */
    private static List<String> poll(DefaultLitePullConsumer consumer, int count) {
        List<String> got = new ArrayList<>();
        await(count + " messages", LIMIT, () -> {
            consumer.poll(100).forEach(message -> got.add(text(message)));
            return got.size() >= count;
        });
        return got;
    }

    private DefaultLitePullConsumer subscribed(String group, String topic, String tags) throws Exception {
        DefaultLitePullConsumer consumer = newLitePull(group);
        consumer.subscribe(topic, tags);
        consumer.start();
        closeAtEnd(consumer::shutdown);
        return consumer;
    }

    private static DefaultLitePullConsumer newLitePull(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setInstanceName(unique("instance"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return consumer;
    }
}
