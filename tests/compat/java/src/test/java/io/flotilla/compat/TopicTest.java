package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Method;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** Topics come to be by a first send, by the client API and by mqadmin's library; routes and statistics show them. */
class TopicTest extends Compat {
    @Test
    void theFirstSendMakesTheTopic() throws Exception {
        String topic = unique("automatic");
        DefaultMQProducer producer = producer();
        assertEquals(SendStatus.SEND_OK, producer.send(message(topic, "", "first")).getSendStatus());
        DefaultMQAdminExt admin = admin();
        // Four: the producer's defaultTopicQueueNums, below the template's eight.
        awaitRoute(admin, topic, 4);
        var queueData = admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
        assertEquals(4, queueData.getWriteQueueNums());
        assertEquals(4, queueData.getReadQueueNums());
        assertEquals(6, queueData.getPerm());
    }

    @Test
    void theClientApiMakesATopic() throws Exception {
        String topic = unique("by_client");
        DefaultMQProducer producer = producer();
        createTopic(producer, topic, 3);
        awaitRoute(admin(), topic, 3);
        assertEquals(3, queues(producer, topic).size());
    }

    @Test
    void theAdminApiMakesAndGrowsATopic() throws Exception {
        String topic = newTopic("by_admin", 2);
        DefaultMQProducer producer = producer();
        assertEquals(2, queues(producer, topic).size());
        DefaultMQAdminExt admin = admin();
        putTopic(admin, topic, 6);
        awaitRoute(admin, topic, 6);
        MessageQueue grown = queues(producer, topic).get(5);
        assertEquals(0, producer.send(message(topic, "", "in the sixth queue"), grown).getQueueOffset());

        TopicConfig stored = admin.examineTopicConfig(leaders(admin).get(0), topic);
        assertEquals(topic, stored.getTopicName());
        assertEquals(6, stored.getWriteQueueNums());
        assertEquals(6, stored.getReadQueueNums());
        assertEquals(6, stored.getPerm());
        assertTrue(admin.getAllTopicConfig(leaders(admin).get(0), 5_000).getTopicConfigTable().containsKey(topic));
        assertTrue(admin.fetchAllTopicList().getTopicList().contains(topic));
    }

    @Test
    void anIllegalTopicNameIsRefusedByTheBroker() throws Exception {
        DefaultMQAdminExt admin = admin();
        String leader = leaders(admin).get(0);
        String illegal = "not a topic! " + RUN;
        assertThrows(Exception.class, () -> admin.createAndUpdateTopicConfig(leader, new TopicConfig(illegal, 1, 1, 6)));
        assertTrue(!admin.getAllTopicConfig(leader, 5_000).getTopicConfigTable().containsKey(illegal));
    }

    @Test
    void topicStatisticsShowTheBoundsOfEachQueue() throws Exception {
        String topic = newTopic("statistics", 2);
        DefaultMQProducer producer = producer();
        MessageQueue written = queues(producer, topic).get(1);
        long before = System.currentTimeMillis();
        for (int i = 0; i < 5; i++) {
            producer.send(message(topic, "", "body " + i), written);
        }
        var table = admin().examineTopicStats(topic).getOffsetTable();
        assertEquals(2, table.size());
        assertEquals(0, table.get(written).getMinOffset());
        assertEquals(5, table.get(written).getMaxOffset());
        assertTrue(table.get(written).getLastUpdateTimestamp() >= before, "last update at " + table.get(written).getLastUpdateTimestamp());
        MessageQueue empty = queues(producer, topic).get(0);
        assertEquals(0, table.get(empty).getMaxOffset());
    }

    @Test
    void clusterInformationListsEveryGroupWithALeader() throws Exception {
        DefaultMQAdminExt admin = admin();
        leaders(admin);
        var cluster = admin.examineBrokerClusterInfo();
        assertTrue(!cluster.getClusterAddrTable().isEmpty());
        cluster.getClusterAddrTable().values().forEach(names -> names.forEach(name ->
            assertTrue(cluster.getBrokerAddrTable().get(name).getBrokerAddrs().containsKey(0L), name + " without id 0")));
    }

    /** MQAdmin.createTopic: client 5 has a map of attributes as last parameter, client 4 has not. */
    private static void createTopic(DefaultMQProducer producer, String topic, int queues) throws Exception {
        for (Method method : DefaultMQProducer.class.getMethods()) {
            if (!method.getName().equals("createTopic")) {
                continue;
            }
            Class<?>[] parameters = method.getParameterTypes();
            if (parameters.length == 3) {
                method.invoke(producer, "TBW102", topic, queues);
                return;
            }
            if (parameters.length == 4 && parameters[3] == Map.class) {
                method.invoke(producer, "TBW102", topic, queues, Map.of());
                return;
            }
        }
        throw new AssertionError("no createTopic that this suite knows in " + DefaultMQProducer.class);
    }
}
