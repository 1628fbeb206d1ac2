package io.flotilla.compat.mixed;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/** A producer that sends all the time and a push consumer, official clients at the given name servers; counts what was acked, failed and delivered. */
final class Traffic implements AutoCloseable {
    private static final AtomicInteger NAMES = new AtomicInteger();

    private final DefaultMQProducer producer;
    private final DefaultMQPushConsumer consumer;
    private final Thread sender;
    private volatile boolean sending = true;
    private final Set<String> acked = ConcurrentHashMap.newKeySet();
    private final Map<String, Integer> ackedByBroker = new ConcurrentHashMap<>();
    private final Set<String> delivered = ConcurrentHashMap.newKeySet();
    final List<String> failed = new CopyOnWriteArrayList<>();

    /** @param pollMs the client's route refresh; its default is 30 s */
    Traffic(String nameServers, String topic, int pollMs) throws Exception {
        String name = "traffic_" + System.currentTimeMillis() + "_" + NAMES.incrementAndGet();
        consumer = new DefaultMQPushConsumer(name + "_group");
        consumer.setNamesrvAddr(nameServers);
        consumer.setInstanceName(name + "_consumer");
        consumer.setPollNameServerInterval(pollMs);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> delivered.add(new String(message.getBody(), StandardCharsets.UTF_8)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        producer = new DefaultMQProducer(name + "_producer");
        producer.setNamesrvAddr(nameServers);
        producer.setInstanceName(name + "_producer");
        producer.setPollNameServerInterval(pollMs);
        producer.start();
        sender = new Thread(() -> {
            for (int number = 0; sending; number++) {
                send(topic, name + " " + number);
            }
        }, "sender");
        sender.start();
    }

    private void send(String topic, String body) {
        try {
            SendResult result = producer.send(new Message(topic, body.getBytes(StandardCharsets.UTF_8)));
            if (result.getSendStatus() == SendStatus.SEND_OK) {
                acked.add(body);
                ackedByBroker.merge(result.getMessageQueue().getBrokerName(), 1, Integer::sum);
            } else {
                failed.add(body + ": " + result.getSendStatus());
            }
            Thread.sleep(5);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        } catch (Exception exception) {
            failed.add(body + ": " + exception);
        }
    }

    /** Fifty more acks and as many deliveries, from now on. */
    void awaitProgress(String when) throws InterruptedException {
        int acks = acked.size() + 50;
        Lab.await("50 more acks " + when, () -> acked.size() >= acks);
        int deliveries = delivered.size() + 50;
        Lab.await("50 more deliveries " + when, () -> delivered.size() >= deliveries);
    }

    int acked(String brokerName) {
        return ackedByBroker.getOrDefault(brokerName, 0);
    }

    /** Stops sending and waits until everything that was acked has been delivered. */
    void finish() throws InterruptedException {
        sending = false;
        sender.join();
        Lab.await("everything acked to be delivered", () -> delivered.containsAll(acked));
    }

    @Override
    public void close() {
        sending = false;
        producer.shutdown();
        consumer.shutdown();
    }
}
