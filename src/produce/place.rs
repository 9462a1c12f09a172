//! Where a record comes from: its number tells, as each line is one record.

/// The first record of each source.
pub(super) struct Places {
    names: Vec<String>,
    first: Vec<u64>,
}

impl Places {
    pub(super) fn new(names: Vec<String>) -> Self {
        Places { names, first: Vec::new() }
    }

    /// The next line is of `source` and becomes record `next`; the sources before it have no more.
    pub(super) fn begin(&mut self, source: usize, next: u64) {
        while self.first.len() <= source {
            self.first.push(next);
        }
    }

    /// `FILE:LINE` of a record, lines counted from 1.
    ///
    /// # Panics
    /// If no source has begun.
    pub(super) fn of(&self, record: u64) -> String {
        // A source without lines begins where the one after it does: the last of them has the record.
        let source = self.first.partition_point(|&first| first <= record) - 1;
        format!("{}:{}", self.names[source], record - self.first[source] + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_in_spite_of_empty_sources() {
        let mut places = Places::new(["a", "b", "c", "d"].map(str::to_owned).to_vec());
        places.begin(1, 0);
        places.begin(1, 2);
        places.begin(3, 3);
        let found: Vec<String> = (0..5).map(|record| places.of(record)).collect();
        assert_eq!(found, ["b:1", "b:2", "b:3", "d:1", "d:2"]);
    }
}
