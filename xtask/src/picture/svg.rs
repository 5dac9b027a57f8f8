//! Lines of coloured text as an SVG picture of a terminal.
//!
//! Owns sizes and colours. The picture is text, not outlines: it can be searched and copied, and a
//! screen reader can read it.

use std::fmt::Write as _;

use super::screen::{Cell, Style};

/// Width and height of one character cell, in SVG units, at the font size below.
const CELL: (f64, f64) = (8.0, 19.0);
const FONT_SIZE: f64 = 13.3;
const MARGIN: f64 = 18.0;
const BACKGROUND: &str = "#14181f";
const FOREGROUND: &str = "#d7dce2";

/// The sixteen colours, dark to bright, chosen for contrast on the background.
const COLOURS: [&str; 16] = [
    "#59626e", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#d7dce2",
    "#8b949e", "#ffa198", "#9bf0a1", "#f2cc60", "#a5d6ff", "#e2c5ff", "#7de2ea", "#ffffff",
];

pub(super) fn draw(lines: &[Vec<Cell>], columns: usize) -> String {
    let width = columns as f64 * CELL.0 + 2.0 * MARGIN;
    let height = lines.len() as f64 * CELL.1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"A terminal session with meanwhile\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" \
         font-size=\"{FONT_SIZE}\" fill=\"{FOREGROUND}\" xml:space=\"preserve\">\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = MARGIN + (row as f64 + 0.75) * CELL.1;
        for (start, run) in runs(line) {
            let text: String = run.iter().map(|cell| cell.character).collect();
            if text.trim().is_empty() {
                continue;
            }
            let x = MARGIN + start as f64 * CELL.0;
            // The length is fixed, so that columns line up in whatever font is there.
            let length = run.len() as f64 * CELL.0;
            let style = attributes(run[0].style);
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y:.1}\" textLength=\"{length}\"{style}>{}</text>",
                escaped(&text)
            );
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Stretches of one style, each with the column it starts in.
fn runs(line: &[Cell]) -> Vec<(usize, &[Cell])> {
    let mut start = 0;
    line.chunk_by(|a, b| a.style == b.style)
        .map(|run| {
            let at = start;
            start += run.len();
            (at, run)
        })
        .collect()
}

fn attributes(style: Style) -> String {
    let mut text = String::new();
    if let Some(colour) = style.colour {
        let _ = write!(text, " fill=\"{}\"", COLOURS[usize::from(colour)]);
    }
    if style.bold {
        text.push_str(" font-weight=\"bold\"");
    }
    if style.dim {
        text.push_str(" opacity=\"0.6\"");
    }
    if style.underline {
        text.push_str(" text-decoration=\"underline\"");
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
