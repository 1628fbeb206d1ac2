import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Reads what Members and the Go members wrote and says whether the promise was kept: one line of JSON, exit code 1 when it was not.
 *
 *   Judge delivered FOLDER             exit code 0 when everything acked has been delivered
 *   Judge rolling FOLDER               no failed send, nothing lost, nothing stored twice, nothing delivered again that was committed
 *   Judge kill FOLDER orderly|concurrent EVENT RESTARTED ENDING QUEUES LIMIT_MS
 *                                      after EVENT each of QUEUES has one owner again within LIMIT_MS, until RESTARTED, and none changes from there to
 *                                      ENDING, when members begin to leave; no committed offset went back;
 *                                      with `orderly` no queue was ever consumed by two at once and no number was skipped
 *
 * Times are microseconds. A delivery counts as one of something committed when the commit had been seen ten seconds before it began: the client asks for
 * an offset once, when it is given the queue, and consumes from its own memory what it fetched then.
 */
public final class Judge {
    private static final long GRACE_US = 10_000_000;

    record Delivery(String consumer, int queue, long offset, long begin, long end, String body) {
        String place() {
            return queue + "@" + offset;
        }
    }

    record Ack(int queue, long offset, long time, String body) {}

    record Commit(long time, int queue, long offset) {}

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[1]);
        List<Delivery> deliveries = deliveries(folder);
        List<Ack> acks = lines(folder.resolve("acks.txt")).map(line -> line.split(" "))
            .map(part -> new Ack(Integer.parseInt(part[0]), Long.parseLong(part[1]), Long.parseLong(part[2]), part[3])).toList();
        Set<String> delivered = deliveries.stream().map(Delivery::body).collect(Collectors.toSet());
        List<String> lost = acks.stream().map(Ack::body).filter(body -> !delivered.contains(body)).toList();
        if (arguments[0].equals("delivered")) {
            System.exit(lost.isEmpty() ? 0 : 1);
        }
        List<Commit> commits = lines(folder.resolve("committed.txt")).map(line -> line.split(" "))
            .map(part -> new Commit(Long.parseLong(part[0]), Integer.parseInt(part[1]), Long.parseLong(part[2]))).toList();
        long failed = lines(folder.resolve("failed.txt")).count();

        List<String> broken = new ArrayList<>();
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("promise", arguments[0].equals("rolling") ? "rolling restart" : "kill of the leader, " + arguments[2]);
        figures.put("acked", acks.size());
        figures.put("failed_sends", failed);
        figures.put("lost", lost.size());
        figures.put("ack_gap_max_ms", longestGap(acks) / 1_000);
        figures.put("stored_twice", storedTwice(deliveries));
        figures.put("delivered_again", deliveries.size() - deliveries.stream().map(Delivery::place).distinct().count());
        figures.put("delivered_again_though_committed", ofCommitted(deliveries, commits));
        figures.put("offsets_gone_back", goneBack(commits));
        require(broken, figures, "lost", 0);
        require(broken, figures, "offsets_gone_back", 0);
        require(broken, figures, "delivered_again_though_committed", 0);
        if (arguments[0].equals("rolling")) {
            require(broken, figures, "failed_sends", 0);
            require(broken, figures, "stored_twice", 0);
        } else {
            boolean orderly = arguments[2].equals("orderly");
            long event = Long.parseLong(arguments[3]);
            long restarted = Long.parseLong(arguments[4]);
            long ending = Long.parseLong(arguments[5]);
            int queues = Integer.parseInt(arguments[6]);
            long limitMs = Long.parseLong(arguments[7]);
            settle(figures, deliveries.stream().filter(delivery -> delivery.begin() < ending).toList(), event, restarted, queues);
            figures.put("overlaps", overlaps(deliveries));
            figures.put("skipped", skipped(deliveries));
            if ((Long) figures.get("owned_again_ms") < 0 || (Long) figures.get("owned_again_ms") > limitMs) {
                broken.add("owned_again_ms");
            }
            require(broken, figures, "owners_changed_after_the_restart", 0);
            if (orderly) {
                require(broken, figures, "overlaps", 0);
                require(broken, figures, "skipped", 0);
            }
        }
        if (acks.isEmpty() || commits.isEmpty()) {
            broken.add("nothing was sent or committed");
        }
        figures.put("consumers", deliveries.stream().map(Delivery::consumer).distinct().count());
        figures.put("broken", broken);
        System.out.println(json(figures));
        System.out.flush();
        Runtime.getRuntime().halt(broken.isEmpty() ? 0 : 1);
    }

    private static void require(List<String> broken, Map<String, Object> figures, String name, long wanted) {
        if (((Number) figures.get(name)).longValue() != wanted) {
            broken.add(name);
        }
    }

    private static List<Delivery> deliveries(Path folder) throws IOException {
        List<Delivery> all = new ArrayList<>();
        for (String name : List.of("deliveries-java.txt", "deliveries-go.txt")) {
            if (Files.exists(folder.resolve(name))) {
                lines(folder.resolve(name)).map(line -> line.split(" ")).filter(part -> part.length == 6).map(part -> new Delivery(part[0], Integer.parseInt(part[1]),
                    Long.parseLong(part[2]), Long.parseLong(part[3]), Long.parseLong(part[4]), part[5])).forEach(all::add);
            }
        }
        all.sort(Comparator.comparingLong(Delivery::begin));
        return all;
    }

    private static Stream<String> lines(Path file) throws IOException {
        return Files.readAllLines(file).stream().filter(line -> !line.isBlank());
    }

    private static long longestGap(List<Ack> acks) {
        long longest = 0;
        long before = 0;
        for (long time : acks.stream().mapToLong(Ack::time).sorted().toArray()) {
            longest = before == 0 ? 0 : Math.max(longest, time - before);
            before = time;
        }
        return longest;
    }

    private static long storedTwice(List<Delivery> deliveries) {
        Map<String, Set<String>> places = new HashMap<>();
        deliveries.forEach(delivery -> places.computeIfAbsent(delivery.body(), body -> new HashSet<>()).add(delivery.place()));
        return places.values().stream().filter(all -> all.size() > 1).count();
    }

    private static long ofCommitted(List<Delivery> deliveries, List<Commit> commits) {
        Map<Integer, TreeMap<Long, Long>> highest = new HashMap<>();
        for (Commit commit : commits) {
            TreeMap<Long, Long> ofQueue = highest.computeIfAbsent(commit.queue(), queue -> new TreeMap<>());
            long before = ofQueue.isEmpty() ? -1 : ofQueue.lastEntry().getValue();
            ofQueue.put(commit.time(), Math.max(before, commit.offset()));
        }
        Set<String> seen = new HashSet<>();
        long count = 0;
        for (Delivery delivery : deliveries) {
            if (seen.add(delivery.place())) {
                continue;
            }
            var known = highest.getOrDefault(delivery.queue(), new TreeMap<>()).floorEntry(delivery.begin() - GRACE_US);
            if (known != null && delivery.offset() < known.getValue()) {
                count += 1;
            }
        }
        return count;
    }

    private static long goneBack(List<Commit> commits) {
        Map<Integer, Long> last = new HashMap<>();
        long count = 0;
        for (Commit commit : commits) {
            Long before = last.put(commit.queue(), commit.offset());
            if (before != null && commit.offset() < before) {
                count += 1;
            }
        }
        return count;
    }

    /** When each queue had its owner for good, counted from the event; and whether owners changed once more after the restart. */
    private static void settle(Map<String, Object> figures, List<Delivery> deliveries, long event, long restarted, int queues) {
        long slowest = 0;
        long changedAfter = 0;
        long owned = 0;
        Map<String, Integer> shares = new TreeMap<>();
        for (int queue = 0; queue < queues; queue++) {
            String owner = null;
            long since = -1;
            String ownerAfter = null;
            for (Delivery delivery : deliveries) {
                if (delivery.queue() != queue || delivery.begin() < event) {
                    continue;
                }
                if (delivery.begin() >= restarted) {
                    if (ownerAfter == null ? owner != null && !delivery.consumer().equals(owner) : !delivery.consumer().equals(ownerAfter)) {
                        changedAfter += 1;
                        System.err.println("queue " + queue + ": " + delivery.consumer() + " " + (delivery.begin() - restarted) / 1_000 + " ms after the restart, before it "
                            + (ownerAfter == null ? owner : ownerAfter) + "; offset " + delivery.offset());
                    }
                    ownerAfter = delivery.consumer();
                } else if (!delivery.consumer().equals(owner)) {
                    owner = delivery.consumer();
                    since = delivery.begin() - event;
                }
            }
            if (owner != null) {
                owned += 1;
                shares.merge(owner, 1, Integer::sum);
                slowest = Math.max(slowest, since);
            }
        }
        figures.put("queues_owned", owned);
        figures.put("shares", shares.toString());
        figures.put("owned_again_ms", owned == queues ? slowest / 1_000 : -1L);
        figures.put("owners_changed_after_the_restart", changedAfter);
    }

    private static long overlaps(List<Delivery> deliveries) {
        Map<Integer, Delivery> latest = new HashMap<>();
        long count = 0;
        for (Delivery delivery : deliveries) {
            Delivery before = latest.get(delivery.queue());
            if (before != null && !before.consumer().equals(delivery.consumer()) && delivery.begin() < before.end()) {
                count += 1;
            }
            if (before == null || delivery.end() > before.end()) {
                latest.put(delivery.queue(), delivery);
            }
        }
        return count;
    }

    /** A number that does not follow the one before it and is no step back. */
    private static long skipped(List<Delivery> deliveries) {
        Map<Integer, Long> last = new HashMap<>();
        long count = 0;
        for (Delivery delivery : deliveries) {
            Long before = last.put(delivery.queue(), delivery.offset());
            if (before != null && delivery.offset() > before + 1) {
                count += 1;
            }
        }
        return count;
    }

    private static String json(Map<String, Object> figures) {
        return figures.entrySet().stream().map(entry -> {
            Object value = entry.getValue();
            String text = value instanceof Number ? value.toString()
                : value instanceof List<?> list ? list.stream().map(one -> "\"" + one + "\"").collect(Collectors.joining(",", "[", "]"))
                : "\"" + value + "\"";
            return "\"" + entry.getKey() + "\":" + text;
        }).collect(Collectors.joining(",", "{", "}"));
    }
}
