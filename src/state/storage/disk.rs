//! What a folder's files are made of: the few operations of a file system that crashes are about.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// The operations of a file system within one folder. Names are paths with `/`, relative to it; the folder itself is
/// the empty name.
///
/// Nothing is durable before it is synced: the bytes of a file by [`Opened::sync`], its name by
/// [`Disk::sync_folder`] on the folder that it is in.
pub trait Disk: Send + Sync {
    /// Where the folder is, as the user typed it.
    fn place(&self) -> String;

    /// Makes an empty file.
    ///
    /// # Errors
    /// `AlreadyExists`, and what the system says.
    fn make(&self, name: &str) -> io::Result<Box<dyn Opened>>;

    /// Opens a file for writing.
    ///
    /// # Errors
    /// `NotFound`, and what the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn Opened>>;

    /// The bytes of a file, or a range of them.
    ///
    /// # Errors
    /// `NotFound`, `UnexpectedEof` if it is shorter than the range, and what the system says.
    fn read(&self, name: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>>;

    /// What is in a folder, in no particular order.
    ///
    /// # Errors
    /// `NotFound`, and what the system says.
    fn list(&self, folder: &str) -> io::Result<Vec<Item>>;

    /// Makes a folder in one that is there.
    ///
    /// # Errors
    /// `AlreadyExists`, and what the system says.
    fn make_folder(&self, folder: &str) -> io::Result<()>;

    /// Gives a file another name in its folder, in place of one that has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a second name in its folder.
    ///
    /// # Errors
    /// `AlreadyExists`, and what the system says.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// `NotFound`, and what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names in a folder durable: those that were made, and those that were removed.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// A file that is open for writing.
pub trait Opened: Send {
    /// Its length, in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts it to this length, or lengthens it by zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_length(&mut self, length: u64) -> io::Result<()>;

    /// Writes all of the bytes.
    ///
    /// # Errors
    /// What the system says; some of them may be written then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes its bytes and its length durable.
    ///
    /// # Errors
    /// What the system says. Then nothing is known of what was written since the last time.
    fn sync(&mut self) -> io::Result<()>;
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name, without the folder's.
    pub name: String,
    /// Its length, in bytes; `None` for a folder.
    pub length: Option<u64>,
}

/// A folder of the system's.
pub struct Folder {
    place: String,
    path: PathBuf,
}

impl Folder {
    /// The folder of this name, as the user typed it.
    pub fn new(place: &str) -> Self {
        Folder { place: place.trim_end_matches('/').to_owned(), path: PathBuf::from(place) }
    }

    fn path(&self, name: &str) -> PathBuf {
        // Joining the empty name would add a slash.
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }
}

impl Disk for Folder {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn make(&self, name: &str) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(self.path(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(OpenOptions::new().write(true).open(self.path(name))?))
    }

    fn read(&self, name: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
        let Some(range) = range else { return fs::read(self.path(name)) };
        let file = File::open(self.path(name))?;
        // Before memory is taken for it.
        if file.metadata()?.len() < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            let entry = entry?;
            // None of ours is anything but text.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let length = if entry.file_type()?.is_dir() {
                None
            } else {
                match fs::metadata(entry.path()) {
                    Ok(metadata) => Some(metadata.len()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            };
            items.push(Item { name, length });
        }
        Ok(items)
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        fs::create_dir(self.path(folder))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }
}

impl Opened for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
