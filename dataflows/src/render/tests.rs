use std::collections::BTreeMap;

use super::*;
use crate::flat::FlatBatch;
use crate::rows::{Text, decode, encode_into};

type Counted = (Text, i64);

fn renderer() -> Arc<dyn Renderer> {
    json()(&Schema::of::<Counted>().named(&["word"], &["count"]).unwrap())
}

fn batch(rows: &[(&str, i64, i64)]) -> FlatBatch {
    let mut batch = FlatBatch::default();
    for &(word, count, diff) in rows {
        let mut bytes = Vec::new();
        encode_into::<Counted>((word, count), &mut bytes);
        batch.push(&bytes, diff);
    }
    batch
}

fn shown(changes: &[Change]) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    changes.iter().map(|c| format!("{} {} {}", text(&c.key), text(&c.row), c.diff)).collect()
}

#[test]
fn changes_are_net_ordered_and_named() {
    let batches =
        [batch(&[("the", 12, 1), ("a\"", 3, 1), ("x", 1, 1)]), batch(&[("the", 9, -1), ("x", 1, -1)])];
    assert_eq!(
        shown(&merge(vec![rendered(&*renderer(), &batches)])),
        [
            r#"{"word":"a\""} {"word":"a\"","count":3} 1"#,
            r#"{"word":"the"} {"word":"the","count":9} -1"#,
            r#"{"word":"the"} {"word":"the","count":12} 1"#,
        ]
    );
}

#[test]
fn however_rows_are_spread_over_workers_and_batches_the_changes_are_the_same() {
    let words = ["", "a", "a\0", "a\0b", "ab", "abcdefgh", "abcdefgh\0", "abcdefghi", "b", "\u{ff}\u{ff}"];
    for seed in 0..200u64 {
        let mut state = seed;
        // A linear congruential generator: its upper bits.
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut sums: BTreeMap<(&str, i64), i64> = BTreeMap::new();
        let workers = 1 + random(4) as usize;
        let mut of_workers = vec![vec![FlatBatch::default(), FlatBatch::default()]; workers];
        for _ in 0..random(60) {
            let (word, count) = (words[random(10) as usize], random(3) as i64 - 1);
            let diff = [-2, -1, 1, 2][random(4) as usize];
            *sums.entry((word, count)).or_default() += diff;
            let mut bytes = Vec::new();
            encode_into::<Counted>((word, count), &mut bytes);
            of_workers[random(workers as u64) as usize][random(2) as usize].push(&bytes, diff);
        }
        sums.retain(|_, diff| *diff != 0);
        // What a worker has may be sent in several batches.
        let mut sent = Vec::new();
        for batches in &of_workers {
            let mut part = FlatBatch::default();
            for (row, diff) in rendered(&*renderer(), batches).iter() {
                part.push(row, diff);
                if random(3) == 0 {
                    sent.push(std::mem::take(&mut part));
                }
            }
            sent.push(part);
        }
        let expected: Vec<String> = sums
            .into_iter()
            .map(|((word, count), diff)| {
                let word = serde_json::to_string(word).unwrap();
                format!(r#"{{"word":{word}}} {{"word":{word},"count":{count}}} {diff}"#)
            })
            .collect();
        assert_eq!(shown(&merge(sent)), expected, "seed {seed}");
    }
}

#[test]
fn a_key_is_read_without_its_row() {
    let (rows, renderer) = (batch(&[("b", 1, 3), ("a", 1, -1)]), renderer());
    let mut builder = batch::Builder::new(&*renderer, batch::Parts::Key);
    rows.iter().for_each(|(row, diff)| builder.push(row, diff));
    let mut keys = Vec::new();
    batch::for_each_key(&builder.take(), |key, diff| keys.push((key.to_vec(), diff)));
    assert_eq!(keys, [(br#"{"word":"b"}"#.to_vec(), 3), (br#"{"word":"a"}"#.to_vec(), -1)]);
    assert!(decode::<Counted>(rows.row(0)).is_ok());
}
