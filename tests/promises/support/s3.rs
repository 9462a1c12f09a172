//! An S3-compatible server, which all tests share.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/s3");

/// The bucket that is there.
pub const BUCKET: &str = "cutwater";

/// The server that tests share. It ends with this process.
pub fn s3() -> &'static S3 {
    static SHARED: OnceLock<S3> = OnceLock::new();
    SHARED.get_or_init(S3::start)
}

/// A server. It is killed, and its objects removed, when this process ends, however it does.
pub struct S3 {
    /// What its clients need in their environment.
    pub variables: Vec<(String, String)>,
    _keeper: Child,
}

impl S3 {
    fn start() -> S3 {
        let dir =
            tempfile::Builder::new().prefix("cutwater-s3-").tempdir().expect("a temporary folder").keep();
        // Waits for the end of its standard input, which only this process holds.
        let keeper = Command::new("sh")
            .args(["-c", r#"cat >/dev/null; "$1" stop --kill --dir "$2"; rm -rf "$2""#, "keeper", SCRIPT])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is not for it.
            .process_group(0)
            .spawn()
            .expect("starting sh");
        let output = Command::new(SCRIPT)
            .args(["start", "--bucket", BUCKET, "--dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .output()
            .expect("starting scripts/s3");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/s3 start failed:\n{errors}");
        let variables = String::from_utf8(output.stdout).expect("variables are text");
        let variables = variables.lines().filter_map(|line| line.split_once('='));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        S3 { variables, _keeper: keeper }
    }
}
