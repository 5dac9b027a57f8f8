//! What a new task inherits from this process.
//!
//! What it is for: a task runs as if it had been started right here. What it owns: reading our directory, environment,
//! umask, resource limits and terminal. What it never does: keep or print any of it.

use std::io;
use std::path::PathBuf;

use meanwhile_api::caller::{CallerContext, Rlimit, TerminalSize};
use meanwhile_api::{ApiError, ErrorCode, OsText};
use rustix::fs::Mode;
use rustix::process::{Resource, getrlimit, umask};
use rustix::termios::tcgetwinsize;

/// The limits of getrlimit(2) with the kernel's number of each, which is their order in asm-generic/resource.h.
const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// Whether the current directory matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Something is relative to it.
    Here,
    /// Another one was named, whole; ours may be gone.
    Elsewhere,
}

impl Place {
    /// Of a task that is to run in this directory, if one is named.
    pub(crate) fn of(named: Option<&OsText>) -> Place {
        match named {
            Some(cwd) if cwd.as_path().is_absolute() => Place::Elsewhere,
            Some(_) | None => Place::Here,
        }
    }
}

/// The surroundings of this process.
pub(crate) fn capture(place: Place) -> Result<CallerContext, ApiError> {
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(_) if place == Place::Elsewhere => PathBuf::from("/"),
        Err(error) => {
            let text = format!("current directory cannot be read: {error}");
            return Err(ApiError::new(ErrorCode::CannotStart, text)
                .hint("go to a directory that exists, or name one: --cwd /DIR"));
        }
    };
    let env = std::env::vars_os().map(|(name, value)| (OsText::from(name), OsText::from(value)));
    Ok(CallerContext {
        cwd: OsText::from(cwd),
        env: env.collect(),
        umask: current_umask(),
        rlimits: rlimits(),
        terminal: terminal(),
    })
}

/// There is no way to read the umask but to set it; this process has one thread, so nobody sees it in between.
fn current_umask() -> u32 {
    let current = umask(Mode::from_raw_mode(0o077));
    umask(current);
    current.as_raw_mode()
}

/// The limits that differ from unlimited.
fn rlimits() -> Vec<Rlimit> {
    let limit = |(number, resource): (usize, &Resource)| {
        let limit = getrlimit(*resource);
        let resource = u32::try_from(number).expect("there are 16 of them");
        Rlimit { resource, soft: limit.current, hard: limit.maximum }
    };
    let limits = RESOURCES.iter().enumerate().map(limit);
    limits.filter(|limit| limit.soft.is_some() || limit.hard.is_some()).collect()
}

/// The size of the terminal at one of our standard streams.
fn terminal() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stderr()))
        .or_else(|_| tcgetwinsize(io::stdin()))
        .ok()?;
    let known = size.ws_col > 0 && size.ws_row > 0;
    known.then_some(TerminalSize { columns: size.ws_col, rows: size.ws_row })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surroundings_are_those_of_this_process() {
        let caller = capture(Place::Here).unwrap();
        assert_eq!(caller.cwd.as_path(), std::env::current_dir().unwrap());
        assert_eq!(caller.env.len(), std::env::vars_os().count());
        assert_eq!(caller.umask, current_umask());
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
        assert_eq!(u32::from_str_radix(line.trim(), 8).unwrap(), caller.umask);
    }

    #[test]
    fn limits_carry_the_numbers_of_the_kernel() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
        let files = rlimits().into_iter().find(|limit| limit.resource == 7).unwrap();
        assert_eq!(files.soft, Some(soft));
    }
}
