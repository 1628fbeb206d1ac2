package io.flotilla.compat.rust;

import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/** A push consumer that tells every message it is given. */
final class Consumer {
    private final DefaultMQPushConsumer consumer;
    private final String group;
    /** Messages that were refused once. */
    private final Set<String> refused = ConcurrentHashMap.newKeySet();

    Consumer(String nameServers, String group, String topic, String expression, String kind, Peer peer) throws Exception {
        this.group = group;
        consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(nameServers);
        consumer.setInstanceName("consumer" + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // A stop lets listener calls end and stores their offsets.
        consumer.setAwaitTerminationMillisWhenShutdown(10_000);
        consumer.subscribe(topic, Texts.text(expression));
        switch (kind) {
            case "concurrent" -> consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                tell(messages);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            case "orderly" -> consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                tell(messages);
                return ConsumeOrderlyStatus.SUCCESS;
            });
            case "failing-once" -> consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                tell(messages);
                // 5 s: time to stop this consumer and start another.
                context.setDelayLevelWhenNextConsume(2);
                boolean first = messages.stream().map(MessageExt::getMsgId).filter(refused::add).count() > 0;
                return first ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            case "replying" -> consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                try {
                    for (MessageExt question : messages) {
                        peer.producer().send(MessageUtil.createReplyMessage(question, question.getBody()));
                    }
                    return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
                } catch (Exception failure) {
                    Peer.say("failed to reply: " + failure);
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            });
            default -> throw new IllegalArgumentException("no such kind of consumer: " + kind);
        }
        consumer.start();
    }

    private void tell(List<MessageExt> messages) {
        for (MessageExt message : messages) {
            String properties = message.getProperties().entrySet().stream()
                .map(property -> Texts.base64(property.getKey()) + ":" + Texts.base64(property.getValue()))
                .sorted()
                .collect(Collectors.joining(" "));
            Peer.say(String.join(" ", "got", group, message.getTopic(), String.valueOf(message.getQueueId()),
                String.valueOf(message.getQueueOffset()), message.getMsgId(), String.valueOf(message.getFlag()),
                String.valueOf(message.getReconsumeTimes()), Texts.base64(message.getBody()), properties));
        }
    }

    /** Queues that it has now, without those of its retry topic. */
    List<String> queues() {
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> !queue.getTopic().startsWith("%RETRY%"))
            .map(queue -> queue.getTopic() + ":" + queue.getBrokerName() + ":" + queue.getQueueId())
            .toList();
    }

    void close() {
        consumer.shutdown();
    }
}
