//! Standard output: the one way to it. Whoever reads it may close it at any time, and it may be full.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use anyhow::{Result, anyhow};

/// Whoever read standard output has closed it, as `head` does: a reason to end, but no failure.
#[derive(Debug)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl std::error::Error for Closed {}

/// What it means that standard output could not be written: [`Closed`], or an error that says why.
pub fn failed(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow!("writing to standard output: {error}"),
    }
}

/// Prints what `write` writes. What it has written leaves even if it fails afterwards.
///
/// # Errors
/// Those of [`failed`] if standard output could not be written, else those of `write`.
pub fn print(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = Out { inner: BufWriter::new(io::stdout().lock()), failure: None };
    let written = write(&mut out);
    // Its error, if any, is kept.
    let _ = out.flush();
    match out.failure.take() {
        Some(error) => Err(failed(error)),
        None => written,
    }
}

/// Keeps the first error, to tell it from those of what is printed.
struct Out {
    inner: BufWriter<StdoutLock<'static>>,
    failure: Option<io::Error>,
}

impl Out {
    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            if kind != ErrorKind::Interrupted {
                self.failure.get_or_insert(error);
            }
            kind.into()
        })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.keep(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.keep(result)
    }
}
