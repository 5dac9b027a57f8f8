//! Pages of output, printed.
//!
//! What it is for: `output` and `follow` print alike. What it owns: the filter between a task's bytes and our standard
//! output, and the marks about cuts on standard error. What it never does: fetch a page.

use meanwhile_api::output::{Gap, OutputReply};

use crate::context::Context;
use crate::failure::Failure;
use crate::show::sanitise::Sanitiser;
use crate::show::when;

/// Prints the pages of one attempt.
pub(crate) struct Printer<'a> {
    context: &'a Context,
    raw: bool,
    filter: Sanitiser,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(context: &'a Context, raw: bool) -> Printer<'a> {
        Printer { context, raw, filter: Sanitiser::default() }
    }

    /// Prints a page, with a mark where something is missing.
    pub(crate) fn page(&mut self, page: &OutputReply) -> Result<(), Failure> {
        let (first, rest) = pieces(page);
        self.bytes(first)?;
        for (gap, bytes) in rest {
            self.context.note(&mark(gap));
            self.bytes(bytes)?;
        }
        Ok(())
    }

    /// Prints what is left at the end.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let rest = self.filter.finish();
        if rest.is_empty() { Ok(()) } else { self.context.print(&rest) }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.raw {
            return self.context.print_bytes(bytes);
        }
        let text = self.filter.push(bytes);
        self.context.print(&text)
    }
}

/// The text up to the first gap, and each gap with the text after it.
fn pieces(page: &OutputReply) -> (&[u8], Vec<(&Gap, &[u8])>) {
    let text = page.text.as_bytes();
    let at = |gap: &Gap| usize::try_from(gap.at).unwrap_or(usize::MAX).min(text.len());
    let ends = page.gaps.iter().skip(1).map(at).chain([text.len()]);
    let first = page.gaps.first().map_or(text.len(), at);
    let rest = page.gaps.iter().zip(ends);
    (&text[..first], rest.map(|(gap, end)| (gap, &text[at(gap).min(end)..end])).collect())
}

fn mark(gap: &Gap) -> String {
    let size = when::bytes(gap.to.saturating_sub(gap.from));
    format!("[{size} are gone here, bytes {} to {}: the log was over its cap]", gap.from, gap.to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meanwhile_api::OsText;
    use meanwhile_api::task::State;

    #[test]
    fn gaps_are_marked_where_they_are() {
        let gap = |at| Gap { at, from: 100, to: 1_124 };
        let mut page = OutputReply {
            text: OsText::from("abcdef"),
            next_cursor: 0,
            bytes: 0,
            dropped_bytes: 0,
            gaps: vec![gap(2), gap(4)],
            truncated: false,
            attempt: 1,
            state: State::Running,
            ended: false,
        };
        let expected = (&b"ab"[..], vec![(&page.gaps[0], &b"cd"[..]), (&page.gaps[1], &b"ef"[..])]);
        assert_eq!(pieces(&page), expected);
        assert!(mark(&page.gaps[0]).starts_with("[1 KiB are gone here, bytes 100 to 1124"));
        page.gaps = vec![gap(99)];
        assert_eq!(pieces(&page), (&b"abcdef"[..], vec![(&page.gaps[0], &b""[..])]));
        page.gaps.clear();
        assert_eq!(pieces(&page), (&b"abcdef"[..], Vec::new()));
    }
}
