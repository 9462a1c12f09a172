//! Operators beside a plain recount, under random insertions and withdrawals, batchings, numbers of workers and restarts.

mod proof;
mod queues;
mod ranked;

mod aggregates;
mod events;
mod inputs;
mod joins;
mod keyed;
mod late;
mod linear;
mod stateful;
mod timed;
mod windows;
