package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** Messages found by key and by unique id (code 12), and by either id through viewMessage. */
class QueryTest extends Compat {
    @Test
    void messagesAreFoundByEachOfTheirKeys() throws Exception {
        String topic = newTopic("query", 4);
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 12; i++) {
            Message message = message(topic, "", "body " + i);
            message.setKeys("order-" + i % 3 + " all-" + RUN);
            producer.send(message);
        }
        DefaultMQAdminExt admin = admin();
        assertEquals(Set.of("body 1", "body 4", "body 7", "body 10"), found(4, () -> byKey(admin, topic, "order-1")));
        assertEquals(12, found(12, () -> byKey(admin, topic, "all-" + RUN)).size());
        // Not more than were asked for.
        await("five", LIMIT, () -> admin.queryMessage(topic, "all-" + RUN, 5, 0, Long.MAX_VALUE).getMessageList().size() == 5);
    }

    @Test
    void aKeyOfAnotherTopicOrAnotherTimeIsNotFound() throws Exception {
        String topic = newTopic("query_here", 1);
        String other = newTopic("query_there", 1);
        DefaultMQProducer producer = producer();
        long before = System.currentTimeMillis();
        Message message = message(topic, "", "here");
        message.setKeys("place");
        producer.send(message);
        DefaultMQAdminExt admin = admin();
        found(1, () -> byKey(admin, topic, "place"));
        long after = System.currentTimeMillis();
        assertThrows(MQClientException.class, () -> byKey(admin, other, "place"));
        assertThrows(MQClientException.class, () -> byKey(admin, topic, "elsewhere"));
        assertThrows(MQClientException.class, () -> admin.queryMessage(topic, "place", 32, before - 600_000, before - 60_000));
        assertEquals(1, admin.queryMessage(topic, "place", 32, before - 1_000, after + 1_000).getMessageList().size());
    }

    @Test
    void keysThatCollideInTheirHashAreToldApart() throws Exception {
        String topic = newTopic("query_collision", 1);
        DefaultMQProducer producer = producer();
        // The same String.hashCode: an index of hashes alone can't tell them apart.
        for (String key : List.of("Aa", "BB")) {
            Message message = message(topic, "", "body of " + key);
            message.setKeys(key);
            producer.send(message);
        }
        DefaultMQAdminExt admin = admin();
        assertEquals(Set.of("body of Aa"), found(1, () -> byKey(admin, topic, "Aa")));
        assertEquals(Set.of("body of BB"), found(1, () -> byKey(admin, topic, "BB")));
    }

    @Test
    void aMessageIsFoundByItsUniqueId() throws Exception {
        String topic = newTopic("query_unique", 2);
        DefaultMQProducer producer = producer();
        List<SendResult> results = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            results.add(producer.send(message(topic, "", "body " + i)));
        }
        DefaultMQAdminExt admin = admin();
        for (int i = 0; i < 10; i++) {
            SendResult result = results.get(i);
            await("body " + i + " by its unique id", LIMIT, () -> admin.viewMessage(topic, result.getMsgId()) != null);
            MessageExt found = admin.viewMessage(topic, result.getMsgId());
            assertEquals("body " + i, text(found));
            assertEquals(result.getQueueOffset(), found.getQueueOffset());
            assertEquals("body " + i, text(producer.viewMessage(topic, result.getMsgId())));
            assertEquals("body " + i, text(admin.viewMessage(topic, result.getOffsetMsgId())));
        }
    }

    @Test
    void aMessageOfABatchIsFoundByItsOwnUniqueId() throws Exception {
        String topic = newTopic("query_batch", 1);
        DefaultMQProducer producer = producer();
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            Message message = message(topic, "", "body " + i);
            message.setKeys("batch-key-" + i);
            batch.add(message);
        }
        SendResult result = producer.send(batch);
        DefaultMQAdminExt admin = admin();
        String[] ids = result.getMsgId().split(",");
        assertEquals(5, ids.length);
        for (int i = 0; i < 5; i++) {
            String id = ids[i];
            await("body " + i + " by its unique id", LIMIT, () -> admin.viewMessage(topic, id) != null);
            assertEquals("body " + i, text(admin.viewMessage(topic, id)));
            String key = "batch-key-" + i;
            assertEquals(Set.of("body " + i), found(1, () -> byKey(admin, topic, key)));
        }
    }

    @Test
    void anIdThatWasNeverGivenIsNotFound() throws Exception {
        String topic = newTopic("query_nothing", 1);
        DefaultMQProducer producer = producer();
        SendResult result = producer.send(message(topic, "", "only"));
        DefaultMQAdminExt admin = admin();
        await("the message that is there", LIMIT, () -> admin.viewMessage(topic, result.getMsgId()) != null);
        String unknown = result.getMsgId().substring(0, 28) + "FFFF";
        MessageExt found = null;
        try {
            found = admin.viewMessage(topic, unknown);
        } catch (Exception expected) {
            // Client 4 throws where client 5 may give nothing.
        }
        assertNull(found);
    }

    private static List<MessageExt> byKey(DefaultMQAdminExt admin, String topic, String key) throws Exception {
        return admin.queryMessage(topic, key, 32, 0, Long.MAX_VALUE).getMessageList();
    }

    /** The index may come a moment after the acknowledgement: asks until that many are there. */
    private static Set<String> found(int count, Callable<List<MessageExt>> query) throws Exception {
        await(count + " messages by key", LIMIT, () -> query.call().size() >= count);
        return query.call().stream().map(Compat::text).collect(Collectors.toSet());
    }
}
