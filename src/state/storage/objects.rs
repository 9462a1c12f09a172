//! The storage of an object store: S3, and what speaks as it does.
//!
//! An object is whole or absent by itself. What tells two writers apart is the conditional put (`If-None-Match: *`),
//! which S3 has had since 2024; where a store doesn't know it, [`Objects::open`] says so.

use std::ffi::OsString;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Runtime;

use super::connector::Connector;
use super::{S3, Storage, Writing};
use crate::address;
use crate::shown::speaks_tls;

/// Where credentials and the rest come from, for people.
pub const ENVIRONMENT: &str = "the object store's credentials, region and endpoint come from the environment: AWS_ACCESS_KEY_ID and \
     AWS_SECRET_ACCESS_KEY, or the machine's role; AWS_REGION; AWS_ENDPOINT where it is not Amazon's, with \
     AWS_ALLOW_HTTP=true where that is without TLS";

/// Bytes of a part of a large object. Smaller objects are written with one request.
const PART: usize = 8 << 20;
/// Parts that are on their way at once.
const PARTS: usize = 3;

/// The objects of a bucket whose keys have a prefix.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
    runtime: Arc<Runtime>,
}

impl Objects {
    /// The objects at a URL, `s3://BUCKET/PREFIX`. The rest comes from these variables, see [`ENVIRONMENT`].
    ///
    /// # Errors
    /// If it is no such URL, or the bucket is not there or can't be read.
    pub fn open(place: &str, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self> {
        let (bucket, prefix) = parse(place)?;
        let mut builder = AmazonS3Builder::new().with_http_connector(Connector);
        for (name, value) in variables {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            if name.starts_with("AWS_") && name.contains("ENDPOINT") {
                if value.is_empty() {
                    continue;
                }
                check_endpoint(value).map_err(|error| anyhow!("{name}: {error}"))?;
            }
            if let Some(key) =
                name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse().ok()).flatten()
            {
                builder = builder.with_config(key, value);
            }
        }
        let builder = builder.with_bucket_name(bucket);
        let store =
            |builder: AmazonS3Builder| builder.build().with_context(|| format!("{place}: {ENVIRONMENT}"));
        // A mistake in what the user typed is to be told soon; what comes later is worth some patience.
        let hasty = RetryConfig { max_retries: 2, ..RetryConfig::default() };
        Objects::new(Arc::new(store(builder.clone().with_retry(hasty))?), prefix, place)?
            .list("")
            .map_err(|error| anyhow!("{error:#}; {ENVIRONMENT}"))?;
        Objects::new(Arc::new(store(builder)?), prefix, place)
    }

    /// The objects of a store whose keys begin with a prefix.
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str, place: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cutwater:objects")
            .enable_all()
            .build()
            .context("starting a thread for the object store")?;
        let prefix = Path::parse(prefix).with_context(|| place.to_owned())?;
        Ok(Objects { store, prefix, place: place.to_owned(), runtime: Arc::new(runtime) })
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    fn wait<T>(&self, done: impl Future<Output = T>) -> T {
        self.runtime.block_on(done)
    }

    /// A name with where it is.
    fn shown(&self, name: &str) -> String {
        let place = self.place.trim_end_matches('/');
        if name.is_empty() { place.to_owned() } else { format!("{place}/{name}") }
    }

    fn context<T>(&self, doing: &str, name: &str, result: Result<T, Error>) -> Result<T> {
        result.map_err(explain).with_context(|| format!("{doing} {}", self.shown(name)))
    }
}

/// Checks a URL before the crate does, which panics where it is not one.
fn check_endpoint(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(format!("{url:?} is not a URL that begins with http:// or https://"));
    };
    address::check_authority(rest.split(['/', '?', '#']).next().unwrap_or_default())
}

/// Bucket and prefix of a URL.
fn parse(place: &str) -> Result<(&str, &str)> {
    let rest = place.strip_prefix(S3).unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    ensure!(!bucket.is_empty(), "{place} names no bucket: {S3}BUCKET/PREFIX is expected");
    Ok((bucket, prefix.trim_end_matches('/')))
}

impl Storage for Objects {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let put = self.wait(self.store.put(&self.path(name), bytes.to_vec().into()));
        self.context("writing", name, put).map(drop)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let options = PutOptions::from(PutMode::Create);
        match self.wait(self.store.put_opts(&self.path(name), bytes.to_vec().into(), options)) {
            Err(Error::AlreadyExists { .. }) => Ok(false),
            put => self.context("writing", name, put).map(|_| true),
        }
    }

    fn write(&self, name: &str) -> Result<Box<dyn Writing>> {
        let writer = BufWriter::with_capacity(Arc::clone(&self.store), self.path(name), PART);
        Ok(Box::new(LargeObject {
            writer: Some(writer.with_max_concurrency(PARTS)),
            runtime: Arc::clone(&self.runtime),
            name: self.shown(name),
        }))
    }

    fn appends(&self) -> bool {
        false
    }

    fn append(&self, name: &str, _length: u64, _bytes: &[u8]) -> Result<()> {
        bail!("writing {}: nothing can be appended to an object", self.shown(name))
    }

    fn read(&self, name: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>> {
        let path = self.path(name);
        let read = self.wait(async {
            match range.clone() {
                None => self.store.get(&path).await?.bytes().await,
                // There is no request for nothing.
                Some(range) if range.is_empty() => self.store.head(&path).await.map(|_| Default::default()),
                Some(range) => self.store.get_range(&path, range).await,
            }
        });
        let bytes = match read {
            Err(Error::NotFound { .. }) => return Ok(None),
            read => self.context("reading", name, read)?,
        };
        if range.is_some_and(|range| range.end - range.start != bytes.len() as u64) {
            bail!("reading {}: it is shorter than it was when it was written", self.shown(name));
        }
        Ok(Some(bytes.into()))
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let path = self.path(folder);
        let root = (!path.as_ref().is_empty()).then_some(&path);
        let listed = self.context("listing", folder, self.wait(self.store.list_with_delimiter(root)))?;
        let file = |object: object_store::ObjectMeta| {
            let file = object.location.filename()?;
            let name = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
            Some((name, object.size))
        };
        let mut files: Vec<(String, u64)> = listed.objects.into_iter().filter_map(file).collect();
        files.sort_unstable();
        Ok(files)
    }

    fn remove(&self, name: &str) -> Result<()> {
        match self.wait(self.store.delete(&self.path(name))) {
            Err(Error::NotFound { .. }) => Ok(()),
            removed => self.context("removing", name, removed),
        }
    }
}

/// A large object that is being written, in parts.
struct LargeObject {
    /// None once it is finished.
    writer: Option<BufWriter>,
    runtime: Arc<Runtime>,
    /// With where it is.
    name: String,
}

impl Writing for LargeObject {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = self.runtime.block_on(writer.put(bytes.to_vec().into()));
        written.map_err(explain).with_context(|| format!("writing {}", self.name))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let written =
            self.runtime.block_on(writer.shutdown()).map_err(|error| match error.downcast::<Error>() {
                Ok(error) => explain(error),
                Err(error) => error.into(),
            });
        written.with_context(|| format!("writing {}", self.name))
    }
}

impl Drop for LargeObject {
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            // What is left of it costs money until a rule of the bucket removes it; nobody sees it.
            let _ = self.runtime.block_on(writer.abort());
        }
    }
}

/// Says in one line what is wrong: in the store's words where it has some, else in those of the crate and of what is
/// below it.
fn explain(error: Error) -> anyhow::Error {
    let text = error.to_string();
    let part = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(part, _)| part)
    };
    if let (Some(code), Some(message)) = (part("Code"), part("Message")) {
        return anyhow!("the store says {code}: {}", message.trim_end_matches('.'));
    }
    let line = text.lines().next().unwrap_or_default().trim_end();
    let cause = anyhow::Error::new(error).root_cause().to_string();
    if !speaks_tls(&cause) {
        return anyhow!(
            "the store does not speak TLS there: is it http:// instead of https:// in AWS_ENDPOINT?"
        );
    }
    if cause.contains("invalid HTTP version") {
        return anyhow!(
            "the answer is not HTTP: is it https:// instead of http:// in AWS_ENDPOINT? ({cause})"
        );
    }
    if line.contains(&cause) { anyhow!("{line}") } else { anyhow!("{line}: {cause}") }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::state::storage::contract;

    #[test]
    fn urls_name_bucket_and_prefix() {
        assert_eq!(parse("s3://b").unwrap(), ("b", ""));
        assert_eq!(parse("s3://b/").unwrap(), ("b", ""));
        assert_eq!(parse("s3://b/a/c/").unwrap(), ("b", "a/c"));
        for wrong in ["s3://", "s3:///a"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("names no bucket"));
        }
    }

    #[test]
    fn an_endpoint_that_is_none_is_an_error_with_its_variable() {
        for wrong in ["nonsense", "http://", "http://h:99999", "https://h:x/", "ftp://h"] {
            for name in ["AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"] {
                let error = Objects::open("s3://b", [(name.into(), wrong.into())]).err().unwrap().to_string();
                assert!(error.starts_with(name), "{error}");
            }
        }
        assert_eq!(check_endpoint("http://[::1]:9000/path"), Ok(()));
    }

    #[test]
    fn objects_keep_what_storage_promises() {
        for prefix in ["", "a", "a/b"] {
            let store = Arc::new(InMemory::new());
            contract::check(&Objects::new(store, prefix, "s3://b").unwrap());
        }
    }
}
