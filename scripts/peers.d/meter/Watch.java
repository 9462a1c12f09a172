import java.util.List;
import java.util.Scanner;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * Watches an output as its reader would, and says on standard output when the first count is there ({@code first MS}) and when all are
 * ({@code all MS}). Standard input says how many records that is ({@code expect N}), and at the end has it compare every word with a
 * recount of the input ({@code check FROM_MS}), which prints one JSON object.
 */
final class Watch {
    private final String brokers;
    private final Words words;
    private final Format format;
    private final Seen seen;
    private volatile long expected = Long.MAX_VALUE;
    private volatile long checkFrom = -1;

    Watch(String brokers, Words words, Format format) {
        this.brokers = brokers;
        this.words = words;
        this.format = format;
        seen = new Seen(words.bytes.length);
    }

    void run(String input, String output) {
        Thread orders = new Thread(this::listen, "orders");
        orders.setDaemon(true);
        orders.start();
        TopicPartition partition = new TopicPartition(output, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Reader.consumer(brokers)) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            consumer.position(partition);
            say("ready");
            boolean complete = false;
            while (checkFrom < 0) {
                read(consumer);
                if (!complete && seen.total >= expected) {
                    complete = true;
                    say("all " + seen.grewAt);
                }
            }
        }
        check(input, checkFrom);
    }

    private void read(KafkaConsumer<byte[], byte[]> consumer) {
        Iterable<ConsumerRecord<byte[], byte[]>> records = consumer.poll(Reader.WAIT);
        long now = System.currentTimeMillis();
        boolean first = seen.size == 0;
        for (ConsumerRecord<byte[], byte[]> record : records) {
            Format.Row row = format.read(record);
            if (row == null) continue;
            int word = words.find(row.word());
            if (word < 0) throw new IllegalStateException("a word that was never written: " + row.word());
            seen.add(word, row.count(), now);
        }
        if (first && seen.size > 0) say("first " + now);
    }

    /** Orders, a line each; the end of standard input is the end. */
    private void listen() {
        try (Scanner lines = new Scanner(System.in)) {
            while (lines.hasNext()) {
                String order = lines.next();
                long number = lines.nextLong();
                if (order.equals("expect")) expected = number;
                else if (order.equals("check")) checkFrom = number;
            }
        }
        if (checkFrom < 0) System.exit(0);
    }

    private void check(String input, long from) {
        Input written = new Input(brokers, input, words);
        int wrong = 0;
        String example = "";
        for (int word = 0; word < words.bytes.length; word++) {
            if (written.counts[word] == seen.newest[word]) continue;
            wrong++;
            example = new String(words.bytes[word]) + ": " + seen.newest[word] + " instead of " + written.counts[word];
        }
        long[] sorted = written.latencies(seen, from);
        say(String.format(
            "{\"wrong_words\": %d, \"example\": \"%s\", \"counted\": %d, \"rows\": %d, \"fell\": %d, \"timed\": %d, \"p50_ms\": %d, "
                + "\"p95_ms\": %d, \"p99_ms\": %d, \"max_ms\": %d}",
            wrong, example, seen.total, seen.size, seen.fell, sorted.length, at(sorted, 0.5), at(sorted, 0.95), at(sorted, 0.99), at(sorted, 1)));
    }

    private static long at(long[] sorted, double part) {
        return sorted.length == 0 ? -1 : sorted[(int) Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
    }

    private static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
