//! Output of tasks as plain text: valid UTF-8 without control characters but tab and newline.
//!
//! Owns the one filter between a log and JSON. Removed: C0 but tab and newline, C1, escape sequences
//! (also unterminated ones), bidirectional controls and other invisible format characters, which make
//! text read differently than it is. A lone carriage return begins a line, so that the steps of a
//! progress bar do not run together. Never hides text that is not part of a control sequence.

use meanwhile_api::escapes::{self, Part, State};

/// The filter; remembers where in a sequence the last bytes stopped.
#[derive(Debug, Default)]
pub struct Cleaner {
    state: State,
    returned: bool,
    unfinished: usize,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// How many were dealt with; the rest is a character whose end is missing, or found no room.
    pub used: usize,
    /// There was no room for more text.
    pub full: bool,
}

impl Cleaner {
    /// Appends the text of `bytes` to `out`, up to `room` bytes in all. `last`: nothing follows, so that
    /// a character without its end is one that is broken.
    pub fn clean(&mut self, bytes: &[u8], last: bool, room: usize, out: &mut Vec<u8>) -> Cleaned {
        let mut used = 0;
        while used < bytes.len() {
            let (valid, bad) = match std::str::from_utf8(&bytes[used..]) {
                Ok(text) => (text, None),
                Err(error) => {
                    let (valid, tail) = bytes[used..].split_at(error.valid_up_to());
                    let valid = std::str::from_utf8(valid).expect("checked up to there");
                    (valid, Some(error.error_len().unwrap_or(if last { tail.len() } else { 0 })))
                }
            };
            for c in valid.chars() {
                if !self.character(c, c.len_utf8(), room, out) {
                    return Cleaned { used, full: true };
                }
                used += c.len_utf8();
            }
            match bad {
                None => break,
                Some(0) => return Cleaned { used, full: false },
                Some(len) => {
                    if !self.character(char::REPLACEMENT_CHARACTER, len, room, out) {
                        return Cleaned { used, full: true };
                    }
                    used += len;
                }
            }
        }
        if last && self.returned {
            if out.len() >= room {
                return Cleaned { used, full: true };
            }
            self.returned = false;
            out.push(b'\n');
        }
        Cleaned { used, full: false }
    }

    /// Bytes at the end of what was given that may turn out to be part of a longer sequence. A page
    /// that stops before them can be continued by another filter.
    #[must_use]
    pub const fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Takes one character of `len` bytes; false when there is no room for what it means.
    fn character(&mut self, c: char, len: usize, room: usize, out: &mut Vec<u8>) -> bool {
        let before = (self.state, self.returned);
        // At most a line end and a character come of it.
        let mut text = Printed::default();
        self.state = self.next(c, &mut text);
        if out.len() + text.len() > room {
            (self.state, self.returned) = before;
            // The line end that a return before it stands for may fit without it.
            if text.newline && out.len() < room {
                out.push(b'\n');
                (self.returned, self.unfinished) = (false, 0);
            }
            return false;
        }
        text.write(out);
        let safe = self.state == State::Ground && !self.returned;
        self.unfinished = match safe {
            true => 0,
            // The return before it is dealt with.
            false if text.newline => len,
            false => self.unfinished + len,
        };
        true
    }

    fn next(&mut self, c: char, out: &mut Printed) -> State {
        let (state, part) = escapes::step(self.state, c);
        if part == Part::Sequence {
            return state;
        }
        if std::mem::take(&mut self.returned) && c != '\n' {
            out.newline = true;
        }
        match part {
            Part::Shown('\r') => self.returned = true,
            Part::Shown('\u{2028}' | '\u{2029}') => out.character = Some('\n'),
            Part::Shown(c) => out.character = Some(c),
            Part::Nothing | Part::Sequence => {}
        }
        state
    }
}

/// What one character comes to.
#[derive(Default)]
struct Printed {
    newline: bool,
    character: Option<char>,
}

impl Printed {
    fn len(&self) -> usize {
        usize::from(self.newline) + self.character.map_or(0, char::len_utf8)
    }

    fn write(&self, out: &mut Vec<u8>) {
        if self.newline {
            out.push(b'\n');
        }
        if let Some(c) = self.character {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// A whole text, cleaned.
#[must_use]
pub fn clean(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    Cleaner::default().clean(bytes, true, usize::MAX, &mut out);
    String::from_utf8(out).expect("the filter writes characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_removed_and_text_stays() {
        let check = |bytes: &[u8], text: &str| assert_eq!(clean(bytes), text, "{bytes:?}");
        check(b"plain\ttext\n", "plain\ttext\n");
        check(b"\x1b[1;31mred\x1b[0m", "red");
        check(b"a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", "abc");
        check(b"a\x1bPdcs\x1b\\b\x1b_apc\x1b\\c\x1b(Bd", "abcd");
        check("a\u{9b}31mb\u{9d}t\u{9c}c".as_bytes(), "abc");
        check(b"a\x00\x07\x08\x7fb", "ab");
        check("gr\u{f6}\u{df}e \u{1f600}".as_bytes(), "gr\u{f6}\u{df}e \u{1f600}");
        check("a\u{202e}b\u{200b}c\u{feff}".as_bytes(), "abc");
        check(b"a\xffb\xc3(", "a\u{fffd}b\u{fffd}(");
        check(b"10%\r20%\rdone\r\nnext\r", "10%\n20%\ndone\nnext\n");
        check(b"\r\r\n\r\n", "\n\n\n");
    }

    #[test]
    fn a_string_without_terminator_hides_nothing_behind_its_line() {
        assert_eq!(clean(b"a\x1b]0;evil\nvisible"), "a\nvisible");
    }

    #[test]
    fn text_cut_anywhere_is_the_same_text() {
        let bytes = "x\u{1f600}\r\n\u{1b}[31mr\u{f6}d\u{1b}]0;t\u{7}z\rq\n".as_bytes();
        let whole = clean(bytes);
        for cut in 0..=bytes.len() {
            let (mut cleaner, mut out) = (Cleaner::default(), Vec::new());
            let first = cleaner.clean(&bytes[..cut], false, usize::MAX, &mut out);
            cleaner.clean(&bytes[first.used..], true, usize::MAX, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_page_that_stops_before_what_is_unfinished_is_continued_by_another_filter() {
        let bytes = "x\u{1f600}\r\n\u{1b}[31mr\u{f6}d\u{1b}]0;t\u{7}z\rq\r\u{1b}[0mw\n".as_bytes();
        let whole = clean(bytes);
        for cut in 0..=bytes.len() {
            let (mut cleaner, mut out) = (Cleaner::default(), Vec::new());
            let first = cleaner.clean(&bytes[..cut], false, usize::MAX, &mut out);
            let next = first.used - cleaner.unfinished();
            let rest = clean(&bytes[next..]);
            assert_eq!(String::from_utf8(out).unwrap() + &rest, whole, "cut at {cut}");
        }
    }

    #[test]
    fn no_more_text_comes_than_there_is_room_for_and_it_goes_on_where_it_stopped() {
        let bytes = "\u{1f600}\u{1f600}\rab\u{1b}[0mcd\u{ff}\n".as_bytes();
        let whole = clean(bytes);
        for room in 4..20 {
            let (mut at, mut text) = (0, String::new());
            while at < bytes.len() {
                let (mut cleaner, mut out) = (Cleaner::default(), Vec::new());
                let step = cleaner.clean(&bytes[at..], true, room, &mut out);
                assert!(out.len() <= room);
                at += step.used - if step.full { cleaner.unfinished() } else { 0 };
                text += std::str::from_utf8(&out).unwrap();
            }
            assert_eq!(text, whole, "room {room}");
        }
    }
}
