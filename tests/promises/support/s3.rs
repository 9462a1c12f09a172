//! An S3-compatible server, which all tests share.

use std::sync::OnceLock;

use super::keeper::Keeper;

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
    _keeper: Keeper,
}

impl S3 {
    fn start() -> S3 {
        let keeper = Keeper::of("s3");
        let variables = keeper.run("start", &["--bucket", BUCKET]);
        let variables = variables.lines().filter_map(|line| line.split_once('='));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        S3 { variables, _keeper: keeper }
    }
}
