//! Internal consistency: `balances` over the transactions of [`transfers`](crate::support::transfers), killed and resumed in
//! other shapes while they come. In every epoch's changes the balances add up to 0, from every kind of sink, and the last
//! ones are a plain recount's.
//!
//! `scripts/balances` does the same with ten million transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use serde::Deserialize;

use crate::support::broker::real;
use crate::support::committed::{read, settle};
use crate::support::family::children;
use crate::support::kafka::{Topic, Writer};
use crate::support::killed::{Progress, kill_one};
use crate::support::program::{Ended, Program, cutwater, program_at};
use crate::support::server::{Post, Server};
use crate::support::transfers::{ACCOUNTS, Transfers};
use crate::support::{env_number, unique};

/// How many transactions a run of the tests has, and how often it is killed.
const TRANSACTIONS: u64 = 50_000;
const KILLS: u64 = 4;
/// The shapes that it has by turns; the last run has the first.
const SHAPES: [(usize, usize); 6] = [(2, 2), (3, 1), (2, 2), (1, 3), (2, 2), (4, 1)];
/// Partitions of the input.
const PARTITIONS: i32 = 4;

#[test]
fn balances_add_up_to_0_in_every_epoch_from_every_sink_whatever_is_killed() {
    let (transactions, kills) = (
        env_number("CUTWATER_BALANCES").unwrap_or(TRANSACTIONS),
        env_number("CUTWATER_BALANCES_KILLS").unwrap_or(KILLS),
    );
    let begun = Instant::now();
    let bank = Bank::open(transactions, kills, env_number("CUTWATER_BALANCES_SEED").unwrap_or(1));
    let (balances, told) = bank.live(kills as usize);
    let seen = bank.check(&balances);
    println!(
        "balances: {transactions} transactions, {kills} kills, {} changes of shape, {} restarts that read records once more; {} \
         epochs and {} changes of balances from Kafka, file and webhook alike; in each epoch they add up to 0; the last \
         balances equal the recount; {} s",
        told.shapes,
        told.replays,
        seen.epochs,
        seen.changes,
        begun.elapsed().as_secs()
    );
}

/// A job with its topics, files and web server.
struct Bank {
    transfers: Topic,
    outputs: BTreeMap<&'static str, Topic>,
    server: Server,
    folder: tempfile::TempDir,
    group: String,
    all: u64,
    share: u64,
    seed: u64,
    begun: Instant,
}

/// What has happened.
#[derive(Default)]
struct Told {
    shapes: u64,
    replays: u64,
}

impl Told {
    fn ended(&mut self, run: &Ended) {
        self.replays += u64::from(run.stderr.iter().any(|line| line.contains(REPLAY)));
    }
}

/// What has come.
struct Came {
    epochs: usize,
    changes: usize,
}

impl Bank {
    fn open(all: u64, kills: u64, seed: u64) -> Bank {
        assert!(all >= kills + 2 && kills > 0, "{all} transactions, {kills} kills: too few");
        Bank {
            transfers: real().topic(PARTITIONS),
            outputs: OUTPUTS.map(|output| (output, real().topic(2))).into(),
            server: Server::start(Vec::new()),
            folder: tempfile::tempdir().expect("a folder"),
            group: unique(),
            all,
            share: all.div_ceil(kills + 2),
            seed,
            begun: Instant::now(),
        }
    }

    /// The program in a shape, with all sinks.
    fn program(&self, (workers, processes): (usize, usize)) -> Program {
        let path = std::env::var("CUTWATER_BALANCES_PROGRAM").ok();
        let program = path.map_or_else(|| cutwater::<&str>([]), |path| program_at(Path::new(&path)));
        let mut program = program.args(["run", "balances", "-b", &self.transfers.address]);
        for output in OUTPUTS {
            let to = |sink: String| format!("{output}={sink}");
            let topic = to(format!("kafka:{}", self.outputs[output].name));
            let file = to(format!("file:{}", self.file(output)));
            let posts = to(format!("webhook:http://{}/{output}", self.server.address));
            program = program.args(["-o", &topic, "-o", &file, "-o", &posts]);
        }
        program
            .args(["-t", &self.transfers.name, "-X", &format!("group.id={}", self.group)])
            .args(["--state", self.folder.path().join("state").to_str().expect("text")])
            .with("--emit changes -e 50ms --checkpoint 500ms")
            // So that there are hundreds of epochs, however fast it is.
            .args(["--max-records", &(self.all / 100).clamp(1, 20_000).to_string()])
            .with(&format!("-w {workers} -n {processes}"))
    }

    fn file(&self, output: &str) -> String {
        self.folder.path().join(output).display().to_string()
    }

    /// Kills it so often while transactions come, and then lets it come to their end. Returns the recount.
    fn live(&self, kills: usize) -> ([i64; ACCOUNTS], Told) {
        let progress = Progress::of(&self.group, &[&self.transfers]);
        let (orders, writer) = self.writer();
        // Two shares more than there are kills: while one is being read, the next is being written.
        let order = || orders.send(self.share).expect("the writer lives");
        order();
        let mut told = Told::default();
        let mut shape = SHAPES[0];
        for (life, next) in SHAPES.into_iter().cycle().take(kills).enumerate() {
            told.shapes += u64::from(next != shape);
            shape = next;
            order();
            let before = progress.records();
            let mut run = self.program(shape).start();
            progress.wait((before + 1).max((life as u64 + 1) as i64 * self.share as i64), &mut run);
            let several = if shape.1 > 1 { shape.1 } else { 0 };
            assert_eq!(children(run.pid()).len(), several, "processes that a supervisor has started");
            // The processes, and the supervisor where there is one, by turns.
            told.ended(&kill_one(run, life / 2));
            self.tell(&format!("kill {} of {kills} at -w {} -n {}", life + 1, shape.0, shape.1), &progress);
        }
        order();
        drop(orders);
        let balances = writer.join().expect("all could be written");
        told.shapes += u64::from(shape != SHAPES[0]);
        let ended = self.program(SHAPES[0]).with("--until-end").run().expect(0);
        told.ended(&ended);
        self.tell("read to the end", &progress);
        assert_eq!(progress.records(), self.all as i64, "all is read and committed");
        (balances, told)
    }

    /// A plain producer, that writes as many transactions as it is told, each in the next partition.
    fn writer(&self) -> (Sender<u64>, JoinHandle<[i64; ACCOUNTS]>) {
        let (orders, inbox): (_, Receiver<u64>) = channel();
        let writer: Writer = self.transfers.writer_with(&[("linger.ms", "20"), ("compression.type", "lz4")]);
        let (all, seed) = (self.all, self.seed);
        let thread = std::thread::spawn(move || {
            let mut transfers = Transfers::new(all, seed);
            let (mut line, mut written) = (String::new(), 0);
            for share in inbox {
                let end = all.min(written + share);
                for number in written..end {
                    transfers.next(&mut line);
                    writer.send((number % PARTITIONS as u64) as i32, Some(line.as_bytes()));
                }
                writer.flush();
                written = end;
            }
            assert_eq!(written, all, "all shares were asked for");
            transfers.balances
        });
        (orders, thread)
    }

    fn tell(&self, what: &str, progress: &Progress) {
        let (seconds, records) = (self.begun.elapsed().as_secs(), progress.records());
        eprintln!("{seconds:>5} s: {what}, {records} of {} transactions published", self.all);
    }

    /// Checks all that has come.
    fn check(&self, balances: &[i64; ACCOUNTS]) -> Came {
        let [sums, total] = OUTPUTS.map(|output| self.alike(output));
        let (mut standing, mut epochs) = (Standing::default(), BTreeMap::<u64, Vec<Change>>::new());
        for change in sums.iter().map(|line| Change::parse(line)) {
            epochs.entry(change.epoch).or_default().push(change);
        }
        epochs.values().for_each(|changes| standing.apply(changes));
        standing.equals(balances);
        let first = epochs.keys().next().expect("there are epochs");
        let row = r#""output":"total","diff":1,"row":{"name":"total","total":"0.00"}}"#;
        assert_eq!(total, [format!(r#"{{"epoch":{first},{row}"#)], "the total comes once and never changes");
        Came { epochs: epochs.len(), changes: sums.len() }
    }

    /// The changes of an output, which are the same from all sinks.
    fn alike(&self, output: &'static str) -> Vec<String> {
        let topic = &self.outputs[output];
        settle(topic);
        let kafka: Vec<String> = read(topic).into_iter().map(|record| record.value.expect("a row")).collect();
        let text = std::fs::read_to_string(self.file(output)).expect("the file is there");
        let file: Vec<String> = text.lines().map(str::to_owned).collect();
        assert!(file.iter().map(|line| Change::parse(line).epoch).is_sorted(), "epochs come in order");
        let posts = posted(output, self.server.posts());
        let [kafka, file, posts] = [kafka, file, posts].map(|mut lines| {
            lines.sort();
            lines
        });
        for (name, lines) in [("Kafka", &kafka), ("the web server", &posts)] {
            let differs = lines.iter().zip(&file).find(|(line, of_file)| line != of_file);
            let counts = (lines.len(), file.len());
            assert!(
                *lines == file,
                "{output}: {name} has {counts:?} rows; the first that differ: {differs:?}"
            );
        }
        file
    }
}

/// What a web server makes of POSTs that may come twice: one that has a key it knows is the same, and dropped.
fn posted(output: &str, posts: Vec<Post>) -> Vec<String> {
    let mut known = BTreeMap::new();
    for post in posts.into_iter().filter(|post| post.path == format!("/{output}")) {
        let key = post.headers["idempotency-key"].clone();
        let before = known.entry(key).or_insert_with(|| post.body.clone());
        assert_eq!(*before, post.body, "one key, one body");
    }
    known.values().flat_map(|body| body.lines().map(str::to_owned)).collect()
}

const OUTPUTS: [&str; 2] = ["balances", "total"];

/// What a run says that reads records once more.
const REPLAY: &str = "replayed epochs";

/// A change of a balance.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    epoch: u64,
    output: String,
    diff: i64,
    row: BTreeMap<String, String>,
}

impl Change {
    fn parse(line: &str) -> Change {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no change: {error}"))
    }
}

/// The balances that stand after an epoch.
#[derive(Default)]
struct Standing {
    /// How often each is there, by account and cents.
    rows: BTreeMap<(String, i64), i64>,
    accounts: BTreeSet<String>,
}

impl Standing {
    /// Applies an epoch: what has changed adds up to 0, and then each account has one balance.
    fn apply(&mut self, changes: &[Change]) {
        let mut sum = 0;
        for Change { output, diff, row, .. } in changes {
            assert_eq!(output, "balances");
            let cents: i64 = row["balance"].replace('.', "").parse().expect("two digits after the point");
            sum += diff * cents;
            let row = (row["account"].clone(), cents);
            self.accounts.insert(row.0.clone());
            *self.rows.entry(row).or_default() += diff;
        }
        let epoch = changes[0].epoch;
        assert_eq!(sum, 0, "what has changed in epoch {epoch}");
        self.rows.retain(|_, there| *there != 0);
        assert!(self.rows.values().all(|there| *there == 1), "epoch {epoch}: {:?}", self.rows);
        assert_eq!(self.rows.len(), self.accounts.len(), "epoch {epoch}: {:?}", self.rows);
    }

    fn equals(&self, balances: &[i64; ACCOUNTS]) {
        let expected = balances.iter().enumerate();
        let expected: BTreeMap<_, _> =
            expected.map(|(account, sum)| ((account.to_string(), sum * 100), 1)).collect();
        assert_eq!(self.rows, expected);
    }
}
