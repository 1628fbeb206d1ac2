package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** A producer that traces: what it sent is told in the trace topic, found by the message's unique id. */
class TraceTest extends Compat {
    private static final String TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC";

    @Test
    void aTracedSendIsInTheTraceTopic() throws Exception {
        String topic = newTopic("traced", 1);
        DefaultMQProducer producer = new DefaultMQProducer(unique("tracing_producer"), true, TRACE_TOPIC);
        producer.setNamesrvAddr(NAMESRV);
        producer.setInstanceName(unique("instance"));
        producer.start();
        closeAtEnd(producer::shutdown);
        SendResult result = producer.send(message(topic, "TagT", "traced"));
        DefaultMQPullConsumer reader = pullConsumer(unique("trace_reader"));
        await("the trace of " + result.getMsgId(), LIMIT, () -> {
            for (MessageQueue queue : reader.fetchSubscribeMessageQueues(TRACE_TOPIC)) {
                for (MessageExt trace : readAll(reader, queue)) {
                    // Keys: the unique ids that the record tells of, searched by queryMsgTraceById.
                    if (trace.getKeys() != null && trace.getKeys().contains(result.getMsgId())) {
                        assertTrue(text(trace).startsWith("Pub\u0001"), text(trace));
                        assertTrue(text(trace).contains(topic), text(trace));
                        return true;
                    }
                }
            }
            return false;
        });
    }
}
