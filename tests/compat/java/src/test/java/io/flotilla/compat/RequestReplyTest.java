package io.flotilla.compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;

/** Request and reply: the reply finds the very producer that asked (codes 324, 325, 326). */
class RequestReplyTest extends Compat {
    private static final long TIMEOUT_MS = 20_000;

    @Test
    void aSyncRequestGetsItsReply() throws Exception {
        String topic = newTopic("request", 2);
        Replier.start(this, unique("replier_group"), topic);
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 10; i++) {
            assertEquals("answer to question " + i, body(producer.request(message(topic, "", "question " + i), TIMEOUT_MS)));
        }
    }

    @Test
    void asyncRequestsGetTheirOwnReplies() throws Exception {
        String topic = newTopic("request_async", 4);
        Replier.start(this, unique("replier_group"), topic);
        DefaultMQProducer producer = producer();
        Map<Integer, CompletableFuture<String>> replies = new HashMap<>();
        for (int i = 0; i < 50; i++) {
            replies.put(i, ask(producer, topic, "question " + i));
        }
        for (var reply : replies.entrySet()) {
            assertEquals("answer to question " + reply.getKey(), reply.getValue().get(LIMIT.toSeconds(), TimeUnit.SECONDS));
        }
    }

    @Test
    void twoProducersDoNotGetEachOthersReplies() throws Exception {
        String topic = newTopic("request_two", 4);
        Replier.start(this, unique("replier_group"), topic);
        // The same group: only the client's id tells them apart.
        String group = unique("asking_group");
        List<DefaultMQProducer> producers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQProducer producer = newProducer();
            producer.setProducerGroup(group);
            producer.start();
            closeAtEnd(producer::shutdown);
            producers.add(producer);
        }
        List<CompletableFuture<String>> replies = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            replies.add(ask(producers.get(i % 2), topic, "question " + i + " of " + i % 2));
        }
        for (int i = 0; i < 40; i++) {
            assertEquals("answer to question " + i + " of " + i % 2, replies.get(i).get(LIMIT.toSeconds(), TimeUnit.SECONDS));
        }
    }

    @Test
    void aRequestThatNobodyAnswersTimesOut() throws Exception {
        String topic = newTopic("request_alone", 1);
        DefaultMQProducer producer = producer();
        assertThrows(RequestTimeoutException.class, () -> producer.request(message(topic, "", "anybody?"), 2_000));
        // The request itself was stored, as any other message.
        assertEquals(1, pullConsumer(unique("request_reader")).maxOffset(queues(producer, topic).get(0)));
    }

    private static CompletableFuture<String> ask(DefaultMQProducer producer, String topic, String question) throws Exception {
        CompletableFuture<String> reply = new CompletableFuture<>();
        producer.request(message(topic, "", question), new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                reply.complete(body(message));
            }

            @Override
            public void onException(Throwable failure) {
                reply.completeExceptionally(failure);
            }
        }, TIMEOUT_MS);
        return reply;
    }

    private static String body(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }
}
