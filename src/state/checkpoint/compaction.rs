//! Which runs of a worker are merged, so that they stay few and hold little that is not needed.
//!
//! Runs are sums, so any of them may be merged, in any order. Three rules, tried in turn:
//!
//! 1. Runs of which only a part counts (written by workers with other ranges) are rewritten, so that old files go.
//! 2. Of runs of about the same size there are never more than a few: each merge makes one of them that is larger by
//!    their number, so a row is written once for each such step, and there are at most a few for each step.
//! 3. All runs but the largest together have at most a third of its bytes, or all are merged. The largest may hold as
//!    many rows that the others withdraw, so that at least two thirds of it count: bytes are at most twice what the
//!    rows need, and a row is written about three more times for that.

use super::run_set::Held;

/// How many runs of about the same size are merged.
const FEW: usize = 4;
/// The most runs that are merged at once: a merge has a stretch of each in memory.
const MOST: usize = 32;
/// Runs of fewer bytes are taken to be of the same size.
const SMALL: u64 = 64 << 10;

/// The runs to be merged, by index; none where they are well as they are.
pub(super) fn pick(runs: &[Held]) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..runs.len()).collect();
    by_size.sort_by_key(|&index| runs[index].bytes);
    let partial: Vec<usize> =
        by_size.iter().copied().filter(|&index| !runs[index].whole).take(MOST).collect();
    if !partial.is_empty() {
        return partial;
    }
    let tier =
        |index: &usize| (runs[*index].bytes / SMALL).checked_ilog(FEW as u64).map_or(0, |tier| tier + 1);
    let tiers = by_size.chunk_by(|a, b| tier(a) == tier(b));
    if let Some(full) = tiers.into_iter().find(|runs| runs.len() >= FEW) {
        return full[..full.len().min(MOST)].to_vec();
    }
    let Some((&largest, rest)) = by_size.split_last() else { return Vec::new() };
    let others: u64 = rest.iter().map(|&index| runs[index].bytes).sum();
    if others.saturating_mul(3) <= runs[largest].bytes {
        return Vec::new();
    }
    by_size.truncate(MOST);
    by_size
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::persist::SortedRun;

    use super::*;
    use crate::state::checkpoint::run::ALL;

    fn held(bytes: u64) -> Held {
        let run = SortedRun {
            file: String::new(),
            range: ALL,
            sharding: Default::default(),
            rows: bytes / 20,
            bytes,
        };
        Held { run, bytes, whole: true, named: false }
    }

    #[test]
    fn runs_stay_few_small_beside_the_largest_and_cheap() {
        const ROUNDS: u64 = 20_000;
        // Runs that are small are rewritten more often: their bytes cost less than their number.
        for (size, times) in [(1u64 << 10, 24), (1 << 20, 12)] {
            let mut runs: Vec<Held> = Vec::new();
            let (mut most, mut written) = (0, 0);
            for _ in 0..ROUNDS {
                runs.push(held(size));
                loop {
                    let mut chosen = pick(&runs);
                    if chosen.is_empty() {
                        break;
                    }
                    assert!(chosen.len() > 1 && chosen.len() <= MOST, "a merge makes runs fewer");
                    chosen.sort_unstable();
                    let merged = chosen.iter().rev().map(|&index| runs.remove(index).bytes).sum();
                    written += merged;
                    runs.push(held(merged));
                }
                most = most.max(runs.len());
                let total: u64 = runs.iter().map(|run| run.bytes).sum();
                let largest = runs.iter().map(|run| run.bytes).max().unwrap();
                assert!(total * 3 <= largest * 4, "{total} beside {largest}");
            }
            let total: u64 = runs.iter().map(|run| run.bytes).sum();
            assert_eq!(total, size * ROUNDS, "nothing is lost");
            assert!(most <= 24, "{most} runs");
            assert!(written < times * total, "each byte was written {} times", written / total);
        }
    }

    #[test]
    fn parts_of_old_files_are_written_anew_and_many_at_start_are_merged_few_at_a_time() {
        let mut runs = vec![held(1 << 30), Held { whole: false, ..held(1 << 20) }];
        assert_eq!(pick(&runs), [1]);
        runs[1].whole = true;
        assert_eq!(pick(&runs), [] as [usize; 0]);
        let many: Vec<Held> = (0..500).map(|_| held(1 << 20)).collect();
        assert_eq!(pick(&many).len(), MOST);
    }
}
