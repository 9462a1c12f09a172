//! Digests: a dataflow that answers otherwise when an epoch is replayed is told so, and one that does not is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cutwater::feed::seeded::{Manner, Seeded, World};
use cutwater::sink::Emit;
use cutwater::state::digest::Digests;
use cutwater::state::ledger::Ledger;
use cutwater::state::resume::{Entry, Resume};
use cutwater::state::storage::Storage;
use cutwater::state::storage::fake::FakeDisk;
use cutwater::state::storage::files::Files;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::word_count::Tokenizer;
use cutwater_dataflows::{Build, Epoch};

use crate::harness::{Event, Run, word_count};

/// Rows that have been numbered in this process.
static NUMBERED: AtomicI64 = AtomicI64::new(0);

/// Gives each word a number that depends on what the process did before.
#[derive(clap::Args, Debug)]
struct Numbers {}

impl Dataflow for Numbers {
    const NAME: &'static str = "numbers";
    fn build(&self, flow: &Flow<'_>) {
        let words = flow.input("lines").decode(Tokenizer::Whitespace);
        words.clone().output("words", &["word"], &[]);
        let numbers = words.map::<(Text, i64)>(|&word| (word, NUMBERED.fetch_add(1, Ordering::Relaxed)));
        numbers.output("numbers", &["word"], &["number"]);
    }
}

/// A run of a few epochs that notes them in a ledger there.
fn run(dataflow: Arc<dyn Build>, storage: &Arc<dyn Storage>, resume: Resume) -> Run {
    let feeds = Seeded::new(World::even(3, "lines", 4, 20), Manner::default());
    let mut run =
        Run { dataflow, ledger: Some(Arc::clone(storage)), resume: Some(resume), ..Run::of(&feeds, 2) };
    run.epochs.max_records = 5;
    run
}

fn storage() -> Arc<dyn Storage> {
    Arc::new(Files::new(Arc::new(FakeDisk::new(0))))
}

fn entries(storage: &Arc<dyn Storage>) -> Vec<Entry> {
    Ledger::open(Arc::clone(storage), "job").unwrap().since(0).unwrap().entries
}

fn digests(entries: &[Entry]) -> Vec<Digests> {
    entries.iter().map(|entry| entry.digests.clone()).collect()
}

/// The epochs of which a row has left.
fn left(events: &[Event]) -> BTreeSet<Epoch> {
    let epoch = |event: &Event| if let Event::Rows(epoch, ..) = event { Some(*epoch) } else { None };
    events.iter().filter_map(epoch).collect()
}

#[test]
fn a_dataflow_that_answers_otherwise_the_second_time_is_told_at_the_first_restart() {
    let storage = storage();
    let (result, _) = run(Arc::new(Numbers {}), &storage, Resume::default()).start().end();
    result.expect("nothing is replayed yet");
    let entries = entries(&storage);
    assert!(entries.len() > 4, "there are some epochs");
    // Whether or not the first ones are known to be published.
    for published in [0, 3] {
        let resume = Resume { published, replay: entries.clone(), ..Resume::default() };
        let (result, events) = run(Arc::new(Numbers {}), &storage, resume).start().end();
        let error = format!("{:#}", result.expect_err("the second answer is another"));
        assert!(error.starts_with("output \"numbers\" of epoch 1 is not what it was"), "{error}");
        assert!(error.contains("hash map") && error.contains("another state folder"), "{error}");
        assert_eq!(left(&events), BTreeSet::new(), "nothing of it leaves");
    }
}

#[test]
fn an_honest_dataflow_has_the_same_digests_in_every_shape_and_whatever_is_emitted() {
    let first = storage();
    run(word_count(), &first, Resume::default()).start().end().0.expect("the first run ends well");
    let entries = entries(&first);
    let expected = digests(&entries);
    assert!(expected.len() > 4);
    let different: BTreeSet<String> = expected.iter().map(|digests| digests["counts"].to_string()).collect();
    assert_eq!(different.len(), expected.len(), "each epoch has its own");
    for (processes, workers) in [(1, 1), (1, 3), (2, 1), (2, 2)] {
        for emit in [Emit::Changes, Emit::Upserts, Emit::Final] {
            // The whole ledger, and a part of it, after which the epochs may be others.
            for known in [entries.len(), entries.len() / 2] {
                let storage = storage();
                let mut ledger = Ledger::open(Arc::clone(&storage), "job").unwrap();
                entries[..known].iter().for_each(|entry| ledger.append(entry.clone()).unwrap());
                ledger.sync().unwrap();
                let resume = Resume { replay: entries[..known].to_vec(), ..Resume::default() };
                let run = Run { processes, workers, emit, ..run(word_count(), &storage, resume) };
                run.start()
                    .end()
                    .0
                    .unwrap_or_else(|error| panic!("{processes} {workers} {emit:?}: {error:#}"));
                assert_eq!(digests(&super::digests::entries(&storage))[..known], expected[..known]);
            }
        }
    }
}
