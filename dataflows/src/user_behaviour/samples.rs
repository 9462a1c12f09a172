//! Views to try it with.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataflow::Samples;
use crate::rows::Timestamp;
use crate::testing::Sample;

/// Views of 400 users, some of whom are there at a time and go from page to page; 24 hours are some 2,000 views. Views are up to a
/// minute out of order. Of 1,000, one can't be read, one is hours late, and five are sent twice.
pub fn samples(seed: u64) -> Samples {
    let mut site = Site { random: StdRng::seed_from_u64(seed), millis: START, views: 0, there: Vec::new() };
    let mut twice = None;
    let views = std::iter::from_fn(move || {
        let sample: Sample = twice.take().unwrap_or_else(|| site.view());
        if site.random.random_range(0..200) == 0 {
            twice = Some(sample.clone());
        }
        Some(("views", sample))
    });
    Box::new(views)
}

struct Site {
    random: StdRng,
    millis: i64,
    views: u64,
    /// Who is there: the user, and the place of a page in [`PAGES`].
    there: Vec<(u64, usize)>,
}

impl Site {
    fn view(&mut self) -> Sample {
        self.millis += self.random.random_range(0..90_000);
        self.views += 1;
        let (user, page) = self.step();
        let random = &mut self.random;
        let late = if random.random_range(0..1_000) == 0 { HOURS_6 } else { random.random_range(0..60_000) };
        let at = self.millis - late;
        let shown = match random.random_range(0..1_000) {
            0 => "\"a while ago\"".to_owned(),
            1..500 => at.to_string(),
            _ => format!("\"{}\"", Timestamp::from_micros(at * 1000)),
        };
        let (id, page) = (self.views, PAGES[page]);
        let value = format!(r#"{{"id":"v{id}","user":"u{user:03}","page":"{page}","at":{shown}}}"#);
        Sample { timestamp: Some(self.millis), ..Sample::from(value.into_bytes()) }
    }

    /// Somebody views a page: one of those who are there, or who comes.
    fn step(&mut self) -> (u64, usize) {
        let random = &mut self.random;
        if self.there.len() < 20 || random.random_range(0..8) == 0 {
            if self.there.len() >= 20 {
                let gone = random.random_range(0..self.there.len());
                self.there.swap_remove(gone);
            }
            // The square of a uniform number: some users are there more often than others.
            let user = (random.random::<f64>().powi(2) * USERS) as u64;
            self.there.push((user, random.random_range(0..2)));
        } else {
            let place = random.random_range(0..self.there.len());
            let (_, page) = &mut self.there[place];
            *page = match random.random_range(0..4) {
                0 => 0,
                1 => *page,
                _ => (*page + 1).min(PAGES.len() - 1),
            };
            let last = self.there.len() - 1;
            self.there.swap(place, last);
        }
        *self.there.last().expect("somebody is there")
    }
}

/// How many users there are.
const USERS: f64 = 400.0;
/// The pages, in the order in which they are gone through.
const PAGES: [&str; 7] = ["home", "search", "product", "reviews", "cart", "checkout", "paid"];
/// The time at which the samples begin: 2026-01-01 12:00, in milliseconds.
const START: i64 = 1_767_268_800_000;
const HOURS_6: i64 = 6 * 60 * 60 * 1000;
