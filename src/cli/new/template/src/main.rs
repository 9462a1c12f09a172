//! A program of dataflows: `cargo run --release -- --help` shows what it can do.

mod line_lengths;

use cutwater::prelude::*;

// One `entry` for each dataflow.
cutwater::main!([entry::<line_lengths::LineLengths>()]);
