//! Panics in the code of a dataflow: caught where the run can go on or end with a clear line.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    /// True while a panic of this thread would be caught.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// Where the last one was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whose code it runs.
    static DATAFLOW: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// This file, as a panic in it would name it.
pub const FILE: &str = file!();

/// From now on, this thread runs code of that dataflow.
pub fn runs(dataflow: &'static str) {
    DATAFLOW.set(Some(dataflow));
}

/// The dataflow whose code this thread runs, if it runs any.
pub fn dataflow() -> Option<&'static str> {
    DATAFLOW.get()
}

/// Runs `code`. If it panics: the message, and the place where [`is_caught`] was told of it.
#[inline]
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CATCHING.replace(true);
    // What the panic has left half-done is dropped or rolled back by the caller.
    let result = catch_unwind(AssertUnwindSafe(code));
    CATCHING.set(outer);
    result.map_err(message)
}

/// For a panic hook: true iff the panic is caught, so that the process is to go on and nobody is to be told. Notes its
/// place.
pub fn is_caught(panic: &PanicHookInfo<'_>) -> bool {
    // Where a panic aborts, it is told now or never.
    if !CATCHING.get() || cfg!(panic = "abort") {
        return false;
    }
    PLACE.set(panic.location().map(|place| format!("{}:{}", place.file(), place.line())));
    true
}

/// What a panic says, as one line: what failed in an assertion comes in several.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cold]
fn message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let text = one_line(text);
    match PLACE.take() {
        Some(place) => format!("{text} ({place})"),
        None => text,
    }
}
