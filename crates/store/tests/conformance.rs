//! Every store keeps every promise of the conformance suite.

use std::path::PathBuf;

use meanwhile_store::{
    Identity, MemoryStore, OpenOptions, Reader, SqliteReader, SqliteStore, Store, StoreError,
};
use meanwhile_testkit::conformance::{Harness, home_identity, run_all};

/// A directory that goes away with it.
struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.0.path().join("meanwhile.db")
    }
}

impl Harness for Sqlite {
    fn open(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(&self.path(), &home_identity()).expect("it opens"))
    }

    fn open_at(&self, here: &Identity) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::open(&self.path(), here)?))
    }

    fn open_nearly_full(&self) -> Box<dyn Store> {
        let size = std::fs::metadata(self.path()).expect("it is there").len();
        let options = OpenOptions { max_bytes: Some(size + (64 << 10)), ..OpenOptions::default() };
        let store = SqliteStore::open_with(&self.path(), &home_identity(), options);
        Box::new(store.expect("it opens"))
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(SqliteReader::open(&self.path()).expect("it opens"))
    }
}

struct Memory(MemoryStore);

impl Harness for Memory {
    fn open(&self) -> Box<dyn Store> {
        self.0.set_room(None);
        Box::new(self.0.clone())
    }

    fn open_at(&self, here: &Identity) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self.0.opened_at(here)?))
    }

    fn open_nearly_full(&self) -> Box<dyn Store> {
        self.0.set_room(Some(64 << 10));
        Box::new(self.0.clone())
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(self.0.clone())
    }
}

#[test]
fn sqlite_keeps_every_promise() {
    run_all(|| Box::new(Sqlite(tempfile::tempdir().expect("a temporary directory"))));
}

#[test]
fn the_store_in_memory_keeps_every_promise() {
    run_all(|| Box::new(Memory(MemoryStore::new(home_identity()))));
}
