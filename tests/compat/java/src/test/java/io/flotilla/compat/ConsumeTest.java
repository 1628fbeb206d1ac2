package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** Push consumers: complete and single delivery, tags, offsets across restarts, sharing of queues. */
class ConsumeTest extends Compat {
    @Test
    void aPushConsumerGetsEveryMessageOnce() throws Exception {
        String topic = newTopic("push", 4);
        DefaultMQProducer producer = producer();
        Collector collector = new Collector();
        send(producer, topic, "early", 200);
        pushConsumer(unique("push_group"), topic, "*", collector);
        send(producer, topic, "late", 200);
        Set<String> expected = names("early", 200);
        expected.addAll(names("late", 200));
        await("400 messages of " + topic, LIMIT, () -> collector.distinct() >= 400);
        assertEquals(expected, collector.bodies());
        assertEquals(0, collector.duplicates());
    }

    @Test
    void aPushConsumerGetsOnlyItsTags() throws Exception {
        String topic = newTopic("tags", 2);
        DefaultMQProducer producer = producer();
        Collector someTags = new Collector();
        Collector everything = new Collector();
        pushConsumer(unique("some_tags"), topic, "TagA || TagC", someTags);
        pushConsumer(unique("every_tag"), topic, "*", everything);
        for (int i = 0; i < 60; i++) {
            producer.send(message(topic, "Tag" + "ABC".charAt(i % 3), "Tag" + "ABC".charAt(i % 3) + i));
        }
        await("all 60 messages at the consumer without a filter", LIMIT, () -> everything.distinct() == 60);
        await("40 messages at the consumer with a filter", LIMIT, () -> someTags.distinct() >= 40);
        assertEquals(40, someTags.distinct());
        assertTrue(someTags.bodies().stream().noneMatch(body -> body.startsWith("TagB")), () -> "unwanted tag in " + someTags.bodies());
    }

    @Test
    void consumerOffsetsSurviveARestartOfTheClient() throws Exception {
        String topic = newTopic("restart", 4);
        String group = unique("restart_group");
        DefaultMQProducer producer = producer();
        send(producer, topic, "before", 100);
        Collector first = new Collector();
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", first);
        consumer.start();
        try {
            await("100 messages before the restart", LIMIT, () -> first.distinct() == 100);
        } finally {
            consumer.shutdown();
        }
        DefaultMQPullConsumer witness = pullConsumer(unique("witness"));
        DefaultMQPullConsumer sameGroup = pullConsumer(group);
        for (MessageQueue queue : queues(producer, topic)) {
            await("the broker's offset of " + queue + " at its end", LIMIT,
                () -> sameGroup.fetchConsumeOffset(queue, true) == witness.maxOffset(queue));
        }
        // As a member of the group it would be given queues.
        sameGroup.shutdown();
        send(producer, topic, "after", 50);
        Collector second = new Collector();
        pushConsumer(group, topic, "*", second);
        await("50 messages after the restart", LIMIT, () -> second.distinct() >= 50);
        assertEquals(names("after", 50), second.bodies());
    }

    @Test
    void twoConsumersOwnEachQueueOnceAndOneTakesOverFromTheOther() throws Exception {
        String topic = newTopic("share", 8);
        String group = unique("share_group");
        DefaultMQProducer producer = producer();
        Set<MessageQueue> all = new HashSet<>(queues(producer, topic));
        Collector firstGot = new Collector();
        Collector secondGot = new Collector();
        DefaultMQPushConsumer first = pushConsumer(group, topic, "*", firstGot);
        await("the only consumer to own all 8 queues", LIMIT, () -> owned(first, topic).equals(all));

        DefaultMQPushConsumer second = newPushConsumer(group, topic, "*", secondGot);
        second.start();
        try {
            await("4 queues for each of two consumers, none shared", LIMIT, () -> {
                Set<MessageQueue> one = owned(first, topic);
                Set<MessageQueue> other = owned(second, topic);
                Set<MessageQueue> both = new HashSet<>(one);
                both.addAll(other);
                return one.size() == 4 && other.size() == 4 && both.equals(all);
            });
            send(producer, topic, "shared", 80);
            await("80 messages at both together", LIMIT, () -> firstGot.distinct() + secondGot.distinct() >= 80);
            assertEquals(40, firstGot.distinct());
            assertEquals(40, secondGot.distinct());
        } finally {
            second.shutdown();
        }
        await("the remaining consumer to own all 8 queues again", LIMIT, () -> owned(first, topic).equals(all));
        send(producer, topic, "alone", 40);
        await("40 more messages at the remaining one", LIMIT, () -> firstGot.bodies().containsAll(names("alone", 40)));
    }

    @Test
    void everyBroadcastConsumerGetsEveryMessage() throws Exception {
        String topic = newTopic("broadcast", 2);
        String group = unique("broadcast_group");
        DefaultMQProducer producer = producer();
        List<Collector> collectors = List.of(new Collector(), new Collector());
        for (Collector collector : collectors) {
            DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", collector);
            // By its declaring class: the enum's package differs between client 4 and client 5.
            consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
            consumer.start();
            closeAtEnd(consumer::shutdown);
        }
        send(producer, topic, "all", 30);
        for (Collector collector : collectors) {
            await("30 messages at each", LIMIT, () -> collector.distinct() >= 30);
            assertEquals(names("all", 30), collector.bodies());
        }
    }

    private static void send(DefaultMQProducer producer, String topic, String name, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            producer.send(message(topic, "", name + " " + i));
        }
    }

    private static Set<String> names(String name, int count) {
        return IntStream.range(0, count).mapToObj(i -> name + " " + i).collect(HashSet::new, HashSet::add, Collection::addAll);
    }
}
