//! `completions`: for shells.
//!
//! What it is for: Tab. What it owns: nothing. What it never does: write a file.

use clap::Args;
use clap_complete::Shell;

use crate::cli::{self, Action, Answer};
use crate::context::Context;

/// Print completions for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which one
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Action for Completions {
    fn run(self, context: &Context) -> Answer {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut cli::visible_definition(), "meanwhile", &mut text);
        context.print_bytes(&text)?;
        Ok(0)
    }
}
