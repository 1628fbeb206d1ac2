import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Topics create NAMESRV TOPIC QUEUES   makes the topic and waits until clients see all its queues
 * Topics count NAMESRV TOPIC           prints how many messages it was given, over all queues
 */
public final class Topics {
    /** The broker's topic that a new one takes its place from. Source: RocketMQ 5.5.0 TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC. */
    private static final String DEFAULT_TOPIC = "TBW102";

    public static void main(String[] arguments) throws Exception {
        boolean create = arguments.length == 4 && arguments[0].equals("create");
        if (!create && !(arguments.length == 3 && arguments[0].equals("count"))) {
            System.err.println("usage: Topics create NAMESRV TOPIC QUEUES | Topics count NAMESRV TOPIC");
            System.exit(2);
        }
        DefaultMQProducer client = new DefaultMQProducer("topics");
        client.setNamesrvAddr(arguments[1]);
        client.start();
        if (create) {
            create(client, arguments[2], Integer.parseInt(arguments[3]));
        } else {
            long count = 0;
            for (MessageQueue queue : client.fetchPublishMessageQueues(arguments[2])) {
                count += client.maxOffset(queue);
            }
            System.out.println(count);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** Tries for a minute: a group that has no leader yet, or has not told the name server, refuses. */
    private static void create(DefaultMQProducer client, String topic, int queues) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        boolean made = false;
        while (true) {
            try {
                if (!made) {
                    client.createTopic(DEFAULT_TOPIC, topic, queues, Map.of());
                    made = true;
                }
                List<MessageQueue> seen = client.fetchPublishMessageQueues(topic);
                if (seen.size() == queues) {
                    return;
                }
                throw new MQClientException("topic " + topic + " has " + seen.size() + " queues, not " + queues, null);
            } catch (Exception notYet) {
                if (System.nanoTime() > deadline) {
                    throw notYet;
                }
                Thread.sleep(100);
            }
        }
    }
}
