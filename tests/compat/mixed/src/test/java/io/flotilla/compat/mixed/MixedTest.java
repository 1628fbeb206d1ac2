package io.flotilla.compat.mixed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** Our brokers at Apache's name server, Apache's broker at ours, all of them together, and name servers that come and go under load. */
class MixedTest {
    private static final int DEFAULT_POLL_MS = 30_000;
    private static int names;

    @Test
    void ourBrokersAtApachesNameServer() throws Exception {
        try (Lab lab = new Lab()) {
            String nameServer = lab.apachesNameServer("apache-namesrv");
            lab.ourBrokers(nameServer);
            try (Tools tools = new Tools(nameServer)) {
                tools.awaitAddress("broker-a", 0, lab.addressOf(lab.leader()));
                tools.newTopic("ours", List.of(lab.addressOf(lab.leader())), 4);
                try (Traffic traffic = new Traffic(nameServer, "ours", DEFAULT_POLL_MS)) {
                    traffic.awaitProgress("at the start");
                    for (int change = 1; change <= 3; change++) {
                        lab.transferLeadership();
                        tools.awaitAddress("broker-a", 0, lab.addressOf(lab.leader()));
                        traffic.awaitProgress("after transfer " + change);
                    }
                    traffic.finish();
                    assertEquals(List.of(), traffic.failed);
                }
                // Without a word to the name server: it must learn of the new leader from the new leader.
                try (Traffic traffic = new Traffic(nameServer, "ours", 500)) {
                    traffic.awaitProgress("before the kill");
                    int killed = lab.leader();
                    lab.kill("n" + killed);
                    Lab.await("another leader", () -> lab.leader() >= 0 && lab.leader() != killed);
                    tools.awaitAddress("broker-a", 0, lab.addressOf(lab.leader()));
                    traffic.awaitProgress("after the kill");
                    lab.startAgain("n" + killed);
                    // Its own number among the followers, n0 is 1.
                    tools.awaitAddress("broker-a", killed + 1, lab.addressOf(killed));
                    assertEquals(lab.addressOf(lab.leader()), tools.addresses("broker-a").get(0L));
                    traffic.awaitProgress("with all three again");
                    traffic.finish();
                }
            }
        }
    }

    @Test
    void apachesBrokerAtOurNameServer() throws Exception {
        try (Lab lab = new Lab()) {
            String nameServer = lab.ourNameServer("our-namesrv");
            String broker = lab.apachesBroker("apache-broker", nameServer);
            try (Tools tools = new Tools(nameServer)) {
                tools.awaitAddress("apache-broker", 0, broker);
                tools.newTopic("theirs", List.of(broker), 4);
                try (Traffic traffic = new Traffic(nameServer, "theirs", DEFAULT_POLL_MS)) {
                    traffic.awaitProgress("at the start");
                    lab.stop("our-namesrv");
                    traffic.awaitProgress("without a name server");
                    lab.startAgain("our-namesrv");
                    tools.awaitAddress("apache-broker", 0, broker);
                    tools.awaitRoute("theirs", 4);
                    traffic.awaitProgress("after the name server came back");
                    traffic.finish();
                    assertEquals(List.of(), traffic.failed);
                }
                tools.delete("theirs", broker);
                assertEquals(17, tools.routeCode("theirs"));
                // A broker that says good-bye is gone at once, not after its silence.
                lab.stop("apache-broker");
                Lab.await("the broker to be gone", () -> tools.addresses("apache-broker").isEmpty());
            }
        }
    }

    @Test
    void bothKindsOfBrokersAtBothKindsOfNameServers() throws Exception {
        try (Lab lab = new Lab()) {
            String apaches = lab.apachesNameServer("apache-namesrv");
            String ours = lab.ourNameServer("our-namesrv");
            String both = apaches + ";" + ours;
            lab.ourBrokers(both);
            String other = lab.apachesBroker("apache-broker", both);
            try (Tools atApaches = new Tools(apaches); Tools atOurs = new Tools(ours)) {
                for (Tools tools : List.of(atApaches, atOurs)) {
                    tools.awaitAddress("broker-a", 0, lab.addressOf(lab.leader()));
                    tools.awaitAddress("apache-broker", 0, other);
                }
                atOurs.newTopic("shared", List.of(lab.addressOf(lab.leader()), other), 2);
                atApaches.awaitRoute("shared", 4);
                try (Traffic traffic = new Traffic(both, "shared", DEFAULT_POLL_MS)) {
                    traffic.awaitProgress("at the start");
                    assertTrue(traffic.acked("broker-a") > 0 && traffic.acked("apache-broker") > 0, "both brokers have their share");
                    // One after the other ...
                    for (String name : List.of("apache-namesrv", "our-namesrv")) {
                        lab.stop(name);
                        traffic.awaitProgress("without " + name);
                        lab.transferLeadership();
                        traffic.awaitProgress("after a leader change without " + name);
                        lab.startAgain(name);
                        Tools tools = name.startsWith("our") ? atOurs : atApaches;
                        tools.awaitAddress("broker-a", 0, lab.addressOf(lab.leader()));
                        tools.awaitAddress("apache-broker", 0, other);
                        tools.awaitRoute("shared", 4);
                    }
                    // ... and all together.
                    lab.stop("apache-namesrv");
                    lab.stop("our-namesrv");
                    traffic.awaitProgress("without any name server");
                    lab.startAgain("apache-namesrv");
                    lab.startAgain("our-namesrv");
                    for (Tools tools : List.of(atApaches, atOurs)) {
                        tools.awaitAddress("broker-a", 0, lab.addressOf(lab.leader()));
                        tools.awaitAddress("apache-broker", 0, other);
                        tools.awaitRoute("shared", 4);
                    }
                    traffic.awaitProgress("after all came back");
                    traffic.finish();
                    assertEquals(List.of(), traffic.failed);
                }
            }
        }
    }

    @Test
    void aRouteOfOurNameServersNeverLacksItsLeaderEntry() throws Exception {
        try (Lab lab = new Lab()) {
            String first = lab.ourNameServer("first");
            String second = lab.ourNameServer("second");
            lab.ourBrokers(first + ";" + second);
            try (Tools atFirst = new Tools(first); Tools atSecond = new Tools(second)) {
                atFirst.newTopic("plain", List.of(lab.addressOf(lab.leader())), 4);
                try (Traffic traffic = new Traffic(first + ";" + second, "plain", DEFAULT_POLL_MS)) {
                    traffic.awaitProgress("at the start");
                    for (String name : List.of("first", "second", "first", "second")) {
                        Tools tools = name.equals("first") ? atFirst : atSecond;
                        lab.stop(name);
                        lab.startAgain(name);
                        // From the first answer on: "not ready" before it, never a route without id 0.
                        Lab.await("a route at " + name, () -> {
                            Map<Long, String> addresses = tools.addressesOfTopic("plain");
                            assertTrue(addresses.containsKey(0L), "a route without id 0: " + addresses);
                            return addresses.size() == 3;
                        });
                        traffic.awaitProgress("after " + name + " came back");
                    }
                    traffic.finish();
                    assertEquals(List.of(), traffic.failed);
                }
            }
        }
    }

    /** The admin API at one name server. */
    private static final class Tools implements AutoCloseable {
        private final DefaultMQAdminExt admin = new DefaultMQAdminExt(5_000);

        Tools(String nameServer) throws Exception {
            names += 1;
            admin.setNamesrvAddr(nameServer);
            admin.setInstanceName("tools_" + names);
            admin.start();
        }

        Map<Long, String> addresses(String brokerName) throws Exception {
            var data = admin.examineBrokerClusterInfo().getBrokerAddrTable().get(brokerName);
            return data == null ? Map.of() : new HashMap<>(data.getBrokerAddrs());
        }

        Map<Long, String> addressesOfTopic(String topic) throws Exception {
            return new HashMap<>(admin.examineTopicRouteInfo(topic).getBrokerDatas().get(0).getBrokerAddrs());
        }

        void awaitAddress(String brokerName, long id, String address) throws InterruptedException {
            Lab.await(brokerName + " " + id + " at " + address, () -> address.equals(addresses(brokerName).get(id)));
        }

        void newTopic(String topic, List<String> brokers, int queues) throws Exception {
            for (String broker : brokers) {
                admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, queues, queues, 6));
            }
            awaitRoute(topic, queues * brokers.size());
        }

        void awaitRoute(String topic, int queues) throws InterruptedException {
            Lab.await("a route of " + topic + " with " + queues + " queues",
                () -> admin.examineTopicRouteInfo(topic).getQueueDatas().stream().mapToInt(data -> data.getWriteQueueNums()).sum() == queues);
        }

        void delete(String topic, String broker) throws Exception {
            admin.deleteTopicInBroker(java.util.Set.of(broker), topic);
            admin.deleteTopicInNameServer(new java.util.HashSet<>(admin.getNameServerAddressList()), topic);
        }

        int routeCode(String topic) throws Exception {
            try {
                admin.examineTopicRouteInfo(topic);
                return 0;
            } catch (MQClientException refused) {
                return refused.getResponseCode();
            }
        }

        @Override
        public void close() {
            admin.shutdown();
        }
    }
}
