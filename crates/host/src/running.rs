//! Which programs of this user run, and for how long.
//!
//! Owns: telling a program by the name it was started under, an interpreter's script included. Never keeps an answer and
//! never touches a process.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use meanwhile_supervisor::process::start_time;

use crate::{clock, proc};

/// How long each process of this user runs that was started under this name, or whose interpreter was given such a script.
#[must_use]
pub fn ages(program: &str) -> Vec<Duration> {
    let user = rustix::process::geteuid().as_raw();
    let ours = |pid: &u32| {
        std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|about| about.uid() == user)
    };
    let pids = proc::all_pids().into_iter().filter(ours);
    let named = pids.filter(|pid| is_named(&proc::arguments(*pid), program.as_bytes()));
    named.filter_map(age).collect()
}

fn is_named(arguments: &[Vec<u8>], program: &[u8]) -> bool {
    // `node /usr/bin/gemini` is gemini.
    arguments.iter().take(2).any(|word| word.rsplit(|byte| *byte == b'/').next() == Some(program))
}

fn age(pid: u32) -> Option<Duration> {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let started_ms = start_time(pid)?.saturating_mul(1_000).checked_div(ticks_per_second)?;
    Some(Duration::from_millis(clock::boot().0.saturating_sub(started_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_name_and_a_script_by_its_own() {
        let is = |words: &[&str], program: &str| {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            is_named(&words, program.as_bytes())
        };
        assert!(is(&["/usr/bin/codex", "exec"], "codex"));
        assert!(is(&["node", "/usr/local/bin/gemini"], "gemini"));
        assert!(!is(&["sh", "-c", "codex"], "codex"));
        assert!(!is(&[], "codex"));
    }

    #[test]
    fn we_are_as_old_as_we_are() {
        let own = age(std::process::id()).expect("we run");
        assert!(own < Duration::from_secs(24 * 3600), "{own:?}");
    }
}
