package io.flotilla.compat;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BiFunction;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** A listener that keeps each delivery with its time, and answers what the test says. */
final class Deliveries implements MessageListenerConcurrently {
    /** One delivery of one message; the message is kept as the client handed it over. */
    record Delivery(MessageExt message, long atMs, String topic, int reconsumeTimes) {
        String body() {
            return Compat.text(message);
        }
    }

    private final List<Delivery> all = new CopyOnWriteArrayList<>();
    private final BiFunction<MessageExt, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus> answer;

    Deliveries(BiFunction<MessageExt, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus> answer) {
        this.answer = answer;
    }

    /** Takes everything. */
    static Deliveries accepted() {
        return new Deliveries((message, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
    }

    /** Fails each delivery with a reconsume count below the given one; the next comes after one second (level 1). */
    static Deliveries failing(int times) {
        return new Deliveries((message, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            return message.getReconsumeTimes() < times ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
    }

    @Override
    public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
        long now = System.currentTimeMillis();
        ConsumeConcurrentlyStatus status = ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        for (MessageExt message : messages) {
            // Copies of what the client may change afterwards.
            all.add(new Delivery(message, now, message.getTopic(), message.getReconsumeTimes()));
            status = answer.apply(message, context);
        }
        return status;
    }

    List<Delivery> all() {
        return List.copyOf(all);
    }

    List<Delivery> of(String body) {
        return all.stream().filter(delivery -> delivery.body().equals(body)).toList();
    }

    int count() {
        return all.size();
    }
}
