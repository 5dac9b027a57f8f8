//! What a terminal shows after some bytes: lines of coloured text.
//!
//! Owns a small model of a terminal: carriage return, erasing of lines, moving up, and SGR colours.
//! Everything else a terminal can do is left out, because the program does not use it.

/// Text of one style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) character: char,
    pub(super) style: Style,
}

/// The part of SGR that the picture knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) colour: Option<u8>,
    pub(super) bold: bool,
    pub(super) dim: bool,
    pub(super) underline: bool,
}

/// Plays `bytes` on a terminal of `columns` and answers its lines, without empty ones at the end.
pub(super) fn lines(bytes: &str, columns: usize) -> Vec<Vec<Cell>> {
    let mut screen = Screen { lines: vec![Vec::new()], row: 0, column: 0, style: Style::default() };
    let mut rest = bytes.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\n' => screen.down(),
            '\r' => screen.column = 0,
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => {
                let mut arguments = String::new();
                while let Some(next) = rest.next_if(|c| !c.is_ascii_alphabetic()) {
                    arguments.push(next);
                }
                if let Some(command) = rest.next() {
                    screen.control(command, &arguments);
                }
            }
            other if other.is_control() => {}
            other => screen.put(other, columns),
        }
    }
    while screen.lines.last().is_some_and(Vec::is_empty) {
        screen.lines.pop();
    }
    screen.lines
}

struct Screen {
    lines: Vec<Vec<Cell>>,
    row: usize,
    column: usize,
    style: Style,
}

impl Screen {
    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn put(&mut self, character: char, columns: usize) {
        if self.column == columns {
            self.column = 0;
            self.down();
        }
        let line = &mut self.lines[self.row];
        let blank = Cell { character: ' ', style: Style::default() };
        while line.len() <= self.column {
            line.push(blank.clone());
        }
        line[self.column] = Cell { character, style: self.style };
        self.column += 1;
    }

    fn control(&mut self, command: char, arguments: &str) {
        let number = arguments.parse::<usize>().unwrap_or(1);
        match command {
            'm' => self.sgr(arguments),
            'A' => self.row = self.row.saturating_sub(number),
            'B' => (0..number).for_each(|_| self.down()),
            'G' => self.column = number.saturating_sub(1),
            'K' if arguments == "2" => self.lines[self.row].clear(),
            'K' => self.lines[self.row].truncate(self.column),
            'J' => {
                self.lines[self.row].truncate(self.column);
                self.lines.truncate(self.row + 1);
            }
            _ => {}
        }
    }

    fn sgr(&mut self, arguments: &str) {
        for argument in arguments.split(';') {
            match argument.parse::<u8>().unwrap_or(0) {
                0 => self.style = Style::default(),
                1 => self.style.bold = true,
                2 => self.style.dim = true,
                4 => self.style.underline = true,
                22 => (self.style.bold, self.style.dim) = (false, false),
                24 => self.style.underline = false,
                colour @ 30..=37 => self.style.colour = Some(colour - 30),
                39 => self.style.colour = None,
                colour @ 90..=97 => self.style.colour = Some(colour - 90 + 8),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &str) -> Vec<String> {
        lines(bytes, 20)
            .iter()
            .map(|line| line.iter().map(|cell| cell.character).collect())
            .collect()
    }

    #[test]
    fn a_redrawn_line_shows_only_its_last_state() {
        assert_eq!(text("waiting 1\r\u{1b}[2Kdone\r\nnext"), ["done", "next"]);
        assert_eq!(text("a\r\nb\r\n\u{1b}[1A\u{1b}[2Kc\r\n"), ["a", "c"]);
    }

    #[test]
    fn colours_are_kept_and_reset() {
        let line = &lines("\u{1b}[32mok\u{1b}[0m.", 20)[0];
        assert_eq!(line[0].style.colour, Some(2));
        assert_eq!(line[2].style, Style::default());
    }
}
