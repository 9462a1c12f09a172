//! Dataflows that only operators with a state can do, each in under 60 lines of code.

mod alarms;
mod sales;
mod sessions;

pub use alarms::Alarms;
pub use sales::Sales;
pub use sessions::Sessions;
