//! Texts to count.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// The lines of all files that every Debian machine has in `/usr/share/common-licenses`.
pub fn licenses() -> &'static [String] {
    static LINES: OnceLock<Vec<String>> = OnceLock::new();
    LINES.get_or_init(|| {
        let folder = Path::new("/usr/share/common-licenses");
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| {
            panic!("{}: {error}; install Debian's package base-files", folder.display())
        });
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
        paths.sort();
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let lines: Vec<String> =
            paths.iter().flat_map(|path| read(path).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        assert!(lines.len() > 1000, "the files in {} have {} lines", folder.display(), lines.len());
        lines
    })
}

/// A million words, as often as natural ones: the same each time.
pub fn zipf() -> &'static [String] {
    static LINES: OnceLock<Vec<String>> = OnceLock::new();
    LINES.get_or_init(|| zipf_lines(1, 1_000_000))
}

/// A word of so many letters and digits, that is hardly shorter when it is compressed: the same each time.
pub fn noise(letters: usize) -> String {
    let mut random = StdRng::seed_from_u64(1);
    (0..letters).map(|_| random.sample(Alphanumeric) as char).collect()
}

/// Lines of ten words each.
pub fn zipf_lines(seed: u64, words: usize) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let ranks = Zipf::new(50_000.0, 1.05).expect("the parameters are valid");
    let line = |_| {
        let mut line = String::new();
        for _ in 0..10 {
            let rank: f64 = ranks.sample(&mut random);
            write!(line, "w{rank} ").expect("memory takes all");
        }
        line
    };
    (0..words / 10).map(line).collect()
}
