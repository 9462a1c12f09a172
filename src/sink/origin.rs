//! Where the rows of an epoch come from, in a form that fits into a header.

use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::Report;
use cutwater_dataflows::watermark::Times;

use crate::state::cut::Cut;
use crate::state::resume::{Entry, Resume};

/// So many bytes of offsets are shown at most.
const OFFSETS: usize = 2000;

/// Where the rows of an epoch come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The offsets that the epoch was read from, by input, topic and partition, each up to and without the last:
    /// `lines=words 0: 100-120, 1: 7-9`. In visible ASCII, 2,000 bytes at most, then `, ...`. Empty where only time has
    /// moved, and for what is written once, after the end.
    pub offsets: &'a str,
    /// True iff the output's author wants them with each of its rows.
    pub with_rows: bool,
}

/// Follows the cut, to tell what an epoch was read from.
pub(crate) struct Offsets {
    /// The cut of the epoch before.
    cut: Cut,
}

impl Offsets {
    /// Begins before the first epoch of a run.
    pub(crate) fn new(resume: Option<&Resume>) -> Self {
        Offsets { cut: resume.map(Resume::begin).unwrap_or_default() }
    }

    /// The offsets that an epoch was read from. Called for each epoch in turn; takes time in the partitions that moved.
    pub(crate) fn of(&mut self, epoch: Epoch, reports: &[Report]) -> String {
        let moved = Entry::new(epoch, reports, &Times::default(), 0, 0);
        let offsets = header(&moved.moved(&self.cut));
        self.cut.advance(&moved.starts);
        self.cut.advance(&moved.cut);
        offsets
    }
}

/// Offsets as a header may have them: in visible ASCII, and no longer than servers take.
fn header(offsets: &str) -> String {
    // Topics are, and inputs nearly always.
    let shown: String =
        offsets.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect();
    match shown.len() {
        ..=OFFSETS => shown,
        _ => {
            let whole = shown[..OFFSETS].rfind(", ").unwrap_or(OFFSETS);
            format!("{}, ...", &shown[..whole])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_a_header_of_a_bounded_length() {
        assert_eq!(header("events=a 0: 1-2, 1: 3-4"), "events=a 0: 1-2, 1: 3-4");
        assert_eq!(header("\u{e4}=a 0: 1-2"), "?=a 0: 1-2");
        let many: Vec<String> = (0..500).map(|partition| format!("{partition}: 100-200")).collect();
        let shown = header(&format!("events=a {}", many.join(", ")));
        assert!(shown.len() <= OFFSETS + 5 && shown.ends_with("-200, ..."), "{shown}");
    }
}
