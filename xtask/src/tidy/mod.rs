//! `cargo xtask tidy`: the rules of this project that a compiler cannot check.
//!
//! Owns the list of rules and their wording. Each complaint names a file, a line, and what to do.
//! It reads the tree as it is on disk, tracked or not, and changes nothing.

mod bans;
mod documents;
mod edges;
mod layout;
mod rust;
mod text;
mod tree;

use std::fmt;

use crate::{Outcome, cargo, generate};

/// One broken rule.
pub(crate) struct Complaint {
    file: String,
    line: usize,
    message: String,
}

impl Complaint {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.message)
    }
}

pub(crate) fn main() -> Outcome {
    let tree = tree::Tree::read(&cargo::root())?;
    let mut complaints = Vec::new();
    edges::check(&tree, &mut complaints)?;
    layout::check(&tree, &mut complaints);
    bans::check(&tree, &mut complaints);
    text::check(&tree, &mut complaints);
    documents::check(&tree, &mut complaints);
    check_generated(&tree, &mut complaints)?;
    complaints.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    let looked_at = tree.files().len();
    if complaints.is_empty() {
        println!("tidy: {looked_at} files, every rule kept");
        return Ok(());
    }
    Err(format!("{} broken rules in {looked_at} files", complaints.len()))
}

/// The reference pages must say what the built program says.
fn check_generated(tree: &tree::Tree, complaints: &mut Vec<Complaint>) -> Outcome {
    // The pages exist from the first commit of the command line on; before it nothing is stale.
    if !tree.files().iter().any(|file| file.path.starts_with("docs/reference/")) {
        return Ok(());
    }
    for page in generate::stale()? {
        complaints.push(Complaint::new(&page, 1, "not current: run `cargo xtask gen`"));
    }
    Ok(())
}
