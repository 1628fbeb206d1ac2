package io.flotilla.compat;

import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** A listener that keeps how often each stored message came, and which bodies. */
final class Collector implements MessageListenerConcurrently {
    private final Set<String> bodies = ConcurrentHashMap.newKeySet();
    private final ConcurrentMap<String, Integer> deliveriesByPlace = new ConcurrentHashMap<>();

    @Override
    public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
        for (MessageExt message : messages) {
            // The body first: who sees the count also finds the body.
            bodies.add(Compat.text(message));
            deliveriesByPlace.merge(message.getQueueId() + "@" + message.getQueueOffset(), 1, Integer::sum);
        }
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    }

    /** Stored messages seen at least once. */
    int distinct() {
        return deliveriesByPlace.size();
    }

    /** Deliveries beyond the first of each stored message. */
    long duplicates() {
        return deliveriesByPlace.values().stream().mapToLong(count -> count - 1).sum();
    }

    Set<String> bodies() {
        return Set.copyOf(bodies);
    }
}
