import java.time.Duration;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A consumer of what is committed. */
final class Reader {
    static final Duration WAIT = Duration.ofMillis(100);

    private Reader() {}

    static KafkaConsumer<byte[], byte[]> consumer(String brokers) {
        return new KafkaConsumer<>(Map.of(
            "bootstrap.servers", brokers, "isolation.level", "read_committed", "enable.auto.commit", "false",
            "auto.offset.reset", "earliest", "max.poll.records", "20000", "max.partition.fetch.bytes", "4194304"),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }
}
