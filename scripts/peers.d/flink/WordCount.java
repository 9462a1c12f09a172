import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * Counts words in Flink SQL, in a MiniCluster of this process: nothing passes a network between task managers.
 *
 * <pre>WordCount BROKERS INPUT OUTPUT GROUP DIR (exactly-once|at-least-once) CHECKPOINT_MS MINI_BATCH_MS THREADS</pre>
 */
public final class WordCount {
    private final String brokers, input, output, group, dir, guarantee, checkpoint, miniBatch;
    private final int threads;

    private WordCount(String[] args) {
        brokers = args[0];
        input = args[1];
        output = args[2];
        group = args[3];
        dir = args[4];
        guarantee = args[5];
        checkpoint = args[6] + " ms";
        miniBatch = args[7] + " ms";
        threads = Integer.parseInt(args[8]);
    }

    public static void main(String[] args) throws Exception {
        new WordCount(args).run();
    }

    private boolean exactlyOnce() {
        return guarantee.equals("exactly-once");
    }

    private void run() throws Exception {
        StreamTableEnvironment tables = StreamTableEnvironment.create(StreamExecutionEnvironment.createLocalEnvironment(threads, settings()));
        aggregate(tables);
        tables.executeSql(source());
        tables.executeSql(sink());
        tables.executeSql("INSERT INTO counts SELECT word, CAST(COUNT(*) AS STRING) FROM words GROUP BY word").await();
    }

    private Configuration settings() {
        Configuration c = new Configuration();
        c.setString("execution.checkpointing.interval", checkpoint);
        c.setString("execution.checkpointing.mode", exactlyOnce() ? "EXACTLY_ONCE" : "AT_LEAST_ONCE");
        c.setString("execution.checkpointing.storage", "filesystem");
        c.setString("execution.checkpointing.dir", "file://" + dir + "/checkpoints");
        c.setString("state.backend.type", "hashmap");
        c.setString("pipeline.object-reuse", "true");
        c.setString("execution.buffer-timeout.interval", "5 ms");
        c.setString("parallelism.default", String.valueOf(threads));
        c.setString("taskmanager.numberOfTaskSlots", String.valueOf(threads));
        c.setString("taskmanager.memory.network.min", "64mb");
        c.setString("taskmanager.memory.network.max", "64mb");
        c.setString("taskmanager.memory.managed.size", "64mb");
        c.setString("io.tmp.dirs", dir);
        return c;
    }

    /** Records are counted in batches, first where they were read. */
    private void aggregate(StreamTableEnvironment tables) {
        tables.getConfig().set("table.exec.mini-batch.enabled", "true");
        tables.getConfig().set("table.exec.mini-batch.allow-latency", miniBatch);
        tables.getConfig().set("table.exec.mini-batch.size", "50000");
        tables.getConfig().set("table.optimizer.agg-phase-strategy", "TWO_PHASE");
    }

    private String source() {
        return "CREATE TABLE words (word STRING) WITH ('connector' = 'kafka', 'format' = 'raw', 'topic' = '" + input
            + "', 'properties.bootstrap.servers' = '" + brokers + "', 'properties.group.id' = '" + group
            + "', 'scan.startup.mode' = 'earliest-offset', 'properties.max.poll.records' = '10000', 'properties.fetch.max.wait.ms' = '50')";
    }

    private String sink() {
        String transactions = exactlyOnce()
            ? ", 'sink.transactional-id-prefix' = '" + group + "', 'sink.transaction-naming-strategy' = 'pooling'"
                + ", 'properties.transaction.timeout.ms' = '600000'"
            : "";
        return "CREATE TABLE counts (word STRING, cnt STRING, PRIMARY KEY (word) NOT ENFORCED) WITH ('connector' = 'upsert-kafka'"
            + ", 'key.format' = 'raw', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY', 'topic' = '" + output
            + "', 'properties.bootstrap.servers' = '" + brokers + "', 'sink.delivery-guarantee' = '" + guarantee + "'" + transactions
            + ", 'properties.linger.ms' = '" + (exactlyOnce() ? 0 : 2)
            + "', 'properties.batch.size' = '131072', 'properties.compression.type' = 'lz4')";
    }
}
