//! The terminal that somebody sits at, as the kernel knows it.
//!
//! Owns the controlling terminal of a process and who leads its session: together they tell a terminal from the next one
//! with the same number. Never opens one.

use std::fs;

use crate::proc::{self, Identity};

/// A controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The device's number, as stat(2) has it.
    pub device: u64,
    /// Who leads the session it controls.
    pub leader: Identity,
}

/// The terminal of a process, or of the nearest ancestor that has one: agents start their tools without.
#[must_use]
pub fn of(pid: u32) -> Option<Terminal> {
    proc::ancestry(pid).into_iter().find_map(|process| own(process.pid))
}

/// Whether it is still what it was: its leader lives, and is controlled by it.
#[must_use]
pub fn is_same(terminal: &Terminal) -> bool {
    own(terminal.leader.pid) == Some(*terminal)
}

fn own(pid: u32) -> Option<Terminal> {
    let (session, device) = parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Terminal { device, leader: proc::identity(session)? })
}

/// Session and terminal out of `/proc/PID/stat` (proc(5)); none without a terminal.
fn parse(stat: &str) -> Option<(u32, u64)> {
    // The name in parentheses may hold anything, parentheses too.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(3);
    let session = fields.next()?.parse().ok()?;
    let number: i32 = fields.next()?.parse().ok()?;
    let number = u32::try_from(number).ok().filter(|number| *number != 0)?;
    // The kernel's old form: twelve bits of the major number between the minor's.
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    Some((session, rustix::fs::makedev(major, minor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_read_out_of_what_the_kernel_says() {
        let stat = "4711 (a) b (c) S 1 4700 4699 34819 4711 4194304 1 2";
        assert_eq!(parse(stat), Some((4699, rustix::fs::makedev(136, 3))));
        assert_eq!(parse("4711 (sh) S 1 4700 4699 0 -1 4194304"), None);
        // The high bits of a minor number come after the major one.
        let many = "4711 (sh) S 1 4700 4699 1083436 -1 0";
        assert_eq!(parse(many), Some((4699, rustix::fs::makedev(136, 300))));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_process_that_is_gone_has_no_terminal() {
        assert_eq!(of(u32::MAX), None);
        let leader = Identity { pid: u32::MAX, start_time: 1 };
        assert!(!is_same(&Terminal { device: rustix::fs::makedev(136, 0), leader }));
    }
}
