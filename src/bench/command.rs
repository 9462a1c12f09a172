//! `cutwater run`, as a user starts it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::process::Process;
use super::rows::Row;
use crate::job::Stop;
use crate::kafka::client::Settings;

/// A command line of `cutwater run`.
pub(super) struct Run {
    dataflow: String,
    args: Vec<String>,
    /// The user's properties: not among the arguments, which all users of the machine can see.
    properties: PrivateFile,
}

impl Run {
    /// Runs a dataflow, with so many workers in each of so many processes. Its topics are to be added.
    ///
    /// # Errors
    /// If the file for the properties can't be written.
    pub(super) fn of(
        settings: &Settings,
        group: &str,
        dataflow: &str,
        (workers, processes): (usize, usize),
    ) -> Result<Self> {
        let properties: Vec<String> =
            settings.properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let files = settings.files.iter().map(|(key, path)| format!("{key}={}", path.display()));
        let files: Vec<String> = files.collect();
        let table = toml::Table::from_iter([
            ("set".to_owned(), toml::Value::from(properties)),
            ("set-file".to_owned(), toml::Value::from(files)),
        ]);
        let properties = PrivateFile::new(&format!("{group}.toml"), &toml::to_string(&table)?)?;
        let args = [
            "run",
            dataflow,
            "--config",
            &properties.0.to_string_lossy(),
            "--brokers",
            &settings.brokers,
            "--workers",
            &workers.to_string(),
            "--processes",
            &processes.to_string(),
            "--fetch",
            settings.fetch.name(),
            "--log",
            "warn,librdkafka=error",
        ];
        let args = args.map(str::to_owned).to_vec();
        Ok(Run { dataflow: dataflow.to_owned(), args, properties }
            .with(&["--set", &format!("group.id={group}")]))
    }

    /// Counts the words of `topic`, as [`Run::of`].
    ///
    /// # Errors
    /// As [`Run::of`].
    pub(super) fn word_count(
        settings: &Settings,
        group: &str,
        topic: &str,
        shape: (usize, usize),
    ) -> Result<Self> {
        Ok(Run::of(settings, group, "word-count", shape)?.with(&["--topic", topic]))
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
        Process::start(&format!("cutwater run {}", self.dataflow), &self.args, b"")
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

/// What a run until the end took.
pub(super) struct Took {
    /// Records a second, by its own summary.
    pub(super) rate: f64,
    /// How many records it has read, by its own summary.
    pub(super) records: u64,
    /// Processor time, in seconds.
    pub(super) cpu_seconds: f64,
    /// The most memory that it had resident, in bytes.
    pub(super) peak_bytes: u64,
}

impl Run {
    /// Runs it until the end; its rows go where its arguments say.
    ///
    /// # Errors
    /// If it fails, or `stop` was requested.
    pub(super) fn until_end(self, stop: &Stop) -> Result<Took> {
        // Its file lives as long as this does.
        let run = self.with(&["--until-end"]);
        let process = run.start()?;
        let mut peak_bytes = 0;
        let (cpu_seconds, stderr) =
            process.wait_and(stop, |process| peak_bytes = process.peak().max(peak_bytes))?;
        let summary = || stderr.lines().find_map(|line| Some((records(line)?, rate(line)?)));
        let (records, rate) = summary().context("cutwater run has printed no summary")?;
        Ok(Took { rate, records, cpu_seconds, peak_bytes })
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

/// The records in that line.
fn records(line: &str) -> Option<u64> {
    line.split_once("done: ")?.1.split_once(" record")?.0.replace(',', "").parse().ok()
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
        assert_eq!(records("done: 5,000,000 records (2,311,969/s), 33 MiB"), Some(5_000_000));
        assert_eq!(rate("error: no records (1/s)"), None);
    }

    #[test]
    fn properties_are_private_and_do_not_stay() {
        let settings =
            Settings { properties: vec![("a".into(), "b=\"${c}\"".into())], ..Settings::default() };
        let command = Run::word_count(&settings, "group", "topic", (1, 2)).unwrap();
        let path = command.properties.0.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!command.args.iter().any(|arg| arg.contains("a=b")), "{:?}", command.args);
        drop(command);
        assert!(!path.exists());
    }
}
