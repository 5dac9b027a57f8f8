//! Colours, by meaning.
//!
//! What it is for: a state looks the same in every command. What it owns: the palette (16 colours, so that the
//! terminal's own theme decides). What it never does: decide whether colours are wanted ([`Screen`] does).

use std::fmt;

use anstyle::{AnsiColor, Style};
use meanwhile_api::task::State;

use crate::show::screen::Screen;

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// Facts that matter less than the rest.
    Faint,
    /// Headings and what one may type.
    Strong,
    /// The part of an id that suffices.
    Key,
    Good,
    Bad,
    Busy,
    Attention,
}

impl Tone {
    /// The tone of a state.
    pub(crate) const fn of(state: State) -> Tone {
        match state {
            State::Queued => Tone::Plain,
            State::Starting | State::Running => Tone::Busy,
            State::InputRequired | State::Interrupted => Tone::Attention,
            State::Completed => Tone::Good,
            State::Failed => Tone::Bad,
            State::Cancelled => Tone::Faint,
        }
    }

    const fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
            Tone::Key => AnsiColor::Magenta.on_default().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Busy => AnsiColor::Cyan.on_default(),
            Tone::Attention => AnsiColor::Yellow.on_default(),
        }
    }
}

/// Text in a tone, for `format!`; width and alignment of the format are not applied.
pub(crate) struct Painted<'a> {
    text: &'a str,
    style: Option<Style>,
}

impl Screen {
    /// The text in a tone, if this screen has colours.
    pub(crate) fn paint<'a>(&self, tone: Tone, text: &'a str) -> Painted<'a> {
        let style = (self.colour && tone != Tone::Plain).then(|| tone.style());
        Painted { text, style }
    }
}

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            Some(style) if !self.text.is_empty() => {
                write!(f, "{}{}{}", style.render(), self.text, style.render_reset())
            }
            _ => f.write_str(self.text),
        }
    }
}
