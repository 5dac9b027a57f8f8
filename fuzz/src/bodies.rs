//! The bodies, one file per way in.
//!
//! Each takes foreign bytes and checks what must hold of whatever comes of them. None may assume
//! anything of its input but its length.

pub(crate) mod arguments;
pub(crate) mod database;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod mcp;
pub(crate) mod owner;
pub(crate) mod pager;
pub(crate) mod records;
pub(crate) mod requests;
mod sample;
pub(crate) mod sanitiser;
pub(crate) mod settings;
pub(crate) mod wire;
pub(crate) mod words;

use std::path::{Path, PathBuf};

/// A directory of this thread, in memory where the machine has such a place: most bodies that need
/// files need them thousands of times in a second. Goes with the thread, so it is kept in a
/// thread-local; a process that is ended by a find leaves it behind for `cargo xtask fuzz` to remove.
pub(crate) fn scratch() -> tempfile::TempDir {
    let prefix = format!("meanwhile-fuzz-{}-", std::process::id());
    let mut named = tempfile::Builder::new();
    let named = named.prefix(&prefix);
    let directory = named.tempdir_in("/dev/shm").or_else(|_no_such_place| named.tempdir());
    directory.expect("a scratch directory can be made")
}

/// The same one every time.
pub(crate) fn scratch_directory() -> PathBuf {
    thread_local! {
        static DIRECTORY: tempfile::TempDir = scratch();
    }
    DIRECTORY.with(|directory| directory.path().to_owned())
}

/// Removes what is in a directory.
pub(crate) fn empty(directory: &Path) {
    let entries = std::fs::read_dir(directory).expect("the scratch directory is there");
    for entry in entries {
        let path = entry.expect("its entries can be read").path();
        let removed = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        removed.expect("what an input made can be removed");
    }
}
