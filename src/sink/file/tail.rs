//! What a file of lines ends with.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Result, bail};
use cutwater_dataflows::Epoch;

/// How much of the file is read at a time, in bytes.
const CHUNK: u64 = 64 << 10;
/// As much of a line's beginning as its epoch takes.
const HEAD: u64 = 40;

/// The end of a file whose lines begin with their epoch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last epoch that has a whole line; 0 where there is none.
    pub(super) epoch: Epoch,
    /// Where the first line of that epoch begins.
    pub(super) start: u64,
    /// Where its last whole line ends.
    pub(super) end: u64,
    /// How many bytes come after that: the beginning of a line that was not written to its end.
    pub(super) torn: u64,
}

impl Tail {
    /// Reads back from the end of the file, as far as the last epoch goes.
    ///
    /// # Errors
    /// If it can't be read, or holds a line of something else: it says where.
    pub(super) fn read(file: &File) -> Result<Self> {
        let length = file.metadata()?.len();
        let mut tail: Option<Tail> = None;
        let mut top = length;
        while top > 0 {
            let base = top.saturating_sub(CHUNK);
            // A line that begins in this part may end after it.
            let mut bytes = vec![0; (length.min(top + HEAD) - base) as usize];
            file.read_exact_at(&mut bytes, base)?;
            for index in (0..(top - base) as usize).rev().filter(|&index| bytes[index] == b'\n') {
                let after = base + index as u64 + 1;
                match &mut tail {
                    None => tail = Some(Tail { epoch: 0, start: after, end: after, torn: length - after }),
                    Some(tail) => {
                        if tail.take(after, &bytes[index + 1..])? {
                            return Ok(Tail { ..*tail });
                        }
                    }
                }
            }
            if base == 0
                && let Some(tail) = &mut tail
            {
                tail.take(0, &bytes)?;
            }
            top = base;
        }
        Ok(tail.unwrap_or(Tail { epoch: 0, start: 0, end: 0, torn: length }))
    }

    /// Takes the line before those that were taken: it begins at `start`, with `head`. True iff it is of an earlier
    /// epoch, and not taken.
    fn take(&mut self, start: u64, head: &[u8]) -> Result<bool> {
        let Some(epoch) = epoch(head) else {
            bail!("at byte {start} is a line that is not a row of Cutwater's, which begin with their epoch");
        };
        if self.epoch == 0 {
            self.epoch = epoch;
        }
        if epoch > self.epoch {
            bail!("at byte {start} is a line of epoch {epoch}, and after it one of epoch {}", self.epoch);
        }
        if epoch == self.epoch {
            self.start = start;
        }
        Ok(epoch < self.epoch)
    }
}

/// The epoch of a line that begins so.
fn epoch(head: &[u8]) -> Option<Epoch> {
    let rest = head.strip_prefix(b"{\"epoch\":")?;
    let digits = rest.split(|&byte| byte == b',').next()?;
    let epoch: Epoch =
        std::str::from_utf8(digits.get(..digits.len().min(HEAD as usize))?).ok()?.parse().ok()?;
    (epoch > 0 && digits.len() < rest.len()).then_some(epoch)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tail(text: &str) -> Result<Tail> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Tail::read(&file)
    }

    fn line(epoch: Epoch, length: usize) -> String {
        format!("{{\"epoch\":{epoch},\"output\":\"{}\"}}\n", "x".repeat(length))
    }

    #[test]
    fn the_last_epoch_is_found_whatever_the_lines_lengths() {
        for length in [0, 1, 100, CHUNK as usize - 30, CHUNK as usize, 3 * CHUNK as usize] {
            for lines in [1, 2, 5] {
                let (before, last) = (line(8, length) + &line(9, 7), line(12, length).repeat(lines));
                for torn in ["", "{", "{\"epoch\":12,\"out"] {
                    let expected = Tail {
                        epoch: 12,
                        start: before.len() as u64,
                        end: (before.len() + last.len()) as u64,
                        torn: torn.len() as u64,
                    };
                    assert_eq!(tail(&format!("{before}{last}{torn}")).unwrap(), expected);
                    let start = Tail { start: 0, end: last.len() as u64, ..expected };
                    assert_eq!(tail(&format!("{last}{torn}")).unwrap(), start);
                }
            }
        }
    }

    #[test]
    fn a_file_may_hold_no_line() {
        for text in ["", "{\"epoch\":1,"] {
            let expected = Tail { epoch: 0, start: 0, end: 0, torn: text.len() as u64 };
            assert_eq!(tail(text).unwrap(), expected);
        }
    }

    #[test]
    fn lines_of_something_else_are_an_error() {
        for text in ["\n", "hello\n", "{\"epoch\":0,\"x\":1}\n", "{\"epoch\":x,\"x\":1}\n", "{\"epoch\":7"] {
            let text = format!("{}{text}\n", line(3, 1));
            let error = tail(&text).unwrap_err().to_string();
            assert!(error.contains("is not a row"), "{text}: {error}");
        }
        let error = tail(&(line(3, 1) + &line(2, 1))).unwrap_err().to_string();
        assert!(error.contains("at byte 0 is a line of epoch 3"), "{error}");
    }
}
