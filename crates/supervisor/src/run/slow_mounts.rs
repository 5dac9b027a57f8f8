//! Mounts that somebody else serves: a look into them may take as long as a network or a stopped server likes.
//!
//! Owns the list, read once from the kernel's table. It decides no promise: a mount that is not on it (a link that
//! leads there, one made later) costs the supervisor its attention for as long as the look takes.

use std::ffi::CString;

/// File systems that answer by themselves. Any other may have a server: the list of those grows, this one does not.
const LOCAL: &[&str] = &[
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "f2fs",
    "bcachefs",
    "vfat",
    "exfat",
    "ntfs3",
    "jfs",
    "reiserfs",
    "tmpfs",
    "ramfs",
    "rootfs",
    "overlay",
    "squashfs",
    "erofs",
    "iso9660",
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "bpf",
    "configfs",
    "hugetlbfs",
    "mqueue",
    "fusectl",
    "efivarfs",
    "binfmt_misc",
    "nsfs",
];

/// Where they are mounted.
#[derive(Debug, Default)]
pub(super) struct SlowMounts {
    points: Vec<Vec<u8>>,
}

impl SlowMounts {
    /// Reads the table. Where it cannot be read, everything may wait.
    pub(super) fn read() -> Self {
        match std::fs::read("/proc/self/mountinfo") {
            Ok(table) => Self::parse(&table),
            Err(_) => Self { points: vec![b"/".to_vec()] },
        }
    }

    /// proc_pid_mountinfo(5): the fifth field is the mount point, the first after `-` the type.
    fn parse(table: &[u8]) -> Self {
        let slow = |line: &[u8]| -> Option<Vec<u8>> {
            let mut fields = line.split(|byte| *byte == b' ');
            let point = fields.nth(4)?;
            let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
            let local = LOCAL.iter().any(|name| name.as_bytes() == kind);
            (!local).then(|| unescape(point))
        };
        Self { points: table.split(|byte| *byte == b'\n').filter_map(slow).collect() }
    }

    /// Whether a working directory or one of the places of a program is in one.
    pub(super) fn may_wait(&self, cwd: &[u8], programs: &[CString]) -> bool {
        let within = |path: &[u8]| self.points.iter().any(|point| is_below(path, point));
        !self.points.is_empty()
            && (within(cwd) || programs.iter().any(|program| within(program.as_bytes())))
    }
}

fn is_below(path: &[u8], point: &[u8]) -> bool {
    point == b"/"
        || path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Blanks and the like are written as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = rest.get(1..4).filter(|_| *first == b'\\');
        let value =
            code.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_served_mount_may_wait_and_nothing_else() {
        let table = b"22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            40 22 0:35 / /home/me/far\\040away rw shared:2 - nfs4 host:/x rw\n\
            41 22 0:36 / /run/doc rw - fuse.portal portal rw\n\
            42 22 0:37 / /tmp rw - tmpfs tmpfs rw\n";
        let mounts = SlowMounts::parse(table);
        let local = [CString::new("/bin/true").unwrap()];
        assert!(!mounts.may_wait(b"/home/me", &local));
        assert!(!mounts.may_wait(b"/tmp/x", &local));
        assert!(!mounts.may_wait(b"/run/documents", &local), "a name is whole");
        assert!(mounts.may_wait(b"/home/me/far away/src", &local));
        assert!(mounts.may_wait(b"/run/doc", &local));
        assert!(mounts.may_wait(b"/", &[CString::new("/run/doc/tool").unwrap()]));
        assert!(SlowMounts { points: vec![b"/".to_vec()] }.may_wait(b"/tmp", &local));
    }
}
