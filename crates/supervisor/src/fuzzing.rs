//! Doors for the fuzzer, and for nobody else: what only a supervisor does, driven from outside.
//!
//! Owns nothing of its own. Writes logs and owner files as a supervisor would, and takes what a
//! supervisor would take from its socket, without a process around it.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::codec::Encoder;
use crate::exit::ExitRecord;
use crate::log::{LogWriter, Stream};
use crate::owner;
use crate::wire::{Connection, Incoming, WireError};

/// A log being written.
#[derive(Debug)]
pub struct Writer(LogWriter);

impl Writer {
    /// See `LogWriter::create`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(directory: OwnedFd, cap: u64) -> Result<Self, Errno> {
        LogWriter::create(directory, Stream::Output, cap).map(Self)
    }

    /// Adds bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        self.0.append(bytes);
    }

    /// Everything that was added.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.written()
    }

    /// What of it the files do not hold.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

/// The `owner` file that ends with this record, as bytes.
#[must_use]
pub fn owner_with_exit(record: &ExitRecord) -> Vec<u8> {
    let mut out = Encoder::new();
    record.encode(&mut out);
    let mut page = vec![0; crate::limits::OWNER_LEN as usize];
    seal_owner_part(&mut page, owner::PARTS - 1, &out.finish());
    page
}

/// Puts a part with a right checksum into the bytes of an `owner` file. Parts are numbered from 0 in
/// the order they lie; a body that has no room in its part panics, as a writer would.
pub fn seal_owner_part(page: &mut [u8], part: usize, body: &[u8]) {
    let (offset, bytes) = owner::sealed(part, body);
    page[offset..offset + bytes.len()].copy_from_slice(&bytes);
}

/// What a supervisor took from its socket.
#[derive(Debug)]
pub enum Taken {
    /// Any message but a start.
    Message,
    /// A start with its descriptors, and how many arguments it has.
    Start { argv: usize },
    /// One that was refused.
    BadStart,
}

/// A supervisor's end of a connection, and the other end.
#[derive(Debug)]
pub struct Pair {
    peer: Connection,
    own: Connection,
}

impl Pair {
    /// Two ends.
    ///
    /// # Errors
    /// When the system has no socket left.
    pub fn new() -> Result<Self, WireError> {
        let flags = SocketFlags::CLOEXEC;
        let (peer, own) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Self { peer: Connection::new(peer)?, own: Connection::new(own)? })
    }

    /// Sends bytes, whatever they are, with this many descriptors (of `/dev/null`).
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn send(&mut self, bytes: &[u8], descriptors: usize) -> Result<(), WireError> {
        let null = || {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())
        };
        let descriptors = (0..descriptors).map(|_| null()).collect::<Result<Vec<_>, _>>()?;
        self.peer.queue_bytes(bytes.to_vec(), descriptors);
        self.peer.flush()
    }

    /// Reads what has arrived, and takes the next message of it.
    ///
    /// # Errors
    /// When what arrived makes no sense.
    pub fn take(&mut self) -> Result<Option<Taken>, WireError> {
        self.own.receive()?;
        Ok(self.own.next_to_supervisor()?.map(|incoming| match incoming {
            Incoming::Message(_) => Taken::Message,
            Incoming::Start { spec, owner: _, dir: _ } => Taken::Start { argv: spec.argv.len() },
            Incoming::BadStart { token: _, error: _ } => Taken::BadStart,
        }))
    }

    /// Descriptors that arrived and belong to no message yet.
    #[must_use]
    pub fn descriptors_kept(&self) -> usize {
        self.own.descriptors_kept()
    }
}
