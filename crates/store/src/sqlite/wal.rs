//! Whether a write-ahead log that was left behind ends where its writer did, or where damage begins.
//!
//! SQLite takes the first frame whose checksum is wrong for the end of the log. After a power cut that is right: the
//! last commit may be there in part. But a bit that changes further ahead takes all later commits along, in silence.
//! Each commit is flushed before the next one begins, so a frame behind a later commit proves that the commits before
//! it were whole once. This looks for such a proof, before SQLite sees the log, and only that certain damage is told.
//!
//! Reads only. Owns: what it knows of the log's layout (<https://www.sqlite.org/fileformat2.html#walformat>).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME: usize = 24;
#[expect(clippy::cast_possible_truncation, reason = "4096")]
const PAGE: usize = super::PAGE as usize;
/// What a log begins with; the last bit says in which order the checksum takes bytes.
const MAGIC: u32 = 0x377f_0682;

/// What is wrong with the log at `path`; nothing where there is none.
pub(super) fn damage(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    look(BufReader::with_capacity(1 << 16, file))
}

fn look(mut log: impl Read) -> io::Result<Option<String>> {
    let mut header = [0; HEADER];
    if !filled(&mut log, &mut header)? || header.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let Some(mut sum) = Sum::of_header(&header) else {
        return Ok(Some("the head of its write-ahead log is not what was written".into()));
    };
    let salts = &header[16..24];
    let mut frame = [0; FRAME + PAGE];
    let mut number = 0_u64;
    let (mut ends_at, mut commit_behind) = (None, false);
    while filled(&mut log, &mut frame)? {
        number += 1;
        let ours = frame[8..16] == *salts;
        if ends_at.is_none() {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME..]);
            if !ours || !sum.is_in(&frame[16..24]) {
                ends_at = Some(number);
            }
        }
        let Some(first_bad) = ends_at else { continue };
        if !ours {
            continue;
        }
        if commit_behind {
            return Ok(Some(format!(
                "frame {first_bad} of its write-ahead log is not what was written, and later commits are behind it"
            )));
        }
        commit_behind = frame[4..8] != [0; 4];
    }
    Ok(None)
}

/// Whether all of `to` could be read; less is the end of the file.
fn filled(from: &mut impl Read, to: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The running checksum, and whether it takes words with the most significant byte first.
struct Sum(u32, u32, bool);

impl Sum {
    /// Of a header, if it is whole and of the page size that our stores have.
    fn of_header(header: &[u8; HEADER]) -> Option<Self> {
        let word =
            |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let big = match word(0).wrapping_sub(MAGIC) {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mut sum = Self(0, 0, big);
        sum.add(&header[..24]);
        let whole = (word(24), word(28)) == (sum.0, sum.1) && word(8) as usize == PAGE;
        whole.then_some(sum)
    }

    /// Takes pairs of words along.
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.as_chunks::<8>().0 {
            let word = |at: usize| {
                let word = pair[at..at + 4].try_into().expect("four bytes");
                if self.2 { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
            };
            let (one, other) = (word(0), word(4));
            self.0 = self.0.wrapping_add(one).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(other).wrapping_add(self.0);
        }
    }

    /// Whether a frame holds it: always with the most significant byte first.
    fn is_in(&self, bytes: &[u8]) -> bool {
        bytes[..4] == self.0.to_be_bytes() && bytes[4..8] == self.1.to_be_bytes()
    }
}
