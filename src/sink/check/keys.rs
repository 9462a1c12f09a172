//! Checks that an output has one row of a key at most, for sinks that take the newest row of each key: there must be one.
//!
//! Changes alone don't tell: a key that has a row may get another one epochs later. So the keys that have one are
//! remembered, by a hash of 128 bits. Outputs of which it is known without that are not checked at all.

use anyhow::{Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::render::batch::for_each_key;
use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::shown::beginning;

/// The keys of an output that have a row.
pub struct Keys {
    output: String,
    /// Not known to who writes the records: keys that collide are not to be found on purpose.
    seed: u64,
    present: HashSet<u128>,
}

impl Keys {
    /// Those of an output without rows.
    pub fn new(output: &str) -> Self {
        Keys { output: output.to_owned(), seed: rand::random(), present: HashSet::new() }
    }

    /// Takes the rows that precede the first epoch, rendered, in any order.
    ///
    /// # Errors
    /// If a key has several: it names output and key.
    pub fn restore(&mut self, batches: &[FlatBatch]) -> Result<()> {
        // Those with other than none or one row, so far: a row may come in several batches.
        let mut odd: HashMap<u128, i64> = HashMap::new();
        for batch in batches {
            for_each_key(batch, |key, diff| {
                let hash = self.hash(key);
                let before = odd.remove(&hash).unwrap_or_else(|| self.present.contains(&hash).into());
                match before + diff {
                    0 => drop(self.present.remove(&hash)),
                    1 => drop(self.present.insert(hash)),
                    other => {
                        self.present.remove(&hash);
                        odd.insert(hash, other);
                    }
                }
            });
        }
        let mut refused = None;
        for batch in batches.iter().filter(|_| !odd.is_empty()) {
            for_each_key(batch, |key, _| {
                if refused.is_none()
                    && let Some(rows) = odd.get(&self.hash(key))
                {
                    refused = Some(self.refusal(key, *rows, "before the first epoch"));
                }
            });
        }
        refused.map_or(Ok(()), |refusal| bail!(refusal))
    }

    /// Takes the changes of an epoch, ordered by row.
    ///
    /// # Errors
    /// If a key has several rows after it, or fewer than none: it names output and key.
    pub fn check(&mut self, epoch: Epoch, changes: &[Change]) -> Result<()> {
        for changes in changes.chunk_by(|a, b| a.key == b.key) {
            let hash = self.hash(&changes[0].key);
            let before = i64::from(self.present.contains(&hash));
            let after = before + changes.iter().map(|change| change.diff).sum::<i64>();
            // What the sinks say: the new row, or that the key is gone.
            let new = changes.iter().filter(|change| change.diff > 0).count() as i64;
            if after != new || new > 1 {
                let rows = if new > 1 { new } else { after };
                bail!(self.refusal(&changes[0].key, rows, &format!("as of epoch {epoch}")));
            }
            if after == 1 {
                self.present.insert(hash);
            } else {
                self.present.remove(&hash);
            }
        }
        Ok(())
    }

    fn hash(&self, key: &[u8]) -> u128 {
        xxh3_128_with_seed(key, self.seed)
    }

    fn refusal(&self, key: &[u8], rows: i64, when: &str) -> String {
        format!(
            "output {:?}: the key {} has {rows} rows {when}, but upserts need one row of a key at most. Show it with \
             --emit {}=changes, or have the dataflow name more key columns",
            self.output,
            beginning(key),
            self.output,
        )
    }
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::render::{Renderer, rendered};

    use super::*;

    /// Rows as they are: `key=value`.
    struct Plain;
    impl Renderer for Plain {
        fn render(&self, row: &[u8], key: &mut Vec<u8>, value: &mut Vec<u8>) {
            value.extend_from_slice(row);
            key.extend(row.iter().take_while(|&&byte| byte != b'='));
        }
    }

    fn change(row: &str, diff: i64) -> Change {
        let key = row.split('=').next().unwrap_or_default().to_owned();
        Change { key: key.into(), row: row.to_owned().into(), diff }
    }

    /// The error of the first epoch that has one.
    fn error(keys: &mut Keys, epochs: &[&[(&str, i64)]]) -> Option<String> {
        (1..).zip(epochs).find_map(|(epoch, rows)| {
            let changes: Vec<_> = rows.iter().map(|&(row, diff)| change(row, diff)).collect();
            keys.check(epoch, &changes).err().map(|error| error.to_string())
        })
    }

    #[test]
    fn one_row_of_a_key_may_come_change_and_go() {
        let epochs: &[&[(&str, i64)]] =
            &[&[("a=1", 1), ("b=1", 1)], &[("a=1", -1), ("a=2", 1)], &[("a=2", -1)], &[("a=3", 1)]];
        assert_eq!(error(&mut Keys::new("o"), epochs), None);
    }

    #[test]
    fn a_key_with_several_rows_is_named_in_whatever_way_they_come() {
        let wrong: [&[&[(&str, i64)]]; 7] = [
            &[&[("a=1", 1), ("a=2", 1)]],
            &[&[("a=1", 2)]],
            &[&[("a=1", 1)], &[("a=2", 1)]],
            &[&[("a=1", 1)], &[("a=1", 1)]],
            &[&[("a=1", 1)], &[("a=1", -1)], &[("a=1", -1)]],
            &[&[("a=1", -1), ("a=2", 1)]],
            &[&[("a=1", 1)], &[("a=1", -1), ("a=2", 1), ("a=3", 1)]],
        ];
        for epochs in wrong {
            let error = error(&mut Keys::new("o"), epochs).unwrap_or_else(|| panic!("{epochs:?}"));
            assert!(error.contains("output \"o\"") && error.contains("the key a has"), "{error}");
            assert!(error.contains(&format!("as of epoch {}", epochs.len())), "{error}");
        }
    }

    #[test]
    fn what_was_there_before_counts() {
        let batch = |rows: &[(&str, i64)]| {
            let mut batch = FlatBatch::default();
            rows.iter().for_each(|(row, diff)| batch.push(row.as_bytes(), *diff));
            rendered(&Plain, &[batch])
        };
        // In parts that make sense together alone.
        let parts = [batch(&[("a=1", 2), ("b=1", 1)]), batch(&[("b=1", -1), ("a=1", -1), ("c=1", 1)])];
        let mut keys = Keys::new("o");
        keys.restore(&parts).unwrap();
        assert_eq!(error(&mut keys, &[&[("a=1", -1), ("a=2", 1)], &[("b=2", 1)]]), None);
        assert!(
            error(&mut keys, &[&[("c=2", 1)]]).is_some_and(|error| error.contains("the key c has 2 rows"))
        );
        let refused = Keys::new("o").restore(&[batch(&[("a=1", 1)]), batch(&[("a=2", 1)])]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("the key a has 2 rows"), "{refused}");
    }
}
