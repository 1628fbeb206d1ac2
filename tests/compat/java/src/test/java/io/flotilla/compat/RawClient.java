package io.flotilla.compat;

import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** The official client's transport without its checks: sends what the client's own validation would have stopped. */
final class RawClient {
    static final int SEND_MESSAGE_V2 = 310;

    private final NettyRemotingClient client = new NettyRemotingClient(new NettyClientConfig());
    private final String address;

    RawClient(String address) {
        this.address = address;
        client.start();
    }

    RemotingCommand call(int code, Map<String, String> fields, byte[] body) throws Exception {
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        request.setExtFields(new HashMap<>(fields));
        request.setBody(body);
        return client.invokeSync(address, request, 5_000);
    }

    /** Header of code 310, short keys as SendMessageRequestHeaderV2 names them. */
    static Map<String, String> sendHeader(String topic, String defaultTopic, int queueId, String properties) {
        Map<String, String> header = new HashMap<>();
        header.put("a", "raw_producer");
        header.put("b", topic);
        header.put("c", defaultTopic);
        header.put("d", "4");
        header.put("e", Integer.toString(queueId));
        header.put("f", "0");
        header.put("g", Long.toString(System.currentTimeMillis()));
        header.put("h", "0");
        header.put("i", properties);
        header.put("j", "0");
        header.put("k", "false");
        header.put("m", "false");
        return header;
    }

    void close() {
        client.shutdown();
    }
}
