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
        let mut rest = page.text.as_bytes();
        let mut printed = 0;
        for gap in &page.gaps {
            let at = usize::try_from(gap.at).unwrap_or(usize::MAX).saturating_sub(printed);
            let (before, after) = rest.split_at(at.min(rest.len()));
            self.bytes(before)?;
            printed += before.len();
            rest = after;
            self.context.note(&mark(gap));
        }
        self.bytes(rest)
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

fn mark(gap: &Gap) -> String {
    let size = when::bytes(gap.to.saturating_sub(gap.from));
    format!("[{size} are gone here, bytes {} to {}: the log was over its cap]", gap.from, gap.to)
}
