import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.LongAdder;
import org.HdrHistogram.Histogram;
import org.HdrHistogram.Recorder;

/** Counts of the measured window, and the line of JSON that says them. Safe for many threads. */
final class Report {
    /** Of a body in e2e: run, sequence number, intended send time by System.nanoTime(). */
    static final int HEADER_SIZE = 24;

    private static final OperatingSystemMXBean PROCESS = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    final LongAdder sent = new LongAdder();
    final LongAdder acked = new LongAdder();
    final LongAdder failed = new LongAdder();
    final LongAdder received = new LongAdder();
    private final Recorder latencies = new Recorder(3);
    private final LongAdder failuresShown = new LongAdder();
    private long startNanos;
    private long startCpuNanos;
    private volatile boolean open;
    private double elapsedSeconds;
    private double cpuSeconds;

    void begin() {
        startNanos = System.nanoTime();
        startCpuNanos = PROCESS.getProcessCpuTime();
        open = true;
    }

    void end() {
        open = false;
        elapsedSeconds = (System.nanoTime() - startNanos) / 1e9;
        cpuSeconds = (PROCESS.getProcessCpuTime() - startCpuNanos) / 1e9;
    }

    /** True while figures count. */
    boolean open() {
        return open;
    }

    void latency(long nanoseconds) {
        latencies.recordValue(Math.max(0, nanoseconds));
    }

    /** The first few are shown. */
    void failure(Throwable why) {
        failuresShown.increment();
        if (failuresShown.sum() <= 3) {
            System.err.println("failed: " + why);
        }
    }

    /** Counts is what messages_per_second is made of; seconds is the time it took, or 0 for from begin to end. */
    void print(Settings settings, long counted, double size, double seconds) {
        double elapsed = seconds > 0 ? seconds : elapsedSeconds;
        Histogram histogram = latencies.getIntervalHistogram();
        StringBuilder json = new StringBuilder(512);
        json.append(String.format(Locale.ROOT,
            "{\"tool\":\"kafka-load\",\"command\":\"%s\",\"target\":\"kafka\",\"version\":\"%s\",\"topic\":\"%s\",\"size\":%.0f,\"clients\":%d,\"window\":%d,"
                + "\"batch\":%d,\"rate\":%d,\"seconds\":%.3f",
            settings.command, version(), settings.topic, size, settings.clients, settings.window, settings.batch, settings.rate, elapsed));
        if (!settings.command.equals("consume")) {
            json.append(String.format(Locale.ROOT, ",\"sent\":%d,\"acked\":%d,\"failed\":%d", sent.sum(), acked.sum(), failed.sum()));
        }
        if (!settings.command.equals("produce")) {
            json.append(String.format(Locale.ROOT, ",\"received\":%d", received.sum()));
        }
        json.append(String.format(Locale.ROOT, ",\"messages_per_second\":%.1f,\"bytes_per_second\":%.1f", counted / elapsed, counted / elapsed * size));
        if (histogram.getTotalCount() > 0) {
            json.append(String.format(Locale.ROOT, ",\"latency_us\":{\"p50\":%d,\"p90\":%d,\"p99\":%d,\"p999\":%d,\"max\":%d,\"mean\":%.0f}",
                histogram.getValueAtPercentile(50) / 1000, histogram.getValueAtPercentile(90) / 1000, histogram.getValueAtPercentile(99) / 1000,
                histogram.getValueAtPercentile(99.9) / 1000, histogram.getMaxValue() / 1000, histogram.getMean() / 1000));
        }
        json.append(String.format(Locale.ROOT, ",\"client_cpu_seconds\":%.3f}", cpuSeconds));
        System.out.println(json);
    }

    /** Of the client, which is the server's as well: both come from one line of pom.xml. */
    private static String version() {
        try (InputStream in = Report.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            Properties properties = new Properties();
            properties.load(in);
            return properties.getProperty("version");
        } catch (IOException unreadable) {
            throw new IllegalStateException("the jar of kafka-clients does not tell its version", unreadable);
        }
    }
}
