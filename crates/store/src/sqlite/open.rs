//! Opening: from a path to a connection that may be trusted, or a clear refusal.
//!
//! A new store is made whole under another name and moved into place, so a file of the right name
//! that is empty or half a store is damage and is never taken for a new one. An older layout is
//! migrated in one transaction after a copy was kept. Nothing here ever replaces an existing file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::fault::Fault;
use super::schema::{APPLICATION_ID, MIGRATIONS, Migration, current};
use super::{sums, wal};
use crate::error::StoreError;
use crate::identity::{Identity, Meta};
use crate::limits;

/// Only the owner may read or write it: commands and names of tasks may be private.
const MODE: u32 = 0o600;

/// Opens for the writer. An absent file is made only when `create` says so.
pub(super) fn writer(
    path: &Path,
    create: Option<&Identity>,
    migrations: &[Migration],
) -> Result<Connection, StoreError> {
    if !is_there(path)? {
        match create {
            Some(identity) => {
                check_nothing_is_left(path)?;
                make(path, identity)?;
            }
            None => return Err(StoreError::Missing { path: path.into() }),
        }
    }
    check_log(path)?;
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, limits::WRITER_CACHE_KIB)?;
    let found = layout(&db).map_err(|f| f.at(path))?;
    let target = u32::try_from(migrations.len()).expect("there are few migrations");
    let found = usable(path, found, target)?;
    check_structure(&db, path)?;
    durable(&db).map_err(|f| f.at(path))?;
    if found < target {
        migrate(&db, path, found, migrations)?;
    }
    Ok(db)
}

/// Moves what the write-ahead log holds into the file and removes the log.
pub(super) fn merge(path: &Path) -> Result<(), StoreError> {
    check_log(path)?;
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, limits::WRITER_CACHE_KIB)?;
    let merged = db.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(TRUNCATE);");
    merged.map_err(|e| Fault::from(e).at(path))?;
    // SQLite removes an empty log when its last connection closes.
    db.close().map_err(|(_, error)| Fault::from(error).at(path))
}

/// A connection beside the writer's that moves pages from the log into the file.
pub(super) fn merger(path: &Path) -> Result<Connection, StoreError> {
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, limits::READER_CACHE_KIB)?;
    durable(&db).map_err(|f| f.at(path))?;
    Ok(db)
}

/// A write-ahead log whose file is gone would be taken for the new one's. It may be all that is left of the old one.
fn check_nothing_is_left(path: &Path) -> Result<(), StoreError> {
    let log = super::wal_path(path);
    match fs::symlink_metadata(&log) {
        Ok(meta) if meta.len() > 0 => Err(StoreError::Damaged {
            path: path.into(),
            what: format!("it is gone, and its write-ahead log {} is not", log.display()),
        }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A damaged log must be found before SQLite sees it: it would take what is behind the damage for never written, and
/// overwrite it.
fn check_log(path: &Path) -> Result<(), StoreError> {
    match wal::damage(&super::wal_path(path)) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(StoreError::Damaged { path: path.into(), what }),
        Err(error) => Err(io_error(path, &error)),
    }
}

/// Opens for a reader, also where nothing may be written.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    if !is_there(path)? {
        return Err(StoreError::Missing { path: path.into() });
    }
    let opened = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, limits::READER_CACHE_KIB)
        .and_then(|db| Ok((layout(&db).map_err(|f| f.at(path))?, db)));
    let (found, db) = match opened {
        Err(StoreError::Unreadable { .. } | StoreError::Io { .. }) => unwritable(path)?,
        other => other?,
    };
    let found = usable(path, found, current())?;
    if found < current() {
        return Err(StoreError::Older { path: path.into(), found, needed: current() });
    }
    Ok(db)
}

/// What the store remembers about itself.
pub(super) fn meta(db: &Connection) -> Result<Meta, Fault> {
    let get = |key: &str| -> Result<String, Fault> {
        Ok(db
            .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
            .query_row(params![key], |row| row.get(0))?)
    };
    let pid_namespace = get("pid_namespace")?
        .parse()
        .map_err(|e| Fault::Damaged(format!("the pid namespace on record: {e}")))?;
    let identity = Identity { machine: get("machine")?, pid_namespace, boot: get("boot")? };
    let schema: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(Meta { identity, schema })
}

/// Remembers a place.
pub(super) fn remember(db: &Connection, identity: &Identity) -> Result<(), Fault> {
    let Identity { machine, pid_namespace, boot } = identity;
    let mut put = db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
    put.execute(params!["machine", machine])?;
    put.execute(params!["pid_namespace", pid_namespace.to_string()])?;
    put.execute(params!["boot", boot])?;
    Ok(())
}

/// Whether there is something of that name; a link is refused, because what it points at could be
/// anybody's.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(true),
        Ok(_) => Err(unreadable(path, "it is not a regular file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(unreadable(path, &e.to_string())),
    }
}

fn unreadable(path: &Path, why: &str) -> StoreError {
    StoreError::Unreadable { path: path.into(), why: why.into() }
}

fn connect(path: &Path, flags: OpenFlags, cache_kib: u32) -> Result<Connection, StoreError> {
    let open = || -> Result<Connection, Fault> {
        sums::register()?;
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(path, flags, sums::VFS)?;
        sums::reserve(&db)?;
        db.busy_timeout(limits::BUSY)?;
        db.set_prepared_statement_cache_capacity(limits::STATEMENTS);
        // Plans do not depend on what is bound: else statements are compiled again each time they are used.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.execute_batch(&format!(
            "PRAGMA cache_size = -{cache_kib};
             PRAGMA mmap_size = 0;
             PRAGMA temp_store = MEMORY;
             PRAGMA foreign_keys = OFF;
             PRAGMA trusted_schema = OFF;"
        ))?;
        Ok(db)
    };
    open().map_err(|fault| fault.at(path))
}

/// The last resort of a reader where nothing may be written, not even the index of the write-ahead
/// log: the file alone. Right only if that log holds nothing.
fn unwritable(path: &Path) -> Result<((i32, u32, bool), Connection), StoreError> {
    let wal = super::wal_path(path);
    if fs::metadata(&wal).is_ok_and(|m| m.len() > 0) {
        return Err(unreadable(
            path,
            "its directory cannot be written, and its write-ahead log has not been merged; copy \
             the directory to where it can be",
        ));
    }
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = connect(Path::new(&uri), flags, limits::READER_CACHE_KIB).map_err(|e| match e {
        StoreError::Unreadable { why, .. } => unreadable(path, &why),
        other => other,
    })?;
    let found = layout(&db).map_err(|f| f.at(path))?;
    Ok((found, db))
}

/// Application id, layout number, and whether there are any tables. The first read of the file.
fn layout(db: &Connection) -> Result<(i32, u32, bool), Fault> {
    let application: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((application, version, tables > 0))
}

/// The layout number, if it is one that this release can work with.
fn usable(path: &Path, found: (i32, u32, bool), supported: u32) -> Result<u32, StoreError> {
    let (application, version, tables) = found;
    if application != APPLICATION_ID && tables {
        return Err(unreadable(path, "it is another program's database"));
    }
    if version > supported {
        return Err(StoreError::Newer { path: path.into(), found: version, supported });
    }
    if version == 0 || !tables {
        return Err(StoreError::Damaged { path: path.into(), what: "it is empty".into() });
    }
    Ok(version)
}

fn check_structure(db: &Connection, path: &Path) -> Result<(), StoreError> {
    if fs::metadata(path).is_ok_and(|m| m.len() > limits::CHECKED_AT_OPEN) {
        return Ok(());
    }
    let what: Result<String, _> = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match what {
        Ok(what) if what == "ok" => Ok(()),
        Ok(what) => {
            let what = sums::complaint().unwrap_or(what);
            Err(StoreError::Damaged { path: path.into(), what })
        }
        Err(error) => Err(Fault::from(error).at(path)),
    }
}

/// Settings by which a commit is on disk when it returns.
fn durable(db: &Connection) -> Result<(), Fault> {
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Damaged(format!("its journal mode stays {mode}")));
    }
    db.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {};",
        limits::WAL_KEPT
    ))?;
    Ok(())
}

fn keep_log(db: &Connection) -> Result<(), Fault> {
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    match mode.as_str() {
        "wal" => Ok(()),
        _ => Err(Fault::Damaged(format!("its journal mode stays {mode}"))),
    }
}

/// Makes a store and moves it into place.
fn make(path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let unfinished = beside(path, "new");
    let failed = |e: io::Error| io_error(path, &e);
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        Ok(()) | Err(_) => {}
    }
    // SQLite gives its other files the mode of this one.
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(&unfinished).map_err(failed)?;
    let db = connect(&unfinished, OpenFlags::SQLITE_OPEN_READ_WRITE, limits::WRITER_CACHE_KIB)?;
    let fill = || -> Result<(), Fault> {
        // Nobody looks at it before it is whole and synced below; after a crash it is made again.
        db.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")?;
        let tx = db.unchecked_transaction()?;
        MIGRATIONS.iter().try_for_each(|step| tx.execute_batch(step))?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", current())?;
        remember(&tx, identity)?;
        tx.commit()?;
        keep_log(&db)
    };
    fill().map_err(|fault| fault.at(path))?;
    db.close().map_err(|(_, error)| Fault::from(error).at(path))?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
    meanwhile_faultpoint::fault_point!("store.made");
    fs::rename(&unfinished, path).map_err(failed)?;
    meanwhile_faultpoint::fault_point!("store.renamed");
    sync_directory_of(path).map_err(failed)
}

/// Brings an older layout up to date, after keeping a copy of it.
fn migrate(
    db: &Connection,
    path: &Path,
    from: u32,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let to = u32::try_from(migrations.len()).expect("there are few migrations");
    let failed = |backup: Option<&PathBuf>, why: String| StoreError::Migration {
        path: path.into(),
        from,
        to,
        backup: backup.cloned(),
        why,
    };
    let backup = keep_copy(db, path, from).map_err(|e| match e {
        full @ StoreError::Full { .. } => full,
        other => failed(None, other.to_string()),
    })?;
    let steps = || -> Result<(), rusqlite::Error> {
        let tx = db.unchecked_transaction()?;
        let done = usize::try_from(from).expect("a layout number is small");
        migrations[done..].iter().try_for_each(|step| tx.execute_batch(step))?;
        tx.pragma_update(None, "user_version", to)?;
        tx.commit()
    };
    steps().map_err(|e| failed(Some(&backup), e.to_string()))
}

/// A copy of all that is committed, in one file beside the store.
fn keep_copy(db: &Connection, path: &Path, layout: u32) -> Result<PathBuf, StoreError> {
    let failed = |e: io::Error| io_error(path, &e);
    let (copy, file) = (0..100)
        .map(|n| match n {
            0 => beside(path, &format!("layout-{layout}")),
            n => beside(path, &format!("layout-{layout}.{n}")),
        })
        .find_map(|copy| {
            let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&copy);
            match file {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => None,
                other => Some(other.map(|file| (copy, file))),
            }
        })
        .unwrap_or_else(|| Err(io::Error::other("there are a hundred copies already")))
        .map_err(failed)?;
    let name = copy.to_str().ok_or_else(|| unreadable(path, "its path is not UTF-8"))?;
    db.execute("VACUUM INTO ?1", params![name]).map_err(|e| Fault::from(e).at(path))?;
    file.sync_all().and_then(|()| sync_directory_of(path)).map_err(failed)?;
    Ok(copy)
}

/// `NAME.suffix` in the same directory.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn io_error(path: &Path, error: &io::Error) -> StoreError {
    let path = path.to_path_buf();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotFound
        | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::Unreadable { path, why: error.to_string() }
        }
        _ => StoreError::Io { path, what: error.to_string() },
    }
}
