import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.CommonClientConfigs;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What the command line asks for, and the settings of Kafka's clients that follow from it. */
final class Settings {
    /** Kafka's own default for the option. */
    private static final int KAFKAS_DEFAULT = -1;

    final String command;
    final String servers;
    final String topic;
    /** Bytes of a body. */
    final int size;
    final int clients;
    /** Sends in flight per client. */
    final int window;
    /** Messages that a client sends as one unit; 0: none, single messages. */
    final int batch;
    /** Messages per second. */
    final int rate;
    final double seconds;
    final double warmup;
    final long messages;
    final int partitions;
    /** Producers that the clients share. */
    final int connections;
    private final int linger;
    private final int batchBytes;

    Settings(String[] arguments) {
        command = arguments[0];
        Map<String, String> options = new TreeMap<>();
        for (int i = 1; i < arguments.length; i += 2) {
            if (!arguments[i].startsWith("--") || i + 1 == arguments.length) {
                throw new IllegalArgumentException("expected --option value, not " + arguments[i]);
            }
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
        Set<String> known = new HashSet<>(List.of("servers", "topic", "size", "clients", "window", "batch", "rate", "seconds", "warmup", "messages",
            "partitions", "connections", "linger", "batch-bytes"));
        for (String name : options.keySet()) {
            if (!known.contains(name)) {
                throw new IllegalArgumentException("unknown option --" + name);
            }
        }
        servers = options.get("servers");
        topic = options.get("topic");
        if (servers == null || topic == null) {
            throw new IllegalArgumentException("--servers and --topic are needed");
        }
        size = number(options, "size", 1024, Report.HEADER_SIZE);
        clients = number(options, "clients", 1, 1);
        window = number(options, "window", 1, 1);
        batch = number(options, "batch", 0, 0);
        rate = number(options, "rate", 0, 0);
        seconds = Double.parseDouble(options.getOrDefault("seconds", "10"));
        warmup = Double.parseDouble(options.getOrDefault("warmup", "0"));
        messages = Long.parseLong(options.getOrDefault("messages", "0"));
        partitions = number(options, "partitions", 8, 1);
        connections = number(options, "connections", 1, 1);
        linger = number(options, "linger", KAFKAS_DEFAULT, KAFKAS_DEFAULT);
        batchBytes = number(options, "batch-bytes", KAFKAS_DEFAULT, KAFKAS_DEFAULT);
    }

    /**
     * Where each client waits for its one message, waiting for more of them serves nobody. In e2e it does, at rates worth measuring: with linger.ms=0
     * the many small requests cost so much that latencies are higher than with the default.
     */
    Properties producer() {
        Properties properties = new Properties();
        properties.put(CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG, servers);
        properties.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
        properties.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
        properties.put(ProducerConfig.ACKS_CONFIG, "all");
        boolean waitsForEach = command.equals("produce") && window == 1 && batch == 0;
        if (linger != KAFKAS_DEFAULT) {
            properties.put(ProducerConfig.LINGER_MS_CONFIG, linger);
        } else if (waitsForEach) {
            properties.put(ProducerConfig.LINGER_MS_CONFIG, 0);
        }
        if (batchBytes != KAFKAS_DEFAULT) {
            properties.put(ProducerConfig.BATCH_SIZE_CONFIG, batchBytes);
        }
        ProducerConfig effective = new ProducerConfig(properties);
        System.err.println("producer: acks=all linger.ms=" + effective.getLong(ProducerConfig.LINGER_MS_CONFIG)
            + " batch.size=" + effective.getInt(ProducerConfig.BATCH_SIZE_CONFIG)
            + " enable.idempotence=" + effective.getBoolean(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG));
        return properties;
    }

    /** Partitions are assigned by hand, so a group's first rebalance is no part of any figure. */
    Properties consumer() {
        Properties properties = new Properties();
        properties.put(CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG, servers);
        properties.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        properties.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        return properties;
    }

    private static int number(Map<String, String> options, String name, int otherwise, int least) {
        int value = options.containsKey(name) ? Integer.parseInt(options.get(name)) : otherwise;
        if (value < least) {
            throw new IllegalArgumentException("--" + name + " is at least " + least);
        }
        return value;
    }
}
