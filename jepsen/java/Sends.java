import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.hook.SendMessageContext;
import org.apache.rocketmq.client.hook.SendMessageHook;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.message.Message;

/**
 * Sends what it is told to, by one producer of the official client with its defaults, and tells what became of it.
 *
 *   Sends NAMESRV TOPIC THREADS [POLL_MS]
 *
 * POLL_MS is how often the client asks for routes; without it the client's own default stands. A line `THREAD ID PADDING` on standard input
 * makes that thread send one message synchronously: its body is `id:ID;` and PADDING points. A thread is told to send again only after it
 * told how the last one ended. Lines on standard output, one JSON object each:
 *
 *   {"event":"ready","client":"V5_5_0","poll_ms":30000,"attempts_max":3}
 *   {"event":"ended","thread":0,"id":7,"stored":{"status":"SEND_OK","queue":1,"offset":22},"attempts":[null],"error":null}
 *
 * `attempts` has an entry for each request that the library made for this one send, as a hook of the library sees them: null where the
 * broker answered that it stored the message, else what was thrown, with the response code if there was one. A try that never became a
 * request, for want of a route or an address, is not among them. Whoever reads the lines judges what they mean.
 *
 * Ends with the end of standard input, so never outlives who started it.
 */
public final class Sends {
    private static final int TEXT_MAX = 1000;
    private static final ThreadLocal<List<String>> ATTEMPTS = ThreadLocal.withInitial(ArrayList::new);
    private static final PrintStream LINES = System.out;

    private record Order(long id, int padding) {
    }

    private static final class Attempts implements SendMessageHook {
        /** A request of which nothing is told afterwards: nobody knows what became of it. */
        private static final String UNTOLD = thrown("Untold", null, "the library told nothing of this request");

        @Override
        public String hookName() {
            return "attempts";
        }

        @Override
        public void sendMessageBefore(SendMessageContext context) {
            ATTEMPTS.get().add(UNTOLD);
        }

        @Override
        public void sendMessageAfter(SendMessageContext context) {
            Exception failure = context.getException();
            List<String> attempts = ATTEMPTS.get();
            attempts.set(attempts.size() - 1, failure == null ? "null" : thrown(failure));
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 3 || arguments.length > 4) {
            System.err.println("usage: Sends NAMESRV TOPIC THREADS [POLL_MS]");
            System.exit(2);
        }
        // What libraries print must not come between the lines.
        System.setOut(System.err);
        DefaultMQProducer producer = new DefaultMQProducer("jepsen-java-producers");
        producer.setNamesrvAddr(arguments[0]);
        if (arguments.length == 4) {
            producer.setPollNameServerInterval(Integer.parseInt(arguments[3]));
        }
        producer.getDefaultMQProducerImpl().registerSendMessageHook(new Attempts());
        producer.start();
        List<BlockingQueue<Order>> orders = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(arguments[2]); number++) {
            int thread = number;
            BlockingQueue<Order> own = new ArrayBlockingQueue<>(1);
            orders.add(own);
            Thread sender = new Thread(() -> sendAll(producer, arguments[1], thread, own), "sender-" + thread);
            sender.setDaemon(true);
            sender.start();
        }
        tell("{\"event\":\"ready\",\"client\":" + quoted(MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION))
            + ",\"poll_ms\":" + producer.getPollNameServerInterval() + ",\"attempts_max\":" + (1 + producer.getRetryTimesWhenSendFailed()) + "}");
        int status = 0;
        try {
            takeOrders(orders);
        } catch (RuntimeException failure) {
            failure.printStackTrace();
            status = 2;
        }
        // A farewell to the servers could take long, and matters to nobody.
        Runtime.getRuntime().halt(status);
    }

    private static void takeOrders(List<BlockingQueue<Order>> orders) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            Order order = new Order(Long.parseLong(words[1]), Integer.parseInt(words[2]));
            if (!orders.get(Integer.parseInt(words[0])).offer(order)) {
                throw new IllegalStateException("told to send while the last send has not ended: " + line);
            }
        }
    }

    private static void sendAll(DefaultMQProducer producer, String topic, int thread, BlockingQueue<Order> orders) {
        try {
            while (true) {
                Order order = orders.take();
                tell(sendOne(producer, topic, thread, order));
            }
        } catch (Throwable failure) {
            // A thread that is gone would never answer: the others must not hide that.
            failure.printStackTrace();
            Runtime.getRuntime().halt(3);
        }
    }

    /** Sends once and gives the line that tells how it ended. */
    private static String sendOne(DefaultMQProducer producer, String topic, int thread, Order order) {
        List<String> attempts = ATTEMPTS.get();
        attempts.clear();
        String stored = "null";
        String error = "null";
        try {
            SendResult result = producer.send(new Message(topic, body(order)));
            stored = "{\"status\":" + quoted(result.getSendStatus().name()) + ",\"queue\":" + result.getMessageQueue().getQueueId()
                + ",\"offset\":" + result.getQueueOffset() + "}";
        } catch (Exception failure) {
            error = thrown(failure);
        }
        return "{\"event\":\"ended\",\"thread\":" + thread + ",\"id\":" + order.id() + ",\"stored\":" + stored
            + ",\"attempts\":[" + String.join(",", attempts) + "],\"error\":" + error + "}";
    }

    private static byte[] body(Order order) {
        byte[] head = ("id:" + Long.toUnsignedString(order.id()) + ";").getBytes(StandardCharsets.US_ASCII);
        byte[] body = Arrays.copyOf(head, head.length + order.padding());
        Arrays.fill(body, head.length, body.length, (byte) '.');
        return body;
    }

    private static String thrown(Exception failure) {
        if (failure instanceof MQBrokerException answer) {
            return thrown(failure.getClass().getSimpleName(), answer.getResponseCode(), answer.getErrorMessage());
        }
        // Further lines only say where to read more.
        String text = failure.getMessage() == null ? null : failure.getMessage().lines().findFirst().orElse(null);
        return thrown(failure.getClass().getSimpleName(), null, text);
    }

    private static String thrown(String type, Integer code, String text) {
        String told = text == null ? "" : text;
        return "{\"type\":" + quoted(type) + ",\"code\":" + code + ",\"text\":" + quoted(told.substring(0, Math.min(told.length(), TEXT_MAX))) + "}";
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (int place = 0; place < text.length(); place++) {
            char letter = text.charAt(place);
            if (letter == '"' || letter == '\\') {
                quoted.append('\\').append(letter);
            } else if (letter < ' ' || Character.isSurrogate(letter)) {
                quoted.append(String.format("\\u%04x", (int) (Character.isSurrogate(letter) ? '\uFFFD' : letter)));
            } else {
                quoted.append(letter);
            }
        }
        return quoted.append('"').toString();
    }

    /** One line at a time, written before the next send of its thread can be asked for. */
    private static void tell(String line) {
        synchronized (LINES) {
            byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
            LINES.write(bytes, 0, bytes.length);
            LINES.flush();
        }
    }
}
