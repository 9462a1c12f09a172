//! The kill matrix: the program counts words of topics that are written to all along, and is killed again and again,
//! in every way and in every phase. A plan says how; it is drawn from a seed. After that, all that has come out must be
//! what a plain recount of the input gives, epoch by epoch.
//!
//! - [`plan`]: lives of the program and how they end; [`course`]: how many it takes; [`victim`]: the program in one life
//! - [`world`]: broker, topics, clock and files of a run; [`streams`], [`lines`]: what is written to the input
//! - [`group`], [`ledger`], [`outputs`]: what is seen from outside; [`recount`]: what it is held against
//! - [`tally`]: what has happened; [`quotas`]: whether it was enough

mod clock;
pub mod course;
mod group;
mod ledger;
mod lines;
mod outputs;
pub mod plan;
mod processes;
pub mod quotas;
mod recount;
mod streams;
pub mod tally;
mod victim;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use cutwater::kafka::client::Fetch;
use nix::sys::signal::Signal;

use course::Course;
use plan::{Crash, End, Life, Peace, Plan, Shape, Trouble, Whom};
use tally::Tally;
use victim::Victim;
use world::World;

use super::DEADLINE;
use super::program::fetch;

/// What the readers of all topics ask for.
const COMMITTED: &str = "read_committed";
/// How long a frozen process does not run: longer than [`world::TRANSACTION`], and than the broker needs to find out.
const FREEZE: Duration = Duration::from_secs(4);
/// How often to tell how far a run is.
const TELL: Duration = Duration::from_secs(5);

/// Carries out the plan of a seed, and checks what comes out.
///
/// # Panics
/// If anything is wrong: it keeps all files then, and says where.
pub fn run(seed: u64, kills: usize) -> Tally {
    let plan = Plan::new(seed, kills);
    let again = format!("scripts/kills --seed {seed} --kills {kills}");
    println!("seed {seed}: {} lives, {kills} kills; the same again: {again}", plan.lives.len());
    let mut run = Run::start(&plan);
    let mut course = Course::new(plan);
    match catch_unwind(AssertUnwindSafe(|| run.carry_out(&mut course))) {
        Ok(()) => {
            run.world.remove();
            run.tally
        }
        Err(panic) => {
            run.world.keep();
            println!("seed {seed} FAILED in life {}; the same again: {again}", run.life);
            println!("state, logs and topics are in {}", run.world.folder.display());
            resume_unwind(panic)
        }
    }
}

struct Run {
    world: World,
    tally: Tally,
    kills: u64,
    /// The number of the life that is led.
    life: usize,
    shape: Option<Shape>,
    told: Instant,
}

impl Run {
    fn start(plan: &Plan) -> Run {
        let world = World::start(plan);
        Run { world, tally: Tally::default(), kills: 0, life: 0, shape: None, told: Instant::now() }
    }

    fn carry_out(&mut self, course: &mut Course) {
        let planned = course.plan().lives.len();
        while let Some(life) = course.next(|| self.so_far()) {
            if self.life == planned / 2 {
                self.world.grow();
            }
            self.life += 1;
            if let Some(crash) = self.live(&life) {
                course.missed(crash);
            }
            self.tell(planned);
        }
        self.life += 1;
        self.finish(course.plan().last);
        course.quotas().check(&self.tally);
    }

    /// What has happened up to now: never more than it will have been in the end.
    fn so_far(&self) -> Tally {
        let mut tally = self.tally.clone();
        self.world.so_far(&mut tally);
        tally.add(quotas::KILLS, self.kills);
        tally
    }

    fn tell(&mut self, lives: usize) {
        if self.told.elapsed() > TELL {
            let seen = self.world.group.seen();
            let (epoch, total) = (seen.epoch(), seen.total());
            println!("life {} of {lives}: {} kills, epoch {epoch}, {total} records", self.life, self.kills);
            self.told = Instant::now();
        }
    }

    /// Leads a life. Returns the crash that was to be its end, if it was another.
    fn live(&mut self, life: &Life) -> Option<Crash> {
        let crash = if let End::Crash(crash) = life.end { Some(crash) } else { None };
        let moves = matches!(life.trouble, Some(Trouble::Jumps(_)));
        let mut victim = self.begin(life.shape, crash, moves, &[]);
        let missed = match crash {
            Some(crash) => (!self.crash(&mut victim, crash)).then_some(crash),
            None => {
                self.lead(&mut victim, life);
                None
            }
        };
        self.note_start(&victim);
        missed
    }

    fn lead(&mut self, victim: &mut Victim, life: &Life) {
        match life.peace {
            Peace::Starting(time) => std::thread::sleep(time),
            Peace::Working(time) => {
                self.work(victim);
                std::thread::sleep(time);
            }
        }
        if let Some(trouble) = &life.trouble
            && self.survive(victim, trouble).is_some()
        {
            return;
        }
        if let Some(status) = victim.ended() {
            fail(victim, &format!("it has ended by itself, with {status}"));
        }
        self.end(victim, &life.end);
    }

    fn begin(&mut self, shape: Shape, crash: Option<Crash>, moves: bool, more: &[&str]) -> Victim {
        if self.shape.replace(shape).is_some_and(|last| last != shape) {
            self.tally.note(quotas::SHAPES);
        }
        let mut args = self.world.args.clone();
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args.extend(["--fetch".to_owned(), self.fetch().to_owned()]);
        let (mark, log) = self.world.life(self.life);
        Victim::start(mark, log, &args, shape, crash, moves.then_some(&self.world.clock))
    }

    /// How a life fetches records: by turns, unless one way is asked for.
    fn fetch(&mut self) -> &'static str {
        let direct = match std::env::var("CUTWATER_TEST_FETCH") {
            Ok(_) => fetch() == Fetch::Direct,
            Err(_) => self.life.is_multiple_of(2),
        };
        let way = if direct { "direct" } else { "librdkafka" };
        self.tally.note(if direct { "fetch: direct" } else { "fetch: librdkafka" });
        way
    }

    /// Notes what the program resumed from, if it came so far.
    fn note_start(&mut self, victim: &Victim) {
        let said = victim.said();
        let Some((_, from)) = said.split_once(" from the checkpoint of epoch ") else { return };
        let numbers = from.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        let mut numbers = numbers.map(|digits| digits.parse().expect("a number"));
        let (checkpoint, last): (u64, u64) =
            (numbers.next().expect("an epoch"), numbers.next().expect("another"));
        self.tally.add(quotas::RESUMED, u64::from(checkpoint > 0));
        self.tally.add(quotas::REPLAYED, u64::from(last > checkpoint));
        self.tally.add("epochs replayed", last - checkpoint);
    }

    /// Waits until the program has published something more.
    fn work(&self, victim: &mut Victim) {
        if let Some(status) = self.work_or_end(victim) {
            fail(victim, &format!("it has ended by itself, with {status}"));
        }
    }

    /// Waits until the program has published something more, or has ended.
    fn work_or_end(&self, victim: &mut Victim) -> Option<ExitStatus> {
        let (start, before) = (Instant::now(), self.world.group.seen().total());
        while self.world.group.seen().total() <= before {
            let ended = victim.ended();
            if ended.is_some() {
                return ended;
            }
            if start.elapsed() > DEADLINE {
                fail(victim, &format!("it publishes nothing for {DEADLINE:?}"));
            }
            self.world.group.wait();
        }
        None
    }

    /// Troubles the program. It may give up when it has been away for too long; then this returns how it has ended.
    fn survive(&mut self, victim: &mut Victim, trouble: &Trouble) -> Option<ExitStatus> {
        match trouble {
            Trouble::Outage(broker) => {
                self.world.kill_broker(*broker);
                self.work(victim);
                self.world.start_broker();
                self.tally.note(quotas::OUTAGES);
            }
            Trouble::Jumps(offsets) => {
                for &offset in offsets {
                    self.world.clock.set(offset);
                    self.work(victim);
                    self.tally.note(quotas::JUMPS);
                }
            }
            Trouble::Freeze(number) => {
                let pid = victim.any(*number).expect("it is alive");
                assert!(processes::send(pid, Signal::SIGSTOP), "process {pid} is alive");
                std::thread::sleep(FREEZE);
                // Where the others have given up meanwhile, it was killed with them.
                processes::send(pid, Signal::SIGCONT);
                self.tally.note(quotas::FREEZES);
                if let Some(status) = self.work_or_end(victim) {
                    if status.success() || !victim.said().contains("error: ") {
                        fail(victim, &format!("it has ended by itself, with {status} and without a reason"));
                    }
                    victim.wait_all();
                    self.tally.note("the program gave up after that, with a reason");
                    return Some(status);
                }
            }
        }
        None
    }

    fn end(&mut self, victim: &mut Victim, end: &End) {
        match *end {
            End::Kill(whom) => {
                let hit = victim.kill(whom);
                if hit == 0 {
                    fail(victim, "there was nothing to kill");
                }
                self.tally.note(match whom {
                    Whom::Supervisor => "kill: the supervisor",
                    Whom::One(_) => "kill: one process",
                    Whom::All => "kill: all processes at once",
                });
                self.died(victim);
            }
            End::Blackout(broker) => {
                self.world.kill_broker(broker);
                victim.kill(Whom::All);
                self.tally.note(quotas::BLACKOUTS);
                self.died(victim);
                self.world.start_broker();
            }
            End::Stop => {
                processes::send(victim.first(), Signal::SIGTERM);
                self.stopped(victim);
            }
            End::StopThenKill(delay, whom) => {
                processes::send(victim.first(), Signal::SIGTERM);
                std::thread::sleep(delay);
                if victim.kill(whom) == 0 {
                    return self.stopped(victim);
                }
                match victim.wait(DEADLINE) {
                    Some(status) if status.success() => self.tally.note("stopped before it was killed"),
                    _ => {
                        self.tally.note("kill: while it stops");
                        self.died(victim);
                    }
                }
            }
            End::Crash(_) => unreachable!("that ends by itself"),
        }
    }

    /// Waits for the death at a crash point. If it has not come in time, kills the program, and returns false.
    fn crash(&mut self, victim: &mut Victim, crash: Crash) -> bool {
        let ended = victim.wait(crash.within).is_some();
        if !ended {
            victim.kill(Whom::All);
        }
        // It may have come there at the last moment.
        let reached = victim.said().contains(&format!("killed at {}", crash.point));
        if reached {
            self.tally.note(quotas::reached(crash.point));
        } else if ended {
            fail(victim, "it has ended by itself, not at the crash point");
        } else {
            self.tally.note("kill: all processes at once, before they came to a crash point");
        }
        self.died(victim);
        reached
    }

    /// A process has died: the others must end, soon.
    fn died(&mut self, victim: &mut Victim) {
        self.kills += 1;
        let (status, took) = victim.wait_all();
        if status.success() {
            fail(victim, "it was killed and says that all is well");
        }
        self.tally.note(match took.as_millis() {
            ..1000 => "after a kill, all had ended within 1 s",
            1000..3000 => "after a kill, all had ended within 3 s",
            3000..10_000 => "after a kill, all had ended within 10 s",
            _ => "after a kill, it took longer than 10 s until all had ended",
        });
    }

    /// It was asked to stop: it must end well.
    fn stopped(&mut self, victim: &mut Victim) {
        let Some(status) = victim.wait(DEADLINE) else { fail(victim, "it does not stop") };
        if !status.success() {
            fail(victim, &format!("it was asked to stop, and ended with {status}"));
        }
        victim.wait_all();
        self.tally.note("clean stops");
    }

    /// Lets the program read to the end, and checks everything.
    fn finish(&mut self, shape: Shape) {
        self.world.finish_streams();
        let mut victim = self.begin(shape, None, false, &["--until-end"]);
        let Some(status) = victim.wait(DEADLINE) else { fail(&victim, "it does not come to the end") };
        if !status.success() {
            fail(&victim, &format!("it was to read to the end, and ended with {status}"));
        }
        victim.wait_all();
        self.note_start(&victim);
        self.world.check(&mut self.tally);
        self.tally.add(quotas::KILLS, self.kills);
    }
}

/// Fails the run and shows the end of what the program has said.
fn fail(victim: &Victim, why: &str) -> ! {
    let said = victim.said();
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(30)..].join("\n  ");
    panic!("{why}\n--- the end of {}:\n  {last}", victim.log.display())
}
