//! `cutwater run word-count`, as a user starts it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::process::Process;
use super::rows::Row;
use crate::job::Stop;
use crate::kafka::client::Settings;

/// A command line of `cutwater run word-count`.
pub(super) struct WordCount {
    args: Vec<String>,
    /// The user's properties: not among the arguments, which all users of the machine can see.
    properties: PrivateFile,
}

impl WordCount {
    /// Counts `topic`, with so many workers in each of so many processes.
    ///
    /// # Errors
    /// If the file for the properties can't be written.
    pub(super) fn new(
        settings: &Settings,
        group: &str,
        topic: &str,
        (workers, processes): (usize, usize),
    ) -> Result<Self> {
        let properties: Vec<String> =
            settings.properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let table = toml::Table::from_iter([("set".to_owned(), toml::Value::from(properties))]);
        let properties = PrivateFile::new(&format!("{group}.toml"), &toml::to_string(&table)?)?;
        let args = [
            "run",
            "word-count",
            "--config",
            &properties.0.to_string_lossy(),
            "--brokers",
            &settings.brokers,
            "--topic",
            topic,
            "--workers",
            &workers.to_string(),
            "--processes",
            &processes.to_string(),
            "--log",
            "warn,librdkafka=error",
        ];
        Ok(WordCount { args: args.map(str::to_owned).to_vec(), properties }
            .with(&["--set", &format!("group.id={group}")]))
    }

    /// With more arguments.
    pub(super) fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Starts it. The file has to live as long as it may be read.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn start(&self) -> Result<Process> {
        debug_assert!(self.properties.0.is_file());
        Process::start("cutwater run word-count", &self.args, b"")
    }

    /// Counts until the end.
    ///
    /// # Errors
    /// If it fails, or `stop` was requested.
    pub(super) fn count(self, stop: &Stop) -> Result<Counted> {
        let command = self.with(&["--until-end", "--emit", "final", "--to", "stdout"]);
        let mut process = command.start()?;
        let stdout = BufReader::new(process.stdout());
        let reading = std::thread::spawn(move || -> Result<HashMap<String, u64>> {
            let mut counts = HashMap::new();
            for line in stdout.lines() {
                let line = line?;
                let row = Row::read(line.as_bytes())?;
                let twice = counts.insert(row.word.clone().into_owned(), row.count);
                ensure!(twice.is_none(), "the word {:?} has two rows", row.word);
            }
            Ok(counts)
        });
        let (_, stderr) = process.wait(stop)?;
        let counts = reading.join().map_err(|_| anyhow!("reading rows has failed"))??;
        let rate = stderr.lines().find_map(rate).context("cutwater run has printed no summary")?;
        Ok(Counted { rate, counts })
    }
}

/// What a command that counted until the end has told.
pub(super) struct Counted {
    /// Records a second, by its own summary.
    pub(super) rate: f64,
    pub(super) counts: HashMap<String, u64>,
}

/// The records a second in the line `done: 5,000,000 records (2,311,969/s), …`.
fn rate(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("done: ")?.1.split_once(" record")?;
    rest.trim_start_matches('s').strip_prefix(" (")?.split_once("/s)")?.0.replace(',', "").parse().ok()
}

/// A file that only this user can read. It is removed when this is dropped.
struct PrivateFile(PathBuf);

impl PrivateFile {
    fn new(name: &str, text: &str) -> Result<Self> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = std::env::temp_dir().join(format!("{name}-{:08x}", rand::random::<u32>()));
        let write = |path: &Path| -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())
        };
        write(&path).with_context(|| format!("writing {}", path.display()))?;
        Ok(PrivateFile(path))
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        // Nobody else has a reason to remove it, and it is in the temporary folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::status::Status;

    #[test]
    fn the_rate_is_that_of_the_summary() {
        let line = format!("done: {}", Status::default().figures().line());
        assert_eq!(rate(&line), Some(0.0), "{line}");
        assert_eq!(rate("done: 5,000,000 records (2,311,969/s), 33 MiB"), Some(2_311_969.0));
        assert_eq!(rate("done: 1 record (7/s), 33 B"), Some(7.0));
        assert_eq!(rate("error: no records (1/s)"), None);
    }

    #[test]
    fn properties_are_private_and_do_not_stay() {
        let settings =
            Settings { properties: vec![("a".into(), "b=\"${c}\"".into())], ..Settings::default() };
        let command = WordCount::new(&settings, "group", "topic", (1, 2)).unwrap();
        let path = command.properties.0.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!command.args.iter().any(|arg| arg.contains("a=b")), "{:?}", command.args);
        drop(command);
        assert!(!path.exists());
    }
}
