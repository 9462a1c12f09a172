//! Where state is kept: files by name, each whole or absent.

#[cfg(feature = "s3")]
mod connector;
pub mod contract;
pub mod disk;
pub mod fake;
pub mod files;
#[cfg(feature = "s3")]
pub mod objects;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::lock::Lock;
use files::Files;

/// What a URL of an object store begins with.
const S3: &str = "s3://";

/// Opens the storage that is at a place, as the user typed it: nothing is changed in it.
///
/// # Errors
/// If it is not there.
pub fn open(place: &str) -> Result<Arc<dyn Storage>> {
    Ok(match Place::of(place)? {
        Place::Folder(folder) => Arc::new(Files::open(folder)?),
        Place::Objects => objects(place)?,
    })
}

/// Opens the storage at a place for who alone is to write it: a folder is made where it is not there, locked as long
/// as the lock is held, and cleared of what former writers have left unfinished. An object store has no lock: there, of
/// two that write, one finds that the other does where they *create* the same file.
///
/// # Errors
/// If another has it, or it can't be written.
pub fn claim(place: &str) -> Result<(Arc<dyn Storage>, Option<Lock>)> {
    let folder = match Place::of(place)? {
        Place::Folder(folder) => folder,
        Place::Objects => return Ok((objects(place)?, None)),
    };
    let files = Files::create(folder)?;
    let lock = Lock::take(folder)?;
    files.settle()?;
    Ok((Arc::new(files), Some(lock)))
}

/// The folder that a place is; `None` if it is an object store.
///
/// # Errors
/// If it is neither.
pub fn folder(place: &str) -> Result<Option<PathBuf>> {
    Ok(match Place::of(place)? {
        Place::Folder(folder) => Some(PathBuf::from(folder)),
        Place::Objects => None,
    })
}

#[cfg(feature = "s3")]
fn objects(place: &str) -> Result<Arc<dyn Storage>> {
    Ok(Arc::new(objects::Objects::open(place, std::env::vars_os())?))
}

#[cfg(not(feature = "s3"))]
fn objects(place: &str) -> Result<Arc<dyn Storage>> {
    bail!("{place}: this program was built without object stores; build it with `--features s3`")
}

/// What a user's text names.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Folder(&'a str),
    Objects,
}

impl Place<'_> {
    fn of(text: &str) -> Result<Place<'_>> {
        if text.is_empty() {
            bail!("the folder's name is empty");
        }
        match text.split_once("://") {
            None => Ok(Place::Folder(text)),
            // Not the object store crate's own local store: that one doesn't sync.
            Some(("file", path)) if path.starts_with('/') => Ok(Place::Folder(path)),
            Some(("s3", _)) => Ok(Place::Objects),
            Some(_) => bail!("{text}: expected a folder, file:///FOLDER or {S3}BUCKET/PREFIX"),
        }
    }
}

/// A store of files. Names are paths with `/`, relative to the store.
///
/// What a method has written survives a crash of the machine once it has returned.
pub trait Storage: Send + Sync {
    /// Where it is, as the user typed it.
    fn place(&self) -> String;

    /// Writes a whole file, in place of one of that name: a reader finds the one before or this one.
    ///
    /// # Errors
    /// If it can't be written: it names the file.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// As [`Storage::put`], unless there is a file of that name: then it says false and changes nothing. Of two
    /// that create the same file at the same time, at most one is told true.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool>;

    /// Begins a large file, which is there once it is finished.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn write(&self, name: &str) -> Result<Box<dyn Writing>>;

    /// True iff [`Storage::append`] can be used.
    fn appends(&self) -> bool;

    /// Writes bytes at the end of a file, which is cut to `length` before, and made where it is not there. After a
    /// crash before it has returned, any part of the bytes may be there, or others in their place.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn append(&self, name: &str, length: u64, bytes: &[u8]) -> Result<()>;

    /// The bytes of a file, or a range of them; `None` if there is no such file.
    ///
    /// # Errors
    /// If it can't be read, or is shorter than the range: it names the file.
    fn read(&self, name: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>>;

    /// The files of a folder, by name with the folder, in order, with their lengths. A folder that is not there is
    /// empty.
    ///
    /// # Errors
    /// If it can't be read.
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// If it can't be removed.
    fn remove(&self, name: &str) -> Result<()>;
}

/// A large file that is being written. Dropped before it is finished, it never was.
pub trait Writing: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// The file is complete.
    ///
    /// # Errors
    /// As [`Storage::put`].
    fn finish(self: Box<Self>) -> Result<()>;
}
