use std::collections::{BTreeMap, VecDeque};

use cutwater_dataflows::prelude::*;
use cutwater_dataflows::testing::{Given, Sample, Test, given};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// A queue: rows come at one end and go at the other. Now and then one comes where the others have gone, or all go.
struct Queue {
    /// In the order in which they came.
    rows: VecDeque<i64>,
    next: i64,
    random: StdRng,
}

impl Queue {
    /// The changes of an epoch.
    fn changes(&mut self) -> Vec<(i64, i64)> {
        let (come, keep) = match self.random.random_range(0..8) {
            0 => (20, 0),
            1 => (1, 60),
            _ => (40, 60),
        };
        let mut changes = Vec::new();
        for _ in 0..come {
            self.next += 1;
            self.rows.push_back(self.next);
            changes.push((self.next, 1));
        }
        while self.rows.len() > keep {
            changes.extend(self.rows.pop_front().map(|row| (row, -1)));
        }
        if self.random.random_range(0..4) == 0 {
            let past = self.random.random_range(0..=self.next);
            self.rows.push_front(past);
            changes.push((past, 1));
        }
        changes
    }
}

/// What stands after an epoch, by a sort of all rows: the first three and the aggregates.
fn expected(group: &str, rows: &VecDeque<i64>, sign: i64) -> Vec<String> {
    let mut rows: Vec<i64> = rows.iter().map(|row| row * sign).collect();
    rows.sort_unstable();
    let (Some(least), Some(greatest)) = (rows.first(), rows.last()) else { return Vec::new() };
    let mut expected = vec![format!("{group} {} {least} {greatest}", rows.len())];
    expected.extend((1..=3).zip(&rows).map(|(rank, row)| format!("{group} least {rank} {row}")));
    expected
        .extend((1..=3).zip(rows.iter().rev()).map(|(rank, row)| format!("{group} greatest {rank} {row}")));
    expected
}

/// Rows as texts: of all outputs, whatever their columns.
fn build(flow: &Flow<'_>) {
    type Row = (Text, i64);
    let rows = flow.input("rows").decode(Given::<Row>::new()).persist("rows");
    let least = rows.clone().least("least", 3).flat_map::<Text>(|(group, (rank, row)), out| {
        out.push(&format!("{group} least {rank} {row}"));
    });
    let greatest = rows.clone().greatest("greatest", 3).flat_map::<Text>(|(group, (rank, row)), out| {
        out.push(&format!("{group} greatest {rank} {row}"));
    });
    let aggregates = rows.aggregates("aggregates").flat_map::<Text>(|(group, row), out| {
        let (count, _, least, greatest, _) = row;
        out.push(&format!("{group} {count} {least} {greatest}"));
    });
    least.concat(greatest).concat(aggregates).output("out", &["row"], &[]);
}

#[test]
fn a_queue_has_its_ends_where_they_are() {
    for seed in 0..2 {
        let mut queues = [1, -1].map(|sign| {
            let random = StdRng::seed_from_u64(seed * 2 + u64::from(sign > 0));
            (sign, Queue { rows: VecDeque::new(), next: 0, random })
        });
        let names = ["rises", "falls"];
        let mut test = Test::building("queues", build);
        let mut stands = Vec::new();
        for epoch in 0..40 {
            if epoch % 11 == 10 {
                test = test.restart();
            }
            let mut records: Vec<(&str, Sample)> = Vec::new();
            let mut all = Vec::new();
            for (name, (sign, queue)) in names.iter().zip(&mut queues) {
                for (row, diff) in queue.changes() {
                    records.push(("rows", given(&(Text::from(*name), row * *sign), diff)));
                }
                all.extend(expected(name, &queue.rows, *sign));
            }
            all.sort();
            stands.push(all);
            test = test.epoch(records);
        }
        let outcome = test.check();
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for (epoch, expected) in (1..).zip(stands) {
            for change in outcome.changes_of("out", epoch) {
                let (diff, row) = change.split_once(' ').expect("a difference and a row");
                let text = row.split('"').nth(3).expect("a text").to_owned();
                *found.entry(text).or_default() += diff.parse::<i64>().expect("a difference");
            }
            found.retain(|_, count| *count != 0);
            let found: Vec<String> = found.keys().cloned().collect();
            assert_eq!(found, expected, "seed {seed}, epoch {epoch}");
        }
    }
}
