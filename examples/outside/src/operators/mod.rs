//! An operator of each kind, each an extension trait in a file, as Cutwater's own are. In the order in which to try them:
//! take the first kind that does what you need.
//!
//! - [`explode`]: looks at one batch at a time, and remembers nothing
//! - [`top`]: looks at all rows of a key, which an arrangement holds
//! - [`lease`]: has a state for each key, which survives a restart, and waits for a time
//! - [`streak`]: the same for what needs no time, in its simplest form
//! - [`meter`]: a timely operator of one's own, on batches

pub mod explode;
pub mod lease;
pub mod meter;
pub mod streak;
pub mod top;

pub use explode::Explode;
pub use lease::Lease;
pub use meter::{Meter, Metered};
pub use streak::Streak;
pub use top::Top;
