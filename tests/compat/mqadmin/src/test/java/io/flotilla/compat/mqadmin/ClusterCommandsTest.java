package io.flotilla.compat.mqadmin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** clusterList, brokerStatus, statsAll, getBrokerConfig, updateBrokerConfig, wipeWritePerm, addWritePerm; and what is refused. */
class ClusterCommandsTest extends Fixture {
    /** What mqadmin, the dashboard and the exporter look for (RocketMQ 5.5 ClusterListSubCommand, dashboard 2.1, exporter 0.0.3). */
    private static final List<String> RUNTIME_NUMBERS = List.of("msgPutTotalYesterdayMorning", "msgPutTotalTodayMorning", "msgPutTotalTodayNow",
        "msgGetTotalYesterdayMorning", "msgGetTotalTodayMorning", "msgGetTotalTodayNow", "sendThreadPoolQueueSize", "pullThreadPoolQueueSize",
        "sendThreadPoolQueueHeadWaitTimeMills", "pullThreadPoolQueueHeadWaitTimeMills", "pageCacheLockTimeMills", "earliestMessageTimeStamp",
        "commitLogMinOffset", "commitLogMaxOffset", "commitLogDiskRatio", "consumeQueueDiskRatio", "dispatchBehindBytes", "bootTimestamp",
        "putMessageEntireTimeMax", "putMessageTimesTotal", "putMessageSizeTotal", "getMessageEntireTimeMax", "timerReadBehind", "timerOffsetBehind",
        "timerCongestNum", "timerEnqueueTps", "timerDequeueTps", "startAcceptSendRequestTimeStamp", "sendThreadPoolQueueCapacity",
        "pullThreadPoolQueueCapacity");

    @Test
    void clusterListShowsTheBrokerWithItsFigures() throws Exception {
        String text = Mqadmin.ok("clusterList");
        String row = Mqadmin.line(text, CLUSTER, brokerName, broker);
        assertTrue(row.matches("DefaultCluster\\s+" + brokerName + "\\s+0\\s+" + broker + "\\s+V5_\\d+_\\d+\\S*\\s+.*"), row);
        // Columns of TPS with the threads' queues: 1.90(0,0ms).
        assertTrue(row.matches(".*\\s\\d+\\.\\d+\\(\\d+,\\s*\\d+ms.*"), row);
        assertTrue(row.trim().matches(".*\\s(true|false)$"), row);
    }

    @Test
    void clusterListWithMoreStatisticsCountsMessages() throws Exception {
        String[] row = Mqadmin.rows(Mqadmin.ok("clusterList", "-m"), CLUSTER, brokerName).get(0);
        assertEquals(6, row.length, String.join(" ", row));
        for (int column = 2; column < 6; column++) {
            assertTrue(Long.parseLong(row[column]) >= 0, String.join(" ", row));
        }
    }

    @Test
    void brokerStatusHasTheKeysThatToolsRead() throws Exception {
        String text = Mqadmin.ok("brokerStatus", "-b", broker);
        for (String key : RUNTIME_NUMBERS) {
            String value = Mqadmin.value(text, key);
            assertTrue(value.matches("-?\\d+(\\.\\d+)?"), key + " is '" + value + "'");
        }
        assertTrue(Mqadmin.value(text, "brokerVersionDesc").startsWith("V5_"), text);
        assertEquals("true", Mqadmin.value(text, "brokerActive"));
        for (String tps : List.of("putTps", "getTotalTps", "getTransferredTps", "getFoundTps", "getMissTps")) {
            assertTrue(Mqadmin.value(text, tps).matches("\\d+(\\.\\d+)?( \\d+(\\.\\d+)?)*"), tps + " is '" + Mqadmin.value(text, tps) + "'");
        }
        assertTrue(Mqadmin.value(text, "runtime").matches("\\[ \\d+ days, \\d+ hours, \\d+ minutes, \\d+ seconds \\]"), text);
        assertTrue(Long.parseLong(Mqadmin.value(text, "putMessageTimesTotal")) >= MESSAGES, text);
        assertTrue(Long.parseLong(Mqadmin.value(text, "commitLogMaxOffset")) > 0, text);
        assertTrue(Math.abs(Long.parseLong(Mqadmin.value(text, "bootTimestamp")) - System.currentTimeMillis()) < 3_600_000, text);
        assertTrue(Double.parseDouble(Mqadmin.value(text, "commitLogDiskRatio")) <= 1, text);
    }

    @Test
    void brokerStatusOfAClusterNamesEachBroker() throws Exception {
        Mqadmin.line(Mqadmin.ok("brokerStatus", "-c", CLUSTER), broker, "brokerVersionDesc");
    }

    @Test
    void statsAllShowsTopicAndGroup() throws Exception {
        String[] row = Mqadmin.rows(Mqadmin.ok("statsAll", "-t", topic), topic, group).get(0);
        assertEquals(List.of(topic, group), List.of(row[0], row[1]));
        // Accumulation, rates in and out, messages in and out of 24 hours.
        assertEquals(7, row.length, String.join(" ", row));
        assertEquals("0", row[2], "everything was consumed");
        for (int column = 2; column < 7; column++) {
            assertTrue(Double.parseDouble(row[column]) >= 0, String.join(" ", row));
        }
    }

    @Test
    void getBrokerConfigShowsTheSettings() throws Exception {
        String text = Mqadmin.ok("getBrokerConfig", "-b", broker);
        assertEquals(brokerName, Mqadmin.value(text, "brokerName"));
        assertEquals(CLUSTER, Mqadmin.value(text, "brokerClusterName"));
        assertEquals(broker.substring(broker.indexOf(':') + 1), Mqadmin.value(text, "listenPort"));
        assertEquals("4194304", Mqadmin.value(text, "maxMessageSize"));
        assertEquals("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h", Mqadmin.value(text, "messageDelayLevel"));
        for (String key : List.of("brokerRole", "flushDiskType", "autoCreateTopicEnable", "autoCreateSubscriptionGroup", "deleteWhen", "fileReservedTime",
            "defaultTopicQueueNums", "brokerPermission", "namesrvAddr", "storePathRootDir", "brokerIP1", "brokerId")) {
            assertFalse(Mqadmin.value(text, key).isEmpty(), key);
        }
        assertEquals("0", Mqadmin.value(text, "brokerId"));
    }

    @Test
    void updateBrokerConfigIsShownAfterwards() throws Exception {
        String before = Mqadmin.value(Mqadmin.ok("getBrokerConfig", "-b", broker), "fileReservedTime");
        String text = Mqadmin.ok("updateBrokerConfig", "-b", broker, "-k", "fileReservedTime", "-v", "97");
        Mqadmin.line(text, "update broker config success, " + broker);
        assertEquals("97", Mqadmin.value(Mqadmin.ok("getBrokerConfig", "-b", broker), "fileReservedTime"));
        Mqadmin.line(Mqadmin.ok("updateBrokerConfig", "-c", CLUSTER, "-k", "fileReservedTime", "-v", before), "update broker config success, " + broker);
        assertEquals(before, Mqadmin.value(Mqadmin.ok("getBrokerConfig", "-b", broker), "fileReservedTime"));
    }

    @Test
    void updateBrokerConfigRefusesWhatMustNotChange() throws Exception {
        String text = Mqadmin.run("updateBrokerConfig", "-b", broker, "-k", "brokerConfigPath", "-v", "/tmp/elsewhere");
        assertFalse(text.contains("update broker config success"), text);
    }

    @Test
    void wipeAndAddWritePermChangeTheRoute() throws Exception {
        String text = Mqadmin.ok("wipeWritePerm", "-b", brokerName);
        for (String server : nameServers()) {
            Mqadmin.line(text, "wipe write perm of broker[" + brokerName + "] in name server[" + server + "] OK, ");
        }
        try {
            await("a route without the write bit", () -> admin.examineTopicRouteInfo(topic).getQueueDatas().get(0).getPerm() == 4);
        } finally {
            text = Mqadmin.ok("addWritePerm", "-b", brokerName);
        }
        for (String server : nameServers()) {
            Mqadmin.line(text, "add write perm of broker[" + brokerName + "] in name server[" + server + "] OK, ");
        }
        await("a route with it", () -> admin.examineTopicRouteInfo(topic).getQueueDatas().get(0).getPerm() == 6);
    }

    @Test
    void controllerCommandsAreRefusedByName() throws Exception {
        String text = Mqadmin.run("getBrokerEpoch", "-b", brokerName);
        assertTrue(text.contains("Exception") && text.toLowerCase().contains("controller"), text);
    }

    @Test
    @Tag("flotilla")
    void rocksDbCommandsAreRefusedByName() throws Exception {
        String text = Mqadmin.run("checkRocksdbCqWriteProgress", "-n", Mqadmin.NAMESRV, "-c", CLUSTER);
        assertTrue(text.toLowerCase().contains("rocksdb"), text);
        assertFalse(text.toLowerCase().contains("check success"), text);
    }
}
