//! The task's output streams: pipes or a terminal, drained into logs.
//!
//! Owns the reading ends and the logs behind them. Drains always, so that the task never waits for us.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::limits::READ_BUFFER;
use crate::log::{Drained, LogWriter, RETRY_AFTER, Stream};

use super::clock::Moment;

/// Bytes taken from one stream before the loop looks at its other work.
const TURN: u64 = 1024 * 1024;

/// The pipe's size once a task turns out to write a lot: fewer turns of the loop per byte.
const LARGE_PIPE: usize = 1024 * 1024;

/// How long a stream that trickles is left to gather. A wake-up for each of a program's small writes would cost
/// it half its speed, and nobody sees a millisecond in a log.
const GATHER: Duration = Duration::from_millis(1);

/// Drains that follow each other more closely than this are a trickle.
const TRICKLE: Duration = Duration::from_millis(2);

/// One stream and its log.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` once nobody can write any more.
    source: Option<OwnedFd>,
    log: LogWriter,
    enlarged: bool,
    last_drain: Option<Moment>,
    /// Until then a trickle gathers.
    hold: Option<Moment>,
    /// Until then a failing log is left alone.
    retry_at: Option<Moment>,
}

/// The two ends of a stream: ours is in the [`Output`], this one is the child's.
pub(super) fn open_pipe(
    dir: &OwnedFd,
    stream: Stream,
    cap: u64,
) -> Result<(Output, OwnedFd), Errno> {
    let log = LogWriter::create(rustix::io::fcntl_dupfd_cloexec(dir, 3)?, stream, cap)?;
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((Output::new(read, log), write))
}

/// A stream from a terminal's master.
pub(super) fn open_terminal(dir: &OwnedFd, master: OwnedFd, cap: u64) -> Result<Output, Errno> {
    let log = LogWriter::create(rustix::io::fcntl_dupfd_cloexec(dir, 3)?, Stream::Output, cap)?;
    Ok(Output { enlarged: true, ..Output::new(master, log) })
}

impl Output {
    fn new(source: OwnedFd, log: LogWriter) -> Self {
        Self {
            source: Some(source),
            log,
            enlarged: false,
            last_drain: None,
            hold: None,
            retry_at: None,
        }
    }

    /// What to poll for reading; `None` once the stream has ended, and while it gathers.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().filter(|_| self.hold.is_none()).map(AsFd::as_fd)
    }

    /// When the stream has gathered enough to be drained.
    pub(super) fn next(&self) -> Option<Moment> {
        self.hold.filter(|_| self.source.is_some())
    }

    pub(super) fn is_gathering(&self, now: Moment) -> bool {
        self.hold.is_some_and(|hold| now < hold)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.source.is_none()
    }

    pub(super) fn written(&self) -> u64 {
        self.log.written()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// Takes what is there, at most a turn's worth. Returns how much it was.
    pub(super) fn drain(&mut self, buffer: &mut Vec<u8>, now: Moment) -> u64 {
        self.retry(now);
        let Some(source) = &self.source else { return 0 };
        let mut taken = 0;
        while taken < TURN {
            match self.log.drain(source, buffer) {
                Drained::Some(bytes) => taken += bytes,
                Drained::Nothing => break,
                Drained::End => {
                    self.source = None;
                    return taken;
                }
            }
        }
        let trickles = self.last_drain.is_some_and(|last| now.since(last) < TRICKLE);
        self.last_drain = Some(now);
        self.hold = (trickles && taken < READ_BUFFER as u64).then(|| now.after(GATHER));
        if (trickles || taken >= READ_BUFFER as u64) && !self.enlarged {
            self.enlarged = true;
            // Beyond the user's allowance it stays small and works as well.
            let _ = rustix::pipe::fcntl_setpipe_size(source, LARGE_PIPE);
        }
        taken
    }

    /// Gives the stream up: what is still in it is taken, the rest is not ours.
    pub(super) fn close(&mut self, buffer: &mut Vec<u8>, now: Moment) {
        self.drain(buffer, now);
        self.source = None;
    }

    /// A failing log is tried again now and then, not on every chunk.
    fn retry(&mut self, now: Moment) {
        if !self.log.is_failing() {
            self.retry_at = None;
            return;
        }
        match self.retry_at {
            None => self.retry_at = Some(now.after(RETRY_AFTER)),
            Some(at) if now >= at => {
                self.log.retry();
                self.retry_at = Some(now.after(RETRY_AFTER));
            }
            Some(_) => {}
        }
    }
}
