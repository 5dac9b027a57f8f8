//! Captured environments on disk: one owner-only file per distinct environment, named by its content.
//!
//! Owns the directory `env/`. An environment never enters the database, because it holds secrets and
//! the database is read by everything. Thousands of tasks of one shell share one file. Which are
//! still needed is the caller's knowledge: nothing is removed here unasked.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dir::Dir;
use crate::environment::Environment;

/// Longest environment kept, in bytes: the kernel takes at most 6 MiB of arguments and environment.
pub const LARGEST: usize = 6 * 1024 * 1024;

/// How the name of a file ends that is not whole yet.
const UNFINISHED: &str = ".new";

/// The name of a stored environment: 128 bits of its content. It tells files apart; equality of the
/// content is checked, not trusted to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvHash(u128);

/// The stored environments of one home.
#[derive(Debug)]
pub struct EnvStore {
    dir: Dir,
}

impl EnvStore {
    /// Uses `dir` (see [`crate::home::Home::env`]).
    #[must_use]
    pub fn new(dir: Dir) -> Self {
        Self { dir }
    }

    /// Keeps an environment and names it. Durable on return: a crash before leaves at most a
    /// temporary file, a crash after leaves the whole content under its name.
    ///
    /// # Errors
    /// What the disk says, and [`io::ErrorKind::InvalidInput`] beyond [`LARGEST`].
    pub fn put(&self, environment: &Environment) -> io::Result<EnvHash> {
        let bytes = encode(environment);
        if bytes.len() > LARGEST {
            let text = format!("the environment has {} bytes, more than {LARGEST}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let hash = EnvHash::of(&bytes);
        let name = hash.to_string();
        if self.read_bytes(&name).is_ok_and(|stored| stored == bytes) {
            return Ok(hash);
        }
        // Requests are served side by side: two that bring the same environment must not meet in one file.
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let unfinished = format!("{name}.{}{UNFINISHED}", WRITES.fetch_add(1, Ordering::Relaxed));
        self.dir.remove_file(&unfinished)?;
        let mut file = self.dir.create_new_file(&unfinished)?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_data());
        if let Err(e) = written {
            // Half a file would only take the space that is already short.
            let _ = self.dir.remove_file(&unfinished);
            return Err(e);
        }
        meanwhile_faultpoint::fault_point!("env.written");
        self.dir.rename_file(&unfinished, &name)?;
        meanwhile_faultpoint::fault_point!("env.renamed");
        self.dir.sync()?;
        Ok(hash)
    }

    /// Reads one back.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it was removed, [`io::ErrorKind::InvalidData`] when the
    /// content is not what the name says.
    pub fn get(&self, hash: EnvHash) -> io::Result<Environment> {
        let bytes = self.read_bytes(&hash.to_string())?;
        if EnvHash::of(&bytes) != hash {
            let text = format!("the stored environment {hash} is damaged");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Environment::from_entries(bytes.split(|b| *b == 0)))
    }

    /// Removes one that no unfinished task needs.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove(&self, hash: EnvHash) -> io::Result<()> {
        self.dir.remove_file(&hash.to_string())
    }

    /// Removes all but these, unfinished writes included; for the start of a daemon.
    ///
    /// # Errors
    /// What the disk says.
    pub fn keep_only(&self, needed: impl Fn(EnvHash) -> bool) -> io::Result<()> {
        for name in self.dir.names()? {
            let Some(name) = name.to_str() else { continue };
            let is_unfinished = name
                .strip_suffix(UNFINISHED)
                .and_then(|rest| rest.split('.').next())
                .is_some_and(|hash| hash.parse::<EnvHash>().is_ok());
            let is_unneeded = name.parse().is_ok_and(|hash| !needed(hash));
            // Anything else is not ours to remove.
            meanwhile_faultpoint::fault_point!("env.sweeping");
            if is_unfinished || is_unneeded {
                self.dir.remove_file(name)?;
            }
        }
        Ok(())
    }

    fn read_bytes(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.dir.open_file(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl EnvHash {
    /// FNV-1a, 128 bits.
    fn of(bytes: &[u8]) -> Self {
        const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        Self(bytes.iter().fold(BASIS, |hash, b| (hash ^ u128::from(*b)).wrapping_mul(PRIME)))
    }
}

impl fmt::Display for EnvHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for EnvHash {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = Self(u128::from_str_radix(text, 16)?);
        // Only the one writing of a hash is a name: no sign, no upper case, no missing zeroes.
        if hash.to_string() == text { Ok(hash) } else { "not a hash".parse::<u128>().map(Self) }
    }
}

/// Entries `K=V`, each ended by a zero byte, as `/proc/PID/environ` has them.
fn encode(environment: &Environment) -> Vec<u8> {
    environment.entries().iter().flat_map(|entry| entry.iter().copied().chain([0])).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn store() -> (tempfile::TempDir, EnvStore) {
        let base = tempfile::tempdir().unwrap();
        let dir = Dir::open(base.path(), &[]).unwrap();
        (base, EnvStore::new(dir))
    }

    fn environment(value: &str) -> Environment {
        Environment::from_entries([b"EMPTY=".as_slice(), format!("V={value}\n\u{fc}").as_bytes()])
    }

    #[test]
    fn an_environment_comes_back_as_it_was_and_is_kept_once() {
        let (base, store) = store();
        let first = store.put(&environment("a")).unwrap();
        assert_eq!(store.put(&environment("a")).unwrap(), first);
        let second = store.put(&environment("b")).unwrap();
        assert_ne!(first, second);
        assert_eq!(store.get(first).unwrap(), environment("a"));
        assert_eq!(first.to_string().parse(), Ok(first));
        let files: Vec<_> = std::fs::read_dir(base.path()).unwrap().flatten().collect();
        assert_eq!(files.len(), 2);
        for file in files {
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_same_environment_may_be_stored_by_many_at_once() {
        let (base, store) = store();
        for round in 0..20 {
            let environment = environment(&round.to_string());
            std::thread::scope(|scope| {
                let puts: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| store.put(&environment).unwrap())).collect();
                for put in puts {
                    assert_eq!(store.get(put.join().unwrap()).unwrap(), environment);
                }
            });
        }
        assert_eq!(
            std::fs::read_dir(base.path()).unwrap().count(),
            20,
            "nothing unfinished is left"
        );
    }

    #[test]
    fn a_torn_file_is_found_when_read_and_repaired_when_stored_again() {
        let (base, store) = store();
        let hash = store.put(&environment("a")).unwrap();
        std::fs::write(base.path().join(hash.to_string()), "V=").unwrap();
        assert_eq!(store.get(hash).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(store.put(&environment("a")).unwrap(), hash);
        assert_eq!(store.get(hash).unwrap(), environment("a"));
    }

    #[test]
    fn what_nobody_needs_is_removed_and_strangers_are_left() {
        let (base, store) = store();
        let kept = store.put(&environment("kept")).unwrap();
        let gone = store.put(&environment("gone")).unwrap();
        std::fs::write(base.path().join(format!("{gone}.7.new")), "half").unwrap();
        std::fs::write(base.path().join("README"), "not ours").unwrap();
        store.keep_only(|hash| hash == kept).unwrap();
        assert_eq!(store.get(gone).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut names: Vec<_> =
            std::fs::read_dir(base.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        names.sort();
        let mut expected = [kept.to_string().into(), std::ffi::OsString::from("README")];
        expected.sort();
        assert_eq!(names, expected);
        store.remove(kept).unwrap();
        store.remove(kept).expect("removing what is gone is no error");
    }

    #[test]
    fn an_environment_no_program_could_be_given_is_refused() {
        let (_base, store) = store();
        let huge = environment(&"x".repeat(LARGEST));
        assert_eq!(store.put(&huge).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
