//! What is done to collections, one operator a file, in reading order:
//!
//! - Row by row, and nothing remembered: [`mod@map`], [`filter`], [`negate`], [`mod@concat`], [`inspect`],
//!   [`mod@windows`]
//! - Summed or moved: [`consolidate`], [`exchange`], [`combine_by_key`]
//! - Of arrangements, which hold the rows by key: [`arrange_by`], [`count`], [`count_windows`], [`threshold`], [`join`], [`reduce`], [`sequence`],
//!   [`reduce_ordered`], and made of it [`top_k`], [`aggregates`], [`quantiles`]; [`count_distinct`]; [`look_up`],
//!   [`interval_join`], [`join_as_of`]
//! - With a state that survives: [`persist`], [`stateful`], and made of it [`upsert`], [`latest`], [`deduplicate`],
//!   [`sum`], [`sessions`]; with time as well, [`deduplicate_within`], [`rate`], [`hysteresis`]
//! - [`differential`]: to differential's own operators and back; [`accumulate`]: for outputs that are wanted once
//!
//! Each is an extension trait of [`Collection`](crate::Collection), or of
//! [`Arrangement`](crate::arrangement::Arrangement), as one of yours would be.

pub mod accumulate;
pub mod aggregates;
pub mod arrange_by;
mod batches;
mod combine;
pub mod combine_by_key;
pub mod concat;
pub mod consolidate;
pub mod count;
pub mod count_distinct;
pub mod count_windows;
pub mod deduplicate;
pub mod deduplicate_within;
pub mod differential;
pub mod exchange;
pub mod filter;
mod hints;
pub mod hysteresis;
pub mod inspect;
pub mod interval_join;
pub mod join;
pub mod join_as_of;
mod keyed_state;
pub mod latest;
pub mod look_up;
pub mod map;
pub(crate) mod micros;
pub mod negate;
pub mod persist;
pub mod quantiles;
pub mod rate;
pub mod reduce;
pub mod reduce_ordered;
mod retirement;
pub mod sequence;
pub mod sessions;
mod state_operator;
mod state_store;
pub mod stateful;
pub mod sum;
mod survive;
pub mod threshold;
pub(crate) mod timed;
mod timers;
pub mod top_k;
pub mod upsert;
pub mod windows;

pub use aggregates::Aggregates;
pub use arrange_by::ArrangeBy;
pub use combine_by_key::CombineByKey;
pub use concat::Concat;
pub use consolidate::Consolidate;
pub use count::Count;
pub use count_distinct::CountDistinct;
pub use count_windows::CountWindows;
pub use deduplicate::Deduplicate;
pub use deduplicate_within::DeduplicateWithin;
pub use differential::Differential;
pub use exchange::Exchange;
pub use filter::Filter;
pub use hysteresis::Hysteresis;
pub use inspect::Inspect;
pub use interval_join::IntervalJoin;
pub use join::Join;
pub use join_as_of::JoinAsOf;
pub use latest::Latest;
pub use look_up::LookUp;
pub use map::Map;
pub use negate::Negate;
pub use persist::Persist;
pub use quantiles::Quantiles;
pub use rate::Rate;
pub use reduce::Reduce;
pub use reduce_ordered::ReduceOrdered;
pub use sequence::Sequence;
pub use sessions::Sessions;
pub use stateful::Stateful;
pub use sum::Sum;
pub use threshold::Threshold;
pub use top_k::TopK;
pub use upsert::Upsert;
pub use windows::{Window, Windows};
