package io.flotilla.compat.rust;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;

/**
 * The official Java client, told by lines on its standard input what to do; answers are lines on its standard output. Texts that may hold
 * anything travel as base64, an empty one as {@code -}.
 *
 * <pre>
 * producer GROUP NONE|ZLIB|LZ4|ZSTD          ok
 * send TOPIC TAG KEYS FLAG BODY [NAME:VALUE]...    sent ID BROKER QUEUE OFFSET        all but FLAG and TOPIC base64
 * batch TOPIC BODY...                              sent ID,ID... BROKER QUEUE OFFSET
 * request TOPIC BODY TIMEOUT_MS                    reply BODY
 * consumer GROUP TOPIC EXPRESSION concurrent|orderly|replying|failing-once    ok, and later for each message
 *                                                  got GROUP TOPIC QUEUE OFFSET ID FLAG ATTEMPTS BODY [NAME:VALUE]...
 * queues GROUP                                     queues [TOPIC:BROKER:QUEUE]...
 * stop GROUP                                       ok
 * quit
 * </pre>
 *
 * What fails is answered with {@code failed} and the reason.
 */
public final class Peer {
    private final String nameServers;
    private final Map<String, Consumer> consumers = new HashMap<>();
    private DefaultMQProducer producer;

    private Peer(String nameServers) {
        this.nameServers = nameServers;
    }

    public static void main(String[] arguments) throws IOException {
        Peer peer = new Peer(arguments[0]);
        say("ready");
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null && !line.equals("quit"); line = input.readLine()) {
            try {
                say(peer.answer(line.split(" ")));
            } catch (Exception | AssertionError failure) {
                say("failed " + failure.toString().replace('\n', ' '));
            }
        }
        peer.close();
        // Threads of the client outlive its shutdown.
        System.exit(0);
    }

    private String answer(String[] words) throws Exception {
        return switch (words[0]) {
            case "producer" -> startProducer(words[1], words[2]);
            case "send" -> sent(producer.send(message(words)));
            case "batch" -> sent(producer.send(batch(words)));
            case "request" -> {
                Message question = new Message(words[1], Texts.bytes(words[2]));
                yield "reply " + Texts.base64(producer.request(question, Long.parseLong(words[3])).getBody());
            }
            case "consumer" -> {
                consumers.put(words[1], new Consumer(nameServers, words[1], words[2], words[3], words[4], this));
                yield "ok";
            }
            case "queues" -> "queues " + new TreeSet<>(consumers.get(words[1]).queues()).stream().collect(Collectors.joining(" "));
            case "stop" -> {
                consumers.remove(words[1]).close();
                yield "ok";
            }
            default -> throw new IllegalArgumentException("no such command: " + words[0]);
        };
    }

    private String startProducer(String group, String codec) throws Exception {
        if (producer != null) {
            producer.shutdown();
        }
        producer = new DefaultMQProducer(group);
        producer.setNamesrvAddr(nameServers);
        producer.setInstanceName("producer" + System.nanoTime());
        if (codec.equals("NONE")) {
            producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        } else {
            producer.setCompressMsgBodyOverHowmuch(1);
            producer.setCompressType(CompressionType.of(codec));
        }
        producer.start();
        return "ok";
    }

    private static Message message(String[] words) {
        String tag = Texts.text(words[2]);
        String keys = Texts.text(words[3]);
        Message message = new Message(words[1], tag.isEmpty() ? null : tag, keys.isEmpty() ? null : keys, Integer.parseInt(words[4]),
            Texts.bytes(words[5]), true);
        for (String pair : Arrays.asList(words).subList(6, words.length)) {
            String[] sides = pair.split(":");
            message.putUserProperty(Texts.text(sides[0]), Texts.text(sides[1]));
        }
        return message;
    }

    private static List<Message> batch(String[] words) {
        List<Message> messages = new ArrayList<>();
        for (String body : Arrays.asList(words).subList(2, words.length)) {
            messages.add(new Message(words[1], Texts.bytes(body)));
        }
        return messages;
    }

    private static String sent(SendResult result) {
        var queue = result.getMessageQueue();
        return "sent " + result.getMsgId() + " " + queue.getBrokerName() + " " + queue.getQueueId() + " " + result.getQueueOffset();
    }

    DefaultMQProducer producer() {
        return producer;
    }

    /** One line at a time, whole. */
    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private void close() {
        consumers.values().forEach(Consumer::close);
        if (producer != null) {
            producer.shutdown();
        }
    }
}
