package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;

/** Broadcasting beyond the plain case (ConsumeTest): offsets stay with the client, failures are not tried again. */
class BroadcastTest extends Compat {
    @Test
    void aBroadcastConsumerGoesOnAtItsOwnLocalOffset() throws Exception {
        String topic = newTopic("broadcast_restart", 2);
        String group = unique("broadcast_restart_group");
        // Offsets are kept in a file named by the client's id, which the instance name decides.
        String instance = unique("instance");
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 20; i++) {
            producer.send(message(topic, "", "before " + i));
        }
        Deliveries first = Deliveries.accepted();
        DefaultMQPushConsumer consumer = broadcast(group, topic, instance, first);
        try {
            await("20 messages before the restart", LIMIT, () -> first.count() == 20);
        } finally {
            consumer.shutdown();
        }
        for (int i = 0; i < 10; i++) {
            producer.send(message(topic, "", "after " + i));
        }
        Deliveries second = Deliveries.accepted();
        DefaultMQPushConsumer again = broadcast(group, topic, instance, second);
        closeAtEnd(again::shutdown);
        await("10 messages after it", LIMIT, () -> second.count() >= 10);
        Set<String> bodies = second.all().stream().map(Deliveries.Delivery::body).collect(Collectors.toSet());
        assertEquals(10, bodies.size());
        assertEquals(List.of(), bodies.stream().filter(body -> !body.startsWith("after")).toList());
    }

    @Test
    void aFailedBroadcastMessageIsNotTriedAgain() throws Exception {
        String topic = newTopic("broadcast_failed", 1);
        String group = unique("broadcast_failed_group");
        Deliveries deliveries = new Deliveries((message, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        DefaultMQPushConsumer consumer = broadcast(group, topic, unique("instance"), deliveries);
        closeAtEnd(consumer::shutdown);
        DefaultMQProducer producer = producer();
        producer.send(message(topic, "", "dropped"));
        await("the delivery", LIMIT, () -> deliveries.count() == 1);
        // Of the same level as a message that was sent back would be, and behind it.
        Message after = message(topic, "", "after");
        after.setDelayTimeLevel(1);
        producer.send(after);
        await("the next", LIMIT, () -> deliveries.of("after").size() == 1);
        assertEquals(1, deliveries.of("dropped").size());
    }

    private static DefaultMQPushConsumer broadcast(String group, String topic, String instance, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, "*", listener);
        consumer.setInstanceName(instance);
        // By its declaring class: the enum's package differs between client 4 and client 5.
        consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
        consumer.start();
        return consumer;
    }
}
