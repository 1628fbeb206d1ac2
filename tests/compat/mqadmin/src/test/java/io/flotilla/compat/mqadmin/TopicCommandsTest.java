package io.flotilla.compat.mqadmin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** updateTopic, deleteTopic, topicList, topicRoute, topicStatus, topicClusterList, updateTopicPerm. */
class TopicCommandsTest extends Fixture {
    @Test
    void updateTopicMakesATopicInTheCluster() throws Exception {
        String name = unique("made");
        String text = Mqadmin.ok("updateTopic", "-c", CLUSTER, "-t", name, "-r", "3", "-w", "3");
        Mqadmin.line(text, "create topic to " + broker + " success.");
        Mqadmin.line(text, "TopicConfig [topicName=" + name + ", readQueueNums=3, writeQueueNums=3, perm=RW-");
        await("the route", () -> admin.examineTopicRouteInfo(name).getQueueDatas().get(0).getReadQueueNums() == 3);
    }

    @Test
    void updateTopicChangesATopicAtOneBroker() throws Exception {
        String name = newTopic("grown", 2);
        Mqadmin.line(Mqadmin.ok("updateTopic", "-b", broker, "-t", name, "-r", "5", "-w", "5", "-p", "6"), "create topic to " + broker + " success.");
        await("the route", () -> admin.examineTopicRouteInfo(name).getQueueDatas().get(0).getReadQueueNums() == 5);
    }

    @Test
    void updateTopicRefusesAnIllegalName() throws Exception {
        String text = Mqadmin.run("updateTopic", "-b", broker, "-t", "not a topic!", "-r", "1", "-w", "1");
        assertFalse(text.contains("success"), text);
        assertTrue(text.contains("illegal character"), text);
    }

    @Test
    void deleteTopicRemovesItEverywhere() throws Exception {
        String name = newTopic("doomed", 2);
        String text = Mqadmin.ok("deleteTopic", "-c", CLUSTER, "-t", name);
        Mqadmin.line(text, "delete topic [" + name + "] from cluster [" + CLUSTER + "] success.");
        Mqadmin.line(text, "delete topic [" + name + "] from NameServer success.");
        assertFalse(admin.fetchAllTopicList().getTopicList().contains(name));
        assertFalse(admin.getAllTopicConfig(broker, 5_000).getTopicConfigTable().containsKey(name));
        String route = Mqadmin.run("topicRoute", "-t", name);
        assertTrue(route.contains("No topic route info in name server for the topic"), route);
    }

    @Test
    void topicListNamesEveryTopic() throws Exception {
        List<String> topics = Mqadmin.ok("topicList").lines().map(String::trim).toList();
        assertTrue(topics.contains(topic), topics.toString());
        assertTrue(topics.contains("%RETRY%" + group), topics.toString());
        assertTrue(topics.contains(CLUSTER), topics.toString());
        assertTrue(topics.contains(brokerName), topics.toString());
    }

    @Test
    void topicListOfAClusterNamesGroupsToo() throws Exception {
        String text = Mqadmin.ok("topicList", "-c");
        String[] row = Mqadmin.rows(text, topic + " ", group).get(0);
        assertEquals(List.of(CLUSTER, topic, group), List.of(row));
    }

    @Test
    void topicRouteShowsQueuesAndAddresses() throws Exception {
        String json = Mqadmin.ok("topicRoute", "-t", topic);
        assertTrue(json.matches("(?s).*\"brokerAddrs\"\\s*:\\s*\\{.*0\"?\\s*:\\s*\"" + broker + "\".*"), json);
        assertTrue(json.matches("(?s).*\"readQueueNums\"\\s*:\\s*2\\b.*"), json);
        assertTrue(json.matches("(?s).*\"writeQueueNums\"\\s*:\\s*2\\b.*"), json);
        String list = Mqadmin.ok("topicRoute", "-t", topic, "-l");
        Mqadmin.line(list, CLUSTER, brokerName, broker);
        assertEquals("2", Mqadmin.rows(list, "Total:").get(0)[2]);
    }

    @Test
    void topicStatusShowsTheBoundsOfEachQueue() throws Exception {
        List<String[]> rows = Mqadmin.rows(Mqadmin.ok("topicStatus", "-t", topic), brokerName);
        assertEquals(2, rows.size());
        long stored = 0;
        for (String[] row : rows) {
            assertEquals("0", row[2]);
            stored += Long.parseLong(row[3]);
            // The time of the last message: 2026-01-31 12:00:00,000.
            assertTrue(row[4].matches("\\d{4}-\\d{2}-\\d{2}"), String.join(" ", row));
        }
        assertTrue(stored >= MESSAGES, "stored " + stored);
    }

    @Test
    void topicClusterListNamesTheCluster() throws Exception {
        assertEquals(CLUSTER, Mqadmin.ok("topicClusterList", "-t", topic).trim());
    }

    @Test
    void updateTopicPermChangesTheRoute() throws Exception {
        String name = newTopic("permitted", 2);
        String text = Mqadmin.ok("updateTopicPerm", "-c", CLUSTER, "-t", name, "-p", "4");
        Mqadmin.line(text, "update topic perm from 6 to 4 in " + broker + " success.");
        await("the route", () -> admin.examineTopicRouteInfo(name).getQueueDatas().get(0).getPerm() == 4);
        text = Mqadmin.ok("updateTopicPerm", "-b", broker, "-t", name, "-p", "6");
        Mqadmin.line(text, "update topic perm from 4 to 6 in " + broker + " success.");
        await("the route", () -> admin.examineTopicRouteInfo(name).getQueueDatas().get(0).getPerm() == 6);
    }
}
