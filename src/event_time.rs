//! Event times of the partitions that a worker reads of an input.

use std::collections::HashMap;
use std::time::Duration;

use cutwater_dataflows::watermark::{EventTimes, UNKNOWN};

/// The watermarks of a worker's partitions, and which of them are idle.
pub(crate) struct Partitions {
    idle_after: Duration,
    all: Vec<Partition>,
    /// Where each is in `all`, by topic and partition.
    places: HashMap<String, HashMap<i32, usize>>,
    /// The one that was read last: records come in runs.
    last: usize,
    /// All was read: none is waited for.
    ended: bool,
}

struct Partition {
    topic: String,
    partition: i32,
    /// The largest event time read.
    watermark: Option<i64>,
    /// An event time was read since the last epoch closed.
    read: bool,
    /// When the last epoch closed in which one was read; or when the partition joined, or was behind.
    since: Duration,
}

impl Partition {
    fn is_idle(&self, now: Duration, idle_after: Duration) -> bool {
        !self.read && now.saturating_sub(self.since) >= idle_after
    }
}

impl Partitions {
    /// None yet.
    pub(crate) fn new(idle_after: Duration) -> Self {
        Partitions { idle_after, all: Vec::new(), places: HashMap::new(), last: 0, ended: false }
    }

    /// The partition is read from now on, if it was not before.
    pub(crate) fn join(&mut self, topic: &str, partition: i32, now: Duration) {
        self.place(topic, partition, now);
    }

    /// More may be there of the partition than was read: it is not idle.
    pub(crate) fn wait(&mut self, topic: &str, partition: i32, now: Duration) {
        let place = self.place(topic, partition, now);
        self.all[place].since = now;
    }

    /// A record was read that has this event time: microseconds since the Unix epoch.
    #[inline]
    pub(crate) fn read(&mut self, topic: &str, partition: i32, time: i64) {
        let same = |last: &&mut Partition| last.partition == partition && last.topic == topic;
        let at = match self.all.get_mut(self.last).filter(same) {
            Some(_) => self.last,
            None => self.place(topic, partition, Duration::ZERO),
        };
        self.last = at;
        let of = &mut self.all[at];
        of.watermark = of.watermark.max(Some(time));
        of.read = true;
    }

    /// All was read.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// An epoch closes: what is known of event time.
    pub(crate) fn close(&mut self, now: Duration) -> EventTimes {
        for partition in self.all.iter_mut().filter(|partition| partition.read) {
            partition.since = now;
        }
        let times = self.times(now);
        self.all.iter_mut().for_each(|partition| partition.read = false);
        times
    }

    /// What is known of event time, of the epochs that are closed and of the open one.
    pub(crate) fn times(&self, now: Duration) -> EventTimes {
        let waited_for = |partition: &&Partition| !self.ended && !partition.is_idle(now, self.idle_after);
        let low = self.all.iter().filter(waited_for).map(|partition| partition.watermark.unwrap_or(UNKNOWN));
        EventTimes { low: low.min(), high: self.all.iter().filter_map(|partition| partition.watermark).max() }
    }

    fn place(&mut self, topic: &str, partition: i32, now: Duration) -> usize {
        if let Some(&place) = self.places.get(topic).and_then(|partitions| partitions.get(&partition)) {
            return place;
        }
        let place = self.all.len();
        self.places.entry(topic.to_owned()).or_default().insert(partition, place);
        let topic = topic.to_owned();
        self.all.push(Partition { topic, partition, watermark: None, read: false, since: now });
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn times(low: Option<i64>, high: Option<i64>) -> EventTimes {
        EventTimes { low, high }
    }

    #[test]
    fn partitions_are_waited_for_until_they_are_idle() {
        let mut partitions = Partitions::new(second(30));
        assert_eq!(partitions.close(second(0)), times(None, None));
        partitions.join("t", 0, second(0));
        partitions.join("t", 1, second(10));
        partitions.join("t", 0, second(20));
        assert_eq!(partitions.close(second(29)), times(Some(UNKNOWN), None));
        partitions.read("t", 1, 7);
        partitions.read("t", 1, 5);
        partitions.read("u", 1, 9);
        assert_eq!(partitions.times(second(29)), times(Some(UNKNOWN), Some(9)));
        // The first has had nothing since it joined.
        assert_eq!(partitions.close(second(30)), times(Some(7), Some(9)));
        partitions.read("u", 1, 11);
        assert_eq!(partitions.close(second(59)), times(Some(7), Some(11)));
        assert_eq!(partitions.times(second(60)), times(Some(11), Some(11)));
        assert_eq!(partitions.close(second(89)), times(None, Some(11)));
        partitions.read("t", 0, 1);
        assert_eq!(partitions.close(second(90)), times(Some(1), Some(11)));
        // What is held back is not idle.
        partitions.wait("t", 0, second(130));
        assert_eq!(partitions.close(second(130)), times(Some(1), Some(11)));
        assert_eq!(partitions.close(second(160)), times(None, Some(11)));
        partitions.wait("t", 0, second(160));
        assert_eq!(partitions.close(second(161)), times(Some(1), Some(11)));
        partitions.end();
        assert_eq!(partitions.close(second(91)), times(None, Some(11)));
    }
}
