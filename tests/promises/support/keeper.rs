//! Servers that end with the tests that started them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A temporary folder for the server of a script. The server is killed, and the folder removed, when this is dropped or
/// this process ends, however it does.
pub struct Keeper {
    script: PathBuf,
    dir: PathBuf,
    process: Child,
}

impl Keeper {
    /// Keeps a new folder for the script `scripts/NAME`, which knows `stop --kill --dir DIR`.
    pub fn of(name: &str) -> Keeper {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
        let prefix = format!("cutwater-{name}-");
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary folder").keep();
        // Waits for the end of its standard input, which only this process holds.
        let process = Command::new("sh")
            .args(["-c", r#"cat >/dev/null; "$1" stop --kill --dir "$2"; rm -rf "$2""#, "keeper"])
            .args([&script, &dir])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is not for it.
            .process_group(0)
            .spawn()
            .expect("starting sh");
        Keeper { script, dir, process }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command of the script on the folder. Returns what it prints.
    pub fn run(&self, command: &str, args: &[&str]) -> String {
        let output = Command::new(&self.script)
            .arg(command)
            .arg("--dir")
            .arg(&self.dir)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("starting a script");
        assert!(
            output.status.success(),
            "{} {command} failed:\n{}",
            self.script.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("what scripts print is text")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
