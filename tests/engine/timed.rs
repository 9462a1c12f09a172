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

/// Counts words, hands out the clock, and has sessions that end by the clock and alarms that clear by the watermark
#[derive(clap::Args, Debug)]
pub(crate) struct Watch {
    /// After how long without a word its session ends: microseconds
    #[arg(long)]
    pub(crate) gap: i64,
    /// How far the watermark must come for an alarm to clear: microseconds
    #[arg(long)]
    pub(crate) hold: i64,
}

impl Watch {
    /// Its persisted collections.
    pub(crate) const PERSISTED: [&'static str; 3] = ["words", "sessions", "alarms"];
    /// Its outputs that depend on time.
    pub(crate) const TIMED: [&'static str; 3] = ["clock", "sessions", "alarms"];
}

impl Dataflow for Watch {
    const NAME: &'static str = "watch";
    fn build(&self, flow: &Flow<'_>) {
        let words = flow.input("lines").decode(Tokenizer::Whitespace);
        words.clone().persist("words").count().output("counts", &["word"], &["count"]);
        flow.clock().output("clock", &["watermark", "closed"], &[]);
        let words = words.map::<(Text, i64)>(|&word| (word, 1));
        let sessions = words.clone().stateful_with("sessions", Sessions { gap: self.gap });
        sessions.output("sessions", &["word"], &["last", "words"]);
        let alarms = words.stateful_with("alarms", Alarms { hold: self.hold });
        alarms.output("alarms", &["word"], &["raised"]);
    }
}

/// When a word was last read, and how often in its session.
struct Sessions {
    gap: i64,
}

impl KeyedState for Sessions {
    type Key = Text;
    type Update = i64;
    type State = (Timestamp, i64);

    fn update(
        &mut self,
        _: &str,
        state: Group<'_, Self::State>,
        read: Group<'_, i64>,
        now: Now,
        out: &mut Emit<'_, Self::State>,
    ) {
        let open = state.first().filter(|(last, _)| last.micros() + self.gap > now.closed.micros());
        let read: i64 = read.iter().map(|(_, count)| count).sum();
        let (last, words) = open.unwrap_or((now.closed, 0));
        if read > 0 {
            out.push((now.closed, words + read));
        } else if open.is_some() {
            out.push((last, words));
        }
    }

    fn due(&self, _: &str, state: Group<'_, Self::State>) -> Due {
        let Some((last, _)) = state.first() else { return Due::never() };
        Due::at(Timestamp::from_micros(last.micros() + self.gap))
    }
}

/// When an alarm was raised: where a word came twice in an epoch.
struct Alarms {
    hold: i64,
}

impl KeyedState for Alarms {
    type Key = Text;
    type Update = i64;
    type State = Timestamp;

    fn update(
        &mut self,
        _: &str,
        state: Group<'_, Timestamp>,
        read: Group<'_, i64>,
        now: Now,
        out: &mut Emit<'_, Timestamp>,
    ) {
        let at = now.watermark.unwrap_or(Timestamp::from_micros(0));
        let stands = state.first().filter(|raised| raised.micros() + self.hold > at.micros());
        let raised = read.iter().map(|(_, count)| count).sum::<i64>() >= 2;
        out.extend(stands.or(raised.then_some(at)));
    }

    fn due(&self, _: &str, state: Group<'_, Timestamp>) -> Due {
        let Some(raised) = state.first() else { return Due::never() };
        Due::at_watermark(Timestamp::from_micros(raised.micros() + self.hold))
    }
}
