//! Text of tasks made safe for a terminal or a model.
//!
//! What it is for: output, names, labels, directories and error texts come from programs that may be hostile; a
//! terminal must not obey them, nor a model read what a person does not see. What it owns: the one filter, as a stream
//! (sequences and characters may be cut by a read) and for single lines. What it never does: filter `--raw`, or hide
//! text that is not a control sequence.
//!
//! Removed: C0 but tab and newline, C1, escape sequences (CSI, OSC, DCS, SOS, PM, APC, also unterminated ones),
//! bidirectional controls and other invisible format characters, which can make text read differently than it is.

use crate::escapes::{self, Part, State};

/// The filter, which remembers where in a sequence the last piece of text stopped.
#[derive(Debug, Default)]
pub struct Sanitiser {
    state: State,
    /// The bytes of a character whose rest has not arrived yet: at most 3.
    partial: Vec<u8>,
    after_return: bool,
}

impl Sanitiser {
    /// The harmless text in these bytes. Invalid UTF-8 becomes U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = bytes;
        if !self.partial.is_empty() {
            joined = [std::mem::take(&mut self.partial).as_slice(), bytes].concat();
            rest = &joined;
        }
        let mut out = String::with_capacity(rest.len());
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text(text, &mut out);
                    break;
                }
                Err(error) => {
                    let (valid, tail) = rest.split_at(error.valid_up_to());
                    self.text(&String::from_utf8_lossy(valid), &mut out);
                    let Some(bad) = error.error_len() else {
                        self.partial = tail.to_vec();
                        break;
                    };
                    self.character('\u{fffd}', &mut out);
                    rest = &tail[bad..];
                }
            }
        }
        out
    }

    /// What is left at the end: a character that was cut for good.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        if !std::mem::take(&mut self.partial).is_empty() {
            self.character('\u{fffd}', &mut out);
        }
        self.state = State::Ground;
        out
    }

    fn text(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            self.character(c, out);
        }
    }

    fn character(&mut self, c: char, out: &mut String) {
        let (state, part) = escapes::step(self.state, c);
        self.state = state;
        if part == Part::Sequence {
            return;
        }
        let after_return = std::mem::replace(&mut self.after_return, c == '\r');
        match part {
            // Both halves of a line end make one; a lone return (a progress bar) begins a line as well, so that
            // its steps do not run together.
            Part::Shown('\n') if after_return => {}
            Part::Shown('\r' | '\u{2028}' | '\u{2029}') => out.push('\n'),
            Part::Shown(c) => out.push(c),
            Part::Nothing | Part::Sequence => {}
        }
    }
}

/// Text that is shown within a line: sanitised, and every run of white space in it is one space.
pub fn line(text: &str) -> String {
    let clean = block(text);
    if !clean.contains(['\n', '\t']) {
        return clean;
    }
    clean.split(['\n', '\t']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Text of several lines, sanitised.
pub fn block(text: &str) -> String {
    let mut filter = Sanitiser::default();
    let mut out = filter.push(text.as_bytes());
    out.push_str(&filter.finish());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence between two letters, and what must be left of it.
    const CORPUS: [(&[u8], &str); 64] = [
        (b"\x1b[31m", ""),
        (b"\x1b[0m", ""),
        (b"\x1b[1;38;5;196m", ""),
        (b"\x1b[38:2::255:0:0m", ""),
        (b"\x1b[2J", ""),
        (b"\x1b[H", ""),
        (b"\x1b[3J\x1b[1;1H", ""),
        (b"\x1b[?25l", ""),
        (b"\x1b[?1049h", ""),
        (b"\x1b[?1000h\x1b[?1006h", ""),
        (b"\x1b[6n", ""),
        (b"\x1b[c", ""),
        (b"\x1b[>c", ""),
        (b"\x1b[!p", ""),
        (b"\x1b[1 q", ""),
        (b"\x1b[5i", ""),
        (b"\x1b[21t", ""),
        (b"\x1b[1;1", ""),
        (b"\x1b[12\n", "\n"),
        (b"\x1b]0;title\x07", ""),
        (b"\x1b]2;title\x1b\\", ""),
        (b"\x1b]52;c;cm0gLXJmIH4=\x07", ""),
        (b"\x1b]8;;http://evil.example/\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b]1337;File=inline=1:AAAA\x07", ""),
        (b"\x1b]777;notify;a;b\x07", ""),
        (b"\x1b]9;4;1;50\x1b\\", ""),
        (b"\x1b]0;unterminated\n", "\n"),
        (b"\x1b]0;aborted\x18", ""),
        (b"\x1b]0;aborted\x1a", ""),
        (b"\x1b]0;a\x1b[31m", ""),
        (b"\x1bP$q\"p\x1b\\", ""),
        (b"\x1bPq#0;2;0;0;0\x1b\\", ""),
        (b"\x1bP+q544e\x1b\\", ""),
        (b"\x1bXsos\x1b\\", ""),
        (b"\x1b^pm\x1b\\", ""),
        (b"\x1b_Gf=100;AAAA\x1b\\", ""),
        (b"\x1bPbell does not hide\x07", ""),
        (b"\x1bc", ""),
        (b"\x1b7\x1b8", ""),
        (b"\x1b(0", ""),
        (b"\x1b#8", ""),
        (b"\x1b%G", ""),
        (b"\x1b=\x1b>", ""),
        (b"\x1b\x1b[31m", ""),
        (b"\x1b\x1b\x1b", ""),
        (b"\xc2\x9b31m", ""),
        (b"\xc2\x9d0;title\xc2\x9c", ""),
        (b"\xc2\x90q\xc2\x9c", ""),
        (b"\xc2\x9e\xc2\x9c\xc2\x9f\xc2\x9c\xc2\x98\xc2\x9c", ""),
        (b"\xc2\x85\xc2\x8d", ""),
        (b"\x9b31m", "\u{fffd}31m"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        (b"\0\x01\x02\x05\x07\x08\x0b\x0c\x0e\x0f\x7f", ""),
        (b"\r\n", "\n"),
        (b"10%\r20%", "10%\n20%"),
        (b"\t", "\t"),
        ("\u{202e}txt.exe\u{202c}".as_bytes(), "txt.exe"),
        ("\u{2066}\u{2067}\u{2068}\u{2069}".as_bytes(), ""),
        ("\u{200b}\u{200d}\u{200e}\u{200f}\u{feff}".as_bytes(), ""),
        ("\u{61c}\u{ad}\u{2060}\u{206f}".as_bytes(), ""),
        ("\u{e0041}\u{e0042}\u{e007f}\u{e0100}".as_bytes(), ""),
        ("\u{2028}".as_bytes(), "\n"),
        ("größe 漢字 👍".as_bytes(), "größe 漢字 👍"),
        (b"[31m", "[31m"),
    ];

    fn all_at_once(bytes: &[u8]) -> String {
        let mut filter = Sanitiser::default();
        let mut out = filter.push(bytes);
        out.push_str(&filter.finish());
        out
    }

    /// A sequence that is left open may swallow the letter after it, never more.
    #[test]
    fn no_sequence_of_the_corpus_reaches_the_terminal() {
        for (sequence, left) in CORPUS {
            let text = all_at_once(&[b"a", sequence, b"\nz"].concat());
            let shown = sequence.escape_ascii();
            assert_eq!(text, format!("a{left}\nz"), "{shown}");
            let control = |c: char| c.is_control() && c != '\n' && c != '\t';
            assert!(!text.contains(control), "{shown}");
        }
    }

    #[test]
    fn a_sequence_cut_anywhere_is_filtered_like_a_whole_one() {
        for (sequence, _) in CORPUS {
            let bytes = [b"a", sequence, b"\nz"].concat();
            let mut filter = Sanitiser::default();
            let mut out: String = bytes.iter().map(|byte| filter.push(&[*byte])).collect();
            out.push_str(&filter.finish());
            assert_eq!(out, all_at_once(&bytes), "{}", sequence.escape_ascii());
        }
    }

    #[test]
    fn filtered_text_is_not_changed_by_filtering_it_again() {
        for (sequence, _) in CORPUS {
            let once = all_at_once(sequence);
            assert_eq!(block(&once), once);
        }
    }

    #[test]
    fn a_line_has_no_line_ends() {
        assert_eq!(line("a\nb\r\nc\td\x1b[31m\n"), "a b c d");
    }

    #[test]
    fn a_character_that_never_ends_is_marked() {
        assert_eq!(all_at_once(b"a\xe2\x82"), "a\u{fffd}");
    }
}
