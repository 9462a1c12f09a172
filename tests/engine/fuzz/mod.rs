//! What is read back from files and from the wire, given bytes that were not written by this program: an error, and never
//! a panic or an answer that contradicts itself.
//!
//! The targets are those of `cargo fuzz` in `fuzz/`, which finds inputs by coverage. Here each is given some thousand inputs
//! that are made of good ones, as `scripts/test` has no time for more. Most mutations would end at a checksum, so the
//! targets put checksums right first where they can: a checksum is no defence against who can compute it.

#[cfg(test)]
mod batches;
pub(crate) mod fetched;
pub(crate) mod flat;
pub(crate) mod ledger;
pub(crate) mod manifest;
pub(crate) mod row;
pub(crate) mod run_file;

#[cfg(test)]
mod short;
