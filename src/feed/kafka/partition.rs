//! One partition: how far it is read, how far it may be read, and what the client has handed over beyond that.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::{Budget, Each, Took};
use super::reader::{Handed, Kept};
use super::start::Start;
use super::watch::Read;
use crate::kafka::native::batch::Event;

/// Messages beyond the limit that are kept before the partition is paused.
const MESSAGES: usize = 4096;
/// Bytes of their keys and values, likewise.
const BYTES: usize = 4 << 20;

/// A partition that is read.
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The offset after the last record handed over, or after the last gap.
    pub(super) next: i64,
    /// What lies here or beyond is not handed over for now.
    limit: i64,
    /// What lies here or beyond is never handed over.
    stop: i64,
    /// The limit that holds when the partition is no longer halted; `None` while it is not.
    halted: Option<i64>,
    /// The limit that holds when the record that lies there can be read; `None` while nothing waits for that.
    early: Option<i64>,
    /// All below was handed over by the client, or is a gap; that may hold for more, up to `next`.
    passed: i64,
    /// The last end that the client has come to; -1 before the first.
    end_reached: i64,
    /// Records that were handed over and lie at the limit or beyond.
    stash: VecDeque<Stashed>,
    /// Bytes of their keys and values.
    bytes: usize,
    /// True while the client does not fetch it because enough is stashed.
    pub(super) paused: bool,
    /// The end, as last heard.
    pub(super) end: i64,
    /// The end of all when reading began: of open transactions, too.
    pub(super) last: i64,
    /// Where others see how far it is read.
    pub(super) read: Arc<Read>,
    /// Where reading of it began, until that was said.
    pub(super) start: Option<i64>,
    /// The topic's id, until that was said.
    pub(super) id: Option<String>,
    pub(super) moved: bool,
    /// True once its topic was deleted: what was to be read of it and was not fetched is lost, and counts as read.
    pub(super) gone: bool,
}

struct Stashed {
    offset: i64,
    message: Kept,
}

impl Partition {
    /// A partition that is read from `next` on, to its end at `start` where the run is `bounded`. All from there to what
    /// `start` says is a gap.
    pub(super) fn new(
        topic: String,
        partition: i32,
        next: i64,
        start: &Start,
        bounded: bool,
        read: Arc<Read>,
    ) -> Self {
        let &Start { first, end, last, .. } = start;
        let stop = if bounded { end } else { i64::MAX };
        Partition {
            topic,
            partition,
            next,
            limit: stop,
            stop,
            halted: None,
            early: None,
            passed: first,
            end_reached: -1,
            stash: VecDeque::new(),
            bytes: 0,
            paused: false,
            end,
            last,
            read,
            start: None,
            id: None,
            moved: false,
            gone: false,
        }
    }

    /// A partition that was not read before: where reading of it begins is to be said.
    pub(super) fn joining(self) -> Self {
        Partition { start: Some(self.next), moved: true, ..self }
    }

    /// Of a topic with this id.
    pub(super) fn of(self, id: Option<String>) -> Self {
        Partition { id, ..self }
    }

    /// Its topic was deleted. Returns how many offsets that were to be read are lost, as far as is known now.
    pub(super) fn leave(&mut self) -> i64 {
        let limit = self.halted.unwrap_or(self.limit);
        let lost = if limit < i64::MAX { (limit - self.position()).max(0) } else { 0 };
        self.gone = true;
        self.settle();
        lost
    }

    /// It has moved without a bound: the client has handed something over, so it is there after all.
    pub(super) fn found(&mut self) {
        self.gone &= self.limit < i64::MAX;
    }

    /// Says how far it is read.
    pub(super) fn show(&self) {
        self.read.up_to(self.next);
    }

    /// What a bounded run leaves unread of it: offsets from its stop up to its end at start, which is that of open
    /// transactions.
    pub(super) fn held_back(&self) -> Option<(i64, i64)> {
        (self.finished() && self.last > self.stop).then_some((self.stop, self.last))
    }

    /// True once all of it is read.
    pub(super) fn finished(&self) -> bool {
        self.next >= self.stop || (self.gone && self.stop == i64::MAX)
    }

    /// True once it is read as far as it may be for now.
    pub(super) fn arrived(&self) -> bool {
        self.next >= self.early.unwrap_or(self.limit)
    }

    /// A record was handed over that can't be read yet: it and what lies beyond are not handed over before
    /// [`Partition::retry`].
    pub(super) fn wait(&mut self, offset: i64) {
        if self.early.is_none() {
            self.early = Some(std::mem::replace(&mut self.limit, offset));
        }
    }

    /// What could not be read is to be handed over once more.
    pub(super) fn retry(&mut self) {
        if let Some(limit) = self.early.take() {
            match &mut self.halted {
                Some(halted) => *halted = limit,
                None => self.limit = limit,
            }
        }
    }

    /// True iff something is stashed.
    pub(super) fn stashes(&self) -> bool {
        !self.stash.is_empty()
    }

    /// True iff so much is stashed that the client should hand over no more.
    pub(super) fn overflows(&self) -> bool {
        self.stash.len() > MESSAGES || self.bytes > BYTES
    }

    /// What the client is to hand over next.
    pub(super) fn position(&self) -> i64 {
        self.next.max(self.passed)
    }

    /// Up to where it may be read; `None`: to its stop.
    pub(super) fn bound(&mut self, limit: Option<i64>) {
        let limit = limit.map_or(self.stop, |limit| limit.min(self.stop));
        *self.early.as_mut().unwrap_or(&mut self.limit) = limit;
        self.settle();
    }

    /// May a record that the client hands over be handed on? If it lies behind, it was before; if it lies beyond the
    /// limit, it is to be given to [`Partition::stash`].
    #[inline]
    pub(super) fn place(&self, offset: i64) -> Spot {
        if offset >= self.limit {
            Spot::Beyond
        } else if offset >= self.next {
            Spot::Here
        } else {
            Spot::Behind
        }
    }

    /// All below `next` is read.
    #[inline]
    pub(super) fn advance(&mut self, next: i64) {
        if next > self.next {
            self.next = next;
            self.moved = true;
        }
    }

    /// Something has failed and the client has passed over it: nothing that it hands over counts until
    /// [`Partition::release`].
    pub(super) fn halt(&mut self) {
        if self.halted.is_none() {
            // All records lie beyond it, so those that are handed on pay nothing for this.
            self.halted = Some(std::mem::replace(&mut self.limit, i64::MIN));
        }
    }

    /// What the client hands over counts again.
    pub(super) fn release(&mut self) {
        if let Some(limit) = self.halted.take() {
            self.limit = limit;
        }
    }

    /// The client has come to the end, which is there for now.
    pub(super) fn reach_end(&mut self, end: i64) {
        if self.halted.is_none() {
            self.end_reached = end;
        }
        self.pass(end);
    }

    /// True iff more may be there to be read than was handed on: the client has not come to an end there.
    pub(super) fn is_behind(&self) -> bool {
        !self.gone && !self.finished() && (self.stashes() || self.next > self.end_reached)
    }

    /// All below `first` was handed over by the client, or is a gap.
    pub(super) fn pass(&mut self, first: i64) {
        if self.halted.is_some() {
            return;
        }
        self.passed = self.passed.max(first);
        self.settle();
    }

    /// Takes a record that lies beyond the limit.
    pub(super) fn stash(&mut self, offset: i64, size: usize, message: impl Handed) {
        if self.halted.is_some() {
            return;
        }
        if offset >= self.stop {
            // It is not ours, but says that all before the stop was handed over.
            self.pass(self.stop);
        } else if offset >= self.position() {
            self.bytes += size;
            self.stash.push_back(Stashed { offset, message: message.keep() });
            self.pass(offset + 1);
        }
    }

    /// Hands over what was stashed and lies below the limit by now.
    pub(super) fn serve(&mut self, left: &mut Budget, each: &mut Each<'_>) {
        self.retry();
        while left.records > 0
            && left.bytes > 0
            && let Some(first) = self.stash.pop_front()
        {
            if first.offset >= self.limit {
                self.stash.push_front(first);
                break;
            }
            if let Event::Record(record) = first.message.event() {
                let size = record.size();
                if each(&record) == Took::NotYet {
                    self.wait(first.offset);
                    self.stash.push_front(first);
                    break;
                }
                self.bytes -= size;
                left.records -= 1;
                left.bytes = left.bytes.saturating_sub(size);
            }
            self.advance(first.offset + 1);
        }
        // What is left of it comes before what the client hands over.
        if let Some(first) = self.stash.front().filter(|first| first.offset < self.limit) {
            self.wait(first.offset);
        }
        self.settle();
    }

    /// What is known to be a gap counts as read, up to the limit.
    fn settle(&mut self) {
        let passed = if self.gone && self.limit < i64::MAX { self.limit } else { self.passed };
        let known = self.stash.front().map_or(passed, |first| first.offset);
        self.advance(known.min(self.limit));
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// It was read before.
    Behind,
    /// It is to be read now.
    Here,
    /// At the limit, or beyond it.
    Beyond,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_behind_until_the_client_has_come_to_its_end() {
        let start = Start { wanted: 7, first: 7, end: 7, last: 7 };
        let of = |bounded| Partition::new("t".into(), 0, 7, &start, bounded, Arc::new(Read::unseen()));
        let mut partition = of(false);
        assert!(partition.is_behind(), "nothing was heard of it");
        partition.reach_end(7);
        assert!(!partition.is_behind());
        partition.advance(8);
        assert!(partition.is_behind());
        // Behind the last record is a transaction's marker.
        partition.reach_end(9);
        assert!(!partition.is_behind() && partition.next == 9);
        // What is heard after a failure does not count.
        partition.advance(10);
        partition.halt();
        partition.reach_end(10);
        assert!(partition.is_behind());
        assert_eq!(partition.leave(), 0, "without a bound nothing is known to be lost");
        assert!(!partition.is_behind());
        assert!(!of(true).is_behind(), "all that is wanted of it is read");
        let start = Start { end: 12, ..start };
        let mut bounded = Partition::new("t".into(), 0, 7, &start, true, Arc::new(Read::unseen()));
        bounded.halt();
        assert_eq!(bounded.leave(), 5, "all from its position to the bound, also while it is halted");
    }
}
