use std::collections::BTreeMap;

use cutwater_dataflows::prelude::*;
use cutwater_dataflows::testing::{Given, Sample, Test, given};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const SECOND: i64 = 1_000_000;

/// Who was there in the last ten seconds of event time, and the last five by the clock on the wall.
struct Present;

impl KeyedState for Present {
    type Key = Text;
    type Update = Timestamp;
    type State = (Timestamp, Timestamp);

    fn update(
        &mut self,
        _: &str,
        state: Group<'_, Self::State>,
        seen: Group<'_, Timestamp>,
        now: Now,
        out: &mut Emit<'_, Self::State>,
    ) {
        let before = state.first();
        let seen = seen.last().map(|at| (at, now.closed));
        let last = match (before, seen) {
            (Some(before), Some(seen)) => Some((before.0.max(seen.0), seen.1)),
            (before, seen) => before.or(seen),
        };
        let gone = |&(event, wall): &(Timestamp, Timestamp)| {
            let reached = now.watermark.is_some_and(|now| event.micros() + 10 * SECOND <= now.micros());
            reached || wall.micros() + 5 * SECOND <= now.closed.micros()
        };
        out.extend(last.filter(|times| !gone(times)));
    }

    fn due(&self, _: &str, state: Group<'_, Self::State>) -> Due {
        let Some((event, wall)) = state.first() else { return Due::never() };
        Due {
            watermark: Some(Timestamp::from_micros(event.micros() + 10 * SECOND)),
            closed: Some(Timestamp::from_micros(wall.micros() + 5 * SECOND)),
        }
    }
}

#[test]
fn keys_are_woken_when_their_time_has_come_at_every_number_of_workers_and_after_restarts() {
    let mut gone = 0;
    for seed in 0..20 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut test = Test::building("present", |flow| {
            let seen = flow.input("seen").decode(Given::<(Text, Timestamp)>::new());
            let present = seen.stateful_with("present", Present);
            present.output("present", &["user"], &["at", "wall"]);
        });
        let (mut event, mut wall) = (0, 0);
        // The recount: by user, the last event and when it was seen; and the watermark.
        let mut there: BTreeMap<Text, (i64, i64)> = BTreeMap::new();
        let mut watermark = None;
        let mut expected = Vec::new();
        for epoch in 0..random.random_range(2..12) {
            let records: Vec<(Text, i64)> = (0..random.random_range(0..4))
                .map(|_| {
                    event += random.random_range(0..4) * SECOND;
                    (["a", "b", "c"][random.random_range(0..3)].into(), event)
                })
                .collect();
            wall += random.random_range(1..4) * SECOND;
            if epoch > 0 && random.random_range(0..3) == 0 {
                test = test.restart();
            }
            let sample = |(user, at): &(Text, i64)| {
                let row = (user.clone(), Timestamp::from_micros(*at));
                Sample { timestamp: Some(at / 1000), ..given(&row, 1) }
            };
            test = test.epoch(records.iter().map(|record| ("seen", sample(record))));
            test = test.at(Timestamp::from_micros(wall));
            watermark = watermark.max(records.iter().map(|(_, at)| *at).max());
            for (user, at) in records {
                let times = there.entry(user).or_insert((at, wall));
                *times = (times.0.max(at), wall);
            }
            let before = there.len();
            there.retain(|_, (at, seen)| {
                watermark.is_none_or(|watermark| *at + 10 * SECOND > watermark) && *seen + 5 * SECOND > wall
            });
            gone += before - there.len();
            expected.push(there.keys().cloned().collect::<Vec<_>>());
        }
        let outcome = test.check();
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for (epoch, expected) in expected.iter().enumerate() {
            for change in outcome.changes_of("present", epoch as u64 + 1) {
                let (diff, row) = change.split_once(' ').expect("a difference and a row");
                let user = row.split('"').nth(3).expect("a user").to_owned();
                *found.entry(user).or_default() += diff.parse::<i64>().expect("a difference");
            }
            found.retain(|_, count| *count != 0);
            let found: Vec<Text> = found.keys().map(|user| Text::from(user.as_str())).collect();
            assert_eq!(&found, expected, "seed {seed}, epoch {}", epoch + 1);
        }
    }
    assert!(gone > 10, "only {gone} were gone");
}
