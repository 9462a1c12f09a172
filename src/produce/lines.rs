//! The lines of files and of standard input, read ahead by a thread of their own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use crossbeam_channel::{Receiver, Sender, bounded};

/// Bytes in the longest line. Kafka's brokers take no request of more than 100 MiB, unless told to.
pub const LONGEST: usize = 100_000_000;
/// Bytes read at a time.
const BLOCK: usize = 256 << 10;
/// Blocks read ahead.
const AHEAD: usize = 4;

/// Where lines come from.
pub struct Source {
    /// For messages: as the user typed it.
    pub name: String,
    /// How many bytes it holds, where that is known before.
    pub bytes: Option<u64>,
    kind: Kind,
}

enum Kind {
    Stdin,
    /// Opened again when its turn comes: there may be more of them than a process may have open.
    File(PathBuf),
    /// What can't be opened twice: a pipe, or a device.
    Open(File),
}

impl Source {
    /// Opens a file, to see that it can be read; `-` is standard input.
    ///
    /// # Errors
    /// If it can't be opened or is a directory.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        if name == "-" {
            if io::stdin().is_terminal() {
                tracing::info!("reading lines from the terminal; Ctrl-D ends them");
            }
            return Ok(Source { name: "standard input".to_owned(), bytes: None, kind: Kind::Stdin });
        }
        let file = File::open(path).with_context(|| format!("opening {name}"))?;
        let metadata = file.metadata().with_context(|| format!("opening {name}"))?;
        if metadata.is_dir() {
            bail!("opening {name}: it is a directory, not a file of lines");
        }
        Ok(if metadata.is_file() {
            Source { name, bytes: Some(metadata.len()), kind: Kind::File(path.to_owned()) }
        } else {
            Source { name, bytes: None, kind: Kind::Open(file) }
        })
    }

    fn reader(self) -> io::Result<Box<dyn Read>> {
        Ok(match self.kind {
            Kind::Stdin => Box::new(io::stdin().lock()),
            Kind::File(path) => Box::new(File::open(path)?),
            Kind::Open(file) => Box::new(file),
        })
    }
}

/// Lines of one source that follow each other.
pub struct Chunk {
    /// The source's index.
    pub source: usize,
    /// Whole lines with their ends; the source's last line may have none.
    pub bytes: Vec<u8>,
}

/// Why a source, given by its index, can't be read on: after the lines that came before.
pub type Failure = (usize, io::Error);

/// Starts to read the sources, one after the other. Lines arrive as soon as they are there. The first error ends it.
///
/// # Errors
/// If the thread can't be started.
pub fn read(sources: Vec<Source>) -> Result<Receiver<Result<Chunk, Failure>>> {
    let (sender, chunks) = bounded(AHEAD);
    std::thread::Builder::new().name("cutwater:lines".into()).spawn(move || {
        for (index, source) in sources.into_iter().enumerate() {
            match read_one(source, index, &sender) {
                Ok(false) => return,
                Ok(true) => {}
                Err(error) => {
                    let _ = sender.send(Err((index, error)));
                    return;
                }
            }
        }
    })?;
    Ok(chunks)
}

/// False if nobody wants more.
fn read_one(source: Source, index: usize, sender: &Sender<Result<Chunk, Failure>>) -> io::Result<bool> {
    let mut reader = BufReader::with_capacity(BLOCK, source.reader()?);
    loop {
        let mut bytes = Vec::new();
        read_lines(&mut reader, &mut bytes, LONGEST)?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if sender.send(Ok(Chunk { source: index, bytes })).is_err() {
            return Ok(false);
        }
    }
}

/// Reads the lines that are there, at least one, and no more than the reader holds; nothing at the end. What follows
/// the last line end is left for the next call, or is the last line.
///
/// # Errors
/// If the reader fails, or a line is longer than `longest`. What was read of the line is no line.
fn read_lines(reader: &mut impl BufRead, into: &mut Vec<u8>, longest: usize) -> io::Result<()> {
    loop {
        let block = match reader.fill_buf() {
            Ok(block) => block,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if block.is_empty() {
            return Ok(());
        }
        let end = block.iter().rposition(|&byte| byte == b'\n');
        let take = end.map_or(block.len(), |end| end + 1);
        into.extend_from_slice(&block[..take]);
        reader.consume(take);
        if end.is_some() {
            return Ok(());
        }
        if into.len() > longest {
            return Err(io::Error::other(format!("the line has more than {longest} bytes")));
        }
    }
}

/// The lines, without their ends.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `text`, read in blocks of this size.
    fn lines(text: &[u8], block: usize) -> Vec<Vec<u8>> {
        let mut reader = BufReader::with_capacity(block, text);
        let mut all = Vec::new();
        loop {
            let mut bytes = Vec::new();
            read_lines(&mut reader, &mut bytes, 1000).unwrap();
            if bytes.is_empty() {
                return all;
            }
            all.extend(split(&bytes).map(<[u8]>::to_vec));
        }
    }

    #[test]
    fn lines_are_the_same_for_every_block_size() {
        let cases: [(&[u8], &[&[u8]]); 7] = [
            (b"", &[]),
            (b"\n", &[b""]),
            (b"a", &[b"a"]),
            (b"a\nbc\n", &[b"a", b"bc"]),
            (b"\n\na\n\nlast", &[b"", b"", b"a", b"", b"last"]),
            (b"a\r\nb\r", &[b"a\r", b"b\r"]),
            (b"\xff\x00\n\xc3\n", &[b"\xff\x00", b"\xc3"]),
        ];
        for (text, wanted) in cases {
            for block in 1..10 {
                assert_eq!(lines(text, block), wanted, "{text:?} in blocks of {block}");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_after_those_before_it() {
        let mut reader = BufReader::with_capacity(2, &b"ab\ncdefgh\n"[..]);
        let mut bytes = Vec::new();
        read_lines(&mut reader, &mut bytes, 3).unwrap();
        assert_eq!(bytes, b"ab\n");
        bytes.clear();
        let error = read_lines(&mut reader, &mut bytes, 3).unwrap_err();
        assert_eq!(error.to_string(), "the line has more than 3 bytes");
    }

    #[test]
    fn sources_follow_each_other_and_the_first_error_ends_them() {
        let dir = tempfile::tempdir().unwrap();
        let source = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Source::open(&path).unwrap()
        };
        let sources = vec![source("a", "1\n2"), source("b", ""), source("c", "3\n"), source("d", "4\n")];
        assert_eq!(sources.iter().map(|source| source.bytes.unwrap()).sum::<u64>(), 7);
        std::fs::remove_file(dir.path().join("d")).unwrap();
        let mut texts = vec![Vec::new(); 3];
        let mut chunks = read(sources).unwrap().into_iter();
        let (last, error) = loop {
            match chunks.next().expect("the error comes first") {
                Ok(chunk) => texts[chunk.source].extend(chunk.bytes),
                Err(failure) => break failure,
            }
        };
        assert_eq!(texts, [&b"1\n2"[..], b"", b"3\n"]);
        assert_eq!((last, chunks.count()), (3, 0));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = Source::open(dir.path()).err().unwrap();
        assert!(format!("{error:#}").contains("is a directory"), "{error:#}");
        let missing = dir.path().join("missing");
        let error = Source::open(&missing).err().unwrap();
        assert!(format!("{error:#}").contains(missing.to_str().unwrap()), "{error:#}");
    }
}
