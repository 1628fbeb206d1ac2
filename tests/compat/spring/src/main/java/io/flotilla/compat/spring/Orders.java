package io.flotilla.compat.spring;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.ConsumeMode;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQReplyListener;
import org.springframework.stereotype.Component;

/** The listeners, and what they have seen. */
@Component
public class Orders {
    final List<Order> taken = new CopyOnWriteArrayList<>();
    final Map<Integer, Integer> attempts = new ConcurrentHashMap<>();
    final List<String> steps = new CopyOnWriteArrayList<>();
    final Map<String, Long> delayedAt = new ConcurrentHashMap<>();

    /** Fails each order of the customer `unlucky` once: the starter then sends it back to the broker. */
    @Component
    @RocketMQMessageListener(topic = "${orders.topic}", consumerGroup = "${orders.group}", selectorExpression = "new || changed", delayLevelWhenNextConsume = 1)
    static class Taking implements RocketMQListener<Order> {
        private final Orders orders;

        Taking(Orders orders) {
            this.orders = orders;
        }

        @Override
        public void onMessage(Order order) {
            int attempt = orders.attempts.merge(order.number(), 1, Integer::sum);
            if (order.customer().equals("unlucky") && attempt == 1) {
                throw new IllegalStateException("not this time");
            }
            orders.taken.add(order);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${orders.topic}_steps", consumerGroup = "${orders.group}_steps", consumeMode = ConsumeMode.ORDERLY)
    static class Stepping implements RocketMQListener<String> {
        private final Orders orders;

        Stepping(Orders orders) {
            this.orders = orders;
        }

        @Override
        public void onMessage(String step) {
            orders.steps.add(step);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${orders.topic}_delayed", consumerGroup = "${orders.group}_delayed")
    static class Waiting implements RocketMQListener<MessageExt> {
        private final Orders orders;

        Waiting(Orders orders) {
            this.orders = orders;
        }

        @Override
        public void onMessage(MessageExt message) {
            orders.delayedAt.put(new String(message.getBody(), java.nio.charset.StandardCharsets.UTF_8), System.currentTimeMillis());
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${orders.topic}_questions", consumerGroup = "${orders.group}_questions", replyTimeout = 10_000)
    static class Answering implements RocketMQReplyListener<String, String> {
        @Override
        public String onMessage(String question) {
            return "answer to " + question;
        }
    }
}
