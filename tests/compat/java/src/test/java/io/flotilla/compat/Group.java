package io.flotilla.compat;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The admin endpoints of a broker group, as far as the fail-over test needs them: who leads, and hand it over. */
final class Group {
    /** One look at the group; leader is null while there is none. */
    record View(String leader, long term) {}

    private static final Pattern LEADER = Pattern.compile("\"leader\"\\s*:\\s*\"(n\\d+)\"");
    private static final Pattern TERM = Pattern.compile("\"term\"\\s*:\\s*(\\d+)");

    private final String base;
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();

    Group(String base) {
        this.base = base.replaceAll("/+$", "");
    }

    View view() throws IOException, InterruptedException {
        HttpResponse<String> reply = http.send(request("/v1/group").GET().build(), HttpResponse.BodyHandlers.ofString());
        if (reply.statusCode() != 200) {
            throw new IOException("GET /v1/group: " + reply.statusCode() + " " + reply.body());
        }
        Matcher leader = LEADER.matcher(reply.body());
        Matcher term = TERM.matcher(reply.body());
        if (!term.find()) {
            throw new IOException("GET /v1/group names no term: " + reply.body());
        }
        return new View(leader.find() ? leader.group(1) : null, Long.parseLong(term.group(1)));
    }

    void transferTo(String node) throws IOException, InterruptedException {
        HttpRequest request = request("/v1/group/transfer-leader")
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString("{\"to\":\"" + node + "\"}"))
            .build();
        HttpResponse<String> reply = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (reply.statusCode() / 100 != 2) {
            throw new IOException("POST /v1/group/transfer-leader to " + node + ": " + reply.statusCode() + " " + reply.body());
        }
    }

    /** The member after the given one, round and round, so that each gets its turn. */
    static String after(String node) {
        List<String> members = List.of("n0", "n1", "n2");
        return members.get((members.indexOf(node) + 1) % members.size());
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(10));
    }
}
