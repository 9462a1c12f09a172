//! Lines of the input, made from a seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// What may stand between two words.
const SPACES: [&str; 6] = [" ", "\t", "\u{a0}", "\u{3000}", "\r\n", "  "];

/// An endless text: mostly a few words a line, as often as natural ones; some lines without a word, some that are no
/// text.
pub struct Lines {
    random: StdRng,
    ranks: Zipf<f64>,
}

impl Lines {
    /// The lines of this seed.
    pub fn new(seed: u64) -> Lines {
        let ranks = Zipf::new(4_000.0, 1.05).expect("the parameters are valid");
        Lines { random: StdRng::seed_from_u64(seed), ranks }
    }

    /// The next line; `None` is a record without a value.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        match self.random.random_range(0..200) {
            0 => None,
            1 => Some(b"not \xff UTF-8".to_vec()),
            2..=4 => Some(Vec::new()),
            5 | 6 => Some("\u{3000} \t".into()),
            _ => Some(self.words().into()),
        }
    }

    fn words(&mut self) -> String {
        let mut line = String::new();
        for _ in 0..self.random.random_range(1..=4) {
            line += &word(self.ranks.sample(&mut self.random) as u64);
            line += SPACES.choose(&mut self.random).expect("there are some");
        }
        line
    }
}

/// The word of this rank; some are not plain in JSON.
fn word(rank: u64) -> String {
    match rank % 16 {
        3 => format!("\"{rank}\""),
        5 => format!("é{rank}"),
        7 => format!("\\{rank}"),
        9 => format!("\u{1f980}{rank}"),
        11 => format!("{rank}\u{1}"),
        13 => format!("{rank}\u{200b}"),
        _ => format!("w{rank}"),
    }
}
