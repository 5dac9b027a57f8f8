//! Aligned columns.
//!
//! What it is for: `list`, `lanes`, `doctor`. What it owns: measuring (wide characters count two), cutting to the
//! width of a terminal, colours of cells. What it never does: cut anything where nobody looks at it (pipes).

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::show::paint::Tone;
use crate::show::screen::Screen;

/// A column: its heading and how it behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    pub(crate) side: Side,
    /// How narrow it may become where space is short; none: never cut.
    pub(crate) least: Option<usize>,
}

/// To which side a column's text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// One field of the table. Its text is sanitised by whoever makes it.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    /// So many of its first characters have the tone, the rest is faint; none: all of it.
    head: Option<usize>,
}

/// An elastic column is still worth reading at this width.
const BARELY: usize = 8;

/// The space between two columns.
const GAP: usize = 2;

impl Column {
    /// A column that is never cut.
    pub(crate) const fn left(heading: &'static str) -> Column {
        Column { heading, side: Side::Left, least: None }
    }

    /// A column of numbers.
    pub(crate) const fn right(heading: &'static str) -> Column {
        Column { heading, side: Side::Right, least: None }
    }

    /// A column that gives way.
    pub(crate) const fn elastic(heading: &'static str, least: usize) -> Column {
        Column { heading, side: Side::Left, least: Some(least) }
    }
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain, head: None }
    }

    pub(crate) fn toned(tone: Tone, text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone, head: None }
    }

    /// An id of which the first characters suffice.
    pub(crate) fn id(text: impl Into<String>, suffices: usize) -> Cell {
        Cell { text: text.into(), tone: Tone::Key, head: Some(suffices) }
    }

    fn width(&self) -> usize {
        self.text.width()
    }

    fn render(&self, width: usize, screen: &Screen, out: &mut String) -> usize {
        let text = cut(&self.text, width);
        let taken = text.width();
        let head = self.head.unwrap_or(text.len()).min(text.len());
        let (first, rest) = text.split_at_checked(head).unwrap_or((&text, ""));
        let first = screen.paint(self.tone, first);
        write!(out, "{first}{}", screen.paint(Tone::Faint, rest))
            .expect("writing to a string cannot fail");
        taken
    }
}

/// How narrow the table of these columns can be before one of them has less room than it should.
pub(crate) fn least_width(columns: &[Column], rows: &[Vec<Cell>], kept: &[bool]) -> usize {
    let used = used(rows, kept);
    let least =
        |(at, width): (&usize, usize)| columns[*at].least.map_or(width, |least| width.min(least));
    let widths: usize = used.iter().zip(natural(&used, columns, rows)).map(least).sum();
    widths + GAP * used.len().saturating_sub(1)
}

/// Those of the columns kept that are not empty in every row.
fn used(rows: &[Vec<Cell>], kept: &[bool]) -> Vec<usize> {
    let filled = |at: &usize| kept[*at] && rows.iter().any(|row| !row[*at].text.is_empty());
    (0..kept.len()).filter(filled).collect()
}

/// How wide each of these columns would be if nothing were cut.
fn natural(used: &[usize], columns: &[Column], rows: &[Vec<Cell>]) -> Vec<usize> {
    let natural = used.iter().map(|at| {
        let cells = rows.iter().map(|row| row[*at].width()).max().unwrap_or(0);
        cells.max(columns[*at].heading.width())
    });
    natural.collect()
}

/// The table as text, with a heading line. Columns that are empty in every row are left out.
pub(crate) fn render(columns: &[Column], rows: &[Vec<Cell>], screen: &Screen) -> String {
    render_some(columns, rows, &vec![true; columns.len()], screen)
}

/// The table of the columns kept.
pub(crate) fn render_some(
    columns: &[Column],
    rows: &[Vec<Cell>],
    kept: &[bool],
    screen: &Screen,
) -> String {
    let used = used(rows, kept);
    let mut widths = natural(&used, columns, rows);
    if let Some(limit) = screen.width {
        let least: Vec<Option<usize>> = used.iter().map(|at| columns[*at].least).collect();
        shrink(&mut widths, &least, limit);
        let barely: Vec<Option<usize>> =
            least.iter().map(|least| least.map(|least| least.min(BARELY))).collect();
        shrink(&mut widths, &barely, limit);
    }
    let heading: Vec<Cell> =
        columns.iter().map(|column| Cell::toned(Tone::Faint, column.heading)).collect();
    let mut out = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let start = out.len();
        for (nth, at) in used.iter().enumerate() {
            let cell = &row[*at];
            let padding = widths[nth].saturating_sub(cell.width());
            if nth > 0 {
                out.push_str(&" ".repeat(GAP));
            }
            if columns[*at].side == Side::Right {
                out.push_str(&" ".repeat(padding));
            }
            let taken = cell.render(widths[nth], screen, &mut out);
            if columns[*at].side == Side::Left {
                out.push_str(&" ".repeat(widths[nth].saturating_sub(taken)));
            }
        }
        let end = start + out[start..].trim_end_matches(' ').len();
        out.truncate(end);
        out.push('\n');
    }
    out
}

/// Takes from the widest elastic column until all fit or none can give more.
fn shrink(widths: &mut [usize], least: &[Option<usize>], limit: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    loop {
        let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
        if over == 0 {
            return;
        }
        let giving = (0..widths.len())
            .filter(|at| least[*at].is_some_and(|least| widths[*at] > least))
            .max_by_key(|at| widths[*at]);
        let Some(at) = giving else { return };
        widths[at] -= 1;
    }
}

/// The text within a width; what is cut ends in an ellipsis.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide + 1 > width {
            break;
        }
        taken += wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::left("ID"),
        Column::elastic("NAME", 4),
        Column::right("TIME"),
        Column::left("EMPTY"),
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |id: &str, name: &str, time: &str| {
            vec![Cell::id(id, 2), Cell::new(name), Cell::new(time), Cell::new("")]
        };
        vec![row("abcd", "漢字のテスト", "12s"), row("bcde", "cargo build --release", "1h 05m")]
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let text = render(&COLUMNS, &rows(), &Screen::PLAIN);
        let expected = "\
ID    NAME                     TIME
abcd  漢字のテスト              12s
bcde  cargo build --release  1h 05m
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_terminal_is_never_overflowed_where_a_column_can_give_way() {
        let screen = Screen { terminal: true, moves: true, colour: false, width: Some(22) };
        let expected = "\
ID    NAME        TIME
abcd  漢字の…      12s
bcde  cargo b…  1h 05m
";
        assert_eq!(render(&COLUMNS, &rows(), &screen), expected);
    }

    #[test]
    fn the_part_of_an_id_that_suffices_stands_out() {
        let screen = Screen { terminal: true, moves: true, colour: true, width: Some(80) };
        let text = render(&[Column::left("ID")], &[vec![Cell::id("abcd", 2)]], &screen);
        assert_eq!(text, "\x1b[2mID\x1b[0m\n\x1b[1m\x1b[35mab\x1b[0m\x1b[2mcd\x1b[0m\n");
    }
}
