//! The pages of our own program that a process has in its tables.
//!
//! The kernel maps sixteen pages for each that is touched, and a start touches much that nothing needs later: it is most of
//! what an idle daemon takes. Owns letting go of them. What is needed again comes back from the page cache, where it still
//! is; nothing is written there, so nothing can be lost.
#![expect(unsafe_code, reason = "madvise has no safe form")]

use std::io;

use rustix::mm::{Advice, madvise};

/// Takes the program's code out of this process's tables, and says how many bytes of address space that was.
///
/// # Errors
/// When `/proc` cannot be read, or the kernel refuses: it then stays as it was.
pub fn let_go() -> io::Result<usize> {
    advise(Advice::LinuxDontNeed)
}

fn advise(advice: Advice) -> io::Result<usize> {
    let own = std::fs::read_link("/proc/self/exe")?;
    let own = own.as_os_str().as_encoded_bytes();
    let maps = std::fs::read("/proc/self/maps")?;
    let code = maps.split(|byte| *byte == b'\n').filter(|line| line.ends_with(own));
    let mut total = 0;
    for (start, length) in code.filter_map(code_range) {
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a mapping of our executable that cannot be written (`r-xp`): its pages are those of the
        // file, and come back unchanged when they are touched.
        unsafe { madvise(start, length, advice)? };
        total += length;
    }
    Ok(total)
}

/// Start and length of a line of `/proc/self/maps`, if it is code that is as in its file.
fn code_range(line: &[u8]) -> Option<(usize, usize)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (range, protection) = (words.next()?, words.next()?);
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    (protection == "r-xp" && start < end).then_some((start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_is_as_in_its_file_is_let_go() {
        assert_eq!(code_range(b"1000-3000 r-xp 0 00:00 1 /x"), Some((0x1000, 0x2000)));
        for other in ["1000-3000 rw-p 0 00:00 1 /x", "1000-3000 r--p 0", "1000-3000 rwxp", "", "-"]
        {
            assert_eq!(code_range(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_program_runs_on_without_its_pages() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap().to_owned();
            line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        advise(Advice::LinuxPopulateRead).unwrap();
        let before = resident();
        assert!(let_go().unwrap() > 0);
        let after = resident();
        assert!(after < before, "{before} KiB, then {after}");
    }
}
