//! The ledger as its file format says, read without the program's code.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// By input, topic and partition.
type Offsets = BTreeMap<String, BTreeMap<String, BTreeMap<i32, i64>>>;

/// By how much the clock has gone back, at least, where that counts: a second.
const BACK: u64 = 1_000_000;

/// A line of an epoch; others, which begin a file, have no `records`.
#[derive(Deserialize)]
struct Line {
    epoch: u64,
    records: Option<u64>,
    /// Microseconds since the Unix epoch.
    time: u64,
    cut: Offsets,
}

/// The cuts of one topic.
#[derive(Default)]
pub struct Ledger {
    /// The last epoch.
    pub last: u64,
    /// Of each partition: the ends of epochs in which it moved.
    cuts: BTreeMap<i32, Vec<(i64, u64)>>,
    /// How often the clock had gone back by seconds when an entry was written.
    pub jumps_back: u64,
}

impl Ledger {
    /// Reads the ledger of a state folder: epochs from 1 without gaps, and offsets that never go back.
    pub fn read(state: &Path, topic: &str) -> Ledger {
        let mut lines: Vec<Line> =
            files(&state.join("ledger")).iter().flat_map(|text| entries(text)).collect();
        lines.sort_by_key(|line| line.epoch);
        let mut ledger = Ledger::default();
        let mut time = 0;
        for line in lines {
            assert_eq!(line.epoch, ledger.last + 1, "the ledger's epochs have no gaps");
            ledger.last = line.epoch;
            ledger.jumps_back += u64::from(line.time + BACK < time);
            time = line.time;
            for (partition, offset) in
                line.cut.get("lines").and_then(|input| input.get(topic)).into_iter().flatten()
            {
                let cuts = ledger.cuts.entry(*partition).or_default();
                // Those that join are named, wherever they begin.
                let before = cuts.last().map_or(-1, |&(before, _)| before);
                let epoch = line.epoch;
                assert!(*offset > before, "epoch {epoch}: partition {partition} from {before} to {offset}");
                cuts.push((*offset, line.epoch));
            }
        }
        ledger
    }

    /// How often the clock has gone back, while nobody writes to the ledger, whose last line may be torn.
    pub fn jumps_back_so_far(state: &Path) -> u64 {
        let texts = files(&state.join("ledger"));
        let whole =
            texts.iter().flat_map(|text| text.split_inclusive('\n')).filter(|line| line.ends_with('\n'));
        let mut times: Vec<(u64, u64)> =
            whole.flat_map(entries).map(|line| (line.epoch, line.time)).collect();
        times.sort_unstable();
        times.windows(2).filter(|pair| pair[1].1 + BACK < pair[0].1).count() as u64
    }

    /// The epoch of a record.
    pub fn epoch(&self, partition: i32, offset: i64) -> u64 {
        let cuts = self.cuts.get(&partition).map_or(&[][..], |cuts| cuts);
        let place = cuts.partition_point(|&(end, _)| end <= offset);
        let cut = cuts.get(place);
        cut.unwrap_or_else(|| panic!("partition {partition} offset {offset} is in no epoch of the ledger")).1
    }

    /// The last cut: where each partition ends.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        let ends = self.cuts.iter().filter_map(|(&partition, cuts)| Some((partition, cuts.last()?.0)));
        ends.collect()
    }
}

fn files(folder: &Path) -> Vec<String> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    paths
        .map(|path| std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{shown}: {error}")))
        .collect()
}

fn entries(text: &str) -> Vec<Line> {
    let parse = |line: &str| -> Line {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("the ledger's line {line:?}: {error}"))
    };
    text.lines().map(parse).filter(|line| line.records.is_some()).collect()
}
