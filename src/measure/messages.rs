//! The last warnings and errors of this process, as they were logged.

use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cutwater_dataflows::rows::Timestamp;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::secrets::hidden;
use crate::time::micros_since_epoch;

/// Messages that are kept.
const KEPT: usize = 100;
/// Bytes of a message that are kept.
const LONGEST: usize = 4 << 10;

static LAST: Mutex<VecDeque<Message>> = Mutex::new(VecDeque::new());

/// A warning or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// When: RFC 3339.
    pub at: String,
    /// `warning` or `error`.
    pub level: &'static str,
    /// One line.
    pub text: String,
}

/// The last ones, oldest first.
pub fn last() -> Vec<Message> {
    lock().iter().cloned().collect()
}

/// Keeps a message.
pub fn keep(level: &'static str, text: &str) {
    let mut text = hidden(text).into_owned();
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    let at = Timestamp::from_micros(micros_since_epoch() as i64).to_string();
    let mut last = lock();
    if last.len() == KEPT {
        last.pop_front();
    }
    last.push_back(Message { at, level, text });
}

fn lock() -> MutexGuard<'static, VecDeque<Message>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what is logged as a warning or an error.
pub struct Keeping;

impl<S: Subscriber> Layer<S> for Keeping {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => return,
        };
        let mut text = Text::default();
        event.record(&mut text);
        keep(level, &text.0);
    }
}

/// An event's message.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_last_warnings_and_errors_are_kept() {
        let subscriber = tracing_subscriber::registry().with(Keeping);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not this");
            for number in 0..KEPT + 3 {
                tracing::warn!("number {number}");
            }
            tracing::error!("{}", "ä".repeat(LONGEST));
        });
        let last = last();
        // Other tests of this process may log as well.
        let ours = last.iter().filter(|message| message.text.starts_with("number ")).count();
        assert!(last.len() == KEPT && ours >= KEPT - 20, "{ours}");
        assert!(last.iter().all(|message| message.text != "not this"));
        let long = last.iter().rfind(|message| message.level == "error").unwrap();
        assert!(long.text.len() <= LONGEST + 3 && long.text.ends_with("ä…"));
    }
}
