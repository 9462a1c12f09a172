//! A short run of each target, on inputs that are made of good ones.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::{fetched, flat, ledger, manifest, row, run_file};

/// Inputs of a target.
const INPUTS: u64 = 5_000;

/// Gives a target inputs made of `good` ones; shows the input at which it panics.
fn mutated(good: &[Vec<u8>], target: fn(&[u8])) {
    good.iter().for_each(|input| target(input));
    for seed in 0..INPUTS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut input = good.choose(&mut random).expect("there are some").clone();
        for _ in 0..random.random_range(1..5) {
            mutate(&mut input, good, &mut random);
        }
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            panic!("seed {seed}: {} bytes: {:.1000}", input.len(), input.escape_ascii().to_string());
        }
    }
}

/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 8] = [0, 1, 7, 0xff, u32::MAX as u64, i64::MAX as u64, u64::MAX - 7, u64::MAX];

fn mutate(input: &mut Vec<u8>, good: &[Vec<u8>], random: &mut StdRng) {
    let length = input.len();
    let at = random.random_range(0..=length);
    let end = (at + random.random_range(0..32)).min(length);
    match random.random_range(0..7) {
        0 if length > 0 => input[at.min(length - 1)] ^= 1 << random.random_range(0..8),
        1 if length > 0 => input[at.min(length - 1)] = *[0, 1, 0x7f, 0x80, 0xff].choose(random).expect("one"),
        2 => drop(input.drain(at..end)),
        3 => drop(input.splice(at..at, input[at..end].to_vec())),
        4 => {
            let mut new = vec![0; random.random_range(1..16)];
            random.fill_bytes(&mut new);
            input.splice(at..at, new);
        }
        // A number in its place.
        5 if length >= 8 => {
            let word = random.random_range(0..length / 8) * 8;
            input[word..word + 8].copy_from_slice(&EDGES.choose(random).expect("one").to_le_bytes());
        }
        _ => {
            let other = good.choose(random).expect("there are some");
            let from = random.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

#[test]
fn rows() {
    mutated(&row::good(), row::target);
}

#[test]
fn fetched_batches() {
    mutated(&fetched::good(), fetched::target);
}

#[test]
fn flat_batches() {
    mutated(&flat::good(), flat::target);
}

#[test]
fn ledgers() {
    mutated(&ledger::good(), ledger::target);
}

#[test]
fn manifests() {
    mutated(&manifest::good(), manifest::target);
}

#[test]
fn run_files() {
    mutated(&run_file::good(), run_file::target);
}
