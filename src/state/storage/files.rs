//! The storage of a folder.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::disk::{Disk, Folder, Opened};
use super::{Storage, Writing};

/// What the names of files end with that are not finished. They begin with a dot.
const UNFINISHED: &str = ".unfinished";

/// The files of a folder.
pub struct Files {
    disk: Arc<dyn Disk>,
    /// Tells the unfinished files of this one from those of others in the same folder.
    writer: u64,
    /// Unfinished files that it has named so far.
    named: AtomicU64,
    /// The file that was appended to last: its name is durable.
    appended: Mutex<Option<String>>,
}

impl Files {
    /// The files of a disk.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Files { disk, writer: rand::random(), named: AtomicU64::new(0), appended: Mutex::default() }
    }

    /// The files of a folder that is there.
    ///
    /// # Errors
    /// If it is not there, or no folder.
    pub fn open(place: &str) -> Result<Self> {
        let found = std::fs::metadata(place).map_err(|error| explain(error, "reading"));
        let found = found.with_context(|| format!("the folder {place}"))?;
        ensure!(found.is_dir(), "{place} is not a folder");
        Ok(Files::new(Arc::new(Folder::new(place))))
    }

    /// The files of a folder, which is made where it is not there.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn create(place: &str) -> Result<Self> {
        make_folders(Path::new(place))
            .map_err(|error| explain(error, "writing"))
            .with_context(|| format!("making the folder {place}"))?;
        Files::open(place)
    }

    /// Removes what former writers have left unfinished, and has all that is seen now survive a crash. To be called
    /// once, by who alone may write.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub fn settle(&self) -> Result<()> {
        self.settle_folder("")
    }

    fn settle_folder(&self, folder: &str) -> Result<()> {
        let items = self.disk.list(folder).map_err(|error| self.failed("reading", folder, error))?;
        for item in items {
            let name = join(folder, &item.name);
            if item.length.is_none() {
                self.settle_folder(&name)?;
            } else if is_unfinished(&item.name) {
                self.disk.remove(&name).map_err(|error| self.failed("removing", &name, error))?;
            }
        }
        self.sync_folder(folder)
    }

    /// A new file beside `name`, and its name. The folder is made where it is not there.
    fn beside(&self, name: &str) -> Result<(String, Box<dyn Opened>)> {
        let (folder, file) = split(name);
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        let beside = join(folder, &format!(".{file}.{:016x}-{number}{UNFINISHED}", self.writer));
        let opened = self.make(&beside).map_err(|error| self.failed("writing", name, error))?;
        Ok((beside, opened))
    }

    fn make(&self, name: &str) -> io::Result<Box<dyn Opened>> {
        match self.disk.make(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (folder, _) = split(name);
                let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
                for folder in ends.map(|end| &folder[..end]) {
                    match self.disk.make_folder(folder) {
                        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                        // Who else has made it may not have synced it yet.
                        _ => self.disk.sync_folder(split(folder).0)?,
                    }
                }
                self.disk.make(name)
            }
            made => made,
        }
    }

    /// Writes and syncs a file beside `name`, and has `done` give it its name.
    fn write_beside<T>(
        &self,
        name: &str,
        bytes: &[u8],
        done: impl FnOnce(&str) -> io::Result<T>,
    ) -> Result<T> {
        let (beside, mut file) = self.beside(name)?;
        let written = file.write_at(0, bytes).and_then(|()| file.sync()).and_then(|()| done(&beside));
        if written.is_err() {
            // What is left of it is removed when the folder is settled.
            let _ = self.disk.remove(&beside);
        }
        let written = written.map_err(|error| self.failed("writing", name, error))?;
        self.sync_folder(split(name).0)?;
        Ok(written)
    }

    /// As [`Storage::append`]; `settled` says that the file's name is durable if it is there.
    fn append_to(&self, name: &str, length: u64, bytes: &[u8], settled: bool) -> io::Result<()> {
        let (mut file, made) = match self.disk.open(name) {
            Err(error) if error.kind() == ErrorKind::NotFound && length == 0 => (self.make(name)?, true),
            opened => (opened?, false),
        };
        let found = file.length()?;
        if found < length {
            let why = format!("it has {found} bytes of {length} that were written: who has changed it?");
            return Err(io::Error::other(why));
        }
        if found > length {
            file.set_length(length)?;
        }
        if !bytes.is_empty() {
            file.write_at(length, bytes)?;
        }
        file.sync()?;
        if made || !settled {
            self.disk.sync_folder(split(name).0)?;
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> Result<()> {
        self.disk.sync_folder(folder).map_err(|error| self.failed("writing", folder, error))
    }

    fn failed(&self, doing: &str, name: &str, error: io::Error) -> anyhow::Error {
        failed(&*self.disk, doing, name, error)
    }
}

impl Storage for Files {
    fn place(&self) -> String {
        self.disk.place()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_beside(name, bytes, |beside| self.disk.rename(beside, name))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        self.write_beside(name, bytes, |beside| {
            let created = match self.disk.link(beside, name) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
                linked => linked.map(|()| true)?,
            };
            self.disk.remove(beside)?;
            Ok(created)
        })
    }

    fn write(&self, name: &str) -> Result<Box<dyn Writing>> {
        let (beside, file) = self.beside(name)?;
        let disk = Arc::clone(&self.disk);
        Ok(Box::new(LargeFile { disk, file, name: name.to_owned(), beside, length: 0, finished: false }))
    }

    fn appends(&self) -> bool {
        true
    }

    fn append(&self, name: &str, length: u64, bytes: &[u8]) -> Result<()> {
        let mut appended = self.appended.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = appended.take().is_some_and(|appended| appended == name);
        self.append_to(name, length, bytes, settled).map_err(|error| self.failed("writing", name, error))?;
        *appended = Some(name.to_owned());
        Ok(())
    }

    fn read(&self, name: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>> {
        match self.disk.read(name, range) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("reading", name, error)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let items = match self.disk.list(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            items => items.map_err(|error| self.failed("reading", folder, error))?,
        };
        let mut files: Vec<(String, u64)> = items
            .into_iter()
            .filter(|item| !is_unfinished(&item.name))
            .filter_map(|item| Some((join(folder, &item.name), item.length?)))
            .collect();
        files.sort_unstable();
        Ok(files)
    }

    fn remove(&self, name: &str) -> Result<()> {
        match self.disk.remove(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(|error| self.failed("removing", name, error))?,
        }
        self.sync_folder(split(name).0)
    }
}

/// A large file that is being written beside its name.
struct LargeFile {
    disk: Arc<dyn Disk>,
    file: Box<dyn Opened>,
    name: String,
    beside: String,
    length: u64,
    finished: bool,
}

impl Writing for LargeFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_at(self.length, bytes);
        written.map_err(|error| failed(&*self.disk, "writing", &self.name, error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let renamed = self.file.sync().and_then(|()| self.disk.rename(&self.beside, &self.name));
        self.finished = renamed.is_ok();
        renamed
            .and_then(|()| self.disk.sync_folder(split(&self.name).0))
            .map_err(|error| failed(&*self.disk, "writing", &self.name, error))
    }
}

impl Drop for LargeFile {
    fn drop(&mut self) {
        if !self.finished {
            // What is left of it is removed when the folder is settled.
            let _ = self.disk.remove(&self.beside);
        }
    }
}

/// Makes a folder and those above it, each durably.
fn make_folders(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folders(above)?;
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        std::fs::File::open(above)?.sync_all()?;
    }
    Ok(())
}

fn failed(disk: &dyn Disk, doing: &str, name: &str, error: io::Error) -> anyhow::Error {
    let place = disk.place();
    let slash = if name.is_empty() { "" } else { "/" };
    explain(error, doing).context(format!("{doing} {place}{slash}{name}"))
}

/// Says what to do, where the system says what is wrong.
pub(in crate::state) fn explain(error: io::Error, doing: &str) -> anyhow::Error {
    let advice = match error.kind() {
        ErrorKind::StorageFull => "the disk is full: make room and start again",
        ErrorKind::QuotaExceeded => "the disk quota is used up: make room and start again",
        ErrorKind::PermissionDenied if doing == "reading" => {
            "not readable: this user needs the right to read it"
        }
        ErrorKind::PermissionDenied => "not writable: this user needs the right to write it",
        ErrorKind::ReadOnlyFilesystem => "not writable: the file system is read-only",
        ErrorKind::NotADirectory => "a file is where a folder should be",
        ErrorKind::UnexpectedEof => return anyhow!("it is shorter than it was when it was written"),
        ErrorKind::Unsupported => "the file system can't do this, another one is needed",
        _ => return error.into(),
    };
    anyhow::Error::new(error).context(advice)
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}
