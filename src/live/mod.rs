//! The live table: what a run does, drawn on a terminal again and again. For `cutwater demo`, and for `--live`.
//!
//! - [`picture`]: what is shown at a moment; [`table`]: how; [`screen`]: where
//! - `run`: that of any run; `top`: the rows of an output that come first

#![cfg_attr(not(feature = "demo"), allow(dead_code, reason = "the demo shows it without a terminal, too"))]

pub(crate) mod picture;
#[cfg(feature = "live")]
pub(crate) mod run;
pub(crate) mod screen;
pub(crate) mod table;
#[cfg(feature = "live")]
pub(crate) mod top;
