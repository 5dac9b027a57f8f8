//! The options of `cargo xtask bench`.
//!
//! Owns their words and defaults. Refuses what it does not know, and names the groups there are.

use std::path::PathBuf;

use super::groups::GROUPS;
use crate::Outcome;

/// Fewer rounds than this make no median worth printing.
const RUNS: usize = 5;
const QUICK_RUNS: usize = 3;

#[derive(Debug)]
pub(super) struct Options {
    pub(super) quick: bool,
    only: Vec<String>,
    pub(super) with_pueue: bool,
    pub(super) runs: usize,
    pub(super) binary: Option<PathBuf>,
    pub(super) ground: Option<PathBuf>,
    /// Measure nothing, draw the page of what was measured last.
    pub(super) page: bool,
}

impl Options {
    pub(super) fn read(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self {
            quick: false,
            only: Vec::new(),
            with_pueue: false,
            runs: 0,
            binary: None,
            ground: None,
            page: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().cloned().ok_or_else(|| format!("{word} what?"));
            match word.as_str() {
                "--quick" => options.quick = true,
                "--with-pueue" => options.with_pueue = true,
                "--page" => options.page = true,
                "--only" => options.only.push(known_group(value()?)?),
                "--runs" => options.runs = runs(&value()?)?,
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--ground" => options.ground = Some(PathBuf::from(value()?)),
                other => return Err(format!("unknown option `{other}`\n\n{}", usage())),
            }
        }
        if options.runs == 0 {
            options.runs = if options.quick { QUICK_RUNS } else { RUNS };
        }
        Ok(options)
    }

    pub(super) fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == group)
    }

    /// Everything was measured, as carefully as it can be.
    pub(super) fn is_whole(&self) -> bool {
        self.only.is_empty() && !self.quick
    }
}

fn runs(word: &str) -> Outcome<usize> {
    match word.parse() {
        Ok(runs @ 1..) => Ok(runs),
        _ => Err(format!("--runs takes a number from 1, not `{word}`")),
    }
}

fn known_group(name: String) -> Outcome<String> {
    if GROUPS.iter().any(|group| group.name == name) {
        return Ok(name);
    }
    Err(format!("there is no group `{name}`: {}", names()))
}

fn names() -> String {
    GROUPS.iter().map(|group| group.name).collect::<Vec<_>>().join(", ")
}

fn usage() -> String {
    format!(
        "usage: cargo xtask bench [--quick] [--only GROUP]... [--with-pueue] [--runs N]\n\
         \x20                        [--binary PATH] [--ground DIR] [--page]\ngroups: {}",
        names()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_known_by_name_and_everything_else_is_refused() {
        let read = |words: &[&str]| {
            Options::read(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        };
        let options = read(&["--only", "calls", "--quick"]).expect("a group of ours");
        assert!(options.wants("calls") && !options.wants("throughput"));
        assert_eq!((options.runs, options.is_whole()), (QUICK_RUNS, false));
        for bad in [&["--only", "speed"][..], &["--runs", "0"], &["--fast"], &["--binary"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
