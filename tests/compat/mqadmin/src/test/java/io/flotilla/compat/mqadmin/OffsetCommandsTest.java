package io.flotilla.compat.mqadmin;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.junit.jupiter.api.Test;

/** resetOffsetByTime, skipAccumulatedMessage, cloneGroupOffset. */
class OffsetCommandsTest extends Fixture {
    @Test
    void resetOffsetByTimeSendsAnOfflineGroupBack() throws Exception {
        String other = newTopic("reset", 2);
        send(other, 8);
        String offline = offlineGroup(other);
        String text = Mqadmin.ok("resetOffsetByTime", "-g", offline, "-t", other, "-s", Long.toString(System.currentTimeMillis() - 600_000));
        List<String[]> rows = Mqadmin.rows(text, brokerName + " ");
        assertEquals(2, rows.size(), text);
        rows.forEach(row -> assertEquals("0", row[2], text));
        assertEquals(0, consumed(offline, other));
        Mqadmin.ok("resetOffsetByTime", "-g", offline, "-t", other, "-s", "now");
        assertEquals(8, consumed(offline, other));
    }

    @Test
    void resetOffsetByTimeToAQueueAndOffset() throws Exception {
        String other = newTopic("reset_queue", 1);
        send(other, 8);
        String offline = offlineGroup(other);
        String text = Mqadmin.ok("resetOffsetByTime", "-g", offline, "-t", other, "-b", broker, "-q", "0", "-o", "3", "-s", "-1");
        Mqadmin.line(text, "reset consumer offset to 3");
        assertEquals(3, consumed(offline, other));
    }

    @Test
    void resetOffsetByTimeSendsAnOnlineGroupBack() throws Exception {
        String other = newTopic("reset_online", 2);
        send(other, 6);
        String name = unique("online_group");
        DefaultMQPushConsumer online = consumer(name, other);
        try {
            await("the group's offsets", () -> consumed(name, other) == 6);
            String text = Mqadmin.ok("resetOffsetByTime", "-g", name, "-t", other, "-s", Long.toString(System.currentTimeMillis() - 600_000));
            List<String[]> rows = Mqadmin.rows(text, brokerName + " ");
            assertEquals(2, rows.size(), text);
            rows.forEach(row -> assertEquals("0", row[2], text));
            await("the end again", () -> consumed(name, other) == 6);
        } finally {
            online.shutdown();
        }
    }

    @Test
    void skipAccumulatedMessageGoesToTheEnd() throws Exception {
        String other = newTopic("skip", 2);
        send(other, 2);
        String offline = offlineGroup(other);
        send(other, 10);
        String text = Mqadmin.ok("skipAccumulatedMessage", "-g", offline, "-t", other);
        assertEquals(2, Mqadmin.rows(text, brokerName + " ").size(), text);
        assertEquals(12, consumed(offline, other));
    }

    @Test
    void cloneGroupOffsetGivesAnotherGroupTheSameOffsets() throws Exception {
        String other = newTopic("clone", 2);
        send(other, 8);
        String offline = offlineGroup(other);
        String target = unique("clone_target");
        Mqadmin.ok("updateSubGroup", "-c", CLUSTER, "-g", target);
        String text = Mqadmin.ok("cloneGroupOffset", "-s", offline, "-d", target, "-t", other, "-o", "true");
        Mqadmin.line(text, "clone group offset success. srcGroup[" + offline + "], destGroup=[" + target + "], topic[" + other + "]");
        assertEquals(8, consumed(target, other));
    }
}
