import java.util.Arrays;
import java.util.Locale;

/**
 * What scripts/peers does on the broker.
 *
 * <pre>
 * Meter make   BROKERS TOPIC PARTITIONS
 * Meter delete BROKERS PREFIX
 * Meter fill   BROKERS TOPIC WORDS SEED (own|any) RECORDS
 * Meter offer  BROKERS TOPIC WORDS SEED RATE WARM_SECONDS SECONDS
 * Meter watch  BROKERS INPUT OUTPUT WORDS (plain|json)
 * </pre>
 */
public final class Meter {
    private Meter() {}

    public static void main(String[] all) throws Exception {
        Locale.setDefault(Locale.ROOT);
        String brokers = all[1], topic = all[2];
        String[] rest = Arrays.copyOfRange(all, 3, all.length);
        switch (all[0]) {
            case "make" -> Topics.make(brokers, topic, Integer.parseInt(rest[0]));
            case "delete" -> Topics.delete(brokers, topic);
            case "fill" -> load(brokers, topic, rest, rest[2].equals("own")).fill(Long.parseLong(rest[3]));
            case "offer" -> load(brokers, topic, rest, true)
                .offer(Long.parseLong(rest[2]), Integer.parseInt(rest[3]), Integer.parseInt(rest[4]));
            case "watch" -> new Watch(brokers, new Words(Integer.parseInt(rest[1])), Format.valueOf(rest[2].toUpperCase()))
                .run(topic, rest[0]);
            default -> throw new IllegalArgumentException(all[0]);
        }
    }

    private static Load load(String brokers, String topic, String[] rest, boolean own) {
        return new Load(brokers, topic, new Words(Integer.parseInt(rest[0])), own, Long.parseLong(rest[1]));
    }
}
