//! Text of tasks made safe for a terminal or a model.
//!
//! What it is for: output, names, labels, directories and error texts come from programs that may be hostile; a
//! terminal must not obey them, nor a model read what a person does not see. What it owns: the one filter, as a stream
//! (sequences and characters may be cut by a read) and for single lines. What it never does: filter `--raw`, or hide
//! text that is not a control sequence.
//!
//! Removed: C0 but tab and newline, C1, escape sequences (CSI, OSC, DCS, SOS, PM, APC, also unterminated ones),
//! bidirectional controls and other invisible format characters, which can make text read differently than it is.

/// The filter, which remembers where in a sequence the last piece of text stopped.
#[derive(Debug, Default)]
pub struct Sanitiser {
    state: State,
    /// The bytes of a character whose rest has not arrived yet: at most 3.
    partial: Vec<u8>,
    after_return: bool,
}

/// Where in a control sequence the filter is (ECMA-48, section 5).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC and intermediate bytes: a final byte comes.
    Intermediate,
    /// In a control sequence: parameters, then a final byte.
    Csi,
    /// In a control string: all is skipped up to its terminator.
    Text,
    /// In a control string after ESC, which may be the first half of its terminator.
    TextEscape,
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
        self.state = match (self.state, c) {
            // CAN and SUB abort any sequence. A newline ends one too: a string without terminator must not hide
            // everything that a task prints after it.
            (_, '\u{18}' | '\u{1a}') => State::Ground,
            (State::Ground, _) | (_, '\n') => self.ground(c, out),
            (State::Text | State::TextEscape, '\u{7}' | '\u{9c}') => State::Ground,
            (State::Text, '\u{1b}') => State::TextEscape,
            (State::Text, _) => State::Text,
            (State::TextEscape, '\\') => State::Ground,
            // An escape that is no terminator aborts the string and begins a sequence of its own.
            (State::TextEscape | State::Escape, _) => self.escape(c, out),
            (State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Intermediate, '0'..='~') => State::Ground,
            (State::Csi, ' '..='?') => State::Csi,
            (State::Csi, '@'..='~') => State::Ground,
            (State::Intermediate | State::Csi, _) => self.ground(c, out),
        };
    }

    fn ground(&mut self, c: char, out: &mut String) -> State {
        let after_return = std::mem::replace(&mut self.after_return, c == '\r');
        match c {
            // Both halves of a line end make one; a lone return (a progress bar) begins a line as well, so that
            // its steps do not run together.
            '\n' if after_return => {}
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\t' => out.push('\t'),
            '\u{1b}' => return State::Escape,
            '\u{9b}' => return State::Csi,
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => return State::Text,
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
        State::Ground
    }

    fn escape(&mut self, c: char, out: &mut String) -> State {
        match c {
            '\u{1b}' => State::Escape,
            '[' => State::Csi,
            ']' | 'P' | 'X' | '^' | '_' => State::Text,
            ' '..='/' => State::Intermediate,
            '0'..='~' => State::Ground,
            _ => self.ground(c, out),
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

/// Format characters (category Cf) and the supplementary variation selectors, which carry hidden text.
const fn is_invisible(c: char) -> bool {
    matches!(
        c as u32,
        0xad
            | 0x600..=0x605
            | 0x61c
            | 0x6dd
            | 0x70f
            | 0x890..=0x891
            | 0x8e2
            | 0x180e
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0x110bd
            | 0x110cd
            | 0x13430..=0x1343f
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff
    )
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
