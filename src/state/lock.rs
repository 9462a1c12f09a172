//! The lock of a state folder: one run at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};

use super::storage::files::explain;

/// The file that is locked.
const FILE: &str = "lock";

/// Held, no other process can take the lock of the folder. The system releases it when the process ends, however
/// that comes about.
#[derive(Debug)]
pub struct Lock {
    /// Locked while it is open. It stays where it is: a file that is removed could be locked by one and made by another.
    _file: File,
}

impl Lock {
    /// Takes the lock of a folder that is there.
    ///
    /// # Errors
    /// If another has it: the error names it. If the folder can't be written, or can't be locked.
    pub fn take(folder: &str) -> Result<Lock> {
        let path = Path::new(folder).join(FILE);
        let shown = path.display();
        // Not truncated: it says who has the lock.
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file =
            open.map_err(|error| explain(error, "writing")).with_context(|| format!("writing {shown}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // It may be about to be written.
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.is_empty() { "another process" } else { holder.trim_end() };
                bail!("the state {folder} is in use by {holder}: end that run first, or use another folder")
            }
            Err(TryLockError::Error(error)) => {
                return Err(
                    anyhow!(error).context(format!("locking {shown}: the file system must support it"))
                );
            }
        }
        let host = nix::unistd::gethostname().map(|host| host.to_string_lossy().into_owned());
        let host = host.unwrap_or_else(|_| "unknown".to_owned());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {} on host {host}", std::process::id()))
            .map_err(|error| explain(error, "writing"))
            .with_context(|| format!("writing {shown}"))?;
        Ok(Lock { _file: file })
    }
}

impl Lock {
    /// Who has the lock of a folder, if anybody has it now. It is not taken, but for the moment of the look.
    pub fn holder(folder: &Path) -> Option<String> {
        let mut file = File::open(folder.join(FILE)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            _ => return None,
        }
        let mut holder = String::new();
        // It may be about to be written.
        let _ = file.read_to_string(&mut holder);
        Some(if holder.is_empty() { "another process".to_owned() } else { holder.trim_end().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_the_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let lock = Lock::take(folder).unwrap();
        let error = format!("{:#}", Lock::take(folder).unwrap_err());
        for text in [folder, "in use", &format!("process {}", std::process::id()), "on host "] {
            assert!(error.contains(text), "{text} in {error}");
        }
        assert!(Lock::holder(Path::new(folder)).unwrap().starts_with("process "));
        drop(lock);
        assert_eq!(Lock::holder(Path::new(folder)), None);
        Lock::take(folder).unwrap();
    }
}
