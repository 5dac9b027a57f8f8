//! `cargo xtask mutants`: every branch of recovery, broken on purpose, makes some test fail.
//!
//! ```text
//!   for each mutation of the list:  replace its text in a scratch worktree -> build -> run what must catch it
//!                                   a test failed: killed      none did: SURVIVED      no such text: GONE
//! ```
//!
//! Owns the worktree `target/mutants/tree` (the last commit, not what is being edited), its build directory and
//! the account in `target/mutants.json`. A mutation that survives without a reason in the list, or whose text is
//! gone, fails the command. Never edits the checkout it is called in.

mod engine;
mod kept;
mod list;
mod runs;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Outcome, cargo};
use runs::{Ended, Runs};

/// One line of the product, broken.
pub(crate) struct Mutation {
    /// What is broken, in words: unique, and what `cargo xtask mutants WORD` looks in.
    name: &'static str,
    file: &'static str,
    /// Exactly once in the file.
    old: &'static str,
    new: &'static str,
    /// Runs of tests, cheapest first, as arguments of the test runner; the first that fails has caught it.
    caught_by: &'static [&'static str],
    /// Why nothing can notice, if so: then it has to survive.
    equivalent: Option<&'static str>,
}

impl Mutation {
    /// The old text and the new one, and the tests that are to fail by it.
    const fn of(
        name: &'static str,
        file: &'static str,
        (old, new): (&'static str, &'static str),
        caught_by: &'static [&'static str],
    ) -> Self {
        Self { name, file, old, new, caught_by, equivalent: None }
    }
}

/// What became of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// By this run, with the tests that failed (or what else it was).
    Killed(&'static str, String),
    Survived,
    Gone,
    /// It did not compile: nothing was learned.
    Broken,
}

impl Fate {
    const fn word(&self) -> &'static str {
        match self {
            Self::Killed(..) => "killed",
            Self::Survived => "SURVIVED",
            Self::Gone => "TEXT GONE",
            Self::Broken => "DOES NOT COMPILE",
        }
    }

    fn is_as_wanted(&self, mutation: &Mutation) -> bool {
        match self {
            Self::Killed(..) => mutation.equivalent.is_none(),
            Self::Survived => mutation.equivalent.is_some(),
            Self::Gone | Self::Broken => false,
        }
    }
}

pub(crate) fn main(arguments: &[String]) -> Outcome {
    let list_only = arguments.iter().any(|argument| argument == "--list");
    let words: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let wanted = |m: &&Mutation| {
        words.is_empty()
            || words.iter().any(|word| m.name.contains(*word) || m.file.contains(*word))
    };
    let mutations: Vec<&Mutation> = list::all().filter(wanted).collect();
    if mutations.is_empty() {
        return Err(format!("no mutation is about {words:?}"));
    }
    if list_only {
        mutations.iter().for_each(|m| println!("{:<34} {}", short(m.file), m.name));
        println!("{} mutations", mutations.len());
        return Ok(());
    }
    let target = cargo::target_directory()?;
    let file = target.join("mutants.json");
    let runs = Runs::prepare(&target.join("mutants"))?;
    let began = Instant::now();
    check_unbroken(&runs, &mutations)?;
    let mut fates = Vec::new();
    for (number, mutation) in mutations.iter().enumerate() {
        let from = Instant::now();
        let fate = try_one(&runs, mutation)?;
        tell(number + 1, mutations.len(), mutation, &fate, from.elapsed());
        fates.push((*mutation, fate));
        // A run takes hours: one that is stopped keeps what it found.
        write(&fates, &file)?;
    }
    account(&fates, &file, began.elapsed())
}

/// A test that fails without a mutation would catch every one.
fn check_unbroken(runs: &Runs, mutations: &[&Mutation]) -> Outcome {
    let mut all: Vec<&str> = mutations.iter().flat_map(|m| m.caught_by).copied().collect();
    all.sort_unstable();
    all.dedup();
    println!("mutants: {} mutations, {} runs of tests, first unbroken", mutations.len(), all.len());
    for run in all {
        match runs.test(run)? {
            Ended::Passed => {}
            Ended::Failed(what) => return Err(format!("`{run}` fails without a mutation: {what}")),
            Ended::NotBuilt => return Err("the last commit does not build".to_owned()),
        }
    }
    Ok(())
}

fn try_one(runs: &Runs, mutation: &Mutation) -> Outcome<Fate> {
    let Some(_broken) = runs.break_it(mutation.file, mutation.old, mutation.new)? else {
        return Ok(Fate::Gone);
    };
    for run in mutation.caught_by {
        match runs.test(run)? {
            Ended::Passed => {}
            Ended::Failed(what) => return Ok(Fate::Killed(run, what)),
            Ended::NotBuilt => return Ok(Fate::Broken),
        }
    }
    Ok(Fate::Survived)
}

fn tell(number: usize, of: usize, mutation: &Mutation, fate: &Fate, took: Duration) {
    let by = match (fate, mutation.equivalent) {
        (Fate::Killed(_, what), _) => what.as_str(),
        (_, Some(why)) => why,
        _ => "",
    };
    let (file, name, word, took) =
        (short(mutation.file), mutation.name, fate.word(), took.as_secs());
    println!("{number:>3}/{of} {word:<9} {took:>3} s  {file}: {name}\n{:>24}{by}", "");
}

/// The part of a path that tells files apart.
fn short(file: &str) -> &str {
    file.trim_start_matches("crates/")
}

fn account(fates: &[(&Mutation, Fate)], file: &Path, took: Duration) -> Outcome {
    let count = |test: &dyn Fn(&Mutation, &Fate) -> bool| {
        fates.iter().filter(|(mutation, fate)| test(mutation, fate)).count()
    };
    let killed = count(&|_, fate| matches!(fate, Fate::Killed(..)));
    let equivalent = count(&|m, fate| *fate == Fate::Survived && m.equivalent.is_some());
    let wrong = count(&|mutation, fate| !fate.is_as_wanted(mutation));
    println!(
        "mutants: {killed} of {} killed, {equivalent} that nothing can notice, {wrong} otherwise, in {} s",
        fates.len(),
        took.as_secs()
    );
    println!("mutants: the account is in {}", file.display());
    match wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} mutations did not end as they should")),
    }
}

/// For the page on reliability. What was tried now takes the place of what was tried before.
fn write(fates: &[(&Mutation, Fate)], file: &Path) -> Outcome {
    let before: Value = std::fs::read(file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let rows: Vec<Value> = list::all()
        .filter_map(|mutation| {
            let now = fates.iter().find(|(tried, _)| tried.name == mutation.name);
            let earlier = || {
                before["rows"].as_array()?.iter().find(|row| row["name"] == mutation.name).cloned()
            };
            now.map(|(mutation, fate)| row(mutation, fate)).or_else(earlier)
        })
        .collect();
    let count = |word: &str| rows.iter().filter(|row| row["fate"] == word).count();
    let equivalent = rows.iter().filter(|row| row["equivalent"].is_string()).count();
    let account = json!({
        "mutations": list::all().count(), "tried": rows.len(), "killed": count("killed"),
        "survived": count("SURVIVED") - equivalent, "equivalent": equivalent, "rows": rows,
    });
    let text = serde_json::to_string_pretty(&account).map_err(|error| error.to_string())?;
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn row(mutation: &Mutation, fate: &Fate) -> Value {
    let by = match fate {
        Fate::Killed(run, what) => json!({ "run": run, "failed": what }),
        Fate::Survived | Fate::Gone | Fate::Broken => Value::Null,
    };
    json!({
        "file": mutation.file, "name": mutation.name, "fate": fate.word(), "by": by,
        "equivalent": mutation.equivalent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_is_of_a_text_that_is_there_once_and_has_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        let mut moved = Vec::new();
        for mutation in list::all() {
            assert!(names.insert(mutation.name), "twice: {}", mutation.name);
            assert!(!mutation.caught_by.is_empty(), "{}", mutation.name);
            assert_ne!(mutation.old, mutation.new, "{}", mutation.name);
            let text =
                std::fs::read_to_string(cargo::root().join(mutation.file)).unwrap_or_default();
            let times = text.matches(mutation.old).count();
            if times != 1 {
                moved.push(format!("{}: {times} times in {}", mutation.name, mutation.file));
            }
        }
        assert!(moved.is_empty(), "texts to be corrected:\n{}", moved.join("\n"));
    }
}
