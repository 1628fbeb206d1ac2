package io.flotilla.compat.mixed;

import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Name servers and brokers of both kinds as processes of their own, in a folder of the test's. Whatever still runs at the end is ended.
 *
 * Environment (run.sh sets it): FLOTILLA the binary, APACHE_LIB Apache's jars, COMPAT_ROOT the workspace, COMPAT_PORTS free ports.
 */
final class Lab implements AutoCloseable {
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final Queue<Integer> PORTS = ports();
    private static final Pattern LEADER = Pattern.compile("\"leader\"\\s*:\\s*\"n(\\d)\"");
    private static final List<String> OPENINGS = List.of("--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
        "--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED");

    private final Path folder = Files.createTempDirectory("flotilla-mixed");
    private final Map<String, Process> running = new HashMap<>();
    private final Map<String, List<String>> commands = new HashMap<>();
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();
    /** Listening and admin ports of the three nodes. */
    private final int[] listen = {port(), port(), port()};
    private final int[] admin = {port(), port(), port()};

    Lab() throws IOException {}

    private static Queue<Integer> ports() {
        Queue<Integer> ports = new ArrayDeque<>();
        Arrays.stream(System.getenv("COMPAT_PORTS").trim().split("\\s+")).map(Integer::valueOf).forEach(ports::add);
        return ports;
    }

    static int port() {
        return PORTS.remove();
    }

    // --- name servers ----------------------------------------------------------------------------------------------------

    /** Gives the address. */
    String ourNameServer(String name) throws Exception {
        String address = "127.0.0.1:" + port();
        start(name, List.of(System.getenv("FLOTILLA"), "namesrv", "--listen", address));
        awaitPort(address);
        return address;
    }

    String apachesNameServer(String name) throws Exception {
        int port = port();
        Path conf = folder.resolve(name + ".conf");
        Files.writeString(conf, "listenPort=" + port + "\nbindAddress=127.0.0.1\n");
        start(name, apache("128m", name, "org.apache.rocketmq.namesrv.NamesrvStartup", conf));
        awaitPort("127.0.0.1:" + port);
        return "127.0.0.1:" + port;
    }

    // --- brokers ---------------------------------------------------------------------------------------------------------

    /** A group `broker-a` of three at the name servers, separated by semicolons. */
    void ourBrokers(String nameServers) throws Exception {
        int[] raft = {port(), port(), port()};
        for (int i = 0; i < 3; i++) {
            start("n" + i, List.of(System.getenv("FLOTILLA"), "broker", "-c", System.getenv("COMPAT_ROOT") + "/examples/three-node/n" + i + ".properties",
                "--set", "namesrvAddr=" + nameServers, "--set", "listenPort=" + listen[i], "--set", "adminListen=127.0.0.1:" + admin[i],
                "--set", "dLegerPeers=n0-127.0.0.1:" + raft[0] + ";n1-127.0.0.1:" + raft[1] + ";n2-127.0.0.1:" + raft[2],
                "--set", "storePathRootDir=" + folder.resolve("n" + i), "--set", "mappedFileSizeCommitLog=67108864"));
        }
        await("a leader", () -> leader() >= 0);
    }

    String addressOf(int node) {
        return "127.0.0.1:" + listen[node];
    }

    /** A master of the given broker name; gives its address. */
    String apachesBroker(String name, String nameServers) throws Exception {
        int port = port();
        Path conf = folder.resolve(name + ".conf");
        Files.writeString(conf, String.join("\n", "brokerClusterName=DefaultCluster", "brokerName=" + name, "brokerId=0", "brokerIP1=127.0.0.1",
            "listenPort=" + port, "haListenPort=" + (port + 1), "namesrvAddr=" + nameServers, "storePathRootDir=" + folder.resolve(name),
            "storePathCommitLog=" + folder.resolve(name).resolve("commitlog"), "mappedFileSizeCommitLog=67108864", "autoCreateTopicEnable=true", ""));
        start(name, apache("512m", name, "org.apache.rocketmq.broker.BrokerStartup", conf));
        awaitPort("127.0.0.1:" + port);
        return "127.0.0.1:" + port;
    }

    private List<String> apache(String heap, String name, String main, Path conf) {
        List<String> command = new ArrayList<>(List.of("env", "ROCKETMQ_HOME=" + folder, "NAMESRV_ADDR=", "java", "-Xms" + heap, "-Xmx" + heap, "-XX:+UseSerialGC",
            "-XX:MaxDirectMemorySize=256m"));
        command.addAll(OPENINGS);
        command.addAll(List.of("-Duser.home=" + folder.resolve("home-" + name), "-cp", System.getenv("APACHE_LIB") + "/*", main, "-c", conf.toString()));
        return command;
    }

    /** Number of the leading node, -1 when there is none. */
    int leader() throws InterruptedException {
        for (int node = 0; node < 3; node++) {
            if (!running.containsKey("n" + node)) {
                continue;
            }
            try {
                HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + admin[node] + "/v1/group")).timeout(Duration.ofSeconds(2)).build();
                Matcher leader = LEADER.matcher(http.send(request, HttpResponse.BodyHandlers.ofString()).body());
                if (leader.find() && running.containsKey("n" + leader.group(1))) {
                    return Integer.parseInt(leader.group(1));
                }
            } catch (IOException down) {
                // Another may know.
            }
        }
        return -1;
    }

    void transferLeadership() throws Exception {
        int before = leader();
        int next = (before + 1) % 3;
        await("leadership of n" + next, () -> {
            int now = leader();
            if (now >= 0 && now != next) {
                http.send(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + admin[now] + "/v1/group/transfer-leader")).timeout(Duration.ofSeconds(10))
                    .POST(HttpRequest.BodyPublishers.ofString("{\"to\":\"n" + next + "\"}")).build(), HttpResponse.BodyHandlers.ofString());
            }
            return now == next;
        });
    }

    // --- processes -------------------------------------------------------------------------------------------------------

    private void start(String name, List<String> command) throws IOException {
        commands.put(name, command);
        File log = folder.resolve(name + ".log").toFile();
        running.put(name, new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log))
            .redirectInput(new File("/dev/null")).start());
    }

    /** Starts again what was stopped, with the same ports and folder. */
    void startAgain(String name) throws IOException {
        start(name, commands.get(name));
    }

    /** SIGTERM, and waits for the end. */
    void stop(String name) throws Exception {
        Process process = running.remove(name);
        process.destroy();
        if (!process.waitFor(45, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor();
            throw new AssertionError(name + " did not stop within 45 s");
        }
    }

    void kill(String name) throws Exception {
        running.remove(name).destroyForcibly().waitFor();
    }

    @Override
    public void close() throws IOException {
        running.values().forEach(Process::destroyForcibly);
        for (Process process : running.values()) {
            try {
                process.waitFor(10, TimeUnit.SECONDS);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }
        if (System.getenv("KEEP") != null) {
            System.err.println("kept: " + folder);
            return;
        }
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        }
    }

    static void awaitPort(String address) throws InterruptedException {
        String host = address.substring(0, address.indexOf(':'));
        int port = Integer.parseInt(address.substring(host.length() + 1));
        await(address + " to listen", () -> {
            try (Socket socket = new Socket()) {
                socket.connect(new InetSocketAddress(host, port), 1_000);
                return true;
            }
        });
    }

    /** Waits until the condition holds; an exception counts as "not yet" and is shown when the time is over. */
    static void await(String what, Callable<Boolean> condition) throws InterruptedException {
        long deadline = System.nanoTime() + LIMIT.toNanos();
        while (true) {
            Exception last = null;
            try {
                if (condition.call()) {
                    return;
                }
            } catch (InterruptedException interrupted) {
                throw interrupted;
            } catch (Exception exception) {
                last = exception;
            }
            if (System.nanoTime() - deadline > 0) {
                throw new AssertionError("not within " + LIMIT.toSeconds() + " s: " + what, last);
            }
            Thread.sleep(50);
        }
    }
}
