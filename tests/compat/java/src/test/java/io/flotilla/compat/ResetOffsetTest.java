package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** resetOffsetByTimestamp (code 222): back and to the end, with the group at work and without. */
class ResetOffsetTest extends Compat {
    @Test
    void anOnlineGroupIsSentBack() throws Exception {
        String topic = newTopic("reset_online", 4);
        String group = unique("reset_online_group");
        long before = System.currentTimeMillis() - 1_000;
        Deliveries deliveries = Deliveries.accepted();
        pushConsumer(group, topic, "*", deliveries);
        DefaultMQProducer producer = producer();
        sendAll(producer, topic, "body", 40);
        DefaultMQAdminExt admin = admin();
        await("40 messages, committed", LIMIT, () -> deliveries.count() == 40 && lag(admin, group, topic) == 0);

        Map<MessageQueue, Long> reset = admin.resetOffsetByTimestamp(topic, group, before, true);
        assertEquals(4, reset.size());
        reset.forEach((queue, offset) -> assertEquals(0, offset, queue.toString()));
        await("each of the 40 a second time", LIMIT, () -> deliveries.all().stream().map(Deliveries.Delivery::body).collect(
            Collectors.groupingBy(body -> body, Collectors.counting())).values().stream().allMatch(count -> count >= 2));
        await("the end again", LIMIT, () -> lag(admin, group, topic) == 0);
    }

    @Test
    void anOfflineGroupStartsWhereItWasReset() throws Exception {
        String topic = newTopic("reset_offline", 2);
        String group = unique("reset_offline_group");
        DefaultMQProducer producer = producer();
        sendAll(producer, topic, "early", 10);
        DefaultMQAdminExt admin = admin();
        Deliveries first = Deliveries.accepted();
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", first);
        consumer.start();
        try {
            await("10 messages, committed", LIMIT, () -> first.count() == 10 && lag(admin, group, topic) == 0);
        } finally {
            consumer.shutdown();
        }
        // The time between the two is a place in each queue: later than all early messages, and past before a late one is stored.
        long between = System.currentTimeMillis() + 1;
        await("the time between", LIMIT, () -> System.currentTimeMillis() > between);
        sendAll(producer, topic, "late", 10);
        Deliveries second = Deliveries.accepted();
        DefaultMQPushConsumer again = newPushConsumer(group, topic, "*", second);
        again.start();
        try {
            await("10 late messages, committed", LIMIT, () -> second.count() == 10 && lag(admin, group, topic) == 0);
        } finally {
            again.shutdown();
        }

        Map<MessageQueue, Long> reset = admin.resetOffsetByTimestamp(topic, group, between, true);
        assertEquals(10, reset.values().stream().mapToLong(Long::longValue).sum(), reset.toString());
        assertEquals(10, lag(admin, group, topic));
        Deliveries third = Deliveries.accepted();
        pushConsumer(group, topic, "*", third);
        await("the late ones again", LIMIT, () -> third.count() >= 10);
        Set<String> bodies = third.all().stream().map(Deliveries.Delivery::body).collect(Collectors.toSet());
        assertEquals(10, bodies.size());
        assertEquals(List.of(), bodies.stream().filter(body -> !body.startsWith("late")).toList());
    }

    @Test
    void aBacklogIsSkipped() throws Exception {
        String topic = newTopic("reset_skip", 2);
        String group = unique("reset_skip_group");
        DefaultMQProducer producer = producer();
        sendAll(producer, topic, "first", 2);
        DefaultMQAdminExt admin = admin();
        Deliveries first = Deliveries.accepted();
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", first);
        consumer.start();
        try {
            await("the group's first offsets", LIMIT, () -> first.count() == 2 && lag(admin, group, topic) == 0);
        } finally {
            consumer.shutdown();
        }
        sendAll(producer, topic, "backlog", 30);
        // RocketMQ's queues follow its log a moment later.
        await("the backlog to be counted", LIMIT, () -> lag(admin, group, topic) == 30);
        // -1: to the end, what mqadmin skipAccumulatedMessage asks for.
        admin.resetOffsetByTimestamp(topic, group, -1, true);
        assertEquals(0, lag(admin, group, topic));
        Deliveries second = Deliveries.accepted();
        pushConsumer(group, topic, "*", second);
        sendAll(producer, topic, "new", 6);
        await("the new ones", LIMIT, () -> second.count() >= 6);
        assertTrue(second.all().stream().allMatch(delivery -> delivery.body().startsWith("new")), () -> "skipped ones came: " + second.all());
    }

    @Test
    void anOffsetIsClonedFromOneGroupToAnother() throws Exception {
        String topic = newTopic("clone", 2);
        String group = unique("clone_source");
        String target = unique("clone_target");
        DefaultMQProducer producer = producer();
        sendAll(producer, topic, "done", 20);
        DefaultMQAdminExt admin = admin();
        Deliveries first = Deliveries.accepted();
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", first);
        consumer.start();
        try {
            await("20 messages, committed", LIMIT, () -> first.count() == 20 && lag(admin, group, topic) == 0);
        } finally {
            consumer.shutdown();
        }
        for (String leader : leaders(admin)) {
            GroupSettings.put(admin, leader, target, Map.of());
        }
        // Client 4 finds a group's brokers by the route of its retry topic, which RocketMQ makes with the group's first consumer.
        putTopic(admin, "%RETRY%" + target, 1);
        awaitRoute(admin, "%RETRY%" + target, 1);
        admin.cloneGroupOffset(group, target, topic, false);
        assertEquals(0, lag(admin, target, topic));
        Deliveries second = Deliveries.accepted();
        pushConsumer(target, topic, "*", second);
        sendAll(producer, topic, "new", 4);
        await("only what is new", LIMIT, () -> second.count() >= 4);
        assertTrue(second.all().stream().allMatch(delivery -> delivery.body().startsWith("new")), () -> "old ones came: " + second.all());
    }

    private static long lag(DefaultMQAdminExt admin, String group, String topic) throws Exception {
        long lag = 0;
        for (var offsets : admin.examineConsumeStats(group, topic).getOffsetTable().values()) {
            lag += offsets.getBrokerOffset() - offsets.getConsumerOffset();
        }
        return lag;
    }

    private static void sendAll(DefaultMQProducer producer, String topic, String name, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            producer.send(message(topic, "", name + " " + i));
        }
    }
}
