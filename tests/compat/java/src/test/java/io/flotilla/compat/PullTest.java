package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MQPullConsumerScheduleService;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** The pull consumer of 4.9 as a member of its group: queues dealt by the client, offsets kept by the broker, the schedule service. */
class PullTest extends Compat {
    @Test
    void theScheduleServicePullsEveryQueueAndCommits() throws Exception {
        String topic = newTopic("schedule", 4);
        String group = unique("schedule_group");
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 40; i++) {
            producer.send(message(topic, "", "body " + i));
        }
        Set<String> bodies = ConcurrentHashMap.newKeySet();
        MQPullConsumerScheduleService service = new MQPullConsumerScheduleService(group);
        service.getDefaultMQPullConsumer().setNamesrvAddr(NAMESRV);
        service.getDefaultMQPullConsumer().setInstanceName(unique("instance"));
        service.registerPullTaskCallback(topic, (queue, context) -> {
            try {
                var consumer = context.getPullConsumer();
                long offset = Math.max(0, consumer.fetchConsumeOffset(queue, false));
                PullResult result = consumer.pull(queue, "*", offset, 32);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    result.getMsgFoundList().forEach(message -> bodies.add(text(message)));
                }
                consumer.updateConsumeOffset(queue, result.getNextBeginOffset());
                context.setPullNextDelayTimeMillis(100);
            } catch (Exception exception) {
                throw new IllegalStateException(exception);
            }
        });
        service.start();
        try {
            await("40 messages", LIMIT, () -> bodies.size() == 40);
        } finally {
            // Persists the offsets.
            service.shutdown();
        }
        var table = admin().examineConsumeStats(group, topic).getOffsetTable();
        assertEquals(4, table.size());
        table.forEach((queue, offsets) -> assertEquals(offsets.getBrokerOffset(), offsets.getConsumerOffset(), queue.toString()));
    }

    @Test
    void twoPullConsumersAreDealtHalfOfTheQueuesEach() throws Exception {
        String topic = newTopic("pull_share", 4);
        String group = unique("pull_share_group");
        List<DefaultMQPullConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
            consumer.setNamesrvAddr(NAMESRV);
            consumer.setInstanceName(unique("instance"));
            consumer.setRegisterTopics(new HashSet<>(Set.of(topic)));
            consumer.start();
            closeAtEnd(consumer::shutdown);
            consumers.add(consumer);
        }
        await("two queues for each", LIMIT, () -> {
            Set<MessageQueue> one = consumers.get(0).fetchMessageQueuesInBalance(topic);
            Set<MessageQueue> other = consumers.get(1).fetchMessageQueuesInBalance(topic);
            Set<MessageQueue> both = new HashSet<>(one);
            both.addAll(other);
            return one.size() == 2 && other.size() == 2 && both.size() == 4;
        });
    }

    @Test
    void anOffsetOfAPullConsumerSurvivesItsRestart() throws Exception {
        String topic = newTopic("pull_restart", 1);
        String group = unique("pull_restart_group");
        DefaultMQProducer producer = producer();
        MessageQueue queue = queues(producer, topic).get(0);
        for (int i = 0; i < 10; i++) {
            producer.send(message(topic, "", "body " + i));
        }
        DefaultMQPullConsumer first = pullConsumer(group);
        PullResult result = first.pull(queue, "*", 0, 6);
        assertEquals(6, result.getMsgFoundList().size());
        first.getOffsetStore().updateConsumeOffsetToBroker(queue, result.getNextBeginOffset(), false);
        first.shutdown();
        DefaultMQPullConsumer second = pullConsumer(group);
        long offset = second.fetchConsumeOffset(queue, true);
        assertEquals(6, offset);
        List<MessageExt> rest = second.pull(queue, "*", offset, 32).getMsgFoundList();
        assertEquals(List.of("body 6", "body 7", "body 8", "body 9"), rest.stream().map(Compat::text).toList());
    }
}
