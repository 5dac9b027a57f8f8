//! Frames: finding where one message ends in a stream that arrives in pieces.
//!
//! Owns the length prefix and its bound. Knows no message.

use crate::limits::FRAME_MAX;

use super::WireError;

/// One message as it travels: a kind and the bytes of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which message it is.
    pub kind: u16,
    /// Its fields.
    pub body: Vec<u8>,
}

/// Bytes of the length prefix.
const PREFIX: usize = 4;

impl Frame {
    /// Appends the frame's bytes to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let len = u32::try_from(self.body.len() + 2).expect("frames are bounded by FRAME_MAX");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.body);
    }
}

/// Collects bytes until a frame is whole.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    /// Where the first unread frame starts in `bytes`.
    start: usize,
}

impl FrameReader {
    /// Adds bytes in the order they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        // What was read is forgotten also where a frame is always under way: a peer that never pauses
        // must not fill the memory. Moving the rest costs no more than what was read before it.
        if self.start >= self.bytes.len() - self.start {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no frame is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Bytes that no frame was made of yet.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The next whole frame, `None` while it is incomplete.
    ///
    /// # Errors
    /// [`WireError::FrameLength`] for a length no message has: the stream cannot be followed any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        let unread = &self.bytes[self.start..];
        let Some((prefix, rest)) = unread.split_at_checked(PREFIX) else { return Ok(None) };
        let len = u32::from_le_bytes(prefix.try_into().expect("split at four bytes")) as usize;
        if !(2..=FRAME_MAX).contains(&len) {
            return Err(WireError::FrameLength(len));
        }
        let Some((frame, _)) = rest.split_at_checked(len) else { return Ok(None) };
        let kind = u16::from_le_bytes([frame[0], frame[1]]);
        let body = frame[2..].to_vec();
        self.start += PREFIX + len;
        if self.start == self.bytes.len() {
            // Nothing is left: a large frame's memory is given back, so that an idle peer stays small.
            self.bytes = Vec::new();
            self.start = 0;
        }
        Ok(Some(Frame { kind, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_every_way_of_being_cut() {
        let frames = [Frame { kind: 1, body: vec![] }, Frame { kind: 515, body: vec![7; 300] }];
        let mut stream = Vec::new();
        for frame in &frames {
            frame.write_to(&mut stream);
        }
        for cut in 0..stream.len() {
            let mut reader = FrameReader::default();
            let mut read = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                reader.push(part);
                while let Some(frame) = reader.next_frame().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, frames, "cut at {cut}");
        }
    }

    #[test]
    fn a_peer_that_never_pauses_fills_no_memory() {
        let mut stream = Vec::new();
        Frame { kind: 1, body: vec![7; 1000] }.write_to(&mut stream);
        let mut reader = FrameReader::default();
        let (head, tail) = stream.split_at(500);
        reader.push(head);
        for _ in 0..1000 {
            reader.push(tail);
            reader.push(head);
            assert!(reader.next_frame().unwrap().is_some());
            assert!(reader.next_frame().unwrap().is_none());
        }
        assert!(reader.bytes.capacity() < 10 * stream.len(), "{}", reader.bytes.capacity());
    }

    #[test]
    fn a_length_beyond_the_bound_ends_the_stream() {
        let mut reader = FrameReader::default();
        reader.push(&u32::MAX.to_le_bytes());
        assert!(matches!(reader.next_frame(), Err(WireError::FrameLength(_))));
    }
}
