//! The store that outlives the daemon, and what goes wrong with it.
//!
//! Owns the real store under test, the full disk, and the knowledge whether a commit that failed was kept
//! all the same. Never folds a fact itself.

use meanwhile_store::{
    Identity, MemoryFault, MemoryStore, Reader, SqliteReader, SqliteStore, Store,
};

/// Room that the daemon keeps back for a full disk, in bytes of the memory store: some 300 facts.
const RESERVE: u64 = 60_000;

/// Which store a run uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The store in memory, which can be full and fail on demand.
    #[default]
    Memory,
    /// The real one, in a temporary directory.
    Sqlite,
}

#[derive(Debug)]
enum Kind {
    Memory(MemoryStore),
    Sqlite(tempfile::TempDir),
}

/// One disk.
#[derive(Debug)]
pub(super) struct Disk {
    kind: Kind,
    /// What the next commit is made to do.
    fault: Option<MemoryFault>,
    /// Less space than new work needs.
    pub(super) full: bool,
    /// Whether that can be seen before a write fails.
    pub(super) seen: bool,
    reserve: bool,
}

pub(super) fn identity(boot: u32) -> Identity {
    Identity { machine: "simulated".into(), pid_namespace: 1, boot: format!("boot {boot}") }
}

impl Disk {
    pub(super) fn new(backend: Backend) -> Self {
        let kind = match backend {
            Backend::Memory => Kind::Memory(MemoryStore::new(identity(1))),
            Backend::Sqlite => {
                Kind::Sqlite(tempfile::tempdir().expect("a temporary directory can be made"))
            }
        };
        Self { kind, fault: None, full: false, seen: false, reserve: false }
    }

    /// The writer's handle of a new daemon.
    pub(super) fn open(&self, boot: u32) -> Box<dyn Store> {
        match &self.kind {
            Kind::Memory(store) => {
                let mut store =
                    store.opened_at(&identity(boot)).expect("it never left its machine");
                store.reopen().expect("memory can be opened");
                Box::new(store)
            }
            Kind::Sqlite(dir) => {
                let path = dir.path().join("meanwhile.db");
                Box::new(SqliteStore::open(&path, &identity(boot)).expect("the store opens"))
            }
        }
    }

    pub(super) fn reader(&self) -> Box<dyn Reader> {
        match &self.kind {
            Kind::Memory(store) => Box::new(store.clone()),
            Kind::Sqlite(dir) => {
                let path = dir.path().join("meanwhile.db");
                Box::new(SqliteReader::open(&path).expect("the store can be read"))
            }
        }
    }

    /// Has the next commit fail. False where the store cannot be made to.
    pub(super) fn arm(&mut self, fault: MemoryFault) -> bool {
        let Kind::Memory(store) = &self.kind else { return false };
        store.fail_next_commit(fault);
        self.fault = Some(fault);
        true
    }

    /// After a commit that failed with `Io`: whether it was kept.
    pub(super) const fn was_kept(&mut self) -> bool {
        matches!(self.fault.take(), Some(MemoryFault::IoKept))
    }

    /// After a commit that worked, or was full.
    pub(super) const fn disarm(&mut self) {
        self.fault = None;
    }

    /// Leaves so many bytes. False where the store cannot be made to.
    pub(super) fn fill(&mut self, room: u64, seen: bool) -> bool {
        let Kind::Memory(store) = &self.kind else { return false };
        store.set_room(Some(room));
        (self.full, self.seen) = (true, seen);
        true
    }

    pub(super) fn make_space(&mut self) {
        if let Kind::Memory(store) = &self.kind {
            store.set_room(None);
        }
        (self.full, self.seen) = (false, false);
    }

    /// The daemon keeps some room back while there is some.
    pub(super) const fn make_reserve(&mut self) {
        self.reserve = !self.full;
    }

    /// The daemon gives its reserve up.
    pub(super) fn give_up_reserve(&mut self) {
        if std::mem::replace(&mut self.reserve, false)
            && self.full
            && let Kind::Memory(store) = &self.kind
        {
            store.set_room(Some(RESERVE));
        }
    }
}
