//! Dataflows that depend on time: rows that come when a time does, and no record.

use std::collections::BTreeMap;

use cutwater_dataflows::Epoch;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::word_count::Tokenizer;
use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::{Capability, Operator};

/// Says when nothing has come for a while, and when the watermark has come somewhere; and hands out the clock
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Quiet {
    /// For how long nothing has come, in microseconds
    #[arg(long)]
    pub(crate) gap: Option<i64>,
    /// Where the watermark must have come, in microseconds
    #[arg(long)]
    pub(crate) mark: Option<i64>,
}

impl Dataflow for Quiet {
    const NAME: &'static str = "quiet";
    fn build(&self, flow: &Flow<'_>) {
        flow.clock().output("clock", &["watermark", "closed"], &[]);
        let lines = flow.input("lines").decode(Tokenizer::Whitespace);
        quiet(flow, lines, self.clone()).output("said", &["what"], &[]);
    }
}

/// What [`quiet`] knows.
#[derive(Default)]
struct Silence {
    /// Words since the last silence, and when it is one.
    words: i64,
    since: Option<i64>,
    marked: bool,
}

impl Silence {
    /// An epoch in which so many words were read. Returns what is to be said in it.
    fn see(&mut self, options: &Quiet, words: i64, now: Now) -> Vec<Text> {
        let mut said = Vec::new();
        if words > 0 {
            self.words += words;
            self.since = Some(now.closed.micros());
        }
        if let (Some(since), Some(gap)) = (self.since, options.gap)
            && now.closed.micros() >= since + gap
        {
            said.push(Text::from(format!("{} words, and silence at {}", self.words, now.closed)));
            *self = Silence { marked: self.marked, ..Silence::default() };
        }
        if !self.marked && options.mark.is_some_and(|mark| now.watermark.is_some_and(|w| w.micros() >= mark))
        {
            said.push(Text::from("the watermark has come there"));
            self.marked = true;
        }
        said
    }

    fn ask(&self, options: &Quiet, waker: &Waker) {
        waker.rest();
        if let (Some(since), Some(gap)) = (self.since, options.gap) {
            waker.at(Timestamp::from_micros(since + gap));
        }
        if let Some(mark) = options.mark.filter(|_| !self.marked) {
            waker.at_watermark(Timestamp::from_micros(mark));
        }
    }
}

/// All of it is on the first worker.
fn quiet<'s>(flow: &Flow<'s>, lines: Collection<'s, Text>, options: Quiet) -> Collection<'s, Text> {
    let (now, waker) = (flow.now(), flow.waker());
    let first = now.scope().index() == 0;
    let words = lines.differential().inner;
    let said = words.binary_frontier::<_, CapacityContainerBuilder<Vec<(Text, Epoch, i64)>>, _, _, _, _>(
        now,
        Exchange::new(|_| 0),
        Pipeline,
        "Quiet",
        move |_, _| {
            let mut words: BTreeMap<Epoch, i64> = BTreeMap::new();
            let mut nows: BTreeMap<Epoch, (Capability<Epoch>, Now)> = BTreeMap::new();
            let mut silence = Silence::default();
            move |(rows, complete), (told, _), output| {
                rows.for_each(|_, rows| {
                    rows.drain(..).for_each(|(_, epoch, count)| *words.entry(epoch).or_default() += count);
                });
                told.for_each(|capability, told| {
                    let Some(&epoch) = capability.least() else { return };
                    assert_eq!(told.len(), 1, "one message an epoch");
                    let before = nows.insert(epoch, (capability.delayed(&epoch, 0), told[0]));
                    assert!(before.is_none(), "one message an epoch");
                });
                while let Some(next) = nows.first_entry().filter(|next| !complete.less_equal(next.key())) {
                    let epoch = *next.key();
                    let (capability, now) = next.remove();
                    let words = words.remove(&epoch).unwrap_or_default();
                    if !first {
                        continue;
                    }
                    for what in silence.see(&options, words, now) {
                        output.session(&capability).give((what, epoch, 1));
                    }
                    silence.ask(&options, &waker);
                }
            }
        },
    );
    flow.collection(said.as_collection())
}

/// Counts words, hands out the clock, and has an epoch close every so often
#[derive(clap::Args, Debug)]
pub(crate) struct Ticking {
    /// How often, in microseconds
    #[arg(long)]
    pub(crate) every: i64,
}

impl Dataflow for Ticking {
    const NAME: &'static str = "ticking";
    fn build(&self, flow: &Flow<'_>) {
        flow.clock().output("clock", &["watermark", "closed"], &[]);
        let words = flow.input("lines").decode(Tokenizer::Whitespace).persist("words");
        words.count().output("counts", &["word"], &["count"]);
        let (every, waker) = (self.every, flow.waker());
        flow.now().sink(Pipeline, "Tick", move |(told, _)| {
            told.for_each(|_, told| {
                for now in told.drain(..) {
                    waker.at(Timestamp::from_micros(now.closed.micros() + every));
                    waker.at_watermark(Timestamp::from_micros(i64::MAX));
                }
            });
        });
    }
}
