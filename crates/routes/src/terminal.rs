//! A line to the terminal that a task was launched from.
//!
//! Owns which device is written to: the one that was there at the launch, still ours, a terminal, and still the one of
//! the same session of processes. Its number alone says nothing: the next window gets it again. Never waits for a
//! terminal that does not take what is written.

use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// A terminal, as it was at the launch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terminal {
    /// Below `/dev`.
    pub device: u64,
    /// The process that leads its session.
    pub leader: u32,
    /// When that one started, as the kernel counts it.
    pub leader_start: u64,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It was taken.
    Written,
    /// The terminal is gone, another's, or does not take anything.
    Nowhere,
}

/// A bell, and nothing that a terminal could take for anything else.
#[must_use]
pub fn bell_text() -> Vec<u8> {
    b"\x07".to_vec()
}

/// The escape sequences by which terminals show a desktop notice: OSC 777 and OSC 9. The text must be harmless already;
/// what could end a sequence is taken out all the same.
#[must_use]
pub fn desktop_text(title: &str, text: &str) -> Vec<u8> {
    let plain = |text: &str| -> String {
        // A semicolon begins the next field of OSC 777.
        text.chars().filter(|c| !c.is_control()).map(|c| if c == ';' { ',' } else { c }).collect()
    };
    let (title, text) = (plain(title), plain(text));
    format!("\x1b]777;notify;{title};{text}\x1b\\\x1b]9;{title}: {text}\x1b\\").into_bytes()
}

/// Writes it, if the terminal is still the same. `is_same` looks whether its leader lives.
#[must_use]
pub fn say(terminal: &Terminal, text: &[u8], is_same: impl Fn(&Terminal) -> bool) -> Said {
    let Some(path) = path_of(terminal.device) else { return Said::Nowhere };
    let flags =
        OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let Ok(device) = rustix::fs::open(path, flags, Mode::empty()) else { return Said::Nowhere };
    let Ok(stat) = rustix::fs::fstat(&device) else { return Said::Nowhere };
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    let is_terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    // Looked at after the open: whoever leads now leads what is open.
    if !ours || !is_terminal || stat.st_rdev != terminal.device || !is_same(terminal) {
        return Said::Nowhere;
    }
    loop {
        match rustix::io::write(&device, text) {
            Ok(_) => return Said::Written,
            Err(Errno::INTR) => {}
            Err(_) => return Said::Nowhere,
        }
    }
}

/// Where the kernel shows a terminal: pseudo terminals and the consoles.
fn path_of(device: u64) -> Option<PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    match major {
        // Unix98 pseudo terminals (Documentation/admin-guide/devices.txt).
        136..=143 => Some(format!("/dev/pts/{}", (major - 136) * 256 + minor).into()),
        4 if (1..64).contains(&minor) => Some(format!("/dev/tty{minor}").into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_escape_sequence() {
        let text = desktop_text("a\x1b\\b", "x;y\x07\u{9c}\nz\x1b]0;title\x07");
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "\x1b]777;notify;a\\b;x,yz]0,title\x1b\\\x1b]9;a\\b: x,yz]0,title\x1b\\");
    }

    #[test]
    fn only_terminals_have_a_place() {
        let device = |major, minor| rustix::fs::makedev(major, minor);
        assert_eq!(path_of(device(136, 3)), Some("/dev/pts/3".into()));
        assert_eq!(path_of(device(137, 1)), Some("/dev/pts/257".into()));
        assert_eq!(path_of(device(4, 1)), Some("/dev/tty1".into()));
        for other in [device(1, 3), device(8, 0), device(4, 64), device(5, 0), 0] {
            assert_eq!(path_of(other), None);
        }
    }

    #[test]
    fn a_terminal_that_is_gone_or_anothers_is_left_alone() {
        let gone = Terminal { device: rustix::fs::makedev(143, 255), leader: 1, leader_start: 1 };
        assert_eq!(say(&gone, &bell_text(), |_| true), Said::Nowhere);
    }
}
