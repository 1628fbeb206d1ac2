package io.flotilla.compat.mqadmin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.apache.rocketmq.client.producer.SendResult;
import org.junit.jupiter.api.Test;

/** queryMsgById, queryMsgByKey, queryMsgByUniqueKey, queryMsgByOffset, printMsg, consumeMessage, sendMessage, checkMsgSendRT. */
class MessageCommandsTest extends Fixture {
    @Test
    void queryMsgByIdShowsTheMessageAndWhoConsumedIt() throws Exception {
        SendResult sent = SENT.get(3);
        String text = Mqadmin.ok("queryMsgById", "-t", topic, "-i", sent.getOffsetMsgId());
        assertEquals(topic, Mqadmin.value(text, "Topic"));
        assertEquals("[TagA]", Mqadmin.value(text, "Tags"));
        assertEquals("[key-3]", Mqadmin.value(text, "Keys"));
        assertEquals(Integer.toString(sent.getMessageQueue().getQueueId()), Mqadmin.value(text, "Queue ID"));
        assertEquals(Long.toString(sent.getQueueOffset()), Mqadmin.value(text, "Queue Offset"));
        assertEquals(broker, Mqadmin.value(text, "Store Host"));
        assertTrue(text.contains(sent.getMsgId()), text);
        Mqadmin.line(text, "MessageTrack", group, "CONSUMED");
    }

    @Test
    void queryMsgByIdHandsTheMessageToAClient() throws Exception {
        SendResult sent = SENT.get(4);
        long before = CONSUMED.stream().filter("body 4"::equals).count();
        String text = Mqadmin.ok("queryMsgById", "-t", topic, "-i", sent.getOffsetMsgId(), "-g", group, "-d", consumer.buildMQClientId());
        assertTrue(text.contains("CR_SUCCESS"), text);
        assertEquals(before + 1, CONSUMED.stream().filter("body 4"::equals).count());
    }

    @Test
    void queryMsgByIdOfNothingSaysSo() throws Exception {
        String beyond = SENT.get(0).getOffsetMsgId().substring(0, 16) + "00007FFFFFFFFFF0";
        String text = Mqadmin.run("queryMsgById", "-t", topic, "-i", beyond);
        assertTrue(text.contains("Exception") || text.contains("not found"), text);
        assertFalse(text.contains("Queue Offset:"), text);
    }

    @Test
    void queryMsgByKeyFindsTheMessage() throws Exception {
        SendResult sent = SENT.get(5);
        await("the index", () -> !Mqadmin.rows(Mqadmin.run("queryMsgByKey", "-t", topic, "-k", "key-5"), sent.getMsgId()).isEmpty());
        List<String[]> rows = Mqadmin.rows(Mqadmin.ok("queryMsgByKey", "-t", topic, "-k", "key-5"), sent.getMsgId());
        assertEquals(1, rows.size());
        // The fourth column is a key of the RocksDB index, made by the tool.
        assertEquals(List.of(sent.getMsgId(), Integer.toString(sent.getMessageQueue().getQueueId()), Long.toString(sent.getQueueOffset())),
            List.of(rows.get(0)).subList(0, 3));
    }

    @Test
    void queryMsgByKeyOfNothingSaysSo() throws Exception {
        String text = Mqadmin.run("queryMsgByKey", "-t", topic, "-k", "no-such-key");
        assertTrue(text.contains("query message by key finished, but no message"), text);
    }

    @Test
    void queryMsgByUniqueKeyShowsTheMessage() throws Exception {
        SendResult sent = SENT.get(6);
        await("the index", () -> Mqadmin.run("queryMsgByUniqueKey", "-t", topic, "-i", sent.getMsgId()).contains("Queue Offset:"));
        String text = Mqadmin.ok("queryMsgByUniqueKey", "-t", topic, "-i", sent.getMsgId());
        assertEquals(topic, Mqadmin.value(text, "Topic"));
        assertEquals("[key-6]", Mqadmin.value(text, "Keys"));
        assertEquals(Long.toString(sent.getQueueOffset()), Mqadmin.value(text, "Queue Offset"));
        assertEquals(broker, Mqadmin.value(text, "Store Host"));
        Mqadmin.line(text, "MessageTrack", group, "CONSUMED");
    }

    @Test
    void queryMsgByOffsetShowsTheMessage() throws Exception {
        SendResult sent = SENT.get(7);
        String text = Mqadmin.ok("queryMsgByOffset", "-t", topic, "-b", brokerName, "-i", Integer.toString(sent.getMessageQueue().getQueueId()),
            "-o", Long.toString(sent.getQueueOffset()));
        assertEquals("[key-7]", Mqadmin.value(text, "Keys"));
        assertTrue(text.contains(sent.getMsgId()), text);
    }

    @Test
    void printMsgShowsEveryMessage() throws Exception {
        String other = newTopic("printed", 2);
        send(other, 6);
        String text = Mqadmin.ok("printMsg", "-t", other, "-d", "true");
        for (int i = 0; i < 6; i++) {
            Mqadmin.line(text, "MSGID: ", "BODY: body " + i);
        }
        assertEquals(2, Mqadmin.rows(text, "minOffset=0, maxOffset=3").size(), text);
    }

    @Test
    void consumeMessageReadsFromAQueue() throws Exception {
        String other = newTopic("read", 1);
        send(other, 4);
        String text = Mqadmin.ok("consumeMessage", "-t", other, "-b", brokerName, "-i", "0", "-o", "0", "-c", "4");
        assertEquals(4, Mqadmin.rows(text, "MSGID: ", other).size(), text);
        text = Mqadmin.ok("consumeMessage", "-t", other, "-c", "2");
        assertEquals(2, Mqadmin.rows(text, "MSGID: ", other).size(), text);
    }

    @Test
    void sendMessageStoresAMessage() throws Exception {
        String other = newTopic("sent", 1);
        String[] row = Mqadmin.rows(Mqadmin.ok("sendMessage", "-t", other, "-p", "from the command line", "-k", "cli-key", "-c", "TagC"), brokerName).get(0);
        assertEquals(List.of(brokerName, "0", "SEND_OK"), List.of(row[0], row[1], row[2]));
        String text = Mqadmin.ok("printMsg", "-t", other, "-d", "true");
        Mqadmin.line(text, row[3], "BODY: from the command line");
        Mqadmin.ok("sendMessage", "-t", other, "-p", "to a queue", "-b", brokerName, "-i", "0");
        Mqadmin.line(Mqadmin.ok("printMsg", "-t", other, "-d", "true"), "BODY: to a queue");
    }

    @Test
    void checkMsgSendRtSendsAndMeasures() throws Exception {
        String other = newTopic("measured", 2);
        String text = Mqadmin.ok("checkMsgSendRT", "-t", other, "-a", "5", "-s", "64");
        List<String[]> rows = Mqadmin.rows(text, brokerName);
        assertEquals(5, rows.size(), text);
        rows.forEach(row -> assertEquals("true", row[2], text));
        assertTrue(Double.parseDouble(Mqadmin.value(text, "Avg RT")) >= 0, text);
    }
}
