import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes records of one word. The producer is not idempotent: it neither limits its requests in flight to five nor spends time on that,
 * and nothing is sent twice where a broker on the same machine answers.
 */
final class Load {
    /** Records in a row to one partition, where words are not bound to partitions. */
    private static final int RUN = 500;

    private final KafkaProducer<byte[], byte[]> producer;
    private final AtomicReference<Exception> failed = new AtomicReference<>();
    private final SplittableRandom random;
    private final Words words;
    private final String topic;
    private final int partitions;
    private final boolean own;
    private long sent;

    /** With {@code own}, each partition has words of its own, so that the n-th record of a word is known. */
    Load(String brokers, String topic, Words words, boolean own, long seed) {
        producer = new KafkaProducer<>(Map.of(
            "bootstrap.servers", brokers, "acks", "1", "enable.idempotence", "false", "linger.ms", "2",
            "batch.size", "131072", "buffer.memory", "67108864", "compression.type", "lz4"),
            new ByteArraySerializer(), new ByteArraySerializer());
        this.words = words;
        this.topic = topic;
        this.own = own;
        random = new SplittableRandom(seed);
        partitions = producer.partitionsFor(topic).size();
    }

    /** As fast as it goes. */
    void fill(long records) throws Exception {
        while (sent < records) send();
        end();
    }

    /**
     * So many a second, evenly, for a time to warm up and a time to measure. Gives up where that takes half as long again: then the
     * rate can't be offered here. Prints what was.
     */
    void offer(long rate, int warm, int seconds) throws Exception {
        long began = System.nanoTime(), wall = System.currentTimeMillis();
        long all = rate * (warm + seconds), limit = (warm + seconds) * 1_500_000_000L;
        for (long passed = 0; sent < all && passed < limit; passed = System.nanoTime() - began) {
            long due = Math.min(all, (long) (passed / 1e9 * rate));
            while (sent < due) send();
            LockSupport.parkNanos(1_000_000);
        }
        end();
        double took = (System.nanoTime() - began) / 1e9;
        System.out.printf("{\"records\": %d, \"from_ms\": %d, \"to_ms\": %d, \"offered\": %.1f}%n",
            sent, wall + warm * 1000L, System.currentTimeMillis(), sent / Math.max(took, warm + seconds));
    }

    private void send() {
        int word = random.nextInt(words.bytes.length);
        int partition = own ? word % partitions : (int) (sent / RUN % partitions);
        producer.send(new ProducerRecord<>(topic, partition, null, words.bytes[word]), (at, error) -> {
            if (error != null) failed.compareAndSet(null, error);
        });
        sent++;
    }

    private void end() throws Exception {
        producer.flush();
        producer.close();
        if (failed.get() != null) throw failed.get();
    }
}
