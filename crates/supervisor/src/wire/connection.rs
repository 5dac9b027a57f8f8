//! One end of the socket: frames out with their descriptors, frames in with theirs.
//!
//! Owns the socket, what waits to be written and what arrived in pieces. Never blocks: [`Connection::flush`]
//! and [`Connection::receive`] do what they can, the owner's poll loop does the waiting.

use std::collections::VecDeque;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::limits::{FRAME_MAX, INLINE_SPEC, SPEC_MAX};

use super::frame::{Frame, FrameReader};
use super::messages::{FromSupervisor, START, START_BY_MEMFD, ToSupervisor, Token};
use super::spec::StartSpec;

/// Descriptors one read takes up: two starts' worth, more than are ever in flight.
const DESCRIPTORS: usize = 8;

/// Descriptors that may wait for their message: those of a few starts. More are closed unseen.
const DESCRIPTORS_KEPT: usize = 16;

/// Bytes one [`Connection::receive`] takes at most: a peer that sends without a pause must not keep its
/// reader from everything else. Two of the largest frames.
const AT_ONCE: usize = 2 * FRAME_MAX;

/// Bytes one read takes: most messages are smaller, a poll loop comes back for the rest.
const READ: usize = 16 * 1024;

/// Why a connection is of no more use.
#[derive(Debug)]
pub enum WireError {
    /// The system refused to read or write.
    Io(Errno),
    /// A length that no frame has.
    FrameLength(usize),
    /// A message that makes no sense.
    Decode(DecodeError),
    /// A spec too large to be sent: its size in bytes.
    SpecTooLarge(usize),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(errno) => write!(f, "talk to a supervisor: {errno}"),
            Self::FrameLength(len) => write!(f, "read a message: {len} bytes is no frame's length"),
            Self::Decode(error) => error.fmt(f),
            Self::SpecTooLarge(len) => {
                write!(f, "send a start: {len} bytes of arguments and environment, over {SPEC_MAX}")
            }
        }
    }
}

impl std::error::Error for WireError {}

impl From<Errno> for WireError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

impl From<DecodeError> for WireError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// Whether the peer is still there after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It is; there may be whole messages now.
    Open,
    /// It closed its end. Messages that arrived before are still to be taken.
    Closed,
}

/// What a supervisor takes from its end.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Any message but a start.
    Message(ToSupervisor),
    /// A start with its descriptors. Dropping them frees the owner's lock.
    Start { spec: Box<StartSpec>, owner: OwnedFd, dir: OwnedFd },
    /// A start that could not be read; its descriptors are closed already.
    BadStart { token: Option<Token>, error: DecodeError },
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// They travel on the first byte and are closed here once that is sent.
    descriptors: Vec<OwnedFd>,
}

/// One end of a supervisor's socket.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    reader: FrameReader,
    descriptors: VecDeque<OwnedFd>,
    out: VecDeque<Outgoing>,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// Takes over a connected stream socket and makes it non-blocking.
    ///
    /// # Errors
    /// When the descriptor's flags cannot be set.
    pub fn new(socket: OwnedFd) -> Result<Self, WireError> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            reader: FrameReader::default(),
            descriptors: VecDeque::new(),
            out: VecDeque::new(),
        })
    }

    /// Queues a message to a supervisor. A start goes through [`Connection::queue_start`].
    pub fn tell(&mut self, message: &ToSupervisor) {
        debug_assert!(!matches!(message, ToSupervisor::Start(_)), "a start needs its descriptors");
        self.queue(&message.to_frame(), Vec::new());
    }

    /// Queues a message to the daemon.
    pub fn say(&mut self, message: &FromSupervisor) {
        self.queue(&message.to_frame(), Vec::new());
    }

    /// Queues a start with the locked owner file and the attempt's directory. Both are closed here once
    /// they were sent: from then on the lock is held by the message in flight, and then by the supervisor.
    ///
    /// # Errors
    /// When the spec is too large for a start, or the memfd for a large one cannot be made.
    pub fn queue_start(
        &mut self,
        spec: &StartSpec,
        owner: OwnedFd,
        dir: OwnedFd,
    ) -> Result<(), WireError> {
        let mut out = Encoder::new();
        spec.encode(&mut out);
        let body = out.finish();
        if body.len() <= INLINE_SPEC {
            self.queue(&Frame { kind: START, body }, vec![owner, dir]);
            return Ok(());
        }
        if body.len() > SPEC_MAX {
            return Err(WireError::SpecTooLarge(body.len()));
        }
        let memfd = sealed_memfd(&body)?;
        let mut out = Encoder::new();
        // The token is repeated outside, so that a spec that cannot be read can be refused by name.
        out.raw(&spec.token.0).u64(body.len() as u64);
        let frame = Frame { kind: START_BY_MEMFD, body: out.finish() };
        self.queue(&frame, vec![owner, dir, memfd]);
        Ok(())
    }

    fn queue(&mut self, frame: &Frame, descriptors: Vec<OwnedFd>) {
        let mut bytes = Vec::with_capacity(frame.body.len() + 6);
        frame.write_to(&mut bytes);
        self.queue_bytes(bytes, descriptors);
    }

    /// Queues bytes as they are; what is no frame is the fuzzer's alone.
    pub(crate) fn queue_bytes(&mut self, bytes: Vec<u8>, descriptors: Vec<OwnedFd>) {
        self.out.push_back(Outgoing { bytes, sent: 0, descriptors });
    }

    /// Descriptors that arrived and that no message has claimed.
    pub(crate) fn descriptors_kept(&self) -> usize {
        self.descriptors.len()
    }

    /// Whether something waits to be written (then poll for writability).
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// How many messages wait to be written.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.out.len()
    }

    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// When the peer is gone or the system refuses.
    pub fn flush(&mut self) -> Result<(), WireError> {
        while let Some(next) = self.out.front_mut() {
            match send(&self.socket, next) {
                Ok(sent) => {
                    next.descriptors.clear();
                    next.sent += sent;
                    if next.sent == next.bytes.len() {
                        self.out.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Reads what has arrived, or much of it. Call it when the socket is readable, then take the messages.
    ///
    /// # Errors
    /// When the system refuses to read.
    pub fn receive(&mut self) -> Result<Received, WireError> {
        let mut buffer = [0_u8; READ];
        let mut taken = 0;
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let read = rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            );
            match read {
                Ok(message) => {
                    for ancillary in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(descriptors) = ancillary {
                            self.descriptors.extend(descriptors);
                        }
                    }
                    self.descriptors.truncate(DESCRIPTORS_KEPT);
                    if message.bytes == 0 {
                        return Ok(Received::Closed);
                    }
                    self.reader.push(&buffer[..message.bytes]);
                    taken += message.bytes;
                    if message.bytes < READ || taken >= AT_ONCE {
                        return Ok(Received::Open);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Open),
                Err(Errno::CONNRESET) => return Ok(Received::Closed),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The next whole message of a supervisor; kinds of later releases are passed over.
    ///
    /// # Errors
    /// When the stream or a message makes no sense; the connection is then of no more use.
    pub fn next_from_supervisor(&mut self) -> Result<Option<FromSupervisor>, WireError> {
        // No supervisor has any to give.
        self.descriptors.clear();
        while let Some(frame) = self.reader.next_frame()? {
            if let Some(message) = FromSupervisor::from_frame(&frame)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The next whole message to a supervisor.
    pub(crate) fn next_to_supervisor(&mut self) -> Result<Option<Incoming>, WireError> {
        while let Some(frame) = self.reader.next_frame()? {
            match frame.kind {
                START | START_BY_MEMFD => return Ok(Some(self.take_start(&frame))),
                _ => {
                    if let Some(message) = ToSupervisor::from_frame(&frame)? {
                        return Ok(Some(Incoming::Message(message)));
                    }
                }
            }
        }
        if self.reader.is_empty() {
            // Those of a start arrive with its first byte. What is left came with a message that needs none,
            // and the next start must not take it for its own.
            self.descriptors.clear();
        }
        Ok(None)
    }

    fn take_start(&mut self, frame: &Frame) -> Incoming {
        let token = Decoder::new(&frame.body).array("token").map(Token).ok();
        let owner = self.descriptors.pop_front();
        let dir = self.descriptors.pop_front();
        let spec = if frame.kind == START {
            StartSpec::decode(&mut Decoder::new(&frame.body))
        } else {
            let memfd = self.descriptors.pop_front();
            memfd.ok_or(DecodeError::Short { field: "spec" }).and_then(|memfd| {
                let body = read_memfd(&memfd)?;
                StartSpec::decode(&mut Decoder::new(&body))
            })
        };
        match (spec, owner, dir) {
            (Ok(spec), Some(owner), Some(dir)) => {
                Incoming::Start { spec: Box::new(spec), owner, dir }
            }
            (Ok(_), _, _) => {
                Incoming::BadStart { token, error: DecodeError::Short { field: "descriptors" } }
            }
            (Err(error), _, _) => Incoming::BadStart { token, error },
        }
    }
}

fn send(socket: &OwnedFd, next: &Outgoing) -> Result<usize, Errno> {
    let descriptors: Vec<BorrowedFd<'_>> = next.descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
        assert!(fits, "a start carries three descriptors at most");
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&next.bytes[next.sent..])],
        &mut control,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )
}

fn sealed_memfd(body: &[u8]) -> Result<OwnedFd, WireError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create("meanwhile-spec", flags)?;
    let mut rest = body;
    while !rest.is_empty() {
        let written = rustix::io::write(&memfd, rest)?;
        rest = &rest[written..];
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&memfd, seals)?;
    Ok(memfd)
}

fn read_memfd(memfd: &OwnedFd) -> Result<Vec<u8>, DecodeError> {
    let unreadable = |_| DecodeError::Invalid { field: "spec" };
    let len = rustix::fs::fstat(memfd).map_err(unreadable)?.st_size;
    let len = usize::try_from(len).map_err(|_| DecodeError::Invalid { field: "spec" })?;
    if len > SPEC_MAX {
        return Err(DecodeError::Invalid { field: "spec" });
    }
    let mut body = vec![0; len];
    let mut at = 0;
    while at < len {
        match rustix::io::pread(memfd, &mut body[at..], at as u64) {
            Ok(0) => return Err(DecodeError::Short { field: "spec" }),
            Ok(read) => at += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(unreadable(errno)),
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (Connection, Connection) {
        let ends = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let (one, other) = ends.unwrap();
        (Connection::new(one).unwrap(), Connection::new(other).unwrap())
    }

    fn descriptors(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    }

    fn bytes(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Frame { kind, body: body.to_vec() }.write_to(&mut bytes);
        bytes
    }

    /// A kind that nobody knows: it is passed over.
    const UNKNOWN: u16 = 9_999;

    #[test]
    fn a_start_never_takes_the_descriptors_of_another_message() {
        let (mut peer, mut own) = pair();
        peer.queue_bytes(bytes(UNKNOWN, b""), descriptors(2));
        peer.flush().unwrap();
        own.receive().unwrap();
        assert!(own.next_to_supervisor().unwrap().is_none());
        assert_eq!(own.descriptors_kept(), 0);
    }

    #[test]
    fn a_start_that_arrives_in_pieces_keeps_its_descriptors() {
        let (mut peer, mut own) = pair();
        let start = bytes(START, &[1; 16]);
        let (head, tail) = start.split_at(9);
        peer.queue_bytes(head.to_vec(), descriptors(2));
        peer.flush().unwrap();
        own.receive().unwrap();
        assert!(own.next_to_supervisor().unwrap().is_none());
        assert_eq!(own.descriptors_kept(), 2);
        peer.queue_bytes(tail.to_vec(), Vec::new());
        peer.flush().unwrap();
        own.receive().unwrap();
        let incoming = own.next_to_supervisor().unwrap();
        assert!(
            matches!(incoming, Some(Incoming::BadStart { token: Some(_), .. })),
            "{incoming:?}"
        );
        assert_eq!(own.descriptors_kept(), 0);
    }

    #[test]
    fn a_peer_that_sends_descriptors_without_end_uses_up_none_of_ours() {
        let (mut peer, mut own) = pair();
        for _ in 0..100 {
            peer.queue_bytes(vec![1], descriptors(DESCRIPTORS));
            peer.flush().unwrap();
            // The length that these bytes become is refused; what matters came before.
            let _state = own.receive();
            assert!(own.descriptors_kept() <= DESCRIPTORS_KEPT);
        }
    }

    #[test]
    fn one_reading_ends_although_the_peer_goes_on() {
        let (mut peer, mut own) = pair();
        rustix::net::sockopt::set_socket_send_buffer_size(&peer.socket, 8 * AT_ONCE).unwrap();
        let message = bytes(UNKNOWN, &vec![0; AT_ONCE / 16]);
        for _ in 0..64 {
            peer.queue_bytes(message.clone(), Vec::new());
        }
        let (mut read, mut readings) = (0, 0);
        while read < 64 * message.len() {
            peer.flush().unwrap();
            let before = own.reader.waiting();
            own.receive().unwrap();
            read += own.reader.waiting() - before;
            readings += 1;
            assert!(own.reader.waiting() - before <= AT_ONCE + READ);
            assert!(own.next_to_supervisor().unwrap().is_none());
        }
        assert!(readings >= 4, "{readings}");
    }
}
