//! A crate of one's own beside Cutwater: what is in Cutwater, this crate could have written.
//!
//! - [`operators`]: one of each kind. Take the file that is like yours.
//! - [`logfmt`]: a format; [`epoch_files`]: a sink
//! - [`hot_machines`]: the dataflow of `docs/writing-a-dataflow.md`, with the operator [`streak`]
//! - [`dataflows`]: a table that changes, an alarm with a memory, a session that ends by itself
//!
//! `main.rs` is the program: `cargo run --release -p cutwater-outside -- list`.

pub mod dataflows;
pub mod epoch_files;
pub mod hot_machines;
pub mod logfmt;
pub mod operators;

/// Where the guide has it.
pub use operators::streak;

/// What `cutwater new` writes is built and tested as a part of this crate.
#[path = "../../../src/cli/new/template/src/line_lengths.rs"]
pub mod line_lengths;

#[cfg(test)]
mod tests {
    /// The code of the guide is code that is built and tested.
    #[test]
    fn the_guide_shows_these_files() {
        let guide = include_str!("../../../docs/writing-a-dataflow.md");
        for (file, text) in [
            ("streak.rs", include_str!("operators/streak.rs")),
            ("hot_machines.rs", include_str!("hot_machines.rs")),
            ("readings.jsonl", include_str!("../fixtures/hot-machines/readings.jsonl")),
            ("hot.jsonl", include_str!("../fixtures/hot-machines/hot.jsonl")),
        ] {
            assert!(guide.contains(text), "{file} in the guide is another");
        }
    }
}
