//! What is due by other routes, and what became of it: a file of the home.
//!
//! Owns `routes/ledger.json` and its lock, which one courier holds at a time. Written beside and renamed over, synced
//! before anything follows from it. Bounded in every part: what does not fit is given up on record. Holds ids, no
//! text of any task and no address.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};

use meanwhile_host::dir::{Dir, DirError};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

const DIRECTORY: &str = "routes";
const FILE: &str = "ledger.json";
const NEW: &str = "ledger.new";
const DAMAGED: &str = "ledger.damaged";
const LOCK: &str = "lock";

/// A ledger as full as it gets is a tenth of this.
const FILE_BYTES: u64 = 64 << 20;
/// Notices that wait for the last of their scope.
const STORED: usize = 10_000;
/// Notices that wait for one way.
const WAITING: usize = 1_000;
/// Notices of one delivery.
const TOGETHER: usize = 100;
/// Deliveries that were given up and are remembered.
const REMEMBERED: usize = 50;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Everything in the event log up to this number was looked at.
    pub(super) cursor: u64,
    /// Notices that nobody is told of yet, by id.
    #[serde(default)]
    pub(super) stored: VecDeque<String>,
    /// What is to be delivered; the order within a way is that of delivery.
    #[serde(default)]
    pub(super) due: Vec<Delivery>,
    /// What was given up, the latest last.
    #[serde(default)]
    pub(super) given_up: VecDeque<GivenUp>,
    /// When each way last worked, in milliseconds since 1970.
    #[serde(default)]
    pub(super) worked_at: std::collections::BTreeMap<String, i64>,
}

/// One message for one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// The key of its way.
    pub(super) way: String,
    /// The same for every try.
    pub(super) id: String,
    /// Ids of notices.
    pub(super) notices: Vec<String>,
    /// Tries begun.
    #[serde(default)]
    pub(super) tries: u32,
    /// When it was made, in milliseconds since 1970.
    pub(super) made_at: i64,
    /// When it is tried next.
    pub(super) next_at: i64,
    /// What the last try came to.
    #[serde(default)]
    pub(super) problem: Option<String>,
}

/// A message that was not delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct GivenUp {
    pub(super) way: String,
    pub(super) id: String,
    pub(super) notices: usize,
    pub(super) tries: u32,
    pub(super) at: i64,
    pub(super) problem: String,
}

/// The ledger's place, held alone.
#[derive(Debug)]
pub(super) struct Book {
    directory: Dir,
    _lock: File,
}

impl Book {
    /// Opens it, once nobody else has it.
    pub(super) fn open(state: &Dir) -> io::Result<Self> {
        let directory = state.subdir(DIRECTORY).map_err(told)?;
        let lock = directory.open_or_create_file(LOCK)?;
        // Its holder ends in bounded time, and so does the wait.
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { directory, _lock: lock })
    }

    /// What is written; none where nothing is yet. What cannot be read is put aside and begun anew.
    pub(super) fn read(&self) -> io::Result<Option<Ledger>> {
        let Some(text) = text_of(&self.directory)? else { return Ok(None) };
        match serde_json::from_slice(&text) {
            Ok(ledger) => Ok(Some(ledger)),
            Err(_) => {
                self.directory.rename_file(FILE, DAMAGED)?;
                Ok(None)
            }
        }
    }

    /// Puts it on disk.
    pub(super) fn write(&self, ledger: &Ledger) -> io::Result<()> {
        let text = serde_json::to_vec(ledger).map_err(io::Error::other)?;
        self.directory.remove_file(NEW)?;
        let mut file = self.directory.create_new_file(NEW)?;
        file.write_all(&text)?;
        file.sync_all()?;
        self.directory.rename_file(NEW, FILE)?;
        self.directory.sync()
    }
}

/// Begins a ledger after this event, if there is none: what was told before routes were set is told by none of them.
pub(super) fn begin(state: &Dir, after: u64) -> io::Result<()> {
    let book = Book::open(state)?;
    match book.read()? {
        Some(_) => Ok(()),
        None => book.write(&Ledger { cursor: after, ..Ledger::default() }),
    }
}

/// Forgets everything: no route is set any more.
pub(super) fn forget(state: &Dir) -> io::Result<()> {
    match peek(state)? {
        None => Ok(()),
        Some(_) => Book::open(state)?.directory.remove_file(FILE),
    }
}

/// What is written, for whoever only looks.
pub(super) fn peek(state: &Dir) -> io::Result<Option<Ledger>> {
    let Ok(directory) = Dir::open(&state.path().join(DIRECTORY), &[]) else { return Ok(None) };
    Ok(text_of(&directory)?.and_then(|text| serde_json::from_slice(&text).ok()))
}

fn text_of(directory: &Dir) -> io::Result<Option<Vec<u8>>> {
    let file = match directory.open_file(FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut text)?;
    Ok(Some(text))
}

fn told(error: DirError) -> io::Error {
    io::Error::other(error.to_string())
}

impl Ledger {
    /// A notice that is not told yet.
    pub(super) fn store(&mut self, id: String) {
        self.stored.push_back(id);
        if self.stored.len() > STORED {
            self.stored.pop_front();
        }
    }

    /// A notice is to be told by this way, with others that no try was made of yet.
    pub(super) fn add(
        &mut self,
        way: &str,
        id: &str,
        now: i64,
        next_at: i64,
        fresh: &mut dyn FnMut() -> String,
    ) {
        let of_way = || self.due.iter().filter(|delivery| delivery.way == way);
        if of_way().any(|delivery| delivery.notices.iter().any(|known| known == id)) {
            return;
        }
        let waiting: usize = of_way().map(|delivery| delivery.notices.len()).sum();
        if waiting >= WAITING
            && let Some(oldest) = self.due.iter().position(|delivery| delivery.way == way)
        {
            self.give_up(oldest, now, "too many wait before it");
        }
        let open = |d: &&mut Delivery| d.way == way && d.tries == 0 && d.notices.len() < TOGETHER;
        match self.due.iter_mut().find(open) {
            Some(delivery) => delivery.notices.push(id.to_owned()),
            None => self.due.push(Delivery {
                way: way.to_owned(),
                id: fresh(),
                notices: vec![id.to_owned()],
                tries: 0,
                made_at: now,
                next_at,
                problem: None,
            }),
        }
    }

    /// Takes one out as not delivered.
    pub(super) fn give_up(&mut self, index: usize, now: i64, problem: &str) {
        let Delivery { way, id, notices, tries, made_at: _, next_at: _, problem: last } =
            self.due.remove(index);
        let problem = last.unwrap_or_else(|| problem.to_owned());
        self.given_up.push_back(GivenUp {
            way,
            id,
            notices: notices.len(),
            tries,
            at: now,
            problem,
        });
        while self.given_up.len() > REMEMBERED {
            self.given_up.pop_front();
        }
    }

    /// The first that is due by this way: it is delivered before the next is looked at.
    pub(super) fn head(&self, way: &str) -> Option<usize> {
        self.due.iter().position(|delivery| delivery.way == way)
    }
}
