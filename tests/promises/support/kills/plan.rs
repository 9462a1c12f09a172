//! The plan of a run: which lives the program leads, one after the other, and how each of them ends. All of it is
//! drawn from the seed; only the moments at which things happen in the machine are not.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::world::BROKERS;
use crate::support::DEADLINE;

/// How long to wait for a crash at first.
const CRASH: Duration = Duration::from_secs(6);

/// What a run does to the program.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    /// Lives that end by a kill, or are stopped.
    pub lives: Vec<Life>,
    /// The shape of the last life, which reads to the end.
    pub last: Shape,
    /// The shape of the life that was drawn last.
    shape: Shape,
    /// What further lives are drawn from.
    random: StdRng,
}

/// Threads and processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub workers: usize,
    pub processes: usize,
}

/// All shapes.
const SHAPES: [Shape; 4] = [shape(1, 1), shape(2, 1), shape(1, 2), shape(2, 2)];

const fn shape(workers: usize, processes: usize) -> Shape {
    Shape { workers, processes }
}

/// From a start of the program to its end.
#[derive(Clone, Debug)]
pub struct Life {
    pub shape: Shape,
    /// How long it is left alone.
    pub peace: Peace,
    /// What it is to survive.
    pub trouble: Option<Trouble>,
    /// What it is not to survive.
    pub end: End,
}

/// A time without disturbances.
#[derive(Clone, Copy, Debug)]
pub enum Peace {
    /// This long after it was started.
    Starting(Duration),
    /// This long after it has published something.
    Working(Duration),
}

/// What the program is to survive.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// A broker is killed: this one. It is started again when the program has gone on without it.
    Outage(usize),
    /// One process does not run for longer than the time-out of its transactions.
    Freeze(usize),
    /// The wall clock is moved to these offsets, in seconds, one after the other.
    Jumps(Vec<i64>),
}

/// How a life ends.
#[derive(Clone, Debug)]
pub enum End {
    Kill(Whom),
    /// The program is killed where it is in its code.
    Crash(Crash),
    /// It is asked to stop, and does.
    Stop,
    /// It is asked to stop, and killed so long after that.
    StopThenKill(Duration, Whom),
    /// It is killed together with a broker: this one. That comes back while the next life starts.
    Blackout(usize),
}

/// The program is killed when it comes to a place of its code for the `count`-th time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    pub point: &'static str,
    pub count: u32,
    /// How long to wait for that. It is owed if it has not happened by then.
    pub within: Duration,
}

impl Crash {
    /// For a try after this one: it has to come there less often, and has more time.
    pub fn nearer(self) -> Crash {
        Crash { count: self.count.div_ceil(2), within: (2 * self.within).min(DEADLINE), ..self }
    }
}

/// Which processes are killed.
#[derive(Clone, Copy, Debug)]
pub enum Whom {
    /// The one that was started.
    Supervisor,
    /// One of those that work: this one, counted round.
    One(usize),
    All,
}

/// The crash points, each with how often the program may come to it before it dies there: often where it passes many
/// times a second.
const POINTS: [(&str, u32); 15] = [
    ("ledger-written", 40),
    ("ledger-synced", 40),
    ("run-begun", 6),
    ("run-written", 6),
    ("rename", 8),
    ("renamed", 8),
    ("manifest-begun", 4),
    ("manifest-written", 4),
    ("manifests-removed", 4),
    ("removed", 6),
    ("transaction-sent", 40),
    ("transaction-offsets", 40),
    ("transaction-committed", 40),
    ("sink-committed", 100),
    ("published", 40),
];

/// The names of the crash points.
pub fn points() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|&(name, _)| name)
}

impl Plan {
    /// The plan of this seed, in which the program is killed so many times.
    pub fn new(seed: u64, kills: usize) -> Plan {
        let mut random = StdRng::seed_from_u64(seed);
        let mut points = POINTS;
        points.shuffle(&mut random);
        let mut points = points.into_iter().cycle();
        let killed = (0..kills).map(|number| {
            let trouble = trouble(number, &mut random);
            let end = end(number, &mut points, &mut random);
            (trouble, end)
        });
        let mut fates: Vec<_> = killed.collect();
        fates.extend((0..kills.div_ceil(10)).map(|_| (None, End::Stop)));
        fates.shuffle(&mut random);
        let mut last = SHAPES[0];
        let lives = fates.into_iter().map(|(trouble, end)| {
            last = next_shape(last, &end, &mut random);
            Life { shape: last, peace: peace(&trouble, &end, &mut random), trouble, end }
        });
        let lives = lives.collect();
        let (shape, last) = (last, *SHAPES.choose(&mut random).expect("there are some"));
        Plan { seed, lives, last, shape, random }
    }

    /// One more life, which ends in this crash.
    pub fn crash(&mut self, crash: Crash) -> Life {
        self.draw(None, End::Crash(crash))
    }

    /// One more life in which the clock is moved to and fro.
    pub fn jumps(&mut self) -> Life {
        let hours = self.random.random_range(1..=30);
        let offsets = [hours, -hours, hours, -hours].map(|hours| 3600 * hours);
        self.draw(Some(Trouble::Jumps(offsets.to_vec())), End::Kill(Whom::All))
    }

    /// One more life that ends by a kill, and is long enough for something to happen.
    pub fn kill(&mut self) -> Life {
        let whom = if self.random.random_bool(0.5) { Whom::One(0) } else { Whom::All };
        let peace = Peace::Working(milliseconds(500..2500, &mut self.random));
        Life { peace, ..self.draw(None, End::Kill(whom)) }
    }

    fn draw(&mut self, trouble: Option<Trouble>, end: End) -> Life {
        self.shape = next_shape(self.shape, &end, &mut self.random);
        Life { shape: self.shape, peace: peace(&trouble, &end, &mut self.random), trouble, end }
    }
}

/// The `number`-th end: of each kind a fixed share, so that no run is without one.
fn end(number: usize, points: &mut impl Iterator<Item = (&'static str, u32)>, random: &mut StdRng) -> End {
    match number % 20 {
        0..=6 => End::Kill(Whom::One(random.random_range(0..2))),
        7 | 8 => End::Kill(Whom::Supervisor),
        9..=11 => End::Kill(Whom::All),
        12..=17 => {
            let (point, most) = points.next().expect("they are repeated");
            End::Crash(Crash { point, count: random.random_range(1..=most), within: CRASH })
        }
        18 if number % 40 == 18 => End::Blackout(broker(random)),
        _ => {
            let whom = if random.random_bool(0.5) { Whom::One(random.random_range(0..2)) } else { Whom::All };
            End::StopThenKill(milliseconds(0..150, random), whom)
        }
    }
}

/// What comes before the `number`-th end.
fn trouble(number: usize, random: &mut StdRng) -> Option<Trouble> {
    match number % 40 {
        0 => Some(Trouble::Outage(broker(random))),
        1 | 9 => Some(Trouble::Freeze(random.random_range(0..3))),
        2 | 7 | 10 | 22 => Some(Trouble::Jumps((0..3).map(|_| jump(random)).collect())),
        _ => None,
    }
}

/// One of the brokers.
fn broker(random: &mut StdRng) -> usize {
    random.random_range(1..=BROKERS)
}

/// Seconds, hours or days, to either side.
fn jump(random: &mut StdRng) -> i64 {
    let unit = *[1, 3600, 86_400].choose(random).expect("there are some");
    unit * random.random_range(-30..=30)
}

/// Often another one than the last.
fn next_shape(last: Shape, end: &End, random: &mut StdRng) -> Shape {
    let needs_many = matches!(end, End::Kill(Whom::Supervisor));
    loop {
        let shape = *SHAPES.choose(random).expect("there are some");
        let stays = shape == last && random.random_bool(0.6);
        if !stays && (!needs_many || shape.processes > 1) {
            return shape;
        }
    }
}

fn peace(trouble: &Option<Trouble>, end: &End, random: &mut StdRng) -> Peace {
    let early =
        trouble.is_none() && matches!(end, End::Kill(_) | End::Blackout(_)) && random.random_bool(0.35);
    if early {
        Peace::Starting(milliseconds(0..900, random))
    } else {
        Peace::Working(milliseconds(0..600, random))
    }
}

fn milliseconds(range: std::ops::Range<u64>, random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(range))
}
