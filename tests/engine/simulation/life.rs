//! A job, and its lives: each ends in a crash, by itself, or as asked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cutwater::epoch::EpochOptions;
use cutwater::fault::Fault;
use cutwater::feed::Place;
use cutwater::feed::seeded::{Manner, Seeded, World};
use cutwater::job::{self, Binding, DEAD_LETTERS, Setup, Stop, Viewing};
use cutwater::kafka::identity::Pinned;
use cutwater::publish::{Noting, Publishing, Step};
use cutwater::state::checkpoint::coordinator::Coordinator;
use cutwater::state::checkpoint::merge::Merging;
use cutwater::state::checkpoint::run::{RunFiles, Sizes};
use cutwater::state::checkpoint::state_writer::{Persistence, RunStateWriters};
use cutwater::state::checkpoint::{Checkpoints, StateWriters};
use cutwater::state::identity::{FORMAT, Identity};
use cutwater::state::open::{OwnedState, StateOptions};
use cutwater::state::storage::Storage;
use cutwater::state::storage::fake::FakeDisk;
use cutwater::state::storage::files::Files;
use cutwater::status::Status;
use cutwater::time::Time;
use cutwater_dataflows::Dataflow as _;
use cutwater_dataflows::persist::{Sharding, StateWriter};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::held::Held;
use super::steps::Stepped;
use super::time::SetTime;
use crate::timed::Watch;

/// Steps after which a life that nothing ends is taken for one that hangs.
const HANGS: u64 = 2_000_000;
/// After how long sessions end, and alarms clear: microseconds of the clock and of the watermark.
const WATCH: Watch = Watch { gap: 10_000, hold: 20_000 };
/// Lives that are disturbed; then one is left alone.
const DISTURBED: u64 = 6;

/// What happened, over all lives.
#[derive(Debug, Default)]
pub(super) struct Totals {
    crashes: u64,
    in_storage: u64,
    in_sinks: u64,
    stops: u64,
    from_checkpoint: u64,
    reread: u64,
    reshaped: u64,
    epochs: u64,
    empty: u64,
    written_again: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Totals) {
        self.crashes += other.crashes;
        self.in_storage += other.in_storage;
        self.in_sinks += other.in_sinks;
        self.stops += other.stops;
        self.from_checkpoint += other.from_checkpoint;
        self.reread += other.reread;
        self.reshaped += other.reshaped;
        self.epochs += other.epochs;
        self.empty += other.empty;
        self.written_again += other.written_again;
    }

    /// It has not passed because nothing happened.
    pub(super) fn check(&self, seeds: u64) {
        assert!(self.crashes > seeds, "{self:?}");
        assert!(self.in_storage > seeds / 10 && self.in_sinks > seeds / 20, "{self:?}");
        assert!(self.stops > seeds / 20 && self.from_checkpoint > seeds / 2, "{self:?}");
        assert!(self.reread > seeds / 2 && self.reshaped > seeds && self.epochs > 5 * seeds, "{self:?}");
        assert!(self.written_again > seeds / 20 && self.empty > seeds / 2, "{self:?}");
    }
}

/// A job over all its lives.
pub(super) struct Job {
    seed: u64,
    rng: StdRng,
    disk: FakeDisk,
    held: Held,
    time: Arc<SetTime>,
    totals: Totals,
}

/// How a life has ended.
enum End {
    /// All was read, or a stop was asked for.
    Well,
    Crashed,
}

impl Job {
    pub(super) fn new(seed: u64) -> Self {
        Job {
            seed,
            rng: StdRng::seed_from_u64(seed),
            disk: FakeDisk::new(seed),
            held: Held::new(seed, World::random(seed, &["lines"])),
            time: Arc::default(),
            totals: Totals::default(),
        }
    }

    /// Lives until all is read, and checks what the readers hold.
    pub(super) fn run(mut self) -> Totals {
        let mut shape = (0, 0);
        for life in 0..=DISTURBED {
            let disturbed = life < DISTURBED;
            let next = (self.rng.random_range(1..=2), self.rng.random_range(1..=2));
            self.totals.reshaped += u64::from(life > 0 && next != shape);
            shape = next;
            self.held.set_unsure(disturbed);
            self.disk.power_off_after(match disturbed && self.rng.random_bool(0.3) {
                true => self.rng.random_range(0..80),
                false => u64::MAX,
            });
            match self.live(life, shape, disturbed) {
                Ok(End::Well) => {}
                Ok(End::Crashed) => {
                    self.totals.crashes += 1;
                    self.disk.crash();
                }
                Err(error) => {
                    assert!(disturbed, "a life that is left alone fails: {error:#}");
                    let told = format!("{error:#}");
                    match told {
                        told if told.contains("the power is off") => self.totals.in_storage += 1,
                        told if told.contains("as was asked for") => self.totals.in_sinks += 1,
                        told => panic!("an error that nothing asked for: {told}"),
                    }
                    self.totals.crashes += 1;
                    self.disk.crash();
                }
            }
        }
        self.held.check_end();
        let (epochs, empty, again) = self.held.figures();
        self.totals.epochs += epochs;
        self.totals.empty += empty;
        self.totals.written_again += again as u64;
        self.totals
    }

    /// One life, in so many processes of so many workers.
    fn live(&mut self, life: u64, (processes, workers): (usize, usize), disturbed: bool) -> Result<End> {
        // What depends on time goes on when nothing comes any more.
        let endless = disturbed && self.rng.random_bool(0.2);
        let crash_after = match endless || (disturbed && self.rng.random_bool(0.7)) {
            true => self.rng.random_range(0..if endless { 5_000 } else { 500 }),
            false => HANGS,
        };
        let stop_after = match disturbed && self.rng.random_bool(0.2) {
            true => self.rng.random_range(0..500),
            false => HANGS,
        };
        let mut parts = self.begin(life, processes, workers, endless)?;
        for step in 0..HANGS {
            if step == crash_after {
                return Ok(End::Crashed);
            }
            if step == stop_after {
                self.totals.stops += 1;
                parts.stop.request();
            }
            if parts.fault.is_raised() {
                return Err(parts.fault.take().expect("a fault has an error"));
            }
            if !parts.step(&mut self.rng, &self.time)? {
                parts.checkpoints.finish()?;
                return Ok(End::Well);
            }
        }
        panic!("a life does not come to its end in {HANGS} steps");
    }

    fn begin(&mut self, life: u64, processes: usize, workers: usize, endless: bool) -> Result<Parts> {
        let files = Files::new(Arc::new(self.disk.clone()));
        files.settle()?;
        let storage: Arc<dyn Storage> = Arc::new(files);
        let identity = Identity {
            format: FORMAT,
            job: "simulated".into(),
            created: 0,
            dataflow: Watch::NAME.into(),
            options: String::new(),
            collections: Watch::PERSISTED.map(str::to_owned).into(),
            types: Default::default(),
            inputs: [("lines".to_owned(), Vec::new())].into(),
            formats: Default::default(),
            lateness: None,
            cluster: None,
            topics: Default::default(),
            outputs: Default::default(),
            group: "simulated".into(),
        };
        let time: Arc<dyn Time> = self.time.clone();
        let every = Duration::from_millis(self.rng.random_range(1..60));
        let options = StateOptions { every, retention: Duration::from_millis(self.rng.random_range(0..100)) };
        let (owned, resume) =
            OwnedState::open(storage, identity, processes * workers, options, &Pinned::default(), &time)?;
        self.totals.from_checkpoint += u64::from(resume.checkpoint > 0);
        self.totals.reread += u64::from(!resume.replay.is_empty());
        let resume = Arc::new(resume);
        let fault = Fault::default();
        let stop = Stop::default();
        let (mut writers, mut keepings, mut mergings) = (Vec::new(), Vec::new(), Vec::new());
        for process in 0..processes {
            let changes = [300, 1 << 20][self.rng.random_range(0..2)];
            let sizes = Sizes { block: 256, changes, ..Sizes::default() };
            let files = RunFiles::new(Arc::clone(&owned.storage), &format!("{life}-{process}"), sizes);
            let (writer, persistence, merging) =
                RunStateWriters::new(files, resume.collections.clone(), &fault);
            writers.push(writer);
            keepings.push(persistence);
            mergings.push(merging);
        }
        let checkpoints: Arc<dyn Checkpoints> = Arc::new(owned.coordinator.clone());
        let sinks = |output: &str| vec![self.held.transactional(), self.held.forgetful(output)];
        let job = job::Job {
            dataflow: Arc::new(WATCH),
            feeds: Arc::new(Seeded::new(
                World::random(self.seed, &["lines"]),
                Manner { stepped: true, endless, ..Manner::default() },
            )),
            epochs: EpochOptions {
                shortest: Duration::from_millis(self.rng.random_range(0..20)),
                max_records: [2, 8, 30][self.rng.random_range(0..3)],
                max_bytes: 1 << 20,
                in_flight: self.rng.random_range(1..=3),
                idle_after: Duration::from_millis([0, 30, 1_000_000][self.rng.random_range(0..3)]),
            },
            outputs: ["counts", "clock", "sessions", "alarms"]
                .map(|output| Binding::new(sinks(output)))
                .into(),
            dead_letters: sinks(DEAD_LETTERS),
            letters_are_kept: false,
            cuts: Some(owned.cuts),
            views: Viewing::Off,
            state: Some(job::State {
                resume,
                writers: Arc::new(OfProcesses { writers, workers }),
                checkpoints: Some(Arc::clone(&checkpoints)),
            }),
            status: Status::default(),
        };
        let (setup, noting, publishing) = Setup::new(job, &stop, &fault)?;
        Ok(Parts {
            workers: Stepped::start(processes * workers, setup.with_time(self.time.clone()))?,
            noting,
            publishing,
            noted: false,
            over: false,
            keepings,
            mergings,
            coordinator: owned.coordinator,
            checkpoints,
            stop,
            fault,
        })
    }
}

/// The writers of several processes, of so many workers each.
struct OfProcesses {
    writers: Vec<RunStateWriters>,
    workers: usize,
}

impl StateWriters for OfProcesses {
    fn writer(&self, collection: &str, place: Place, sharding: Sharding) -> Box<dyn StateWriter> {
        self.writers[place.worker / self.workers].writer(collection, place, sharding)
    }
}

/// All that moves in a life.
struct Parts {
    workers: Stepped,
    noting: Noting,
    publishing: Publishing,
    /// All cuts are noted.
    noted: bool,
    /// All epochs are published.
    over: bool,
    keepings: Vec<Persistence>,
    mergings: Vec<Merging>,
    coordinator: Coordinator,
    checkpoints: Arc<dyn Checkpoints>,
    stop: Stop,
    fault: Fault,
}

impl Parts {
    /// Moves one part, which the seed chooses. False once all has come to its end.
    fn step(&mut self, rng: &mut StdRng, time: &SetTime) -> Result<bool> {
        if !self.workers.alive() && self.over {
            return Ok(false);
        }
        match rng.random_range(0..16) {
            0..8 => {
                let worker = rng.random_range(0..self.workers.len());
                self.workers.step(worker);
            }
            8 => self.noted |= self.noting.step(false)? == Step::Over,
            9 => self.over = self.publishing.step(false)? == Step::Idle && self.noted,
            10 => {
                let process = rng.random_range(0..self.keepings.len());
                self.keepings[process].step()?;
            }
            11 => {
                let process = rng.random_range(0..self.mergings.len());
                self.mergings[process].step()?;
            }
            12 => {
                self.coordinator.step()?;
            }
            13 if rng.random_bool(0.05) => time.jump(rng.random_range(-7_200_000_000..7_200_000_000)),
            _ => time.advance(Duration::from_micros(rng.random_range(0..20_000))),
        }
        Ok(true)
    }
}
