import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.List;

/**
 * FreePorts COUNT: prints COUNT ports of the loopback address that the system gave out as free, on one line.
 *
 * The neighbours P-2 and P+1 of each are free as well: RocketMQ's broker also opens listenPort-2 and, for replication, listenPort+1.
 */
public final class FreePorts {
    public static void main(String[] arguments) throws IOException {
        int count = Integer.parseInt(arguments[0]);
        InetAddress loopback = InetAddress.getByName("127.0.0.1");
        List<ServerSocket> held = new ArrayList<>();
        List<String> ports = new ArrayList<>();
        while (ports.size() < count) {
            ServerSocket socket = new ServerSocket(0, 1, loopback);
            held.add(socket);
            int port = socket.getLocalPort();
            try {
                held.add(new ServerSocket(port - 2, 1, loopback));
                held.add(new ServerSocket(port + 1, 1, loopback));
                ports.add(Integer.toString(port));
            } catch (IOException taken) {
                // A neighbour is taken: another port will do; this one stays held so that it does not come again.
            }
        }
        for (ServerSocket socket : held) {
            socket.close();
        }
        System.out.println(String.join(" ", ports));
    }
}
