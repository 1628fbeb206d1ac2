package io.flotilla.compat;

import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.MessageExt;

/** The answering side of request and reply: a push consumer that sends "answer to QUESTION" back by a producer of its own. */
final class Replier {
    private Replier() {}

    static void start(Compat test, String group, String topic) throws Exception {
        DefaultMQProducer replies = test.producer();
        test.pushConsumer(group, topic, "*", (messages, context) -> {
            for (MessageExt question : messages) {
                try {
                    var reply = MessageUtil.createReplyMessage(question, Compat.bytes("answer to " + Compat.text(question)));
                    if (replies.send(reply).getSendStatus() != SendStatus.SEND_OK) {
                        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                    }
                } catch (Exception exception) {
                    context.setDelayLevelWhenNextConsume(1);
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
    }
}
