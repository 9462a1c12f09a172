//! Each dataflow on records of its own samples, at several numbers of workers, with restarts in between, against a plain
//! recount of the same records.
#![allow(missing_docs)]

mod balances;
mod cleanse;
mod components;
mod recount;
mod sales;
mod top_words;
