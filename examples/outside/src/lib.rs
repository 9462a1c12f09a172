//! A crate of one's own beside Cutwater: what is in Cutwater, this crate could have written.
//!
//! - [`operators`]: one of each kind. Take the file that is like yours.
//! - [`logfmt`]: a format; [`epoch_files`]: a sink
//! - [`dataflows`]: a table that changes, an alarm with a memory, a session that ends by itself
//!
//! `main.rs` is the program: `cargo run --release -p cutwater-outside -- list`.

pub mod dataflows;
pub mod epoch_files;
pub mod logfmt;
pub mod operators;

/// What `cutwater new` writes is built and tested as a part of this crate.
#[path = "../../../src/cli/new/template/src/line_lengths.rs"]
pub mod line_lengths;
