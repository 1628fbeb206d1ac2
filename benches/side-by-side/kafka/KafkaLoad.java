import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.kafka.clients.CommonClientConfigs;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * Load on Apache Kafka by its Java client, in the shapes and with the result line of `flotilla bench`.
 *
 *   KafkaLoad create  --servers HOST:PORT,... --topic T [--partitions 8]
 *   KafkaLoad count   --servers S --topic T                            prints how many messages the topic holds
 *   KafkaLoad produce --servers S --topic T --size 1024 --clients N --window W --batch B --seconds S --warmup S
 *   KafkaLoad consume --servers S --topic T --clients N --messages N [--warmup S]
 *   KafkaLoad e2e     --servers S --topic T --rate R|--window N --size 1024 --seconds S --warmup S [--clients N]
 *
 * A client is a thread. They share one KafkaProducer, as its documentation advises, or --connections N of them. acks=all always; linger.ms=0
 * where a client waits for each single message, Kafka's default otherwise; --linger MS and --batch-bytes N set linger.ms and batch.size.
 * The topic has three replicas, two of which must be in sync. One line of JSON on stdout, everything else on stderr.
 */
public final class KafkaLoad {
    private static final short REPLICAS = 3;

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 0) {
            System.err.println("usage: KafkaLoad create|count|produce|consume|e2e --servers HOST:PORT,... --topic T [--option value]...");
            System.exit(2);
        }
        Settings settings = new Settings(arguments);
        switch (settings.command) {
            case "create" -> create(settings);
            case "count" -> System.out.println(count(settings));
            case "produce" -> new Produce(settings).work();
            case "consume" -> new Consume(settings).work();
            case "e2e" -> new EndToEnd(settings).work();
            default -> throw new IllegalArgumentException("unknown command " + settings.command);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** Waits for all brokers first, so that each partition gets its three replicas, and for its leaders afterwards. */
    private static void create(Settings settings) throws Exception {
        try (Admin admin = admin(settings)) {
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (admin.describeCluster().nodes().get().size() < REPLICAS) {
                expire(deadline, "no three brokers within a minute");
            }
            NewTopic topic = new NewTopic(settings.topic, Optional.of(settings.partitions), Optional.of(REPLICAS))
                .configs(Map.of("min.insync.replicas", "2"));
            admin.createTopics(List.of(topic)).all().get(60, TimeUnit.SECONDS);
            while (!complete(admin, settings)) {
                expire(deadline, "the replicas of " + settings.topic + " are not in sync within a minute");
            }
        }
    }

    private static boolean complete(Admin admin, Settings settings) throws Exception {
        try {
            return admin.describeTopics(List.of(settings.topic)).allTopicNames().get(60, TimeUnit.SECONDS).get(settings.topic).partitions().stream()
                .filter(partition -> partition.leader() != null && partition.isr().size() == REPLICAS).count() == settings.partitions;
        } catch (ExecutionException notYetKnown) {
            return false;
        }
    }

    private static void expire(long deadline, String what) throws InterruptedException {
        if (System.nanoTime() > deadline) {
            throw new IllegalStateException(what);
        }
        Thread.sleep(100);
    }

    private static long count(Settings settings) throws Exception {
        try (Admin admin = admin(settings)) {
            Map<TopicPartition, OffsetSpec> ends = admin.describeTopics(List.of(settings.topic)).allTopicNames().get().get(settings.topic).partitions().stream()
                .map(partition -> new TopicPartition(settings.topic, partition.partition()))
                .collect(Collectors.toMap(Function.identity(), partition -> OffsetSpec.latest()));
            return admin.listOffsets(ends).all().get().values().stream().mapToLong(end -> end.offset()).sum();
        }
    }

    private static Admin admin(Settings settings) {
        Properties properties = new Properties();
        properties.put(CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG, settings.servers);
        return Admin.create(properties);
    }

    /** Every clients-th partition, from the index-th on. */
    static List<TopicPartition> share(KafkaConsumer<byte[], byte[]> consumer, String topic, int index, int clients) {
        return consumer.partitionsFor(topic).stream().filter(partition -> partition.partition() % clients == index)
            .map(partition -> new TopicPartition(topic, partition.partition())).toList();
    }
}
