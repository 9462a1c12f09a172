import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** The words of the workload: as many as asked for, of seven letters, each as often as any other. */
final class Words {
    private static final long ALL = 26L * 26 * 26 * 26 * 26 * 26 * 26;
    /** Has no factor in common with 26, so that no two words are the same. */
    private static final long STEP = 1_000_003;

    final byte[][] bytes;
    private final Map<String, Integer> index = new HashMap<>();

    Words(int size) {
        bytes = new byte[size][];
        for (int i = 0; i < size; i++) {
            bytes[i] = word(i);
            index.put(new String(bytes[i], StandardCharsets.UTF_8), i);
        }
    }

    /** Which word that is; -1 if none. */
    int find(String word) {
        return index.getOrDefault(word, -1);
    }

    private static byte[] word(int i) {
        byte[] letters = new byte[7];
        long rest = (i + 1) * STEP % ALL;
        for (int at = 6; at >= 0; at--, rest /= 26) letters[at] = (byte) ('a' + rest % 26);
        return letters;
    }
}
