//! Which machine this is, and what its disks and memory are like.
//!
//! Owns the identity the store compares (machine, pid namespace, boot) and the facts about the file
//! system a home is on. Only reads.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Dev, major, minor};

/// Where a home was opened. Process identities mean something only within one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The machine id; empty where the system has none (some containers).
    pub id: String,
    /// Inode of the pid namespace.
    pub pid_namespace: u64,
    /// The boot id, another after every start of the kernel.
    pub boot: String,
}

/// How the place a home was last opened compares with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// The same running system: recorded processes can be looked up.
    Same,
    /// The same machine after a restart: every recorded process is gone.
    Rebooted,
    /// The same kernel, another pid namespace (a container beside this one): recorded processes may
    /// live and cannot be seen.
    OtherNamespace,
    /// Another machine: recorded processes may live there.
    OtherMachine,
}

/// What kind of file system something lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// An ordinary one.
    Local,
    /// Gone with the power: tmpfs, ramfs.
    Memory,
    /// Shared with other machines, by its name: locks and SQLite cannot be trusted there.
    Network(String),
}

impl Machine {
    /// Reads it.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn read() -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let pid_namespace = fs::metadata("/proc/self/ns/pid")?.ino();
        let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|text| text.trim().to_owned())
            // A machine that is being installed has the word instead of a number.
            .find(|text| !text.is_empty() && text != "uninitialized")
            .unwrap_or_default();
        Ok(Self { id, pid_namespace, boot })
    }

    /// Compares with what was recorded when the home was last opened.
    #[must_use]
    pub fn compare(&self, recorded: &Self) -> Sameness {
        // The boot id is unique in the world: two that agree are the same kernel, whatever the
        // machine ids say (containers often have one of their own, or none).
        if self.boot == recorded.boot {
            return match self.pid_namespace == recorded.pid_namespace {
                true => Sameness::Same,
                false => Sameness::OtherNamespace,
            };
        }
        match self.id == recorded.id {
            true => Sameness::Rebooted,
            false => Sameness::OtherMachine,
        }
    }
}

/// What kind of file system an open file or directory is on.
///
/// # Errors
/// What fstatfs(2) says.
pub fn file_system(fd: impl AsFd) -> io::Result<FileSystem> {
    let magic = rustix::fs::fstatfs(&fd)?.f_type;
    // The type is a signed or an unsigned word by architecture; magics have 32 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32-bit magics")]
    let magic = magic as u32;
    if let Some((_, name)) = NETWORK_MAGICS.iter().find(|(m, _)| *m == magic) {
        return Ok(FileSystem::Network((*name).to_owned()));
    }
    match magic {
        TMPFS | RAMFS => Ok(FileSystem::Memory),
        FUSE => {
            let device = rustix::fs::fstat(&fd)?.st_dev;
            let mounts = fs::read_to_string("/proc/self/mountinfo")?;
            Ok(match fuse_type(&mounts, device) {
                Some(name) if is_network_fuse(&name) => FileSystem::Network(name),
                _ => FileSystem::Local,
            })
        }
        _ => Ok(FileSystem::Local),
    }
}

/// Bytes that an unprivileged user may still write on the file system of `fd`.
///
/// # Errors
/// What fstatvfs(2) says.
pub fn free_bytes(fd: impl AsFd) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(fd)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of memory that can be used without swapping; `None` when the system does not say.
#[must_use]
pub fn free_memory() -> Option<u64> {
    parse_available(&fs::read_to_string("/proc/meminfo").ok()?)
}

const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;
const FUSE: u32 = 0x6573_5546;

/// statfs(2)'s magics of file systems that several machines can have mounted at once.
const NETWORK_MAGICS: &[(u32, &str)] = &[
    (0x0000_6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0000_517b, "smb"),
    (0x0102_1997, "9p"),
    (0x0bd0_0bd0, "lustre"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "kafs"),
    (0x7375_7245, "coda"),
    (0x00c3_6400, "ceph"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x4750_4653, "gpfs"),
    (0x0000_564c, "ncp"),
    (0x1980_0202, "beegfs"),
    (0x2003_0528, "orangefs"),
];

/// FUSE says only "fuse"; the mount table says which. Names of those that reach other machines.
const NETWORK_FUSE: &[&str] = &[
    "sshfs",
    "s3fs",
    "rclone",
    "glusterfs",
    "ceph",
    "davfs",
    "gcsfuse",
    "juicefs",
    "moosefs",
    "mfs",
    "curlftpfs",
    "gvfsd-fuse",
    "lustre",
    "beegfs",
    "hdfs",
    "goofys",
    "keybase",
];

fn is_network_fuse(mount_type: &str) -> bool {
    let subtype = mount_type.strip_prefix("fuse.").unwrap_or(mount_type);
    NETWORK_FUSE.iter().any(|name| subtype.starts_with(name))
}

fn fuse_type(mounts: &str, device: Dev) -> Option<String> {
    let wanted = format!("{}:{}", major(device), minor(device));
    // `36 35 98:0 /root /mnt opts shared:1 - fuse.sshfs source opts`; see proc_pid_mountinfo(5).
    mounts.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let device = mount.split(' ').nth(2)?;
        (device == wanted).then(|| rest.split(' ').next().map(str::to_owned))?
    })
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, pid_namespace: u64, boot: &str) -> Machine {
        Machine { id: id.into(), pid_namespace, boot: boot.into() }
    }

    #[test]
    fn a_home_of_another_machine_or_namespace_is_told_from_a_reboot() {
        let here = machine("m", 1, "b");
        let check = |recorded, expected| assert_eq!(here.compare(&recorded), expected);
        check(machine("m", 1, "b"), Sameness::Same);
        check(machine("other image", 1, "b"), Sameness::Same);
        check(machine("m", 2, "b"), Sameness::OtherNamespace);
        check(machine("m", 1, "earlier"), Sameness::Rebooted);
        check(machine("m", 2, "earlier"), Sameness::Rebooted);
        check(machine("n", 1, "elsewhere"), Sameness::OtherMachine);
    }

    #[test]
    fn this_machine_is_the_same_as_itself() {
        let here = Machine::read().unwrap();
        assert_eq!(here.compare(&Machine::read().unwrap()), Sameness::Same);
        assert_eq!(here.boot.len(), 36);
    }

    #[test]
    fn a_fuse_mount_is_named_by_the_mount_table() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/root rw\n\
                      90 22 0:61 / /mnt/a\\040b rw,nosuid shared:7 - fuse.sshfs me@host:/x rw\n";
        let device = rustix::fs::makedev(0, 61);
        let name = fuse_type(mounts, device).expect("found");
        assert_eq!(name, "fuse.sshfs");
        assert!(is_network_fuse(&name));
        assert!(!is_network_fuse("fuse.bindfs"));
        assert!(!is_network_fuse("fuseblk"));
        assert_eq!(fuse_type(mounts, rustix::fs::makedev(0, 62)), None);
    }

    #[test]
    fn proc_and_a_temporary_directory_are_no_network() {
        let proc = fs::File::open("/proc/self").unwrap();
        assert_eq!(file_system(&proc).unwrap(), FileSystem::Local);
        if let Ok(shm) = fs::File::open("/dev/shm") {
            assert!(!matches!(file_system(&shm).unwrap(), FileSystem::Network(_)));
        }
    }

    #[test]
    fn free_memory_reads_what_is_available() {
        let text = "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(parse_available(text), Some(2 * 1024 * 1024));
        assert_eq!(parse_available("MemTotal: 9 kB\n"), None);
        assert!(free_memory().is_some_and(|bytes| bytes > 0));
    }
}
