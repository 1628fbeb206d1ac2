package io.flotilla.compat;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The admin endpoints of a broker group, as far as tests with leader changes need them: who leads, and hand it over. */
final class Group {
    /** One look at the group; leader is null while there is none. */
    record View(String leader, long term) {}

    private static final Duration CHANGE_LIMIT = Duration.ofSeconds(20);
    private static final Pattern LEADER = Pattern.compile("\"leader\"\\s*:\\s*\"(n\\d+)\"");
    private static final Pattern TERM = Pattern.compile("\"term\"\\s*:\\s*(\\d+)");

    /** One for a standalone, one of each node for three processes. */
    private final List<String> bases;
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();

    /** @param bases the admin addresses, separated by commas */
    Group(String bases) {
        this.bases = List.of(bases.replaceAll("/+(?=,|$)", "").split(","));
    }

    /** The group named by FLOTILLA_ADMIN; the test that asks is skipped, and says so, when nothing is named. */
    static Group underTest() {
        String admin = System.getenv("FLOTILLA_ADMIN");
        if (admin == null || admin.isBlank()) {
            System.err.println("WARNING: SKIPPED a test with leader changes: FLOTILLA_ADMIN is not set (e.g. http://127.0.0.1:8088)");
            assumeTrue(false, "FLOTILLA_ADMIN is not set");
        }
        return new Group(admin);
    }

    /** As the node that has seen the highest term tells it. */
    View view() throws IOException, InterruptedException {
        View latest = null;
        IOException failure = new IOException("no admin address");
        for (String base : bases) {
            try {
                View seen = viewOf(base);
                if (latest == null || seen.term() > latest.term() || (seen.term() == latest.term() && latest.leader() == null)) {
                    latest = seen;
                }
            } catch (IOException exception) {
                failure = exception;
            }
        }
        if (latest == null) {
            throw failure;
        }
        return latest;
    }

    private View viewOf(String base) throws IOException, InterruptedException {
        HttpResponse<String> reply = http.send(request(base, "/v1/group").GET().build(), HttpResponse.BodyHandlers.ofString());
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

    /** Asks one node after the other: only the leader can hand its place over. */
    void transferTo(String node) throws IOException, InterruptedException {
        IOException failure = new IOException("no admin address");
        for (String base : bases) {
            HttpRequest request = request(base, "/v1/group/transfer-leader")
                .header("content-type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\"to\":\"" + node + "\"}"))
                .build();
            try {
                HttpResponse<String> reply = http.send(request, HttpResponse.BodyHandlers.ofString());
                if (reply.statusCode() / 100 == 2) {
                    return;
                }
                failure = new IOException("POST /v1/group/transfer-leader to " + node + ": " + reply.statusCode() + " " + reply.body());
            } catch (IOException exception) {
                failure = exception;
            }
        }
        throw failure;
    }

    /** Asks until it has happened: a member that is a little behind may be refused at first. */
    void changeLeader(int change) throws Exception {
        Compat.await("a leader before change " + change, CHANGE_LIMIT, () -> view().leader() != null);
        View before = view();
        String next = after(before.leader());
        AtomicLong askAgainAt = new AtomicLong(System.nanoTime());
        Compat.await("leader change " + change + " from " + before + " to " + next, CHANGE_LIMIT, () -> {
            View now = view();
            if (next.equals(now.leader()) && now.term() > before.term()) {
                return true;
            }
            if (now.leader() != null && !now.leader().equals(next) && System.nanoTime() >= askAgainAt.get()) {
                askAgainAt.set(System.nanoTime() + Duration.ofSeconds(1).toNanos());
                transferTo(next);
            }
            return false;
        });
    }

    /** The member after the given one, round and round, so that each gets its turn. */
    private static String after(String node) {
        List<String> members = List.of("n0", "n1", "n2");
        return members.get((members.indexOf(node) + 1) % members.size());
    }

    private static HttpRequest.Builder request(String base, String path) {
        return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(10));
    }
}
