//! Runs a job against a seeded world and records what it says: cuts, rows, commits.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use cutwater::cluster::Cluster;
use cutwater::epoch::EpochOptions;
use cutwater::fault::Fault;
use cutwater::feed::Place;
use cutwater::feed::seeded::{Cut, Key, Seeded, Stored, World};
use cutwater::job::{self, Binding, DEAD_LETTERS, Job, State, Stop, Viewing, Workers};
use cutwater::publish::Cuts;
use cutwater::sink::{Emit, Sink};
use cutwater::state::checkpoint::StateWriters;
use cutwater::state::digest::Digests;
use cutwater::state::ledger::{Ledger, LedgerCuts};
use cutwater::state::resume::Resume;
use cutwater::state::storage::Storage;
use cutwater::status::Status;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::persist::{CheckpointPart, Sharding, StateWriter};
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::{Moved, Report};
use cutwater_dataflows::word_count::WordCount;
use cutwater_dataflows::{Build, Epoch, Shape, SyncActivator};

/// For how long a test waits for what must come: long enough for any machine, and a hang is told as one.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// Word count, as most tests run it.
pub(crate) fn word_count() -> Arc<dyn Build> {
    Arc::new(WordCount::default())
}

/// Epochs that close as soon as they may.
pub(crate) fn eager() -> EpochOptions {
    EpochOptions { shortest: Duration::ZERO, ..EpochOptions::default() }
}

/// What a run says, in the order in which it says it.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Cut(Epoch, Vec<Report>),
    Rows(Epoch, String, Vec<Change>),
    /// By output.
    Committed(Epoch, String),
}

/// What is run, and how.
pub(crate) struct Run {
    pub(crate) dataflow: Arc<dyn Build>,
    pub(crate) feeds: Seeded,
    pub(crate) epochs: EpochOptions,
    pub(crate) processes: usize,
    /// Of each process.
    pub(crate) workers: usize,
    /// What the sinks of each output get.
    pub(crate) emit: Emit,
    /// They want what precedes the first epoch.
    pub(crate) snapshot: bool,
    pub(crate) trouble: Trouble,
    /// What it resumes from. Nothing is kept of persisted collections ...
    pub(crate) resume: Option<Resume>,
    /// ... but this is what one worker finds of each.
    pub(crate) restored: FlatBatch,
    pub(crate) status: Status,
    /// Where the ledger is that hears of cuts, instead of the events.
    pub(crate) ledger: Option<Arc<dyn Storage>>,
}

/// What befalls the sinks.
#[derive(Clone, Default)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// Each commit takes one message from this channel first.
    Gate(Receiver<()>),
    /// Writing to this epoch is an error.
    FailAt(Epoch),
    /// Writing to this epoch is a panic.
    PanicAt(Epoch),
    /// The cut of this epoch is refused.
    RefuseCut(Epoch),
    /// The same, and commits never return.
    RefuseCutAndHang(Epoch),
}

impl Run {
    /// Word count of `feeds` by threads of one process, with eager epochs.
    pub(crate) fn of(feeds: &Seeded, workers: usize) -> Run {
        Run {
            dataflow: word_count(),
            feeds: feeds.clone(),
            epochs: eager(),
            processes: 1,
            workers,
            emit: Emit::Changes,
            snapshot: false,
            trouble: Trouble::None,
            resume: None,
            restored: FlatBatch::default(),
            status: Status::default(),
            ledger: None,
        }
    }

    /// Starts it.
    pub(crate) fn start(self) -> Running {
        let (events, said) = unbounded();
        let (results, ended) = unbounded();
        let run = Arc::new(self);
        let stops: Vec<Stop> = (0..run.processes).map(|_| Stop::default()).collect();
        let (listeners, addresses) = listeners(run.processes);
        for (process, listener) in listeners.into_iter().enumerate() {
            let (run, stop, addresses) = (Arc::clone(&run), stops[process].clone(), addresses.clone());
            let (events, results) = (events.clone(), results.clone());
            std::thread::spawn(move || {
                let result = run.process(process, listener, addresses, &stop, &events);
                let _ = results.send(result);
            });
        }
        Running { ended, said, stops }
    }

    fn process(
        &self,
        process: usize,
        listener: TcpListener,
        addresses: Vec<String>,
        stop: &Stop,
        events: &Sender<Event>,
    ) -> Result<()> {
        let workers = if self.processes == 1 {
            Workers::threads(self.workers)?
        } else {
            Cluster {
                workers: self.workers,
                process,
                addresses,
                listener: Some(listener),
                fingerprint: 0,
                secret: None,
                timeout: DEADLINE,
                peer_timeout: DEADLINE,
            }
            .connect()?
            .workers()?
        };
        let sink = |output: &str| -> Vec<Box<dyn Sink>> {
            let recorder =
                Recorder { output: output.to_owned(), events: events.clone(), trouble: self.trouble.clone() };
            vec![Box::new(recorder)]
        };
        let outputs = Shape::of(&*self.dataflow)?.outputs;
        let job = Job {
            dataflow: Arc::clone(&self.dataflow),
            feeds: Arc::new(self.feeds.clone()),
            epochs: self.epochs,
            outputs: outputs
                .iter()
                .map(|output| Binding {
                    emits: vec![self.emit],
                    snapshot: self.snapshot,
                    ..Binding::new(sink(&output.name))
                })
                .collect(),
            dead_letters: sink(DEAD_LETTERS),
            letters_are_kept: true,
            cuts: match &self.ledger {
                Some(storage) if process == 0 => Some(Box::new(self.cuts(storage)?)),
                Some(_) => None,
                None => Some(Box::new(Recorder {
                    output: String::new(),
                    events: events.clone(),
                    trouble: self.trouble.clone(),
                })),
            },
            views: Viewing::Off,
            state: self.resume.clone().map(|resume| State {
                resume: Arc::new(resume),
                writers: Arc::new(Forgetful(self.restored.clone())),
                checkpoints: None,
            }),
            status: self.status.clone(),
        };
        job::run(job, workers, stop, &Fault::default())
    }

    /// Those of the ledger, which replay what is resumed.
    fn cuts(&self, storage: &Arc<dyn Storage>) -> Result<LedgerCuts> {
        let ledger = Ledger::open(Arc::clone(storage), "job")?;
        Ok(LedgerCuts::new(ledger, self.resume.as_ref().unwrap_or(&Resume::default()), || 0))
    }

    /// Runs it to its end, which must be a good one.
    pub(crate) fn published(self) -> Published {
        let checkpoint = self.resume.as_ref().map_or(0, |resume| resume.checkpoint);
        let (result, events) = self.start().end();
        result.expect("the run ends well");
        Published::after(checkpoint, &events)
    }
}

fn listeners(count: usize) -> (Vec<TcpListener>, Vec<String>) {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback is there")).collect();
    let addresses = listeners.iter().map(|l| l.local_addr().expect("it is bound").to_string()).collect();
    (listeners, addresses)
}

/// A run that was started.
pub(crate) struct Running {
    ended: Receiver<Result<()>>,
    said: Receiver<Event>,
    /// By process.
    pub(crate) stops: Vec<Stop>,
}

impl Running {
    /// The next thing it says.
    pub(crate) fn next(&self) -> Event {
        self.said.recv_timeout(DEADLINE).expect("the run says something")
    }

    /// Waits until the epoch is committed to the sink of `output`, and returns all that was said until then.
    pub(crate) fn until_committed(&self, epoch: Epoch, output: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next();
            let committed = matches!(&event, Event::Committed(e, o) if *e == epoch && o == output);
            events.push(event);
            if committed {
                return events;
            }
        }
    }

    /// Asks all processes to stop.
    pub(crate) fn stop(&self) {
        self.stops.iter().for_each(Stop::request);
    }

    /// Waits for the end: the result, and what was said that nobody has taken.
    pub(crate) fn end(self) -> (Result<()>, Vec<Event>) {
        let mut result = Ok(());
        for _ in &self.stops {
            match self.ended.recv_timeout(DEADLINE) {
                Ok(ended) => result = result.and(ended),
                Err(RecvTimeoutError::Timeout) => panic!("the run hangs"),
                Err(RecvTimeoutError::Disconnected) => panic!("the run panicked"),
            }
        }
        (result, self.said.try_iter().collect())
    }
}

/// A sink that tells all it gets; and who hears of cuts.
struct Recorder {
    output: String,
    events: Sender<Event>,
    trouble: Trouble,
}

impl Sink for Recorder {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        assert_eq!(output, self.output);
        match self.trouble {
            Trouble::FailAt(at) if epoch >= at => bail!("the sink of {output} fails as was asked for"),
            Trouble::PanicAt(at) if epoch >= at => panic!("the sink panics as was asked for"),
            _ => {}
        }
        let _ = self.events.send(Event::Rows(epoch, output.to_owned(), changes.to_vec()));
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, _reports: &[Report]) -> Result<()> {
        if let Trouble::Gate(gate) = &self.trouble {
            // A gate whose writer has gone is open.
            let _ = gate.recv();
        }
        while let Trouble::RefuseCutAndHang(_) = self.trouble {
            std::thread::park();
        }
        let _ = self.events.send(Event::Committed(epoch, self.output.clone()));
        Ok(())
    }
}

impl Cuts for Recorder {
    fn append(
        &mut self,
        epoch: Epoch,
        reports: &[Report],
        _digests: &Digests,
        _published: Epoch,
    ) -> Result<()> {
        if matches!(self.trouble, Trouble::RefuseCut(at) | Trouble::RefuseCutAndHang(at) if at == epoch) {
            bail!("the cut of epoch {epoch} is refused as was asked for");
        }
        let _ = self.events.send(Event::Cut(epoch, reports.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Keeps nothing, and gives the first worker what it has.
struct Forgetful(FlatBatch);

impl StateWriters for Forgetful {
    fn writer(&self, collection: &str, place: Place, _: Sharding) -> Box<dyn StateWriter> {
        let part = CheckpointPart {
            collection: collection.to_owned(),
            worker: place.worker,
            epoch: None,
            runs: Vec::new(),
        };
        let restored = if place.worker == 0 { self.0.clone() } else { FlatBatch::default() };
        Box::new(Forgetting { part, restored, finished: Vec::new() })
    }
}

struct Forgetting {
    part: CheckpointPart,
    restored: FlatBatch,
    finished: Vec<CheckpointPart>,
}

impl StateWriter for Forgetting {
    fn attach(&mut self, _anywhere: SyncActivator) {}
    fn restore(&mut self, each: &mut dyn FnMut(FlatBatch)) -> bool {
        each(std::mem::take(&mut self.restored));
        false
    }
    fn seal(&mut self, _epoch: Epoch, _changes: FlatBatch) {}
    fn checkpoint(&mut self, epoch: Option<Epoch>) {
        self.finished.push(CheckpointPart { epoch, ..self.part.clone() });
    }
    fn finished(&mut self) -> Vec<CheckpointPart> {
        std::mem::take(&mut self.finished)
    }
}

/// Rows of an output, with their net difference.
pub(crate) type Rows = BTreeMap<String, i64>;

/// What a run published, checked for order: epochs without gaps, each with its cut first, then its
/// rows, then the commits. Cuts may be some epochs ahead; those of epochs that never came out are not in it.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// From the run's first epoch.
    pub(crate) epochs: Vec<OfEpoch>,
    /// What came at the end, by output.
    pub(crate) end: BTreeMap<String, Vec<Change>>,
}

/// What was published of one epoch.
#[derive(Debug, Default)]
pub(crate) struct OfEpoch {
    pub(crate) reports: Vec<Report>,
    /// By output.
    pub(crate) rows: BTreeMap<String, Vec<Change>>,
    commits: usize,
}

impl Published {
    /// What the events of a run say.
    pub(crate) fn of(events: &[Event]) -> Published {
        Published::after(0, events)
    }

    /// What the events of a run say that goes on after this epoch.
    pub(crate) fn after(checkpoint: Epoch, events: &[Event]) -> Published {
        let mut published = Published::default();
        // The epoch that comes out, and whether it is committed to any sink.
        let (mut open, mut committed) = (0, true);
        for event in events {
            match event {
                Event::Cut(epoch, reports) => {
                    let noted = checkpoint + published.epochs.len() as Epoch;
                    assert_eq!(*epoch, noted + 1, "epochs are in order and without gaps");
                    published.epochs.push(OfEpoch { reports: reports.clone(), ..OfEpoch::default() });
                }
                Event::Rows(END, output, rows) => {
                    assert_eq!(published.end.insert(output.clone(), rows.clone()), None, "rows come once");
                }
                Event::Committed(END, _) => {}
                Event::Rows(epoch, output, rows) => {
                    if *epoch != open {
                        assert!(committed && *epoch > open, "{epoch} comes before {open} is committed");
                        (open, committed) = (*epoch, false);
                    }
                    assert!(!committed, "no rows come after a commit");
                    let of_epoch = published.of_epoch(*epoch - checkpoint);
                    let before = of_epoch.rows.insert(output.clone(), rows.clone());
                    assert_eq!(before, None, "each epoch's rows come together");
                }
                Event::Committed(epoch, _) => {
                    assert!(*epoch >= open, "{epoch} is committed after {open}");
                    (open, committed) = (*epoch, true);
                    published.of_epoch(*epoch - checkpoint).commits += 1;
                }
            }
        }
        let out = published.epochs.iter().take_while(|epoch| epoch.commits > 0).count();
        assert!(published.epochs[out..].iter().all(|epoch| epoch.commits == 0), "every epoch comes out");
        published.epochs.truncate(out);
        published
    }

    /// That of this number, counted from 1.
    fn of_epoch(&mut self, number: Epoch) -> &mut OfEpoch {
        self.epochs.get_mut(number as usize - 1).expect("the cut of an epoch comes before its rows")
    }

    /// Checks that after each epoch the changes so far add up to what `recount` makes of the records below its
    /// cut, for each output. Returns the last cut.
    pub(crate) fn check(
        &self,
        world: &World,
        recount: impl Fn(&World, &Cut) -> BTreeMap<String, Rows>,
    ) -> Cut {
        let mut cut = Cut::new();
        let mut sums: BTreeMap<String, Rows> =
            recount(world, &cut).into_keys().map(|o| (o, Rows::new())).collect();
        for (index, epoch) in self.epochs.iter().enumerate() {
            advance(&mut cut, &epoch.reports);
            for (output, changes) in &epoch.rows {
                let sum = sums.get_mut(output).unwrap_or_else(|| panic!("{output} is no output"));
                add(sum, output, changes);
            }
            assert_eq!(sums, recount(world, &cut), "seed {}: after epoch {}", world.seed, index + 1);
        }
        cut
    }
}

/// Moves a cut as an epoch's reports say.
pub(crate) fn advance(cut: &mut Cut, reports: &[Report]) {
    for report in reports {
        for Moved { topic, partition, next, .. } in &report.moved {
            let before = cut.insert((report.input.clone(), topic.clone(), *partition), *next);
            assert!(before <= Some(*next), "a cut moves forward");
        }
    }
}

/// Adds changes of an output to a sum. A dead letter is known by its key.
pub(crate) fn add(sum: &mut Rows, output: &str, changes: &[Change]) {
    for change in changes {
        assert_ne!(change.diff, 0);
        let row = if output == DEAD_LETTERS { &change.key } else { &change.row };
        let row = String::from_utf8_lossy(row).into_owned();
        let diff = sum.entry(row.clone()).or_default();
        *diff += change.diff;
        if *diff == 0 {
            sum.remove(&row);
        }
    }
}

/// How often each word occurs in the records below a cut, as plainly as can be, and which records are no text.
pub(crate) fn recount(world: &World, cut: &Cut) -> BTreeMap<String, Rows> {
    let mut words: BTreeMap<&str, i64> = BTreeMap::new();
    let mut dead = Rows::new();
    for (key, record) in world.below(cut) {
        match record.value.as_deref().map(std::str::from_utf8) {
            Some(Ok(line)) => line.split_whitespace().for_each(|word| *words.entry(word).or_default() += 1),
            None | Some(Err(_)) => *dead.entry(place(key, record)).or_default() += 1,
        }
    }
    BTreeMap::from([("counts".to_owned(), shown(words)), (DEAD_LETTERS.to_owned(), dead)])
}

/// Counted words as rows of `counts`.
pub(crate) fn shown(words: BTreeMap<&str, i64>) -> Rows {
    let json = |word| serde_json::to_string(word).expect("text is JSON");
    words
        .into_iter()
        .map(|(word, count)| (format!(r#"{{"word":{},"count":{count}}}"#, json(word)), 1))
        .collect()
}

/// The key of a record's dead letter.
fn place((_, topic, partition): &Key, record: &Stored) -> String {
    let offset = record.offset;
    format!(r#"{{"topic":"{topic}","partition":{partition},"offset":{offset}}}"#)
}
