package io.flotilla.compat.mqadmin;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.BeforeAll;

/** A topic of two queues with a producer and a consumer at work, for the commands to look at; and what the commands need to be told. */
abstract class Fixture {
    static final Duration LIMIT = Duration.ofSeconds(60);
    static final String CLUSTER = "DefaultCluster";
    static final int MESSAGES = 20;
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);
    private static final AtomicInteger NAMES = new AtomicInteger();

    static DefaultMQAdminExt admin;
    static DefaultMQProducer producer;
    static DefaultMQPushConsumer consumer;
    /** The address and the name of the broker that stands as id 0. */
    static String broker;
    static String brokerName;
    static String topic;
    static String group;
    static final List<SendResult> SENT = new ArrayList<>();
    static final List<String> CONSUMED = new CopyOnWriteArrayList<>();

    static String unique(String what) {
        return what + "_" + RUN + "_" + NAMES.incrementAndGet();
    }

    /** Once for all classes; the JVM ends with the last. */
    @BeforeAll
    static void start() throws Exception {
        if (Mqadmin.NAMESRV == null) {
            throw new IllegalStateException("NAMESRV_ADDR is not set (run.sh starts a server)");
        }
        if (admin != null) {
            return;
        }
        admin = new DefaultMQAdminExt(10_000);
        admin.setNamesrvAddr(Mqadmin.NAMESRV);
        admin.setInstanceName(unique("admin"));
        admin.start();
        await("a broker with id 0", () -> {
            for (var data : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
                broker = data.getBrokerAddrs().get(0L);
                brokerName = data.getBrokerName();
            }
            return broker != null;
        });
        topic = newTopic("watched", 2);
        group = unique("watching_group");
        producer = new DefaultMQProducer(unique("watched_producer"));
        producer.setNamesrvAddr(Mqadmin.NAMESRV);
        producer.setInstanceName(unique("instance"));
        producer.start();
        consumer = consumer(group, topic);
        for (int i = 0; i < MESSAGES; i++) {
            Message message = new Message(topic, "TagA", "key-" + i, bytes("body " + i));
            SENT.add(producer.send(message));
        }
        await("everything consumed and committed", () -> CONSUMED.size() >= MESSAGES && consumed(group, topic) == MESSAGES);
    }

    /** A running consumer that notes bodies in CONSUMED when it is of the watched group. */
    static DefaultMQPushConsumer consumer(String ofGroup, String ofTopic) throws Exception {
        DefaultMQPushConsumer made = new DefaultMQPushConsumer(ofGroup);
        made.setNamesrvAddr(Mqadmin.NAMESRV);
        made.setInstanceName(unique("instance"));
        // Quicker than an application's: what the commands show is what counts here.
        made.setHeartbeatBrokerInterval(2_000);
        made.setPersistConsumerOffsetInterval(1_000);
        made.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        made.subscribe(ofTopic, "TagA || TagB");
        made.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            if (ofGroup.equals(group)) {
                messages.forEach(message -> CONSUMED.add(new String(message.getBody(), StandardCharsets.UTF_8)));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        made.start();
        return made;
    }

    static String newTopic(String what, int queues) throws Exception {
        String name = unique(what);
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(name, queues, queues, 6));
        await("route of " + name, () -> admin.examineTopicRouteInfo(name).getQueueDatas().get(0).getWriteQueueNums() == queues);
        return name;
    }

    /** A group with that many consumed messages of a topic of its own and no client any more. */
    static String offlineGroup(String ofTopic) throws Exception {
        String name = unique("offline_group");
        DefaultMQPushConsumer made = consumer(name, ofTopic);
        long end = stored(ofTopic);
        try {
            await("the group's offsets", () -> consumed(name, ofTopic) == end);
        } finally {
            made.shutdown();
        }
        return name;
    }

    static long consumed(String ofGroup, String ofTopic) throws Exception {
        return admin.examineConsumeStats(ofGroup, ofTopic).getOffsetTable().values().stream().mapToLong(offsets -> offsets.getConsumerOffset()).sum();
    }

    /** Waits until the queues show the messages: RocketMQ's follow its log a moment later. */
    static void send(String toTopic, int count) throws Exception {
        long end = stored(toTopic) + count;
        for (int i = 0; i < count; i++) {
            producer.send(new Message(toTopic, "TagA", bytes("body " + i)));
        }
        await(count + " messages in the queues of " + toTopic, () -> stored(toTopic) == end);
    }

    static long stored(String inTopic) throws Exception {
        return admin.examineTopicStats(inTopic).getOffsetTable().values().stream().mapToLong(offsets -> offsets.getMaxOffset()).sum();
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static Set<String> nameServers() {
        return new HashSet<>(List.of(Mqadmin.NAMESRV.split(";")));
    }

    static void await(String what, Callable<Boolean> condition) throws InterruptedException {
        long deadline = System.nanoTime() + LIMIT.toNanos();
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
                throw new AssertionError("not within " + LIMIT.toSeconds() + " s: " + what, last);
            }
            Thread.sleep(20);
        }
    }
}
