//! Operators on collections. Each is a file; each gets combining before exchange for nothing.

pub mod accumulate;
pub mod count;
pub mod flatten;
