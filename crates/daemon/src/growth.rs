//! Who waits for a log to grow is woken by the kernel.
//!
//! ```text
//!   inotify (one for the process) ──► reader task ──► a counter per directory ──► watchers
//! ```
//!
//! Owns the one inotify instance (the kernel allows 128 per user) and its watches, counted. Never
//! reads a log.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Where the kernel has no watch left, growth is looked for this often instead.
const WITHOUT_KERNEL: Duration = Duration::from_millis(500);
/// Bytes of kernel events read at once.
const EVENTS: usize = 4096;

/// All watches.
#[derive(Debug)]
pub struct Growth {
    inotify: Option<AsyncFd<OwnedFd>>,
    watched: Mutex<HashMap<i32, Watched>>,
}

#[derive(Debug)]
struct Watched {
    watchers: usize,
    changes: watch::Sender<u64>,
}

/// Somebody who waits for changes in one directory.
#[derive(Debug)]
pub struct Watch {
    growth: Arc<Growth>,
    kernel: Option<(i32, watch::Receiver<u64>)>,
}

impl Growth {
    /// Starts watching on the current runtime.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn start() -> Arc<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(io::Error::from)
            .and_then(asynchronous)
            .inspect_err(|error| tracing::warn!(%error, "no inotify: followers look now and then"))
            .ok();
        let growth = Arc::new(Self { inotify, watched: Mutex::default() });
        if growth.inotify.is_some() {
            tokio::spawn(Arc::clone(&growth).pass_on());
        }
        growth
    }

    /// Watches the files of a directory.
    #[must_use]
    pub fn watch(self: &Arc<Self>, directory: &Path) -> Watch {
        let kernel = self.inotify.as_ref().and_then(|inotify| {
            let flags = WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::MOVED_TO
                | WatchFlags::ONLYDIR
                | WatchFlags::DONT_FOLLOW;
            let mut watched = self.lock();
            let number = inotify::add_watch(inotify.get_ref(), directory, flags)
                .inspect_err(|error| tracing::debug!(%error, "a directory cannot be watched"))
                .ok()?;
            let entry = watched
                .entry(number)
                .or_insert_with(|| Watched { watchers: 0, changes: watch::Sender::new(0) });
            entry.watchers += 1;
            Some((number, entry.changes.subscribe()))
        });
        Watch { growth: Arc::clone(self), kernel }
    }

    async fn pass_on(self: Arc<Self>) {
        let Some(inotify) = &self.inotify else { return };
        while let Ok(mut ready) = inotify.readable().await {
            let mut buffer = [MaybeUninit::uninit(); EVENTS];
            let mut events = inotify::Reader::new(inotify.get_ref(), &mut buffer);
            loop {
                match events.next() {
                    Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                        self.lock().values().for_each(Watched::tell);
                    }
                    Ok(event) => self.lock().get(&event.wd()).into_iter().for_each(Watched::tell),
                    Err(Errno::INTR) => {}
                    Err(Errno::WOULDBLOCK) => break,
                    Err(error) => {
                        tracing::error!(%error, "inotify");
                        return;
                    }
                }
            }
            ready.clear_ready();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe to call; an OwnedFd keeps the promise it asks for"
)]
fn asynchronous(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(inotify)
}

impl Watched {
    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl Watch {
    /// Returns after something has changed since the watch was made or this returned last.
    pub async fn changed(&mut self) {
        let told = match &mut self.kernel {
            Some((_, changes)) => changes.changed().await.is_ok(),
            None => false,
        };
        if !told {
            tokio::time::sleep(WITHOUT_KERNEL).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some((number, _)) = self.kernel else { return };
        let mut watched = self.growth.lock();
        let Some(entry) = watched.get_mut(&number) else { return };
        entry.watchers -= 1;
        if entry.watchers == 0 {
            watched.remove(&number);
            if let Some(inotify) = &self.growth.inotify {
                let _gone_with_its_directory = inotify::remove_watch(inotify.get_ref(), number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
        })
    }

    #[test]
    fn every_watcher_of_a_directory_hears_of_a_write_even_one_before_it_asks() {
        on_a_runtime(async {
            let dir = tempfile::tempdir().unwrap();
            let log = dir.path().join("output.log");
            fs::write(&log, "").unwrap();
            let growth = Growth::start();
            let (mut first, mut second) = (growth.watch(dir.path()), growth.watch(dir.path()));
            fs::write(&log, "more").unwrap();
            first.changed().await;
            second.changed().await;
            drop(first);
            fs::write(dir.path().join("output.4"), "segment").unwrap();
            second.changed().await;
            drop(second);
            assert!(growth.lock().is_empty());
        });
    }

    #[test]
    fn a_directory_that_is_not_there_is_no_error() {
        on_a_runtime(async {
            let dir = tempfile::tempdir().unwrap();
            let mut watch = Growth::start().watch(&dir.path().join("none"));
            watch.changed().await;
        });
    }
}
