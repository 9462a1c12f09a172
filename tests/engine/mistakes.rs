//! What a dataflow's author may get wrong: each ends with a word on what it is, before anything wrong is published.

use std::sync::Arc;
use std::time::Duration;

use cutwater::epoch::EpochOptions;
use cutwater::feed::seeded::{Manner, Seeded, World};
use cutwater::sink::Emit;
use cutwater::state::resume::Resume;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::{Build, Epoch, Shape};
use differential_dataflow::AsCollection;
use timely::dataflow::operators::vec::Map;

use crate::harness::{Event, Published, Run, eager};

/// Splits a line into its first word and the rest.
struct FirstWord;

impl Decode for FirstWord {
    type Row = (Text, Text);
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, (Text, Text)>) -> Result<(), Malformed> {
        let line = std::str::from_utf8(record.value.unwrap_or_default()).expect("it is text");
        for pair in line.split(';') {
            match pair.split_once(' ').unwrap_or((pair, "")) {
                (_, "bad") => return Err(Malformed::because("a bad word")),
                (_, "worse") => panic!("no such {pair}"),
                pair => rows.push(pair),
            }
        }
        Ok(())
    }
}

/// Hands out lines by their first word
#[derive(clap::Args, Debug)]
struct Firsts {}

impl Dataflow for Firsts {
    const NAME: &'static str = "firsts";
    fn build(&self, flow: &Flow<'_>) {
        flow.input("lines").decode(FirstWord).persist("firsts").output("firsts", &["first"], &["rest"]);
    }
}

/// One partition with these lines.
fn lines(lines: &[&str]) -> Seeded {
    let mut world = World::even(1, "lines", 1, lines.len());
    for (record, line) in world.logs[0].records.iter_mut().zip(lines) {
        (record.key, record.value) = (None, Some(line.as_bytes().to_vec()));
    }
    Seeded::new(world, Manner::default())
}

/// Runs a dataflow, each record an epoch.
fn run(dataflow: Arc<dyn Build>, feeds: &Seeded) -> Run {
    let mut run = Run { dataflow, ..Run::of(feeds, 1) };
    run.epochs.max_records = 1;
    run
}

/// The epochs that had a row published.
fn published(events: &[Event]) -> Vec<Epoch> {
    let rows = |event: &Event| match event {
        Event::Rows(epoch, output, rows) if output != "dead-letters" && !rows.is_empty() => Some(*epoch),
        _ => None,
    };
    events.iter().filter_map(rows).collect()
}

#[test]
fn upserts_of_a_key_with_several_rows_are_an_error_that_names_it() {
    // At once, and in a later epoch.
    for (text, epoch) in [(&["a 1", "b 1;b 2", "c 1"][..], 2), (&["a 1", "b 1", "a 2", "c 1"], 3)] {
        let feeds = lines(text);
        let (result, events) = Run { emit: Emit::Upserts, ..run(Arc::new(Firsts {}), &feeds) }.start().end();
        let error = format!("{:#}", result.expect_err("a key has two rows"));
        let key = if epoch == 2 { r#"{"first":"b"}"# } else { r#"{"first":"a"}"# };
        for text in ["output \"firsts\"", key, "2 rows", &format!("as of epoch {epoch}")] {
            assert!(error.contains(text), "{text} in {error}");
        }
        assert_eq!(published(&events), (1..epoch).collect::<Vec<_>>());
        // Whoever takes the changes gets them.
        let (result, events) = run(Arc::new(Firsts {}), &lines(text)).start().end();
        result.expect("changes of any rows are right");
        assert_eq!(published(&events).len(), text.len());
    }
}

#[test]
fn a_key_that_had_a_row_before_a_restart_has_it_still() {
    let resumed = |line: &str, emit: Emit| {
        let mut restored = FlatBatch::default();
        let mut row = Vec::new();
        cutwater_dataflows::rows::encode_into::<(Text, Text)>(("a", "0"), &mut row);
        restored.push(&row, 1);
        let feeds = lines(&[line]);
        let resume = Some(Resume::default());
        Run { emit, resume, restored, ..run(Arc::new(Firsts {}), &feeds) }.start().end()
    };
    let (result, _) = resumed("a 1", Emit::Upserts);
    let error = format!("{:#}", result.expect_err("the key has two rows"));
    assert!(error.contains(r#"the key {"first":"a"} has 2 rows"#), "{error}");
    for (line, emit) in [("a 1", Emit::Changes), ("b 1", Emit::Upserts)] {
        let (result, events) = resumed(line, emit);
        result.expect("the run ends well");
        assert_eq!(published(&events), [1], "what was there before is not published again");
    }
}

#[test]
fn a_sink_that_wants_what_was_there_before_a_restart_gets_it_first() {
    let mut restored = FlatBatch::default();
    for word in ["b", "a"] {
        let mut row = Vec::new();
        cutwater_dataflows::rows::encode_into::<(Text, Text)>((word, "0"), &mut row);
        restored.push(&row, 1);
    }
    let resume = Some(Resume::default());
    let run = Run { snapshot: true, resume, restored, ..run(Arc::new(Firsts {}), &lines(&["c 1"])) };
    let (result, events) = run.start().end();
    result.expect("the run ends well");
    let mut rows = Vec::new();
    for event in &events {
        if let Event::Rows(epoch, output, changes) = event
            && output == "firsts"
        {
            rows.extend(
                changes.iter().map(|c| (*epoch, String::from_utf8_lossy(&c.key).into_owned(), c.diff)),
            );
        }
    }
    rows.sort();
    let key = |key: &str| format!(r#"{{"first":"{key}"}}"#);
    assert_eq!(rows, [(0, key("a"), 1), (0, key("b"), 1), (1, key("c"), 1)]);
}

#[test]
fn half_a_record_is_a_dead_letter_and_nothing_else() {
    for (bad, reason) in
        [("a 1;b bad", "a bad word"), ("a 1;b worse", "the decoder panicked: no such b worse")]
    {
        let feeds = lines(&["a 0", bad, "c 0"]);
        let published = run(Arc::new(Firsts {}), &feeds).published();
        let rows = |output: &str| -> Vec<String> {
            let of = published.epochs.iter().filter_map(|epoch| epoch.rows.get(output)).flatten();
            of.map(|change| String::from_utf8_lossy(&change.row).into_owned()).collect()
        };
        assert_eq!(rows("firsts"), [r#"{"first":"a","rest":"0"}"#, r#"{"first":"c","rest":"0"}"#]);
        let dead = rows("dead-letters");
        assert_eq!(dead.len(), 1);
        assert!(dead[0].contains(reason), "{dead:?}");
    }
}

/// Gives rows the time of the next epoch, by differential's own operator
#[derive(clap::Args, Debug)]
struct Delays {}

impl Dataflow for Delays {
    const NAME: &'static str = "delays";
    fn build(&self, flow: &Flow<'_>) {
        let rows = flow.input("lines").decode(FirstWord).persist("firsts").differential();
        flow.collection(rows.delay(|epoch| epoch + 1)).output("later", &["first"], &["rest"]);
    }
}

/// The same, in a way that nobody sees
#[derive(clap::Args, Debug)]
struct Postpones {}

impl Dataflow for Postpones {
    const NAME: &'static str = "postpones";
    fn build(&self, flow: &Flow<'_>) {
        let rows = flow.input("lines").decode(FirstWord).persist("firsts").differential();
        let later = rows.inner.map(|(row, epoch, diff)| (row, epoch + 2, diff)).as_collection();
        flow.collection(later).output("later", &["first"], &["rest"]);
    }
}

#[test]
fn rows_at_epochs_that_nobody_has_read_are_refused() {
    let error = Shape::of(&Delays {}).unwrap_err().to_string();
    assert!(error.contains("dataflow delays") && error.contains("operator \"Delay\""), "{error}");
    for resume in [None, Some(Resume::default())] {
        let (result, events) =
            Run { resume: resume.clone(), ..run(Arc::new(Delays {}), &lines(&["a 1"])) }.start().end();
        result.expect_err("it is not even begun");
        assert!(events.is_empty(), "{events:?}");

        let feeds = lines(&["a 1", "b 1", "c 1"]);
        let (result, events) = Run { resume, ..run(Arc::new(Postpones {}), &feeds) }.start().end();
        let error = result.expect_err("there are rows of epochs that were not read").to_string();
        assert!(error.contains("output \"later\" has rows of epoch"), "{error}");
        let last = feeds.handed().records as Epoch + 1;
        let cut = |event: &Event| matches!(event, Event::Cut(epoch, _) if *epoch > last);
        assert!(!events.iter().any(cut), "no cut of what was not read: {events:?}");
    }
}

/// Names too many columns
#[derive(clap::Args, Debug)]
struct Columns {}

impl Dataflow for Columns {
    const NAME: &'static str = "columns";
    fn build(&self, flow: &Flow<'_>) {
        flow.input("lines").decode(FirstWord).output("firsts", &["first"], &["rest", "more"]);
    }
}

/// Has two outputs of one name
#[derive(clap::Args, Debug)]
struct Twins {}

impl Dataflow for Twins {
    const NAME: &'static str = "twins";
    fn build(&self, flow: &Flow<'_>) {
        for input in ["left", "right"] {
            flow.input(input).decode(FirstWord).output("twin", &["first"], &["rest"]);
        }
    }
}

#[test]
fn a_dataflow_that_cannot_be_built_says_which_and_why() {
    let wrong: [(&dyn Build, &[&str]); 2] = [
        (&Columns {}, &["dataflow columns", "output \"firsts\"", "3 columns are named", "has 2"]),
        (&Twins {}, &["dataflow twins", "\"twin\" is named twice"]),
    ];
    for (dataflow, texts) in wrong {
        let error = Shape::of(dataflow).unwrap_err().to_string();
        for text in texts {
            assert!(error.contains(text), "{text} in {error}");
        }
    }
    let (result, events) = run(Arc::new(Columns {}), &lines(&["a 1"])).start().end();
    assert!(result.expect_err("it can't be built").to_string().contains("dataflow columns"));
    assert!(events.is_empty());
}

/// Makes a hundred long words of a record
struct Swells;

impl Decode for Swells {
    type Row = Text;
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Text>) -> Result<(), Malformed> {
        (0..100).for_each(|word| rows.push(&format!("{:0100}", record.offset * 100 + word)));
        Ok(())
    }
}

/// Hands out what a few bytes of input come to
#[derive(clap::Args, Debug)]
struct Large {}

impl Dataflow for Large {
    const NAME: &'static str = "large";
    fn build(&self, flow: &Flow<'_>) {
        flow.input("lines").decode(Swells).output("large", &["word"], &[]);
    }
}

#[test]
fn an_epoch_is_full_when_what_its_records_decode_to_is_much() {
    let feeds = lines(&["x"; 400]);
    let epochs = EpochOptions { shortest: Duration::from_secs(3600), max_bytes: 50_000, ..eager() };
    let published: Published = Run { epochs, ..run(Arc::new(Large {}), &feeds) }.published();
    let records = |epoch: &crate::harness::OfEpoch| epoch.reports.iter().map(|report| report.records).sum();
    let records: Vec<u64> = published.epochs.iter().map(records).collect();
    assert_eq!(records.iter().sum::<u64>(), 400);
    // The first ones are read before it is known that a byte comes to ten thousand.
    assert!(records[0] <= 16, "{records:?}");
    assert!(records[1..].iter().all(|&records| records <= 6), "{records:?}");
}
