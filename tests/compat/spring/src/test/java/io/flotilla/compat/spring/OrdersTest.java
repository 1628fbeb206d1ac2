package io.flotilla.compat.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.spring.core.RocketMQLocalRequestCallback;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.test.context.DynamicPropertyRegistry;
import org.springframework.test.context.DynamicPropertySource;

/** The application against the server that NAMESRV_ADDR names: what the template sends is what the listeners get. */
@SpringBootTest(classes = OrdersApplication.class)
class OrdersTest {
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final String TOPIC = "spring_" + Long.toString(System.currentTimeMillis(), 36);

    @Autowired
    private RocketMQTemplate template;

    @Autowired
    private Orders orders;

    /** Before the application starts: its listeners find a topic that comes later at their next route refresh only, half a minute on. */
    @DynamicPropertySource
    static void properties(DynamicPropertyRegistry registry) throws Exception {
        DefaultMQProducer maker = new DefaultMQProducer(TOPIC + "_maker");
        maker.setNamesrvAddr(System.getenv("NAMESRV_ADDR"));
        maker.start();
        for (String name : List.of("", "_steps", "_delayed", "_questions")) {
            maker.createTopic("TBW102", TOPIC + name, 4, Map.of());
        }
        maker.shutdown();
        registry.add("rocketmq.name-server", () -> System.getenv("NAMESRV_ADDR"));
        registry.add("rocketmq.producer.group", () -> TOPIC + "_producer");
        registry.add("orders.topic", () -> TOPIC);
        registry.add("orders.group", () -> TOPIC + "_group");
    }

    @Test
    void ordersWithTheListenersTagsArriveAsObjects() throws Exception {
        for (int i = 0; i < 10; i++) {
            SendResult result = template.syncSend(TOPIC + ":new", new Order(i, "somebody"));
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
        }
        template.convertAndSend(TOPIC + ":other", new Order(99, "nobody"));
        CompletableFuture<SendResult> sent = new CompletableFuture<>();
        template.asyncSend(TOPIC + ":changed", new Order(10, "somebody"), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                sent.complete(result);
            }

            @Override
            public void onException(Throwable failure) {
                sent.completeExceptionally(failure);
            }
        });
        assertEquals(SendStatus.SEND_OK, sent.get(30, TimeUnit.SECONDS).getSendStatus());
        Set<Integer> expected = IntStream.rangeClosed(0, 10).boxed().collect(Collectors.toSet());
        await(() -> taken("somebody").equals(expected));
        assertEquals(Set.of(), taken("nobody"));
    }

    @Test
    void anOrderThatFailedComesAgain() throws Exception {
        template.syncSend(TOPIC + ":new", new Order(1000, "unlucky"));
        await(() -> taken("unlucky").contains(1000));
        assertEquals(2, orders.attempts.get(1000));
    }

    @Test
    void stepsOfAKeyArriveInTheirOrder() throws Exception {
        List<String> expected = IntStream.range(0, 20).mapToObj(i -> "step " + i).toList();
        for (String step : expected) {
            template.syncSendOrderly(TOPIC + "_steps", step, "one-key");
        }
        await(() -> orders.steps.size() >= 20);
        assertEquals(expected, orders.steps);
    }

    @Test
    void aDelayedMessageIsNotEarly() throws Exception {
        long before = System.currentTimeMillis();
        template.syncSend(TOPIC + "_delayed", MessageBuilder.withPayload("later").build(), 3_000, 2);
        await(() -> orders.delayedAt.containsKey("later"));
        assertTrue(orders.delayedAt.get("later") - before >= 5_000, "came after " + (orders.delayedAt.get("later") - before) + " ms");
    }

    @Test
    void aQuestionIsAnswered() throws Exception {
        // By callback: the synchronous request of client 5.3.2, which this starter brings, ends as soon as the question is stored.
        CompletableFuture<String> answer = new CompletableFuture<>();
        template.sendAndReceive(TOPIC + "_questions", "what?", new RocketMQLocalRequestCallback<String>() {
            @Override
            public void onSuccess(String message) {
                answer.complete(message);
            }

            @Override
            public void onException(Throwable failure) {
                answer.completeExceptionally(failure);
            }
        }, 20_000);
        assertEquals("answer to what?", answer.get(30, TimeUnit.SECONDS));
    }

    private Set<Integer> taken(String customer) {
        return orders.taken.stream().filter(order -> order.customer().equals(customer)).map(Order::number).collect(Collectors.toSet());
    }

    private static void await(BooleanSupplier condition) throws InterruptedException {
        long deadline = System.nanoTime() + LIMIT.toNanos();
        while (!condition.getAsBoolean()) {
            assertTrue(System.nanoTime() < deadline, "not within " + LIMIT.toSeconds() + " s");
            Thread.sleep(20);
        }
    }
}
