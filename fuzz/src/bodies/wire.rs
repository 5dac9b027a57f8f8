//! The protocol between daemon and supervisor.
//!
//! A stream of frames reads the same however it is cut; a message that is read is written and read
//! again as the same; a connection that is told nonsense keeps no memory of it.

use meanwhile_supervisor::fuzzing::{self, Taken};
use meanwhile_supervisor::wire::{Frame, FrameReader, FromSupervisor, ToSupervisor};

use crate::feed::Feed;

/// Bytes of a stream whose frames are read in two ways.
const CUT_MOST: usize = 64 << 10;
/// Bytes that come without a pause: more than any input may cost in memory.
const ENDLESS: usize = 160 << 20;
/// Bytes of each of their frames.
const ENDLESS_FRAME: usize = 64 << 10;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    match feed.byte() {
        // It is slow, so it is seldom.
        b'e' => endless(feed),
        choice if choice % 4 == 0 => connection(feed),
        choice if choice % 4 == 1 => stream(feed),
        _ => message(feed),
    }
}

/// A frame of any kind and body.
fn message(mut feed: Feed<'_>) {
    let kind = u16::from(feed.byte());
    let frame = Frame { kind, body: feed.rest().to_vec() };
    if let Ok(Some(message)) = ToSupervisor::from_frame(&frame) {
        let written = message.to_frame();
        assert_eq!(ToSupervisor::from_frame(&written), Ok(Some(message)));
    }
    if let Ok(Some(message)) = FromSupervisor::from_frame(&frame) {
        let written = message.to_frame();
        let again = FromSupervisor::from_frame(&written).expect("what we write we read");
        // Texts of foreign bytes are shortened once; what was written stays.
        let again = again.expect("of a known kind");
        assert_eq!(again.to_frame(), written);
    }
}

/// Bytes as a stream, whole and cut.
fn stream(mut feed: Feed<'_>) {
    let cut = usize::from(feed.short());
    let bytes = feed.rest();
    let bytes = &bytes[..bytes.len().min(CUT_MOST)];
    let read = |pieces: &[&[u8]]| {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for piece in pieces {
            reader.push(piece);
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return (frames, true),
                }
            }
        }
        (frames, false)
    };
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    assert_eq!(read(&[first, second]), read(&[bytes]));
}

/// A peer that never pauses between two messages: what was read is forgotten, or the bound on memory
/// is passed.
fn endless(mut feed: Feed<'_>) {
    let kind = feed.short();
    // Of frames without a body there would be millions.
    let pattern = if feed.is_empty() { &[0] } else { feed.rest() };
    let body = pattern.repeat(ENDLESS_FRAME / pattern.len().min(ENDLESS_FRAME));
    let frame = Frame { kind, body };
    let mut bytes = Vec::new();
    frame.write_to(&mut bytes);
    let mut reader = FrameReader::default();
    // Each push ends in the middle of a frame.
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    reader.push(head);
    let joined = [tail, head].concat();
    for _ in 0..ENDLESS / joined.len() {
        reader.push(&joined);
        let read = reader.next_frame().expect("a frame of ours").expect("it is whole");
        assert_eq!((read.kind, read.body.len()), (kind, frame.body.len()));
    }
}

/// Bytes and descriptors into a real socket, out of a supervisor's end.
fn connection(mut feed: Feed<'_>) {
    let mut peer = fuzzing::Pair::new().expect("a socket pair");
    while !feed.is_empty() {
        let descriptors = feed.choose(5);
        let piece = feed.piece();
        if peer.send(piece, descriptors).is_err() {
            break;
        }
        loop {
            match peer.take() {
                Ok(Some(Taken::Start { argv, .. })) => assert!(argv < 1 << 20),
                Ok(Some(Taken::Message | Taken::BadStart)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(peer.descriptors_kept() <= 16, "{} descriptors", peer.descriptors_kept());
    }
}
