import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * CompareTable FILE: reads the lines that compare.sh writes, and prints medians per row and server, and Flotilla's ratio to each peer.
 *
 * A ratio is made of two runs with the same round, pair and row, so neighbours in time; shown is the median of the ratios with the least and the
 * greatest of them. Both parts are Markdown.
 */
public final class CompareTable {
    private static final String OURS = "flotilla";

    /** One line of the file. */
    private record Result(String json) {
        String text(String name) {
            Matcher found = Pattern.compile("\"" + name + "\":\"([^\"]*)\"").matcher(json);
            return found.find() ? found.group(1) : "";
        }

        /** Empty when the key is absent: a row without latencies has none. */
        Optional<Double> number(String name) {
            Matcher found = Pattern.compile("\"" + name + "\":(-?[0-9.]+(?:[eE][-+]?[0-9]+)?)").matcher(json);
            return found.find() ? Optional.of(Double.valueOf(found.group(1))) : Optional.empty();
        }

        Optional<Double> perCpuSecond() {
            return number("cpu_us_per_message").filter(each -> each > 0).map(each -> 1e6 / each);
        }

        Optional<Double> diskPerMessage() {
            return number("disk_bytes").flatMap(bytes -> number("stored_messages").filter(count -> count > 0).map(count -> bytes / count));
        }
    }

    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 1) {
            System.err.println("usage: CompareTable FILE");
            System.exit(2);
        }
        List<Result> results = Files.readAllLines(Path.of(arguments[0])).stream().filter(line -> line.startsWith("{")).map(Result::new).toList();
        Set<String> rows = distinct(results, "row");
        Set<String> servers = distinct(results, "server");
        medians(results, rows, servers);
        for (String peer : servers) {
            if (!peer.equals(OURS)) {
                ratios(results, rows, peer);
            }
        }
        System.out.println();
        policies(results, servers);
    }

    private static void medians(List<Result> results, Set<String> rows, Set<String> servers) {
        System.out.println();
        System.out.printf("| %-11s | %-16s | %9s | %8s | %8s | %9s | %11s | %8s | %9s | %6s |%n", "row", "server", "msg/s", "p50 us", "p99 us",
            "p99.9 us", "msg/CPU s", "CPU us", "disk B", "failed");
        System.out.println("|-------------|------------------|----------:|---------:|---------:|----------:|------------:|---------:|----------:|-------:|");
        for (String row : rows) {
            for (String server : servers) {
                List<Result> mine = results.stream().filter(result -> result.text("row").equals(row) && result.text("server").equals(server)).toList();
                if (mine.isEmpty()) {
                    continue;
                }
                System.out.printf("| %-11s | %-16s | %9s | %8s | %8s | %9s | %11s | %8s | %9s | %6s |%n", row, server,
                    median(mine, result -> result.number("messages_per_second"), 0), median(mine, result -> result.number("p50"), 0),
                    median(mine, result -> result.number("p99"), 0), median(mine, result -> result.number("p999"), 0),
                    median(mine, Result::perCpuSecond, 0), median(mine, result -> result.number("cpu_us_per_message"), 2),
                    median(mine, Result::diskPerMessage, 0), median(mine, result -> result.number("failed"), 0));
            }
        }
    }

    private static void ratios(List<Result> results, Set<String> rows, String peer) {
        boolean headed = false;
        for (String row : rows) {
            List<Result[]> pairs = pairs(results, row, peer);
            if (pairs.isEmpty()) {
                continue;
            }
            if (!headed) {
                System.out.println();
                System.out.println("Flotilla / " + peer + " (median, least to greatest; more is better for rates, less for latencies)");
                System.out.println();
                System.out.printf("| %-11s | %-22s | %-22s | %-22s | %-22s | %5s |%n", "row", "msg/s", "msg per CPU second", "p50", "p99", "pairs");
                System.out.println("|-------------|------------------------|------------------------|------------------------|------------------------|------:|");
                headed = true;
            }
            System.out.printf("| %-11s | %-22s | %-22s | %-22s | %-22s | %5d |%n", row, ratio(pairs, result -> result.number("messages_per_second")),
                ratio(pairs, Result::perCpuSecond), ratio(pairs, result -> result.number("p50")), ratio(pairs, result -> result.number("p99")),
                pairs.size());
        }
    }

    private static List<Result[]> pairs(List<Result> results, String row, String peer) {
        List<Result[]> pairs = new ArrayList<>();
        for (Result theirs : results) {
            if (!theirs.text("server").equals(peer) || !theirs.text("row").equals(row)) {
                continue;
            }
            results.stream().filter(ours -> ours.text("server").equals(OURS) && ours.text("row").equals(row) && ours.text("pair").equals(peer)
                && ours.number("round").equals(theirs.number("round"))).forEach(ours -> pairs.add(new Result[] {ours, theirs}));
        }
        return pairs;
    }

    private static void policies(List<Result> results, Set<String> servers) {
        for (String server : servers) {
            Set<String> policies = new LinkedHashSet<>();
            results.stream().filter(result -> result.text("server").equals(server))
                .forEach(result -> policies.add(result.text("version") + ": " + result.text("ack_policy")));
            policies.forEach(policy -> System.out.println(server + " " + policy));
        }
    }

    private static Set<String> distinct(List<Result> results, String name) {
        Set<String> values = new LinkedHashSet<>();
        results.forEach(result -> values.add(result.text(name)));
        return values;
    }

    private static String median(List<Result> results, Function<Result, Optional<Double>> figure, int digits) {
        double[] values = results.stream().map(figure).flatMap(Optional::stream).mapToDouble(Double::doubleValue).sorted().toArray();
        return values.length == 0 ? "-" : String.format(Locale.ROOT, "%." + digits + "f", middle(values));
    }

    private static String ratio(List<Result[]> pairs, Function<Result, Optional<Double>> figure) {
        double[] values = pairs.stream()
            .flatMap(pair -> figure.apply(pair[0]).flatMap(ours -> figure.apply(pair[1]).filter(theirs -> theirs > 0).map(theirs -> ours / theirs)).stream())
            .mapToDouble(Double::doubleValue).sorted().toArray();
        return values.length == 0 ? "-" : String.format(Locale.ROOT, "%.2f (%.2f to %.2f)", middle(values), values[0], values[values.length - 1]);
    }

    private static double middle(double[] sorted) {
        int half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }
}
