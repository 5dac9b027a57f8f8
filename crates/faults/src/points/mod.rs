//! Fault points: the product killed at every place of a test build, at every pass, and looked at afterwards.
//!
//! ```text
//!   the sources name the places   one story unarmed counts the passes   per place and pass: the story again,
//!                                                                       killed there -> nothing lost, ...
//! ```
//!
//! Owns the list of places, the directories of the runs and the account of what was covered. The story itself
//! is a process of its own, so that one that hangs or fails takes no other with it.

mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use meanwhile_testkit::Process;

pub use story::main as story;

/// The argument that makes this program a story.
pub const COMMAND: &str = "story";
/// Where the places are told what is armed; known to the test build, too.
pub const VARIABLE: &str = "MEANWHILE_FAULTS";
/// Stories at once: each waits for most of its time.
const AT_ONCE: usize = 4;
/// A story has deadlines of its own that add up to less.
const PATIENCE: Duration = Duration::from_secs(240);

/// Places that the story cannot come to, each with the reason.
const NOT_IN_THE_STORY: [(&str, &str); 0] = [];

/// One kill: at this place, at this pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shot {
    place: String,
    pass: u64,
}

/// What came of all of them.
#[derive(Debug, Default)]
pub struct Covered {
    /// Places in the sources.
    pub places: usize,
    /// Places that the unarmed story came to.
    pub reached: usize,
    /// Passes there, which are as many kills to try.
    pub passes: usize,
    /// Kills that happened.
    pub killed: usize,
    /// Passes that did not come again: what is committed together varies a little from run to run.
    pub not_again: usize,
    /// Of the kills: daemons, supervisors.
    pub daemons: usize,
    /// See above.
    pub supervisors: usize,
    /// What was not as promised.
    pub complaints: Vec<String>,
}

/// The binary with places, if it was built. `cargo xtask faults` builds it into a directory of its own.
#[must_use]
pub fn binary() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let path = own.ancestors().nth(2)?.join("fault-points/debug/meanwhile");
    path.is_file().then_some(path)
}

/// The places that the sources name; each of those with a name for every part of something ends in `.`.
///
/// # Panics
/// When the sources are not where they were when this program was built.
#[must_use]
pub fn places() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate has a parent");
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = vec![crates.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("the sources are there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                found.extend(places_in(&text));
            }
        }
    }
    found
}

fn places_in(text: &str) -> Vec<String> {
    let calls = text.split("meanwhile_faultpoint::fault_point!(\"").skip(1);
    calls
        .filter_map(|rest| rest.split_once('"'))
        .map(
            |(name, rest)| if rest.starts_with(',') { format!("{name}.") } else { name.to_owned() },
        )
        .collect()
}

/// Tries every place and pass (or those whose place contains `only`).
#[must_use]
pub fn cover(binary: &Path, scratch: &Path, only: &str) -> Covered {
    let mut covered = Covered::default();
    let places = places();
    covered.places = places.len();
    let unarmed = scratch.join("unarmed");
    if let Err(why) = tell(binary, &unarmed, None) {
        covered.complaints.push(format!("the story fails without a kill: {why}"));
        return covered;
    }
    let passes = passes(&unarmed);
    covered.reached = passes.len();
    for place in &places {
        let met = passes
            .keys()
            .any(|name| name == place || (place.ends_with('.') && name.starts_with(place)));
        if !met && !NOT_IN_THE_STORY.iter().any(|(name, _)| name == place) {
            covered.complaints.push(format!("the story does not come to {place}"));
        }
    }
    let mut shots: Vec<Shot> = passes
        .into_iter()
        .filter(|(place, _)| place.contains(only))
        .flat_map(|(place, times)| (1..=times).map(move |pass| Shot { place: place.clone(), pass }))
        .collect();
    covered.passes = shots.len();
    shots.reverse();
    let (shots, covered) = (Mutex::new(shots), Mutex::new(covered));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let shot = shots.lock().expect("nobody panics with it").pop();
                    let Some(shot) = shot else { return };
                    let result = fire(binary, scratch, &shot);
                    note(&mut covered.lock().expect("nobody panics with it"), &shot, result);
                }
            });
        }
    });
    covered.into_inner().expect("nobody panics with it")
}

fn note(covered: &mut Covered, shot: &Shot, (killed, why): (Option<String>, Option<String>)) {
    match killed.as_deref().map(|line| line.contains(" daemon ")) {
        Some(true) => covered.daemons += 1,
        Some(false) => covered.supervisors += 1,
        None => covered.not_again += 1,
    }
    covered.killed = covered.daemons + covered.supervisors;
    let Shot { place, pass } = shot;
    let done = covered.killed + covered.not_again;
    println!("{done:>4}/{} {place} {pass} {}", covered.passes, why.as_deref().unwrap_or("ok"));
    if let Some(why) = why {
        covered.complaints.push(format!("killed at {place}, pass {pass}: {why}"));
    }
}

/// One armed story: who was killed, and what was not as promised.
fn fire(binary: &Path, scratch: &Path, shot: &Shot) -> (Option<String>, Option<String>) {
    let directory = scratch.join(format!("{}-{}", shot.place, shot.pass));
    let why = tell(binary, &directory, Some(shot)).err();
    let killed = fs::read_to_string(directory.join("killed")).ok();
    if why.is_none() {
        let _only_space_is_lost = fs::remove_dir_all(&directory);
    }
    (killed, why)
}

/// Tells the story once, with its account in `directory`.
fn tell(binary: &Path, directory: &Path, shot: Option<&Shot>) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory.join("passes")).map_err(fail)?;
    if let Some(Shot { place, pass }) = shot {
        fs::write(directory.join("armed"), format!("{place} {pass}")).map_err(fail)?;
    }
    let log = fs::File::create(directory.join("log")).map_err(fail)?;
    let own = std::env::current_exe().map_err(fail)?;
    let mut story = Command::new(own)
        .arg(COMMAND)
        .env("MEANWHILE_TEST_BIN", binary)
        .env(VARIABLE, directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(fail)?)
        .stderr(log)
        .spawn()
        .map_err(fail)?;
    let ended = Process::of(story.id()).is_none_or(|process| process.ends_within(PATIENCE));
    if !ended {
        let _gone_already = story.kill();
    }
    let status = story.wait().map_err(fail)?;
    if ended && status.success() {
        return Ok(());
    }
    let text = fs::read_to_string(directory.join("log")).unwrap_or_default();
    let words =
        text.lines().filter(|line| line.starts_with("COMPLAINT") || line.contains("panicked"));
    let words: Vec<&str> = words.take(3).collect();
    Err(format!("{} ({status}, see {}/log)", words.join("; "), directory.display()))
}

/// How often each place was come to: a byte per pass.
fn passes(directory: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(directory.join("passes")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len()))
        })
        .collect()
}

/// How long all of it took, in words.
#[must_use]
pub fn words(covered: &Covered, took: Instant) -> String {
    let Covered { places, reached, passes, killed, not_again, daemons, supervisors, .. } = covered;
    format!(
        "{places} places in the sources, {reached} with their parts; {killed} kills at {passes} passes \
         ({daemons} daemons, {supervisors} supervisors; {not_again} passes did not come again) in {} s",
        took.elapsed().as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_the_sources_and_each_name_is_there_once() {
        let named = places_in(concat!(
            "x; meanwhile_faultpoint::fault_",
            "point!(\"a.b\");\n",
            "meanwhile_faultpoint::fault_",
            "point!(\"c.d\", e.iter());"
        ));
        assert_eq!(named, ["a.b", "c.d."]);
        assert!(places().len() > 50, "{}", places().len());
    }
}
