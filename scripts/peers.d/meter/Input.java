import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/** The input, read once more after the run: how often each word is in it, and when each of its records was appended. */
final class Input {
    final int[] counts;
    private final long[][] appended;

    Input(String brokers, String topic, Words words) {
        counts = new int[words.bytes.length];
        appended = new long[words.bytes.length][16];
        try (KafkaConsumer<byte[], byte[]> consumer = Reader.consumer(brokers)) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (PartitionInfo p : consumer.partitionsFor(topic)) partitions.add(new TopicPartition(topic, p.partition()));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (ends.entrySet().stream().anyMatch(e -> consumer.position(e.getKey()) < e.getValue())) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Reader.WAIT)) {
                    add(words.find(new String(record.value())), record.timestamp());
                }
            }
        }
    }

    private void add(int word, long time) {
        if (counts[word] == appended[word].length) appended[word] = Arrays.copyOf(appended[word], counts[word] * 2);
        appended[word][counts[word]++] = time;
    }

    /**
     * From a record's append to the first count that includes it, in milliseconds, sorted; of records appended from that time on. The
     * n-th record of a word is included in its first count of n or more.
     */
    long[] latencies(Seen seen, long from) {
        long[] all = new long[Arrays.stream(counts).sum()];
        int[] included = new int[counts.length];
        int size = 0;
        for (int i = 0; i < seen.size; i++) {
            int word = seen.word[i];
            for (int to = Math.min(seen.count[i], counts[word]); included[word] < to; included[word]++) {
                long at = appended[word][included[word]];
                if (at >= from) all[size++] = seen.time[i] - at;
            }
        }
        long[] sorted = Arrays.copyOf(all, size);
        Arrays.sort(sorted);
        return sorted;
    }
}
