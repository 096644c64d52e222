// One server as the comparison sees it: a socket, Kafka's framing and message classes, and the ids it gave out.

import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.requests.RequestUtils;

class Wire {
    static class Closed extends Exception { }

    static class Silent extends Exception { }

    final String host;
    final int port;
    Socket socket;
    int correlation;
    final Map<Integer, int[]> versions = new HashMap<>();
    /** What later requests need of earlier answers: topic ids, member ids, producer ids, by a name of the session's. */
    final Map<String, String> text = new HashMap<>();
    final Map<String, Long> number = new HashMap<>();
    /** Ids in the order in which they were first seen: the same order on both sides gives the same name. */
    final Map<String, String> names = new HashMap<>();

    Wire(String address) throws Exception {
        int colon = address.lastIndexOf(':');
        host = address.substring(0, colon);
        port = Integer.parseInt(address.substring(colon + 1));
        ApiVersionsResponseData answer = (ApiVersionsResponseData) call(ApiKeys.API_VERSIONS, (short) 0, new ApiVersionsRequestData());
        for (ApiVersionsResponseData.ApiVersion each : answer.apiKeys()) versions.put((int) each.apiKey(), new int[] {each.minVersion(), each.maxVersion()});
    }

    boolean speaks(ApiKeys api, int version) {
        int[] range = versions.get((int) api.id);
        return range != null && range[0] <= version && version <= range[1] || api == ApiKeys.API_VERSIONS;
    }

    void reset() {
        try {
            if (socket != null) socket.close();
        } catch (IOException ignored) {
            // it is given up anyway
        }
        socket = null;
    }

    Socket connected() throws IOException {
        if (socket == null) {
            socket = new Socket();
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(8_000);
            socket.connect(new InetSocketAddress(host, port), 5_000);
        }
        return socket;
    }

    /** Sends one request and returns the answer's body; Closed when the server hung up instead, Silent when it says nothing for 8 s. */
    ApiMessage call(ApiKeys api, short version, ApiMessage body) throws Exception {
        RequestHeaderData header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion(version).setCorrelationId(++correlation).setClientId("compare");
        ByteBuffer bytes = RequestUtils.serialize(header, api.requestHeaderVersion(version), body, version);
        ByteBuffer answer = exchange(frame(bytes));
        ResponseHeaderData responseHeader = new ResponseHeaderData(new ByteBufferAccessor(answer), api.responseHeaderVersion(version));
        if (responseHeader.correlationId() != correlation) throw new IOException("correlation id " + responseHeader.correlationId() + " for " + correlation);
        ApiMessage response = api.messageType.newResponse();
        response.read(new ByteBufferAccessor(answer), version);
        if (answer.hasRemaining()) throw new IOException(answer.remaining() + " bytes too many in the answer to " + api.name + " v" + version);
        return response;
    }

    static byte[] frame(ByteBuffer body) {
        ByteBuffer framed = ByteBuffer.allocate(4 + body.remaining());
        framed.putInt(body.remaining()).put(body);
        return framed.array();
    }

    /** Bytes as they are; the next frame of the answer. */
    ByteBuffer exchange(byte[] bytes) throws Exception {
        try {
            OutputStream out = connected().getOutputStream();
            out.write(bytes);
            out.flush();
            DataInputStream in = new DataInputStream(socket.getInputStream());
            int size = in.readInt();
            if (size < 0 || size > 100_000_000) throw new IOException("an answer of " + size + " bytes");
            byte[] answer = new byte[size];
            in.readFully(answer);
            return ByteBuffer.wrap(answer);
        } catch (SocketTimeoutException none) {
            reset(); // what comes later would be taken for the answer to something else
            throw new Silent();
        } catch (EOFException | SocketException hungUp) {
            reset();
            throw new Closed();
        }
    }

    /** Sends bytes on a connection of their own: `closed`, `silent` (nothing within 2 s) or the answer's size and error. */
    String raw(byte[] bytes) throws IOException {
        try (Socket own = new Socket()) {
            own.setSoTimeout(2_000);
            own.connect(new InetSocketAddress(host, port), 5_000);
            own.getOutputStream().write(bytes);
            own.getOutputStream().flush();
            DataInputStream in = new DataInputStream(own.getInputStream());
            byte[] answer = new byte[in.readInt()];
            in.readFully(answer);
            return "answered " + HexFormat.of().formatHex(answer, 0, Math.min(answer.length, 32));
        } catch (SocketTimeoutException none) {
            return "silent";
        } catch (EOFException | SocketException closed) {
            return "closed";
        }
    }

    Uuid topicId(String topic) { return Uuid.fromString(text.getOrDefault("topic " + topic, Uuid.ZERO_UUID.toString())); }
}
