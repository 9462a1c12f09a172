//! Operators that follow the events of a key through time.

use std::collections::BTreeMap;

use cutwater_dataflows::prelude::*;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::proof::{prove, rows};

fn key(random: &mut StdRng) -> Text {
    ["", "a", "ab"][random.random_range(0..3)].into()
}

/// How many of the steps can be taken, by trying all ways: who has taken so many steps, the last of them at that time, with
/// these rows left.
fn most(left: &mut Vec<(i64, &str)>, since: i64, steps: &[&str]) -> i64 {
    let Some((step, rest)) = steps.split_first() else { return 0 };
    let mut best = 0;
    for place in 0..left.len() {
        let (at, page) = left[place];
        if at >= since && page == *step {
            let row = left.swap_remove(place);
            best = best.max(1 + most(left, at, rest));
            left.push(row);
            let last = left.len() - 1;
            left.swap(place, last);
        }
    }
    best
}

#[test]
fn sequence() {
    for steps in [&["a", "b", "c"][..], &["a", "a", "b"], &["b", "a", "b", "b"], &["c"], &[]] {
        let view = |random: &mut StdRng| {
            let page = ["a", "b", "c", "d"][random.random_range(0..4)];
            (key(random), (random.random_range(0..4), Text::from(page)))
        };
        let owned: Vec<Text> = steps.iter().map(|step| Text::from(*step)).collect();
        prove(
            false,
            view,
            move |views: Collection<'_, (Text, (i64, Text))>| views.persist("views").sequence("come", &owned),
            |changes| {
                let rows = rows(changes);
                let mut views: BTreeMap<Text, Vec<(i64, &str)>> = BTreeMap::new();
                for ((user, (at, page)), count) in &rows {
                    let times = usize::try_from(*count).unwrap_or_default();
                    views.entry(user.clone()).or_default().extend(vec![(*at, page.as_str()); times]);
                }
                let come =
                    views.into_iter().map(|(user, mut views)| (user, most(&mut views, i64::MIN, steps)));
                come.filter(|(_, come)| *come > 0).map(|row| (row, 1)).collect()
            },
        );
    }
}
