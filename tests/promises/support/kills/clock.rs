//! A wall clock that can be moved, for programs that are started with it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promises/support/kills/clock.c");

/// The clock.
pub struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// A clock that is right, with its files in a folder.
    pub fn new(folder: &Path) -> Clock {
        let clock = Clock { library: folder.join("clock.so"), offset: folder.join("clock.offset") };
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let built = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", SOURCE, "-ldl", "-o"])
            .arg(&clock.library)
            .output()
            .unwrap_or_else(|error| panic!("starting {compiler}: {error}"));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        clock.set(0);
        clock
    }

    /// Has a program use it.
    pub fn give(&self, program: &mut Command) {
        program.env("LD_PRELOAD", &self.library).env("CUTWATER_TEST_CLOCK", &self.offset);
    }

    /// Moves it to be so many seconds ahead of the right time.
    pub fn set(&self, offset: i64) {
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.offset);
        // In place: programs have it mapped.
        let written = file.and_then(|file| file.write_all_at(&offset.to_ne_bytes(), 0));
        written.unwrap_or_else(|error| panic!("{}: {error}", self.offset.display()));
    }
}
