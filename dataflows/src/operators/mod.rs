//! Operators on collections. Each is a file; each gets combining before exchange for nothing.

pub mod accumulate;
pub mod count;
pub(crate) mod exchange;
pub mod flatten;
pub mod persist;
pub(crate) mod since;
