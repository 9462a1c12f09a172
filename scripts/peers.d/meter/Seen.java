import java.util.Arrays;

/** All counts that a reader of the output has seen, in their order, with the time at which each could be seen. */
final class Seen {
    int size;
    int[] word = new int[1 << 16];
    int[] count = new int[1 << 16];
    long[] time = new long[1 << 16];
    /** The newest count of each word. */
    final long[] newest;
    /** Of all words. */
    long total;
    /** Counts that were less than the one before: only an engine that repeats itself has any. */
    long fell;
    long grewAt;

    Seen(int words) {
        newest = new long[words];
    }

    void add(int of, long is, long at) {
        if (size == word.length) grow();
        word[size] = of;
        count[size] = Math.toIntExact(is);
        time[size++] = at;
        if (is < newest[of]) fell++;
        if (is > newest[of]) grewAt = at;
        total += is - newest[of];
        newest[of] = is;
    }

    private void grow() {
        word = Arrays.copyOf(word, size * 2);
        count = Arrays.copyOf(count, size * 2);
        time = Arrays.copyOf(time, size * 2);
    }
}
