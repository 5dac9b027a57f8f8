//! What can go wrong with a store, each with what to do about it.
//!
//! Every message is a fragment that fits "failed to ..."; the hint says what to type or check next.
//! None of these is ever answered by replacing, wiping or shortening the file.

use std::fmt;
use std::path::PathBuf;

use meanwhile_core::LaneName;

use crate::identity::Identity;

/// Why the store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is none yet; only a reader says this, the writer makes one.
    Missing { path: PathBuf },
    /// It cannot be opened or is not a store.
    Unreadable { path: PathBuf, why: String },
    /// Its content contradicts itself. The file is kept as it is.
    Damaged { path: PathBuf, what: String },
    /// A newer release wrote it.
    Newer { path: PathBuf, found: u32, supported: u32 },
    /// An older release wrote it and a reader may not change it; the next daemon migrates it.
    Older { path: PathBuf, found: u32, needed: u32 },
    /// An older release wrote it and it could not be migrated; nothing was changed.
    Migration { path: PathBuf, from: u32, to: u32, backup: Option<PathBuf>, why: String },
    /// It belongs to another machine or pid namespace.
    Foreign { path: PathBuf, recorded: Box<Identity>, here: Box<Identity> },
    /// No space left. Nothing of the batch was kept, and the store goes on working: commit again
    /// once space was made.
    Full { path: PathBuf },
    /// Reading or writing failed. The connection is not to be trusted any more: whether the last
    /// batch was kept is unknown until `reopen`, and everything is to be loaded anew after it.
    Io { path: PathBuf, what: String },
    /// Another process held its lock for too long. Nothing was kept; trying again is fine.
    Busy { path: PathBuf },
    /// The batch cannot be about this store: a fact about a task or attempt that it does not have, or
    /// a task or idempotency key that it has already. Nothing was kept. Either a bug, or the rows
    /// were changed behind our back.
    Contradiction { path: PathBuf, what: String },
    /// Another host decided about this lane in the meantime. Nothing was kept; decide again.
    Conflict { lane: LaneName },
}

impl StoreError {
    /// What to do about it, for people; one line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } => {
                vec!["nothing has been run here yet: meanwhile run -- CMD".into()]
            }
            Self::Unreadable { path, .. } => vec![
                format!("check the owner and mode of {} and of its directory", path.display()),
                "meanwhile doctor says more; the file is left as it is".into(),
            ],
            Self::Damaged { path, .. } => recovery(path),
            Self::Newer { .. } => {
                vec!["use the newer meanwhile that wrote it; nothing was changed".into()]
            }
            Self::Older { .. } => {
                vec!["meanwhile daemon start migrates it and keeps a copy".into()]
            }
            Self::Migration { backup, .. } => vec![backup.as_ref().map_or_else(
                || "nothing was changed; meanwhile doctor says more".into(),
                |b| format!("nothing was changed; a copy from before is {}", b.display()),
            )],
            Self::Foreign { .. } => vec![
                "a home is used by one machine and one container at a time: use --home DIR".into(),
                "if the machine was renewed: meanwhile doctor".into(),
            ],
            Self::Full { path } => vec![format!(
                "make space on the file system of {}; running tasks go on",
                path.display()
            )],
            Self::Io { .. } => {
                vec!["check the disk (dmesg); meanwhile doctor checks the store".into()]
            }
            Self::Busy { path } => {
                vec![format!("another process has {} locked: see fuser", path.display())]
            }
            Self::Contradiction { .. } => vec!["meanwhile doctor checks the store".into()],
            Self::Conflict { .. } => vec!["try again".into()],
        }
    }
}

fn recovery(path: &std::path::Path) -> Vec<String> {
    let p = path.display();
    vec![
        "the file is kept as it is and nothing starts until it can be read".into(),
        format!("keep a copy: cp -a {p} {p}-wal {p}-shm SOMEWHERE"),
        format!("save what can be read: sqlite3 {p} .recover | sqlite3 {p}.recovered"),
        format!("then put it in place: mv {p}.recovered {p} (and remove {p}-wal, {p}-shm)"),
        format!("or begin anew: mv {p}* SOMEWHERE (running tasks are then stopped by doctor)"),
    ]
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "find the store {}", path.display()),
            Self::Unreadable { path, why } => write!(f, "open the store {}: {why}", path.display()),
            Self::Damaged { path, what } => {
                write!(f, "read the damaged store {}: {what}", path.display())
            }
            Self::Newer { path, found, supported } => write!(
                f,
                "open the store {} of a newer release: its layout is {found}, known is up to {supported}",
                path.display()
            ),
            Self::Older { path, found, needed } => write!(
                f,
                "read the store {} of an older release: its layout is {found}, needed is {needed}",
                path.display()
            ),
            Self::Migration { path, from, to, why, .. } => {
                write!(f, "migrate the store {} from layout {from} to {to}: {why}", path.display())
            }
            Self::Foreign { path, recorded, here } => write!(
                f,
                "open the store {}: it belongs to machine {} (pid namespace {}) and this is machine \
                 {} (pid namespace {})",
                path.display(),
                recorded.machine,
                recorded.pid_namespace,
                here.machine,
                here.pid_namespace
            ),
            Self::Full { path } => {
                write!(f, "write the store {}: no space left on device", path.display())
            }
            Self::Io { path, what } => write!(f, "use the store {}: {what}", path.display()),
            Self::Busy { path } => {
                write!(f, "lock the store {}: another process holds it", path.display())
            }
            Self::Contradiction { path, what } => {
                write!(f, "write the store {}: {what}", path.display())
            }
            Self::Conflict { lane } => {
                write!(f, "claim a seat of lane {lane}: another host changed the lane first")
            }
        }
    }
}

impl std::error::Error for StoreError {}
