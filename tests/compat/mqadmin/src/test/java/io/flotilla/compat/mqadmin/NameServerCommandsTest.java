package io.flotilla.compat.mqadmin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** getNamesrvConfig, updateNamesrvConfig, updateKvConfig, deleteKvConfig, exportMetadata. */
class NameServerCommandsTest extends Fixture {
    @Test
    void getNamesrvConfigShowsEachNameServer() throws Exception {
        String text = Mqadmin.ok("getNamesrvConfig");
        for (String server : nameServers()) {
            Mqadmin.line(text, "============" + server + "============");
        }
        String port = Mqadmin.value(text, "listenPort");
        assertTrue(nameServers().stream().anyMatch(server -> server.endsWith(":" + port)), text);
        assertEquals("false", Mqadmin.value(text, "orderMessageEnable"));
    }

    @Test
    void updateNamesrvConfigIsShownAfterwards() throws Exception {
        String text = Mqadmin.ok("updateNamesrvConfig", "-k", "orderMessageEnable", "-v", "true");
        Mqadmin.line(text, "update name server config success!");
        try {
            assertEquals("true", Mqadmin.value(Mqadmin.ok("getNamesrvConfig"), "orderMessageEnable"));
        } finally {
            Mqadmin.ok("updateNamesrvConfig", "-k", "orderMessageEnable", "-v", "false");
        }
        assertEquals("false", Mqadmin.value(Mqadmin.ok("getNamesrvConfig"), "orderMessageEnable"));
    }

    @Test
    void updateNamesrvConfigRefusesWhatMustNotChange() throws Exception {
        String text = Mqadmin.run("updateNamesrvConfig", "-k", "kvConfigPath", "-v", "/tmp/elsewhere");
        assertTrue(text.contains("Exception") && !text.contains("config success"), text);
    }

    @Test
    void aKeyValueIsPutAndDeleted() throws Exception {
        String key = unique("key");
        Mqadmin.line(Mqadmin.ok("updateKvConfig", "-s", "COMPAT", "-k", key, "-v", "value 1"), "create or update kv config to namespace success.");
        assertEquals("value 1", admin.getKVConfig("COMPAT", key));
        assertEquals("value 1", admin.getKVListByNamespace("COMPAT").getTable().get(key));
        Mqadmin.line(Mqadmin.ok("deleteKvConfig", "-s", "COMPAT", "-k", key), "delete kv config from namespace success.");
        assertThrows(Exception.class, () -> admin.getKVConfig("COMPAT", key));
    }

    @Test
    void exportMetadataWritesTopicsAndGroups() throws Exception {
        Path folder = Files.createTempDirectory("export");
        try {
            String text = Mqadmin.ok("exportMetadata", "-c", CLUSTER, "-f", folder.toString());
            Mqadmin.line(text, "export " + folder, "success");
            String json = read(folder);
            assertTrue(json.contains("\"" + topic + "\""), json);
            assertTrue(json.contains("\"" + group + "\""), json);
            Mqadmin.ok("exportMetadata", "-b", broker, "-t", "-f", folder.toString());
            assertTrue(read(folder).contains("\"" + topic + "\""));
        } finally {
            try (Stream<Path> files = Files.walk(folder)) {
                files.sorted(java.util.Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
            }
        }
    }

    private static String read(Path folder) throws Exception {
        StringBuilder all = new StringBuilder();
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                all.append(Files.readString(file, StandardCharsets.UTF_8));
            }
        }
        return all.toString();
    }
}
