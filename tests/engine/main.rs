//! The engine against a seeded world, in one process: no Kafka, and sockets only where two processes are
//! played.
//!
//! Everything a run says is recorded in order (see [`harness`]), and compared with a plain recount.

mod bounds;
mod cuts;
mod digests;
mod ends;
mod fuzz;
mod harness;
mod inputs;
mod mistakes;
mod resume;
mod simulation;
mod time;
mod timed;
