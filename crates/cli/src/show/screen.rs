//! What the two output streams are: a terminal or not, how wide, in colour or not.
//!
//! What it is for: one decision per run, so that all commands agree. What it owns: the order of `NO_COLOR`,
//! `CLICOLOR_FORCE`, `CLICOLOR`, `TERM` and `COLUMNS`. What it never does: print.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::process::getpgrp;
use rustix::termios::{tcgetpgrp, tcgetwinsize};

/// One output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// A person looks at it.
    pub(crate) terminal: bool,
    /// Lines may be drawn anew: a person watches, not only the terminal of a background job.
    pub(crate) moves: bool,
    /// Colours and other attributes may be used.
    pub(crate) colour: bool,
    /// Characters per line to stay within; none where nothing may be cut (pipes, files).
    pub(crate) width: Option<usize>,
}

/// What the environment says about the looks of output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub(crate) no_color: bool,
    /// `CLICOLOR_FORCE` is set and not `0` (bixense.com/clicolors).
    pub(crate) clicolor_force: bool,
    /// `CLICOLOR` is `0`.
    pub(crate) clicolor_off: bool,
    /// `TERM` is `dumb`.
    pub(crate) dumb: bool,
    /// `COLUMNS`, when it is a number.
    pub(crate) columns: Option<usize>,
}

/// Lines of a terminal that does not tell its size.
const USUAL_WIDTH: usize = 80;

impl Wishes {
    /// From the environment of this process.
    pub(crate) fn of_this_process() -> Wishes {
        let value = |name: &str| std::env::var_os(name).unwrap_or_default();
        Wishes {
            no_color: !value("NO_COLOR").is_empty(),
            clicolor_force: !value("CLICOLOR_FORCE").is_empty() && value("CLICOLOR_FORCE") != "0",
            clicolor_off: value("CLICOLOR") == "0",
            dumb: value("TERM") == "dumb",
            columns: value("COLUMNS").to_str().and_then(|text| text.parse().ok()),
        }
    }
}

impl Screen {
    /// A stream of this process.
    pub(crate) fn of(stream: &(impl AsFd + IsTerminal), wishes: &Wishes) -> Screen {
        let terminal = stream.is_terminal();
        let size = if terminal { tcgetwinsize(stream).ok() } else { None };
        let screen = Screen::decide(terminal, size.map(|size| usize::from(size.ws_col)), wishes);
        // What is drawn from the background would land in the middle of what the person types.
        let foreground = terminal && tcgetpgrp(stream).is_ok_and(|group| group == getpgrp());
        Screen { moves: screen.moves && foreground, ..screen }
    }

    fn decide(terminal: bool, size: Option<usize>, wishes: &Wishes) -> Screen {
        let colour = if wishes.no_color {
            false
        } else {
            wishes.clicolor_force || (terminal && !wishes.clicolor_off && !wishes.dumb)
        };
        let size = size.filter(|columns| *columns > 0);
        let width = terminal.then(|| wishes.columns.or(size).unwrap_or(USUAL_WIDTH));
        Screen { terminal, moves: terminal && !wishes.dumb, colour, width }
    }

    /// A pipe or a file.
    #[cfg(test)]
    pub(crate) const PLAIN: Screen =
        Screen { terminal: false, moves: false, colour: false, width: None };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_about_colour_and_width() {
        let none = Wishes::default();
        let pipe = Screen::decide(false, None, &none);
        assert_eq!(pipe, Screen::PLAIN);
        let terminal = Screen::decide(true, Some(100), &none);
        assert_eq!(
            terminal,
            Screen { terminal: true, moves: true, colour: true, width: Some(100) }
        );
        assert_eq!(Screen::decide(true, Some(0), &none).width, Some(80));

        let no_color = Wishes { no_color: true, clicolor_force: true, ..none.clone() };
        assert!(!Screen::decide(true, None, &no_color).colour);
        let off = Wishes { clicolor_off: true, ..none.clone() };
        assert!(!Screen::decide(true, None, &off).colour);
        let dumb = Wishes { dumb: true, ..none.clone() };
        assert!(!Screen::decide(true, None, &dumb).colour);
        let force = Wishes { clicolor_force: true, columns: Some(40), ..none };
        let forced = Screen::decide(false, None, &force);
        assert_eq!((forced.colour, forced.width), (true, None));
    }
}
