//! From a record's append time to its count being visible.

use hdrhistogram::Histogram;

use super::workload::Word;

/// A record that was sent: its first word, and how often that word had been sent with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) word: Word,
    pub(super) count: u64,
}

/// A row that a committed reader saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) word: Word,
    pub(super) count: u64,
    /// When, in microseconds since the Unix epoch, by the reader's clock.
    pub(super) micros: i64,
}

/// The latencies of records, in microseconds. A record's count is visible with the first row of its word whose count
/// is at least the record's: words have partitions of their own, so they are counted in the order in which they were
/// sent, and an epoch, with all of a record's words, becomes visible as a whole.
///
/// `times` are when the records were appended, in milliseconds since the Unix epoch: cut off, so that latencies are
/// overstated by up to a millisecond. `skip` records are not looked at, and neither are those that never became
/// visible.
pub(super) fn latencies(sent: &[Sent], times: &[i64], seen: &[Seen], skip: usize) -> Histogram<u64> {
    // Three digits of a minute and more; what is longer counts as an hour.
    let mut latencies = Histogram::new_with_max(3_600_000_000, 3).expect("the bounds are valid");
    let words = sent.iter().map(|sent| sent.word).chain(seen.iter().map(|seen| seen.word)).max();
    let mut rows: Vec<Vec<Seen>> = vec![Vec::new(); words.map_or(0, |word| word as usize + 1)];
    for seen in seen {
        rows[seen.word as usize].push(*seen);
    }
    let mut next = vec![0; rows.len()];
    for (number, (sent, &time)) in sent.iter().zip(times).enumerate() {
        let (rows, next) = (&rows[sent.word as usize], &mut next[sent.word as usize]);
        while rows.get(*next).is_some_and(|row| row.count < sent.count) {
            *next += 1;
        }
        if number >= skip
            && let Some(row) = rows.get(*next)
        {
            let micros = row.micros - time * 1000;
            // Clocks of different machines may differ by more than a record takes.
            latencies.saturating_record(u64::try_from(micros).unwrap_or(0));
        }
    }
    latencies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(word: Word, count: u64, ms: i64) -> Seen {
        Seen { word, count, micros: ms * 1000 }
    }

    #[test]
    fn a_record_is_visible_with_the_first_count_that_includes_it() {
        let sent = [(0, 1), (1, 1), (0, 2), (0, 3), (0, 4)].map(|(word, count)| Sent { word, count });
        let times = [10, 10, 20, 30, 40];
        let seen = [seen(0, 2, 50), seen(1, 1, 12), seen(0, 3, 70)];
        let latencies = latencies(&sent, &times, &seen, 0);
        // 40 of the first, 2 of the other word, 30, 40; and the last one is not visible.
        let mut found: Vec<u64> = latencies
            .iter_recorded()
            .flat_map(|value| vec![value.value_iterated_to() / 1000; value.count_at_value() as usize])
            .collect();
        found.sort_unstable();
        assert_eq!(found, [2, 30, 40, 40]);
    }

    #[test]
    fn the_first_records_can_be_left_out_but_still_count() {
        let sent = [(0, 1), (0, 2)].map(|(word, count)| Sent { word, count });
        let latencies = latencies(&sent, &[10, 20], &[seen(0, 1, 1000), seen(0, 2, 25)], 1);
        assert_eq!(latencies.len(), 1);
        assert_eq!(latencies.max() / 1000, 5);
    }
}
