//! A disk in memory, for tests: it loses at a crash what was not synced, as its seed says, and fails on demand.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};

use super::disk::{Disk, Item, Opened};

/// A disk in memory. Clones share it.
///
/// Whatever is not synced may be lost at a crash, on its own: each change of a name, and each write of bytes as a whole
/// or in sectors, of which any may be kept, lost or filled with something else.
#[derive(Clone)]
pub struct FakeDisk(Arc<Shared>);

/// Called before each operation, which fails with its error.
pub type Hook = Arc<dyn Fn(&Step<'_>) -> io::Result<()> + Send + Sync>;

/// An operation that is about to be done.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// How many there were before it.
    pub number: u64,
    /// What it does.
    pub kind: Kind,
    /// To which file or folder; for two names of a file, the one that it gets.
    pub name: &'a str,
}

/// What an operation does. Looking (reading, listing, lengths) is no operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Disk::make`]
    Make,
    /// [`Disk::open`]
    Open,
    /// [`Disk::make_folder`]
    MakeFolder,
    /// [`Disk::rename`]
    Rename,
    /// [`Disk::link`]
    Link,
    /// [`Disk::remove`]
    Remove,
    /// [`Disk::sync_folder`]
    SyncFolder,
    /// [`Opened::set_length`]
    SetLength,
    /// [`Opened::write_at`]
    Write,
    /// [`Opened::sync`]
    Sync,
}

struct Shared {
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
}

struct State {
    rng: StdRng,
    /// Operations so far.
    steps: u64,
    /// Crashes so far: what was opened before the last is of no use.
    crashes: u64,
    /// Operations that are done before all fail.
    power: Option<u64>,
    /// Bytes that can be written before the disk is full.
    room: Option<u64>,
    /// All files, by number.
    files: Vec<File>,
    /// Names as they are seen.
    names: BTreeMap<String, Node>,
    /// Names as they would be after a crash that loses whatever can be lost.
    durable: BTreeMap<String, Node>,
    /// What has been done to names since their folder was synced, in order.
    unsynced: Vec<Change>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    /// The file of this number.
    File(usize),
}

/// What an operation does to the names of a folder: all of it is kept or lost.
struct Change {
    folder: String,
    names: Vec<(String, Option<Node>)>,
}

/// The bytes of a file.
#[derive(Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

enum Write {
    At(u64, Vec<u8>),
    Length(u64),
}

impl FakeDisk {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            steps: 0,
            crashes: 0,
            power: None,
            room: None,
            files: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            unsynced: Vec::new(),
        };
        FakeDisk(Arc::new(Shared { state: Mutex::new(state), hook: Mutex::default() }))
    }

    /// Crashes: what was not synced is lost, or kept, or torn; full disks and lost power are mended; what was opened
    /// is of no use any more.
    pub fn crash(&self) {
        let mut state = self.lock();
        let State { rng, files, names, durable, unsynced, .. } = &mut *state;
        for change in unsynced.drain(..) {
            if rng.random_bool(0.5) {
                apply(durable, change.names);
            }
        }
        // What is in a lost folder is lost, too: parents come before what is in them.
        names.clear();
        for (name, node) in durable.iter() {
            if names.get(folder_of(name)) == Some(&Node::Folder) || folder_of(name).is_empty() {
                names.insert(name.clone(), *node);
            }
        }
        durable.clone_from(names);
        for file in files {
            file.crash(rng);
        }
        state.crashes += 1;
        state.power = None;
        state.room = None;
    }

    /// From now on, all operations after this many fail, as if the power were off, until the next crash.
    pub fn power_off_after(&self, steps: u64) {
        self.lock().power = Some(steps);
    }

    /// The disk is full once this many more bytes are written; with `None`, it never is.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// From now on, this is called before each operation. It may use the disk, and crash it.
    pub fn set_hook(&self, hook: Option<Hook>) {
        *self.0.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Operations so far.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, when an operation may be done.
    fn step(&self, kind: Kind, name: &str) -> io::Result<MutexGuard<'_, State>> {
        let number = self.lock().steps;
        let hook = self.0.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(&Step { number, kind, name })?;
        }
        let mut state = self.lock();
        state.steps += 1;
        if let Some(power) = &mut state.power {
            *power = power.checked_sub(1).ok_or_else(|| io::Error::other("the power is off"))?;
        }
        Ok(state)
    }

    fn opened(&self, name: &str, number: usize, crashes: u64) -> Box<dyn Opened> {
        Box::new(OpenedFake { disk: self.clone(), name: name.to_owned(), number, crashes })
    }
}

impl State {
    fn file(&self, name: &str) -> io::Result<usize> {
        match self.names.get(name) {
            Some(Node::File(number)) => Ok(*number),
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Does a change to the names of a folder that is there.
    fn change(&mut self, folder: &str, names: Vec<(String, Option<Node>)>) -> io::Result<()> {
        match self.names.get(folder) {
            Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            None if !folder.is_empty() => return Err(ErrorKind::NotFound.into()),
            Some(Node::Folder) | None => {}
        }
        apply(&mut self.names, names.clone());
        self.unsynced.push(Change { folder: folder.to_owned(), names });
        Ok(())
    }

    fn add(&mut self, name: &str, node: Node) -> io::Result<()> {
        if self.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.change(folder_of(name), vec![(name.to_owned(), Some(node))])
    }
}

impl Disk for FakeDisk {
    fn place(&self) -> String {
        "fake".to_owned()
    }

    fn make(&self, name: &str) -> io::Result<Box<dyn Opened>> {
        let mut state = self.step(Kind::Make, name)?;
        let number = state.files.len();
        state.add(name, Node::File(number))?;
        state.files.push(File::default());
        Ok(self.opened(name, number, state.crashes))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Opened>> {
        let state = self.step(Kind::Open, name)?;
        Ok(self.opened(name, state.file(name)?, state.crashes))
    }

    fn read(&self, name: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
        let state = self.lock();
        let bytes = &state.files[state.file(name)?].now;
        let Some(range) = range else { return Ok(bytes.clone()) };
        let part = bytes.get(range.start as usize..range.end as usize);
        Ok(part.ok_or(ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Item>> {
        let state = self.lock();
        if !folder.is_empty() && !state.names.contains_key(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = state.names.iter().filter(|(name, _)| folder_of(name) == folder);
        let item = |(name, node): (&String, &Node)| Item {
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            length: match node {
                Node::Folder => None,
                Node::File(number) => Some(state.files[*number].now.len() as u64),
            },
        };
        Ok(inside.map(item).collect())
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.step(Kind::MakeFolder, folder)?.add(folder, Node::Folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step(Kind::Rename, to)?;
        let number = state.file(from)?;
        let names = vec![(from.to_owned(), None), (to.to_owned(), Some(Node::File(number)))];
        state.change(folder_of(to), names)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step(Kind::Link, to)?;
        let number = state.file(from)?;
        state.add(to, Node::File(number))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.step(Kind::Remove, name)?;
        state.file(name)?;
        state.change(folder_of(name), vec![(name.to_owned(), None)])
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.step(Kind::SyncFolder, folder)?;
        let (synced, unsynced) =
            std::mem::take(&mut state.unsynced).into_iter().partition(|change| change.folder == folder);
        state.unsynced = unsynced;
        let synced: Vec<Change> = synced;
        for change in synced {
            apply(&mut state.durable, change.names);
        }
        Ok(())
    }
}

/// A file of a fake disk.
struct OpenedFake {
    disk: FakeDisk,
    name: String,
    number: usize,
    /// How many crashes there had been when it was opened.
    crashes: u64,
}

impl OpenedFake {
    fn step(&self, kind: Kind) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.step(kind, &self.name)?;
        if state.crashes > self.crashes {
            return Err(io::Error::other("the machine has crashed since the file was opened"));
        }
        Ok(state)
    }
}

impl Opened for OpenedFake {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.number].now.len() as u64)
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.step(Kind::SetLength)?.files[self.number].write(Write::Length(length));
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.step(Kind::Write)?;
        let fitting = state.room.map_or(bytes.len(), |room| bytes.len().min(room as usize));
        state.room = state.room.map(|room| room - fitting as u64);
        state.files[self.number].write(Write::At(offset, bytes[..fitting].to_vec()));
        if fitting < bytes.len() { Err(Errno::ENOSPC.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.step(Kind::Sync)?.files[self.number].sync();
        Ok(())
    }
}

impl File {
    fn write(&mut self, write: Write) {
        write.apply(&mut self.now);
        self.unsynced.push(write);
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.unsynced.clear();
    }

    fn crash(&mut self, rng: &mut StdRng) {
        let sector = *[1, 16, 512, 4096].choose(rng).expect("there are some");
        for write in std::mem::take(&mut self.unsynced) {
            match (rng.random_range(0..3), write) {
                (0, _) => {}
                (1, Write::At(offset, bytes)) => {
                    for write in torn(offset, &bytes, sector, self.durable.len() as u64, rng) {
                        write.apply(&mut self.durable);
                    }
                }
                (_, write) => write.apply(&mut self.durable),
            }
        }
        self.now.clone_from(&self.durable);
    }
}

/// The sectors of a write that are kept. Some that are not are filled with something else, if they are beyond the
/// file's durable `length`.
fn torn(offset: u64, bytes: &[u8], sector: u64, length: u64, rng: &mut StdRng) -> Vec<Write> {
    let mut kept = Vec::new();
    let mut start = offset;
    let end = offset + bytes.len() as u64;
    while start < end {
        let next = end.min((start / sector + 1) * sector);
        let mut part = bytes[(start - offset) as usize..(next - offset) as usize].to_vec();
        let fate = rng.random_range(0..4);
        if fate == 0 && start >= length {
            rng.fill_bytes(&mut part);
        }
        if fate != 1 {
            kept.push(Write::At(start, part));
        }
        start = next;
    }
    kept
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Write::Length(length) => to.resize(*length as usize, 0),
            Write::At(offset, bytes) => {
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[start..end].copy_from_slice(bytes);
            }
        }
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: Vec<(String, Option<Node>)>) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name, node),
            None => names.remove(&name),
        };
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}
