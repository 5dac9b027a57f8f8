//! Input for a running task: bytes from the daemon to its stdin or its terminal.
//!
//! Owns the writing end and what waits for the task to read. Never blocks and never grows beyond its bound.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::limits::INPUT_MAX;

/// How the task learns that there is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndBy {
    /// The pipe is closed.
    Closing,
    /// The terminal's end-of-file key.
    Key,
}

/// Control-D, what a terminal in its usual mode takes as end of file.
const END_KEY: u8 = 0x04;

/// The writing end of a task's stdin.
#[derive(Debug)]
pub(super) struct Input {
    sink: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    end: EndBy,
    closing: bool,
}

impl Input {
    /// Takes over a non-blocking descriptor.
    pub(super) fn new(sink: OwnedFd, end: EndBy) -> Self {
        Self { sink: Some(sink), waiting: VecDeque::new(), end, closing: false }
    }

    /// What to poll for writing; `None` while nothing waits.
    pub(super) fn wants_write(&self) -> Option<BorrowedFd<'_>> {
        if self.waiting.is_empty() { None } else { self.sink.as_ref().map(AsFd::as_fd) }
    }

    /// Adds bytes. Returns how many were not taken because too many wait.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.sink.is_none() || self.closing {
            return bytes.len();
        }
        let taken = bytes.len().min(INPUT_MAX.saturating_sub(self.waiting.len()));
        self.waiting.extend(&bytes[..taken]);
        self.flush();
        bytes.len() - taken
    }

    /// Ends the input once everything before is written.
    pub(super) fn close(&mut self) {
        if self.end == EndBy::Key {
            self.push(&[END_KEY]);
            return;
        }
        self.closing = true;
        self.flush();
    }

    /// Writes what the task takes now.
    pub(super) fn flush(&mut self) {
        while let Some(sink) = &self.sink
            && !self.waiting.is_empty()
        {
            let (front, _) = self.waiting.as_slices();
            match rustix::io::write(sink, front) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads any more.
                Err(_) => {
                    self.waiting.clear();
                    self.sink = None;
                }
            }
        }
        if self.closing {
            self.sink = None;
        }
    }
}
