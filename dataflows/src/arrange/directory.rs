//! Where in a sorted list of hashes a hash would be.

/// Entries that a slot of the directory stands for, on average.
const ENTRIES: usize = 2;

/// For equal parts of the range of hashes, the index of the first entry in each. Hashes are uniform, so a part holds a
/// few entries, and the directory is a hash table's array of buckets over entries that are sorted.
pub(super) struct Directory {
    first: u64,
    last: u64,
    shift: u32,
    /// Of each slot, and one more: the number of entries.
    starts: Vec<u32>,
}

impl Directory {
    /// A directory for up to `entries` entries with hashes from `first` to `last`.
    pub(super) fn new(entries: usize, first: u64, last: u64) -> Self {
        let most = (entries / ENTRIES).max(1) as u64;
        let bits = u64::BITS - (last - first).leading_zeros();
        let mut shift = bits.saturating_sub(most.ilog2());
        // A range that is the whole of 64 bits has but one slot.
        if shift >= u64::BITS {
            shift = u64::BITS - 1;
        }
        let slots = ((last - first) >> shift) as usize + 1;
        Directory { first, last, shift, starts: Vec::with_capacity(slots + 1) }
    }

    /// Bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&self.starts[..])
    }

    fn slot(&self, hash: u64) -> usize {
        ((hash - self.first) >> self.shift) as usize
    }

    /// Notes the entry at `index`, whose hash is not below those before.
    #[inline]
    pub(super) fn push(&mut self, index: usize, hash: u64) {
        let slot = self.slot(hash);
        let index = u32::try_from(index).expect("a batch holds under 2^32 rows");
        while self.starts.len() <= slot {
            self.starts.push(index);
        }
    }

    /// No more entries will come than these.
    pub(super) fn finish(&mut self, entries: usize) {
        let slots = self.slot(self.last) + 1;
        let entries = u32::try_from(entries).expect("a batch holds under 2^32 rows");
        self.starts.resize(slots + 1, entries);
    }

    /// Where the entries begin and end among which one with this hash is, if there is one.
    #[inline]
    pub(super) fn candidates(&self, hash: u64) -> (u32, u32) {
        if hash < self.first || hash > self.last {
            return (0, 0);
        }
        let slot = self.slot(hash);
        (self.starts[slot], self.starts[slot + 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_among_its_candidates() {
        for count in [1usize, 2, 3, 10, 1000] {
            for (first, last) in [(0, u64::MAX), (7, 7), (1 << 63, u64::MAX), (5, 12)] {
                let step = ((u128::from(last - first)) / count as u128) as u64;
                let hashes: Vec<u64> = (0..count as u64).map(|i| first + i * step).collect();
                let mut directory = Directory::new(count, first, last);
                hashes.iter().enumerate().for_each(|(index, &hash)| directory.push(index, hash));
                directory.finish(count);
                for (index, &hash) in hashes.iter().enumerate() {
                    let (start, end) = directory.candidates(hash);
                    assert!((start..end).contains(&(index as u32)), "{hash} of {first}..={last}");
                }
                assert!(directory.starts.len() <= count.max(2) + 1);
            }
        }
        let directory = Directory::new(1, 5, 6);
        assert_eq!(directory.candidates(4), (0, 0));
        assert_eq!(directory.candidates(7), (0, 0));
    }
}
