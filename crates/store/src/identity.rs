//! Whose store this is, and what it remembers about itself.
//!
//! A home that is shared with a container or over a network file system holds process ids that mean
//! nothing on the other side. The store therefore remembers the machine and the pid namespace that
//! first opened it, and is refused to any other.

/// The machine and the pid namespace whose processes the rows speak of. The caller finds them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A text that names the machine and survives its restarts (`/etc/machine-id`).
    pub machine: String,
    /// Inode number of the pid namespace.
    pub pid_namespace: u64,
}

/// What the store remembers about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Whose it is.
    pub identity: Identity,
    /// Boot id of the machine at the last commit that carried one; none in a new store. Another
    /// one than the present means that every active attempt was ended by a restart, and that
    /// boot-time moments in the rows no longer hold.
    pub boot_id: Option<String>,
    /// The layout of the tables.
    pub schema: u32,
}
