//! The keeper: sees to it that a courier goes whenever something is due, and otherwise sleeps.
//!
//! Owns the moments: a second after something has happened (what ends together is told together), and when a courier has
//! said that something is due later. Runs on the HTTP thread's runtime and blocks nobody: it starts a process and waits
//! for its end. Where no route is set it waits for the settings alone.

use std::io::{self, Read};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use meanwhile_host::courier::{self, Courier};
use meanwhile_host::home::Home;
use meanwhile_host::spawn_supervisor::{Executable, reap};
use meanwhile_store::{Reader, SqliteReader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::courier::Report;
use super::{due, ledger};
use crate::settings::Settings;

/// What happens within this time is told together.
const TOGETHER: Duration = Duration::from_secs(1);
/// A courier that takes longer is stuck: each of its parts has a shorter time of its own.
const LONGEST: Duration = Duration::from_secs(180);
/// After a courier that said nothing: it could not be started, or was killed.
const AFTER_SILENCE: Duration = Duration::from_secs(10);
/// The longest report: as much as a pipe holds.
const REPORT_BYTES: u64 = 64 << 10;

/// What the keeper looks at.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) home: Arc<Home>,
    pub(crate) settings: Arc<RwLock<Arc<Settings>>>,
    /// How far the event log is committed.
    pub(crate) committed: watch::Receiver<u64>,
    /// Rung when the settings are others.
    pub(crate) changed: Arc<Notify>,
}

/// Keeps on until the runtime ends.
pub(crate) async fn keep(mut inputs: Inputs) {
    loop {
        if !inputs.any_route() {
            if let Err(error) = inputs.forget().await {
                tracing::warn!(%error, "what was due by other routes is still written down");
            }
            inputs.changed.notified().await;
            continue;
        }
        // Once: here nothing has happened yet that is to be told.
        let seen = match inputs.begin().await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%error, "other routes cannot begin");
                // sleep: a full disk announces nothing when it has room again.
                tokio::time::sleep(AFTER_SILENCE).await;
                continue;
            }
        };
        inputs.serve(seen).await;
    }
}

impl Inputs {
    fn any_route(&self) -> bool {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).routes.any()
    }

    fn reader(&self) -> io::Result<SqliteReader> {
        SqliteReader::open(&self.home.paths.database()).map_err(|e| io::Error::other(e.to_string()))
    }

    /// Makes sure that there is a ledger; up to which event nothing is to be told without one.
    async fn begin(&self) -> io::Result<u64> {
        let last = self.reader()?.last_seq().map_err(|e| io::Error::other(e.to_string()))?;
        if ledger::peek(&self.home.state)?.is_none() {
            self.with_ledger(move |home| ledger::begin(&home.state, last)).await?;
        }
        Ok(last)
    }

    async fn forget(&self) -> io::Result<()> {
        match ledger::peek(&self.home.state)? {
            None => Ok(()),
            Some(_) => self.with_ledger(|home| ledger::forget(&home.state)).await,
        }
    }

    /// A courier that an earlier daemon has sent may hold the ledger for as long as it works: nobody else waits for it.
    async fn with_ledger(
        &self,
        work: impl FnOnce(&Home) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let home = Arc::clone(&self.home);
        tokio::task::spawn_blocking(move || work(&home)).await.map_err(io::Error::other)?
    }

    fn is_news(&self, after: u64) -> bool {
        let looked = self.reader().and_then(|mut reader| {
            due::is_news(&mut reader, after).map_err(|e| io::Error::other(e.to_string()))
        });
        // The courier looks more closely, and says what is wrong.
        looked.unwrap_or(true)
    }

    /// Sends couriers for as long as a route is set.
    async fn serve(&mut self, begun_at: u64) {
        // What an earlier daemon left.
        let mut due_at = Some(Instant::now());
        let mut seen = begun_at;
        while self.any_route() {
            let due = async {
                match due_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let happened = tokio::select! {
                () = due => false,
                changed = self.committed.changed() => {
                    if changed.is_err() {
                        // The loop has ended, and this runtime is about to.
                        return std::future::pending().await;
                    }
                    true
                }
                () = self.changed.notified() => {
                    due_at = Some(Instant::now());
                    continue;
                }
            };
            if happened {
                // sleep: so that what ends together is told together.
                tokio::time::sleep(TOGETHER).await;
            }
            let newest = *self.committed.borrow_and_update();
            if happened && !self.is_news(seen) {
                seen = seen.max(newest);
                continue;
            }
            // Before the first commit of this daemon the channel does not know the newest.
            let after = seen;
            seen = seen.max(newest);
            due_at = self.send(after).await.map(|wait| Instant::now() + wait);
        }
    }

    /// Sends one courier and waits for it; after which time another is needed.
    async fn send(&self, after: u64) -> Option<Duration> {
        match self.one(after).await {
            Ok(text) => heard(&text),
            Err(error) => {
                tracing::warn!(%error, "no courier could go");
                Some(AFTER_SILENCE)
            }
        }
    }

    async fn one(&self, after: u64) -> io::Result<Vec<u8>> {
        let executable = Executable::own()?;
        let courier = courier::start(&executable, &self.home.paths, after)?;
        // A thread for as long as it is under way.
        let waited = tokio::task::spawn_blocking(move || wait_for(courier));
        waited.await.map_err(io::Error::other)?
    }
}

/// Waits for its end, in bounded time.
fn wait_for(courier: Courier) -> io::Result<Vec<u8>> {
    let longest = Timespec::try_from(LONGEST).expect("three minutes are a time");
    let mut ended = [PollFd::new(&courier.pidfd, PollFlags::IN)];
    if poll(&mut ended, Some(&longest))? == 0 {
        tracing::warn!("a courier took too long and was ended");
        courier.kill();
        poll(&mut [PollFd::new(&courier.pidfd, PollFlags::IN)], None)?;
    }
    let _reaped = reap(&courier.pidfd);
    read(courier)
}

/// What it reported. It has ended: whoever else has the pipe is not waited for.
fn read(courier: Courier) -> io::Result<Vec<u8>> {
    rustix::fs::fcntl_setfl(&courier.report, rustix::fs::OFlags::NONBLOCK)?;
    let mut text = Vec::new();
    match std::fs::File::from(courier.report).take(REPORT_BYTES).read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(text),
        Err(error) => Err(error),
    }
}

/// Logs a report; when the next courier is needed.
fn heard(text: &[u8]) -> Option<Duration> {
    let mut next = None;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Report::Tried { way, notices, tries, ok: true, text }) => {
                tracing::info!(way, notices, tries, text, "told by another route");
            }
            Ok(Report::Tried { way, notices, tries, ok: false, text }) => {
                tracing::warn!(way, notices, tries, text, "not told by another route");
            }
            Ok(Report::GivenUp { way, notices, text }) => {
                tracing::warn!(way, notices, text, "given up: not told by another route");
            }
            Ok(Report::Trouble { text }) => tracing::warn!(text, "a courier could not go on"),
            Ok(Report::Next { ms }) => next = Some(Duration::from_millis(ms)),
            Err(error) => tracing::warn!(%error, "a courier's report cannot be read"),
        }
    }
    next
}
