import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** How an engine writes a count. */
enum Format {
    /** The word as key, the count as text. */
    PLAIN {
        @Override Row read(ConsumerRecord<byte[], byte[]> record) {
            return new Row(text(record.key()), Long.parseLong(text(record.value())));
        }
    },
    /** An object with {@code word} and {@code count}; with {@code diff} of -1 it withdraws a row. */
    JSON {
        @Override Row read(ConsumerRecord<byte[], byte[]> record) {
            String json = text(record.value());
            if (json.contains("\"diff\":-1")) return null;
            return new Row(field(json, "\"word\":\"", '"'), Long.parseLong(field(json, "\"count\":", ',')));
        }
    };

    record Row(String word, long count) {}

    /** The row of a record; null if it only withdraws one. */
    abstract Row read(ConsumerRecord<byte[], byte[]> record);

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static String field(String json, String name, char end) {
        int from = json.indexOf(name);
        if (from < 0) throw new IllegalArgumentException("no " + name + " in " + json);
        from += name.length();
        int to = json.indexOf(end, from);
        if (to < 0) to = json.indexOf('}', from);
        return json.substring(from, to).trim();
    }
}
