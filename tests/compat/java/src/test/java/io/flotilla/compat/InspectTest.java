package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Set;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** What the admin API tells of clients at work: connections, running info through the broker, statistics; and a message consumed by order. */
class InspectTest extends Compat {
    @Test
    void theConnectionsOfAGroupAreListed() throws Exception {
        String topic = newTopic("connections", 2);
        String group = unique("connections_group");
        DefaultMQPushConsumer first = pushConsumer(group, topic, "TagA || TagB", Deliveries.accepted());
        DefaultMQPushConsumer second = pushConsumer(group, topic, "TagA || TagB", Deliveries.accepted());
        DefaultMQAdminExt admin = admin();
        Set<String> expected = Set.of(first.buildMQClientId(), second.buildMQClientId());
        await("both clients", LIMIT, () -> admin.examineConsumerConnectionInfo(group).getConnectionSet().size() == 2);
        var info = admin.examineConsumerConnectionInfo(group);
        assertEquals(expected, info.getConnectionSet().stream().map(connection -> connection.getClientId()).collect(Collectors.toSet()));
        info.getConnectionSet().forEach(connection -> {
            assertEquals("JAVA", connection.getLanguage().toString());
            assertTrue(connection.getVersion() > 0, "version " + connection.getVersion());
            assertTrue(connection.getClientAddr().matches("/?127\\.0\\.0\\.1:\\d+|/?[0-9.]+:\\d+"), connection.getClientAddr());
        });
        assertEquals("CONSUME_PASSIVELY", info.getConsumeType().name());
        assertEquals("CLUSTERING", info.getMessageModel().name());
        assertEquals("CONSUME_FROM_FIRST_OFFSET", info.getConsumeFromWhere().name());
        assertEquals(Set.of(topic, "%RETRY%" + group), info.getSubscriptionTable().keySet());
        assertEquals("TagA || TagB", info.getSubscriptionTable().get(topic).getSubString());
        assertEquals(Set.of("TagA", "TagB"), info.getSubscriptionTable().get(topic).getTagsSet());
    }

    @Test
    void aGroupWithoutClientsIsSaidToBeOffline() throws Exception {
        String topic = newTopic("offline", 1);
        String group = unique("offline_group");
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", Deliveries.accepted());
        consumer.start();
        DefaultMQAdminExt admin = admin();
        await("the client", LIMIT, () -> admin.examineConsumerConnectionInfo(group).getConnectionSet().size() == 1);
        consumer.shutdown();
        await("code 206", LIMIT, () -> {
            try {
                admin.examineConsumerConnectionInfo(group);
                return false;
            } catch (Exception exception) {
                return exception.toString().contains("206");
            }
        });
    }

    @Test
    void theConnectionOfAProducerIsListed() throws Exception {
        String topic = newTopic("producer_connection", 1);
        DefaultMQProducer producer = producer();
        producer.send(message(topic, "", "hello"));
        DefaultMQAdminExt admin = admin();
        await("the producer", LIMIT, () -> admin.examineProducerConnectionInfo(producer.getProducerGroup(), topic).getConnectionSet().size() == 1);
        var connection = admin.examineProducerConnectionInfo(producer.getProducerGroup(), topic).getConnectionSet().iterator().next();
        assertEquals(producer.buildMQClientId(), connection.getClientId());
        assertEquals("JAVA", connection.getLanguage().toString());
    }

    @Test
    void theRunningInfoOfAConsumerComesFromItself() throws Exception {
        String topic = newTopic("running", 3);
        String group = unique("running_group");
        DefaultMQPushConsumer consumer = pushConsumer(group, topic, "TagA", Deliveries.accepted());
        awaitShared(topic, 3, java.util.List.of(consumer));
        DefaultMQAdminExt admin = admin();
        await("the running info", LIMIT, () -> admin.getConsumerRunningInfo(group, consumer.buildMQClientId(), false) != null);
        var info = admin.getConsumerRunningInfo(group, consumer.buildMQClientId(), true);
        assertEquals("CONSUME_PASSIVELY", info.getProperties().getProperty("PROP_CONSUME_TYPE"));
        assertTrue(info.getProperties().getProperty("PROP_CLIENT_VERSION").startsWith("V"), info.getProperties().toString());
        assertTrue(info.getSubscriptionSet().stream().anyMatch(data -> data.getTopic().equals(topic) && data.getSubString().equals("TagA")));
        assertEquals(3, info.getMqTable().keySet().stream().filter(queue -> queue.getTopic().equals(topic)).count());
        assertTrue(info.getJstack() != null && info.getJstack().contains("main"), "the threads were asked for");
    }

    @Test
    void theRunningInfoOfAnUnknownClientIsRefused() throws Exception {
        String topic = newTopic("running_unknown", 1);
        String group = unique("running_unknown_group");
        DefaultMQPushConsumer consumer = pushConsumer(group, topic, "*", Deliveries.accepted());
        awaitShared(topic, 1, java.util.List.of(consumer));
        DefaultMQAdminExt admin = admin();
        assertThrows(Exception.class, () -> admin.getConsumerRunningInfo(group, "127.0.0.1@nobody", false));
    }

    @Test
    void aConsumersOffsetsAreAskedOfItself() throws Exception {
        String topic = newTopic("status", 2);
        String group = unique("status_group");
        Deliveries deliveries = Deliveries.accepted();
        DefaultMQPushConsumer consumer = pushConsumer(group, topic, "*", deliveries);
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 10; i++) {
            producer.send(message(topic, "", "body " + i));
        }
        await("10 messages", LIMIT, () -> deliveries.count() == 10);
        DefaultMQAdminExt admin = admin();
        await("the consumer's own offsets", LIMIT, () -> {
            var byClient = admin.getConsumeStatus(topic, group, "");
            var offsets = byClient.get(consumer.buildMQClientId());
            return offsets != null && offsets.values().stream().mapToLong(Long::longValue).sum() == 10;
        });
    }

    @Test
    void aMessageIsConsumedByTheClientThatIsNamed() throws Exception {
        String topic = newTopic("direct", 1);
        String group = unique("direct_group");
        Deliveries deliveries = Deliveries.accepted();
        DefaultMQPushConsumer consumer = pushConsumer(group, topic, "*", deliveries);
        SendResult sent = producer().send(message(topic, "TagA", "by order"));
        await("the ordinary delivery", LIMIT, () -> deliveries.of("by order").size() == 1);
        DefaultMQAdminExt admin = admin();
        var result = admin.consumeMessageDirectly(group, consumer.buildMQClientId(), topic, sent.getOffsetMsgId());
        assertEquals("CR_SUCCESS", result.getConsumeResult().name());
        assertEquals(2, deliveries.of("by order").size());
    }

    @Test
    void consumeStatisticsShowOffsetsAndLag() throws Exception {
        String topic = newTopic("stats", 2);
        String group = unique("stats_group");
        DefaultMQProducer producer = producer();
        Deliveries deliveries = Deliveries.accepted();
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", deliveries);
        consumer.start();
        DefaultMQAdminExt admin = admin();
        long before = System.currentTimeMillis();
        try {
            for (int i = 0; i < 20; i++) {
                producer.send(message(topic, "", "body " + i));
            }
            await("20 messages, committed", LIMIT, () -> deliveries.count() == 20 && admin.examineConsumeStats(group).computeTotalDiff() == 0
                && admin.examineConsumeStats(group, topic).getOffsetTable().values().stream().mapToLong(offsets -> offsets.getConsumerOffset()).sum() == 20);
        } finally {
            consumer.shutdown();
        }
        MessageQueue queue = queues(producer, topic).get(0);
        for (int i = 0; i < 5; i++) {
            producer.send(message(topic, "", "backlog " + i), queue);
        }
        // RocketMQ's queues follow its log a moment later.
        await("the backlog to be counted", LIMIT, () -> admin.examineConsumeStats(group, topic).computeTotalDiff() == 5);
        var table = admin.examineConsumeStats(group, topic).getOffsetTable();
        assertEquals(2, table.size());
        assertEquals(15, table.get(queue).getBrokerOffset());
        assertEquals(10, table.get(queue).getConsumerOffset());
        // The store time of the last message consumed.
        assertTrue(table.get(queue).getLastTimestamp() >= before, "last timestamp " + table.get(queue).getLastTimestamp());

        assertTrue(admin.queryTopicConsumeByWho(topic).getGroupList().contains(group));
        var spans = admin.queryConsumeTimeSpan(topic, group);
        assertEquals(2, spans.size());
        var span = spans.stream().filter(one -> one.getMessageQueue().equals(queue)).findFirst().orElseThrow();
        assertTrue(span.getMinTimeStamp() >= before && span.getMaxTimeStamp() >= span.getMinTimeStamp(), span.getMinTimeStamp() + " to " + span.getMaxTimeStamp());
        assertTrue(span.getDelayTime() > 0, "delay " + span.getDelayTime());
    }
}
