//! Several inputs share their epochs, and all outputs agree on the cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cutwater::feed::seeded::{Cut, Manner, Seeded, World};
use cutwater::job::DEAD_LETTERS;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::word_count::Tokenizer;

use crate::harness::{Rows, Run, recount, shown};

/// Counts words on the left, words on the right, and words on both sides together
#[derive(clap::Args, Debug)]
struct Sides {}

impl Dataflow for Sides {
    const NAME: &'static str = "sides";
    fn build(&self, flow: &Flow<'_>) {
        let left = flow.input("left").decode(Tokenizer::Whitespace).differential();
        let right = flow.input("right").decode(Tokenizer::Whitespace).differential();
        flow.collection(left.clone()).count().output("left", &["word"], &["count"]);
        let both = flow.collection(left).concat(flow.collection(right.clone()));
        both.count().output("both", &["word"], &["count"]);
        flow.collection(right).count().output("right", &["word"], &["count"]);
    }
}

/// Counts words on both sides together, by way of batches that are encoded
#[derive(clap::Args, Debug)]
pub(crate) struct Together {}

impl Dataflow for Together {
    const NAME: &'static str = "together";
    fn build(&self, flow: &Flow<'_>) {
        let left = flow.input("left").decode(Tokenizer::Whitespace);
        let right = flow.input("right").decode(Tokenizer::Whitespace);
        left.concat(right).count().output("both", &["word"], &["count"]);
    }
}

pub(crate) fn together(world: &World, cut: &Cut) -> BTreeMap<String, Rows> {
    let mut outputs = sides(world, cut);
    outputs.retain(|output, _| output == "both" || output == DEAD_LETTERS);
    outputs
}

fn sides(world: &World, cut: &Cut) -> BTreeMap<String, Rows> {
    let of = |wanted: &[&str]| {
        let mut words: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, record) in world.below(cut).filter(|((input, ..), _)| wanted.contains(&input.as_str())) {
            let text = record.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
            text.unwrap_or("").split_whitespace().for_each(|word| *words.entry(word).or_default() += 1);
        }
        shown(words)
    };
    let dead = recount(world, cut).remove(DEAD_LETTERS).expect("they are counted");
    BTreeMap::from([
        ("left".to_owned(), of(&["left"])),
        ("right".to_owned(), of(&["right"])),
        ("both".to_owned(), of(&["left", "right"])),
        (DEAD_LETTERS.to_owned(), dead),
    ])
}

#[test]
fn all_outputs_of_several_inputs_agree_on_the_cut() {
    for seed in 0..60 {
        for (processes, workers) in [(1, 1), (1, 2), (1, 3), (2, 1)] {
            let feeds = Seeded::new(World::random(seed, &["left", "right"]), Manner::default());
            let mut run = Run { dataflow: Arc::new(Sides {}), processes, ..Run::of(&feeds, workers) };
            run.epochs.shortest = Duration::from_micros([0, 500][seed as usize % 2]);
            run.epochs.max_records = [1_000_000, 5][seed as usize / 2 % 2];
            let cut = run.published().check(feeds.world(), sides);
            assert_eq!(cut, feeds.handed().cut, "seed {seed}");
        }
    }
}

#[test]
fn inputs_that_read_the_same_topic_have_their_own_cuts() {
    for seed in 0..20 {
        let mut world = World::even(seed, "left", 3, 20);
        let twin = World::even(seed, "right", 3, 20);
        assert_eq!(world.logs[0].key.1, twin.logs[0].key.1, "it is the same topic");
        world.logs.extend(twin.logs);
        let feeds = Seeded::new(world, Manner::default());
        let mut run = Run { dataflow: Arc::new(Together {}), ..Run::of(&feeds, 2) };
        run.epochs.max_records = 5;
        let cut = run.published().check(feeds.world(), together);
        assert_eq!(cut, feeds.handed().cut, "seed {seed}");
    }
}
