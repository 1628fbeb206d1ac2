package io.flotilla.compat;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;

/**
 * What every test here needs: the server's address, names that no other run has used, clients that end with the test,
 * and waiting for a condition instead of for a time.
 */
abstract class Compat {
    /** Tag of a test that names Flotilla's own behaviour: left out against Apache RocketMQ. */
    static final String FLOTILLA = "flotilla";
    /** standalone, three or apache. */
    static final String AGAINST = String.valueOf(System.getenv("COMPAT_AGAINST"));
    /** Version of the client. */
    static final String CLIENT = System.getProperty("compat.client.version", "5.5.0");
    static final String NAMESRV = requiredEnvironment("NAMESRV_ADDR");
    /** Names carry it, so that a run never meets what an earlier one left on the same server. */
    static final String RUN = Long.toString(System.currentTimeMillis(), 36);
    /**
     * What a condition may take; mostly it takes milliseconds. Above the client's heartbeat interval of 30 s: client 5 raises its subscription's
     * version when queues are dealt and may skip that heartbeat, and RocketMQ's broker then refuses its pulls until the next (code 25).
     */
    static final Duration LIMIT = Duration.ofSeconds(60);

    private static final AtomicInteger NAMES = new AtomicInteger();
    /** Client 5 takes up to three seconds to shut down: the next test need not wait for that, the class does. */
    private static final Queue<CompletableFuture<Void>> CLOSING = new ConcurrentLinkedQueue<>();
    private final Deque<Runnable> closers = new ArrayDeque<>();

    @AfterEach
    void closeClients() {
        List<Runnable> lastFirst = List.copyOf(closers);
        closers.clear();
        CLOSING.add(CompletableFuture.runAsync(() -> lastFirst.forEach(Runnable::run), task -> new Thread(task, "closing").start()));
    }

    @AfterAll
    static void awaitClosed() {
        while (!CLOSING.isEmpty()) {
            CLOSING.poll().join();
        }
    }

    static String unique(String what) {
        return what + "_" + RUN + "_" + NAMES.incrementAndGet();
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    void closeAtEnd(Runnable closer) {
        closers.push(closer);
    }

    /** Not started: for a test that sets options first. */
    DefaultMQProducer newProducer() {
        DefaultMQProducer producer = new DefaultMQProducer(unique("producer"));
        producer.setNamesrvAddr(NAMESRV);
        producer.setInstanceName(unique("instance"));
        return producer;
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = newProducer();
        producer.start();
        closeAtEnd(producer::shutdown);
        return producer;
    }

    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setInstanceName(unique("instance"));
        consumer.start();
        closeAtEnd(consumer::shutdown);
        return consumer;
    }

    /** Not started; the caller starts it and says when it ends. */
    static DefaultMQPushConsumer newPushConsumer(String group, String topic, String tags, MessageListenerConcurrently listener)
            throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setInstanceName(unique("instance"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, tags);
        consumer.registerMessageListener(listener);
        return consumer;
    }

    DefaultMQPushConsumer pushConsumer(String group, String topic, String tags, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = newPushConsumer(group, topic, tags, listener);
        consumer.start();
        closeAtEnd(consumer::shutdown);
        return consumer;
    }

    /** Not started, with one message at a time. */
    static DefaultMQPushConsumer newOrderlyConsumer(String group, String topic, MessageListenerOrderly listener) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setInstanceName(unique("instance"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(listener);
        return consumer;
    }

    DefaultMQAdminExt admin() throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(10_000);
        admin.setNamesrvAddr(NAMESRV);
        admin.setInstanceName(unique("admin"));
        admin.start();
        closeAtEnd(admin::shutdown);
        return admin;
    }

    /** Addresses of the replicas that stand as id 0, one a broker group. */
    static List<String> leaders(DefaultMQAdminExt admin) throws Exception {
        List<String> found = new ArrayList<>();
        await("a broker group with id 0", LIMIT, () -> {
            found.clear();
            for (var broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
                String address = broker.getBrokerAddrs().get(0L);
                if (address != null) {
                    found.add(address);
                }
            }
            return !found.isEmpty();
        });
        return found;
    }

    /** The transport alone, to the first leader. */
    RawClient rawClient() throws Exception {
        RawClient raw = new RawClient(leaders(admin()).get(0));
        closeAtEnd(raw::close);
        return raw;
    }

    /** Makes a topic the way mqadmin updateTopic does and waits until the route shows it. */
    String newTopic(String what, int queues) throws Exception {
        String topic = unique(what);
        DefaultMQAdminExt admin = admin();
        putTopic(admin, topic, queues);
        awaitRoute(admin, topic, queues);
        return topic;
    }

    static void putTopic(DefaultMQAdminExt admin, String topic, int queues) throws Exception {
        for (String leader : leaders(admin)) {
            admin.createAndUpdateTopicConfig(leader, new TopicConfig(topic, queues, queues, 6));
        }
    }

    static void awaitRoute(DefaultMQAdminExt admin, String topic, int queues) {
        await("route of " + topic + " with " + queues + " queues", LIMIT, () -> {
            var queueDatas = admin.examineTopicRouteInfo(topic).getQueueDatas();
            return queueDatas.stream().mapToInt(data -> data.getWriteQueueNums()).sum() >= queues;
        });
    }

    /** The queues of a topic in the order of their ids. Of several name servers the producer's may be the last to know the topic. */
    static List<MessageQueue> queues(DefaultMQProducer producer, String topic) {
        List<MessageQueue> queues = new ArrayList<>();
        await("queues of " + topic, LIMIT, () -> queues.addAll(producer.fetchPublishMessageQueues(topic)));
        queues.sort(null);
        return queues;
    }

    static Message message(String topic, String tag, String body) {
        return new Message(topic, tag, bytes(body));
    }

    /** The queues of the topic that a running consumer has now. */
    static Set<MessageQueue> owned(DefaultMQPushConsumer consumer, String topic) {
        Set<MessageQueue> owned = new HashSet<>(consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet());
        owned.removeIf(queue -> !queue.getTopic().equals(topic));
        return owned;
    }

    /** Waits until the consumers own all queues of the topic, each queue one consumer. */
    static void awaitShared(String topic, int queues, List<DefaultMQPushConsumer> consumers) {
        await(queues + " queues of " + topic + " dealt among " + consumers.size() + " consumers", LIMIT, () -> {
            Set<MessageQueue> together = new HashSet<>();
            int each = 0;
            for (DefaultMQPushConsumer consumer : consumers) {
                Set<MessageQueue> own = owned(consumer, topic);
                if (own.isEmpty()) {
                    return false;
                }
                each += own.size();
                together.addAll(own);
            }
            return each == queues && together.size() == queues;
        });
    }

    /** Every message of a queue from its minimum to its maximum offset, by the pull API. */
    static List<MessageExt> readAll(DefaultMQPullConsumer consumer, MessageQueue queue) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        long next = consumer.minOffset(queue);
        long end = consumer.maxOffset(queue);
        while (next < end) {
            PullResult result = consumer.pull(queue, "*", next, 32);
            if (result.getPullStatus() == PullStatus.FOUND) {
                all.addAll(result.getMsgFoundList());
            }
            if (result.getNextBeginOffset() <= next) {
                throw new AssertionError("pull at " + next + " of " + queue + " below its maximum " + end + " does not move: " + result);
            }
            next = result.getNextBeginOffset();
        }
        return all;
    }

    /** Waits until the condition holds; an exception counts as "not yet" and is shown when the time is over. */
    static void await(String what, Duration limit, Callable<Boolean> condition) {
        long deadline = System.nanoTime() + limit.toNanos();
        Exception last = null;
        while (true) {
            try {
                if (condition.call()) {
                    return;
                }
                last = null;
            } catch (Exception exception) {
                last = exception;
            }
            if (System.nanoTime() - deadline > 0) {
                throw new AssertionError("not within " + limit.toSeconds() + " s: " + what, last);
            }
            pause();
        }
    }

    private static void pause() {
        try {
            Thread.sleep(20);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new AssertionError("interrupted while waiting", interrupted);
        }
    }

    private static String requiredEnvironment(String name) {
        String value = System.getenv(name);
        if (value == null || value.isBlank()) {
            throw new IllegalStateException(name + " is not set: it names the server under test, e.g. 127.0.0.1:9876 (run.sh starts one)");
        }
        return value;
    }
}
