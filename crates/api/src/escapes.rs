//! Which characters of a program's output are text and which are parts of control sequences (ECMA-48, section 5).
//!
//! What it is for: the filter for terminals and models (`sanitise`) and the one that makes pages of a log must agree on
//! every character. What it owns: the one table. What it never does: decide how a line ends or what fits.

/// Where in a control sequence a text is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In none.
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

/// What a character is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Of a sequence.
    Sequence,
    /// Of no sequence, and nothing to show: it is harmful or invisible, or a sequence begins with it.
    Nothing,
    /// Text: anything that can be seen, a tab, or what ends a line (CR, LF, U+2028, U+2029).
    Shown(char),
}

/// Takes one character along.
pub fn step(state: State, c: char) -> (State, Part) {
    let within = |state| (state, Part::Sequence);
    match (state, c) {
        // CAN and SUB abort any sequence. A newline ends one too: a string without terminator must not hide
        // everything that is printed after it.
        (_, '\u{18}' | '\u{1a}') => within(State::Ground),
        (State::Ground, _) | (_, '\n') => ground(c),
        (State::Text | State::TextEscape, '\u{7}' | '\u{9c}') => within(State::Ground),
        (State::Text, '\u{1b}') => within(State::TextEscape),
        (State::Text, _) => within(State::Text),
        (State::TextEscape, '\\') => within(State::Ground),
        // An escape that is no terminator aborts the string and begins a sequence of its own.
        (State::TextEscape | State::Escape, _) => match c {
            '\u{1b}' => within(State::Escape),
            '[' => within(State::Csi),
            ']' | 'P' | 'X' | '^' | '_' => within(State::Text),
            ' '..='/' => within(State::Intermediate),
            '0'..='~' => within(State::Ground),
            _ => ground(c),
        },
        (State::Intermediate, ' '..='/') => within(State::Intermediate),
        (State::Intermediate, '0'..='~') => within(State::Ground),
        (State::Csi, ' '..='?') => within(State::Csi),
        (State::Csi, '@'..='~') => within(State::Ground),
        (State::Intermediate | State::Csi, _) => ground(c),
    }
}

fn ground(c: char) -> (State, Part) {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => (State::Ground, Part::Shown(c)),
        '\u{1b}' => (State::Escape, Part::Nothing),
        '\u{9b}' => (State::Csi, Part::Nothing),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => (State::Text, Part::Nothing),
        c if c.is_control() || is_invisible(c) => (State::Ground, Part::Nothing),
        c => (State::Ground, Part::Shown(c)),
    }
}

/// Format characters (category Cf) and the supplementary variation selectors, which carry hidden text.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}
