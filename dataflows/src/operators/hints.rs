//! Where the rows of a key begin and end, for keys of which many rows were withdrawn there.
//!
//! Rows that were withdrawn stay in an arrangement until the batches that have both are merged. A key whose least row is
//! always the next to go, as that of a queue is, has all of them where a walk begins. What a walk had to pass over is
//! remembered, so that the next one does not: for such keys alone. It is known from the arrangement, changes no answer, and is
//! forgotten by a restart.

use std::cell::Cell;

use hashbrown::HashMap;

use crate::Epoch;
use crate::operators::reduce::Spread;
use crate::ordered::{Reach, View};

/// So many rows are passed over each time.
const FEW: u32 = 32;

/// So many keys are known at most: what is known can be found out once more.
const MOST: usize = 1 << 16;

/// What is known of keys.
#[derive(Default)]
pub(crate) struct Hints(HashMap<Vec<u8>, Hint>);

/// What is known of a key: it has no rows below one and above another.
#[derive(Default)]
pub(crate) struct Hint {
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

impl Hints {
    /// What is known of a key, whatever it changes by.
    pub(crate) fn take(&mut self, spread: &Spread<'_>) -> Hint {
        if self.0.is_empty() {
            return Hint::default();
        }
        let Some(mut hint) = self.0.remove(spread.key) else { return Hint::default() };
        let (first, last) = spread.ends();
        hint.low = hint.low.map(|low| if first < &*low { first.to_vec() } else { low });
        hint.high = hint.high.map(|high| if &*high < last { last.to_vec() } else { high });
        hint
    }

    /// Remembers what is known of a key, if there is something.
    pub(crate) fn put(&mut self, spread: &Spread<'_>, hint: Hint) {
        if hint.low.is_none() && hint.high.is_none() {
            return;
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(spread.key.to_vec(), hint);
    }
}

impl Hint {
    /// Shows a key and its rows, of epochs before one. Gives what `look` makes of them and of how far it looked, and what can be
    /// learned from that.
    pub(crate) fn view<T>(
        &self,
        spread: &Spread<'_>,
        before: Epoch,
        look: impl for<'a> FnOnce(&'a [u8], View<'a>, &Cell<Reach<'a>>) -> T,
    ) -> (T, Hint) {
        let (parts, reach) = (spread.parts(before), Cell::new(Reach::default()));
        let view = View::new(&parts, spread.key.len(), &reach);
        let made = look(spread.key, view.within(self.low.as_deref(), self.high.as_deref()), &reach);
        let reach = reach.get();
        let many =
            |end: Option<(&[u8], u32)>| end.filter(|(_, passed)| *passed > FEW).map(|(row, _)| row.to_vec());
        (made, Hint { low: many(reach.low), high: many(reach.high) })
    }

    /// Learns from a look at the rows as they are after all that the batch changes.
    pub(crate) fn learn(&mut self, found: Hint) {
        self.low = found.low.or(self.low.take());
        self.high = found.high.or(self.high.take());
    }
}
