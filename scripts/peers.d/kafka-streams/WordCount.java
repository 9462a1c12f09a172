import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Counts words in Kafka Streams' own language. Records have no key, so they are grouped through a topic of its own.
 *
 * <pre>WordCount BROKERS INPUT OUTPUT APPLICATION DIR (exactly_once_v2|at_least_once) COMMIT_MS CACHE_BYTES THREADS</pre>
 */
public final class WordCount {
    private WordCount() {}

    public static void main(String[] args) throws Exception {
        KafkaStreams streams = new KafkaStreams(counts(args[1], args[2]).build(), settings(args));
        CountDownLatch failed = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            failed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
        streams.start();
        failed.await();
        System.exit(1);
    }

    private static StreamsBuilder counts(String input, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        byte[] nothing = new byte[0];
        Materialized<String, Long, KeyValueStore<Bytes, byte[]>> store = Materialized.as(Stores.inMemoryKeyValueStore("counts"));
        builder.stream(input, Consumed.with(Serdes.Bytes(), Serdes.String()))
            .map((key, word) -> KeyValue.pair(word, nothing))
            .groupByKey(Grouped.with("words", Serdes.String(), Serdes.ByteArray()))
            .count(store.withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(output, Produced.with(Serdes.String(), Serdes.String()));
        return builder;
    }

    private static Properties settings(String[] args) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[3]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[5]);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Integer.parseInt(args[6]));
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, Long.parseLong(args[7]));
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(args[8]));
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        p.put(StreamsConfig.POLL_MS_CONFIG, 10);
        p.put("auto.offset.reset", "earliest");
        p.put("consumer.max.poll.records", 10_000);
        p.put("producer.linger.ms", 5);
        p.put("producer.batch.size", 128 << 10);
        p.put("producer.compression.type", "lz4");
        return p;
    }
}
