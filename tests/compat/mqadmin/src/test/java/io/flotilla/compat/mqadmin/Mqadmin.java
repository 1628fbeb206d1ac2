package io.flotilla.compat.mqadmin;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** Runs one mqadmin command in this JVM and gives what it printed: mqadmin exits with 0 whatever happened, only its text tells. */
final class Mqadmin {
    static final String NAMESRV = System.getenv("NAMESRV_ADDR");

    private Mqadmin() {}

    /** Standard output and error together; the name servers are added. One command at a time: the streams belong to the whole JVM. */
    static synchronized String run(String... command) {
        List<String> all = new ArrayList<>(Arrays.asList(command));
        all.add("-n");
        all.add(NAMESRV);
        ByteArrayOutputStream caught = new ByteArrayOutputStream();
        PrintStream out = System.out;
        PrintStream err = System.err;
        forget();
        try (PrintStream stream = new PrintStream(caught, true, StandardCharsets.UTF_8)) {
            System.setOut(stream);
            System.setErr(stream);
            MQAdminStartup.main0(all.toArray(new String[0]), null);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        String text = caught.toString(StandardCharsets.UTF_8);
        if (System.getenv("MQADMIN_SHOW") != null) {
            System.err.println("--- mqadmin " + String.join(" ", command) + "\n" + text);
        }
        return text;
    }

    /** Some commands keep a client in a field and can't run twice: each run gets fresh ones, as each process of mqadmin does. */
    private static void forget() {
        try {
            Field commands = MQAdminStartup.class.getDeclaredField("SUB_COMMANDS");
            commands.setAccessible(true);
            ((List<?>) commands.get(null)).clear();
        } catch (ReflectiveOperationException exception) {
            throw new AssertionError("MQAdminStartup is not as it was in 5.5.0", exception);
        }
    }

    /** As run; a stack trace or the help text, which mqadmin prints for arguments that it does not take, fails the test. */
    static String ok(String... command) {
        String text = run(command);
        if (text.contains("\tat ") || text.contains("usage: mqadmin") || text.contains("not exist.")) {
            throw new AssertionError("mqadmin " + String.join(" ", command) + " printed:\n" + text);
        }
        return text;
    }

    /** The first line that has all the words, or a failure that shows everything. */
    static String line(String text, String... words) {
        for (String line : text.split("\n")) {
            if (Arrays.stream(words).allMatch(line::contains)) {
                return line;
            }
        }
        throw new AssertionError("no line with " + String.join(", ", words) + " in:\n" + text);
    }

    /** Lines whose columns are separated by spaces and which have all the words. */
    static List<String[]> rows(String text, String... words) {
        List<String[]> rows = new ArrayList<>();
        for (String line : text.split("\n")) {
            if (!line.startsWith("#") && Arrays.stream(words).allMatch(line::contains)) {
                rows.add(line.trim().split("\\s+"));
            }
        }
        return rows;
    }

    /** The value of a line `name   =  value` or `name   : value`. */
    static String value(String text, String name) {
        Matcher matcher = Pattern.compile("(?m)(?:^|\\s)" + Pattern.quote(name) + "\\s*[=:]\\s*(.*?)\\s*$").matcher(text);
        if (!matcher.find()) {
            throw new AssertionError("no value of " + name + " in:\n" + text);
        }
        return matcher.group(1);
    }
}
