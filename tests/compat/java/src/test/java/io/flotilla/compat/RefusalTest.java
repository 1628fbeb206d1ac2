package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;

/** What must not be stored is refused with RocketMQ's code, and nothing is stored. Codes: RocketMQ 5.5 ResponseCode. */
class RefusalTest extends Compat {
    private static final int SUCCESS = 0;
    private static final int REQUEST_CODE_NOT_SUPPORTED = 3;
    private static final int MESSAGE_ILLEGAL = 13;
    private static final int NO_PERMISSION = 16;
    private static final int TOPIC_NOT_EXIST = 17;
    private static final int INVALID_PARAMETER = 29;

    @Test
    void aBodyOverTheBrokersLimitIsRefusedAndNotStored() throws Exception {
        String topic = newTopic("oversized", 1);
        DefaultMQProducer producer = newProducer();
        producer.setMaxMessageSize(16 << 20);
        producer.setSendMsgTimeout(15_000);
        producer.start();
        closeAtEnd(producer::shutdown);
        byte[] body = new byte[(4 << 20) + 1];
        new Random(11).nextBytes(body);
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(new Message(topic, body)));
        assertEquals(MESSAGE_ILLEGAL, refused.getResponseCode(), refused.getErrorMessage());
        assertStored(producer, topic, 0);
    }

    @Test
    void propertiesOverTheLimitAreRefusedAndNotStored() throws Exception {
        String topic = newTopic("long_properties", 1);
        DefaultMQProducer producer = producer();
        Message message = message(topic, "", "small body");
        message.putUserProperty("long", "x".repeat(33_000));
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(message));
        assertEquals(MESSAGE_ILLEGAL, refused.getResponseCode(), refused.getErrorMessage());
        assertStored(producer, topic, 0);
    }

    @Test
    void anIllegalTopicNameIsRefusedByClientAndBroker() throws Exception {
        DefaultMQProducer producer = producer();
        assertThrows(MQClientException.class, () -> producer.send(message("no spaces!", "", "body")));
        assertEquals(INVALID_PARAMETER, rawSend("no spaces!", "TBW102", 0).getCode());
        assertEquals(INVALID_PARAMETER, rawSend("t".repeat(128), "TBW102", 0).getCode());
    }

    @Test
    void aSystemTopicIsRefused() throws Exception {
        assertEquals(NO_PERMISSION, rawSend("SCHEDULE_TOPIC_XXXX", "TBW102", 0).getCode());
        assertEquals(NO_PERMISSION, rawSend("RMQ_SYS_TRANS_HALF_TOPIC", "TBW102", 0).getCode());
    }

    @Test
    void anUnknownTopicWithoutATemplateIsRefused() throws Exception {
        RemotingCommand reply = rawSend(unique("nowhere"), unique("no_template"), 0);
        assertEquals(TOPIC_NOT_EXIST, reply.getCode(), reply.getRemark());
        assertTrue(reply.getRemark() != null && reply.getRemark().contains("not exist"), reply.getRemark());
    }

    @Test
    void aQueueThatTheTopicDoesNotHaveIsRefused() throws Exception {
        String topic = newTopic("two_queues", 2);
        assertEquals(SUCCESS, rawSend(topic, "TBW102", 1).getCode());
        RemotingCommand reply = rawSend(topic, "TBW102", 2);
        assertEquals(INVALID_PARAMETER, reply.getCode(), reply.getRemark());
        assertStored(producer(), topic, 1);
    }

    @Test
    void aPullFromAQueueOrTopicThatIsNotThereFails() throws Exception {
        String topic = newTopic("short_topic", 1);
        DefaultMQProducer producer = producer();
        MessageQueue queue = queues(producer, topic).get(0);
        DefaultMQPullConsumer consumer = pullConsumer(unique("refused_reader"));
        MessageQueue noQueue = new MessageQueue(topic, queue.getBrokerName(), 5);
        assertThrows(MQBrokerException.class, () -> consumer.pull(noQueue, "*", 0, 32));
        // Bounds of a queue that is not there are zero, not an error.
        assertEquals(0, consumer.maxOffset(noQueue));
        assertEquals(0, consumer.minOffset(noQueue));
    }

    @Test
    void anUnknownRequestCodeIsRefusedWithItsNumber() throws Exception {
        RemotingCommand reply = rawClient().call(29_999, Map.of(), null);
        assertEquals(REQUEST_CODE_NOT_SUPPORTED, reply.getCode());
        assertTrue(reply.getRemark().contains("29999"), reply.getRemark());
    }

    @Test
    void aSendWithoutItsRequiredFieldsIsRefused() throws Exception {
        RemotingCommand reply = rawClient().call(RawClient.SEND_MESSAGE_V2, Map.of("a", "raw_producer"), bytes("body"));
        assertNotEquals(SUCCESS, reply.getCode());
    }

    private RemotingCommand rawSend(String topic, String defaultTopic, int queueId) throws Exception {
        return rawClient().call(RawClient.SEND_MESSAGE_V2, RawClient.sendHeader(topic, defaultTopic, queueId, ""), bytes("body"));
    }

    private void assertStored(DefaultMQProducer producer, String topic, long count) throws Exception {
        DefaultMQPullConsumer consumer = pullConsumer(unique("counter"));
        long stored = 0;
        for (MessageQueue queue : queues(producer, topic)) {
            stored += consumer.maxOffset(queue) - consumer.minOffset(queue);
        }
        assertEquals(count, stored, "messages stored in " + topic);
    }
}
