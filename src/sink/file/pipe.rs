//! Named pipes: files that exist while somebody reads them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::fault::Fault;
use crate::retry::Retry;

/// The longest wait before it is looked again whether somebody reads.
const LONGEST: Duration = Duration::from_millis(200);

/// True iff a named pipe is there.
pub(super) fn is_one(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Opens a named pipe for writing, once somebody reads it. The system would wait as well, but in a call that nothing ends;
/// opened for reading, too, it would never wait, and never say that its reader has gone.
///
/// # Errors
/// If it can't be opened, or `fault` is raised before somebody reads it.
pub(super) fn open(path: &Path, fault: &Fault) -> Result<File> {
    let shown = path.display();
    let mut retry = Retry::new(fault, LONGEST, None);
    loop {
        let opened = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        match opened {
            Ok(file) => {
                // A write waits for its reader.
                fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))
                    .with_context(|| format!("opening {shown}"))?;
                return Ok(file);
            }
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => {
                retry.wait(&format!("nobody reads the named pipe {shown}"))?;
            }
            Err(error) => return Err(error).with_context(|| format!("opening {shown}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use anyhow::anyhow;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_pipe_is_opened_once_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        assert!(!is_one(&path));
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert!(is_one(&path));
        let read = path.clone();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            File::open(read).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        let mut file = open(&path, &Fault::default()).unwrap();
        file.write_all(b"row").unwrap();
        drop(file);
        assert_eq!(reader.join().unwrap(), "row");
    }

    #[test]
    fn a_pipe_that_nobody_reads_does_not_hold_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let fault = Fault::default();
        fault.raise(anyhow!("no space left"));
        assert!(open(&path, &fault).is_err());
    }
}
