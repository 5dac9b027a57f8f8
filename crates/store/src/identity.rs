//! Whose store this is, and what it remembers about itself.
//!
//! A home that is shared with a container or over a network file system holds process ids that mean
//! nothing on the other side. The store therefore remembers where it was last used, and is refused
//! where the processes it speaks of may live unseen.

/// Where processes are looked up: the running system. The caller finds it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A text that names the machine and survives its restarts (`/etc/machine-id`); may be empty.
    pub machine: String,
    /// Inode number of the pid namespace.
    pub pid_namespace: u64,
    /// The boot id: another after every start of the kernel, and unique in the world.
    pub boot: String,
}

/// What the store remembers about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Where it was last used: as given when it was made, then by the last batch that named a place.
    /// Another boot than the present one means that a restart ended every active attempt.
    pub identity: Identity,
    /// The layout of the tables.
    pub schema: u32,
}

impl Identity {
    /// Whether a store last used at `recorded` may be used here: the same pid namespace of the same
    /// running kernel, or the same machine after a restart, which ended every process anyway.
    #[must_use]
    pub fn may_use(&self, recorded: &Self) -> bool {
        if self.boot == recorded.boot {
            self.pid_namespace == recorded.pid_namespace
        } else {
            self.machine == recorded.machine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_follows_its_machine_through_restarts_and_nowhere_else() {
        let check = |machine: &str, pid_namespace, boot: &str, expected| {
            let recorded = Identity { machine: "m1".into(), pid_namespace: 1, boot: "b1".into() };
            let here = Identity { machine: machine.into(), pid_namespace, boot: boot.into() };
            assert_eq!(here.may_use(&recorded), expected, "{here:?}");
        };
        check("m1", 1, "b1", true);
        check("m2", 1, "b1", true); // One kernel is one machine, whatever a container calls it.
        check("m1", 2, "b1", false);
        check("m1", 2, "b2", true);
        check("m2", 1, "b2", false);
    }
}
