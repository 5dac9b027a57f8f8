//! What went wrong inside one call, before it is told with the store's path.

use std::path::Path;

use meanwhile_core::LaneName;
use rusqlite::ErrorCode;
use rusqlite::ffi;

use super::sums;
use crate::error::StoreError;

/// Why a call cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// A row holds what no release of ours writes.
    Damaged(String),
    /// The batch cannot be about this store.
    Contradiction(String),
    /// A lane has moved on.
    Conflict(LaneName),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    /// The same with the path, as the outside hears it.
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.to_path_buf();
        match self {
            Self::Sqlite(error) => from_sqlite(&error, path),
            Self::Damaged(what) => StoreError::Damaged { path, what },
            Self::Contradiction(what) => StoreError::Contradiction { path, what },
            Self::Conflict(lane) => StoreError::Conflict { lane },
        }
    }
}

fn from_sqlite(error: &rusqlite::Error, path: std::path::PathBuf) -> StoreError {
    let what = error.to_string();
    let Some(sqlite) = error.sqlite_error() else {
        // A column that does not hold what it should, or a row that should be there.
        return StoreError::Damaged { path, what };
    };
    match sqlite.code {
        ErrorCode::DiskFull => StoreError::Full { path },
        // The index of the write-ahead log could not grow: the same disk is full.
        ErrorCode::SystemIoFailure if sqlite.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
            StoreError::Full { path }
        }
        ErrorCode::SystemIoFailure if sqlite.extended_code == ffi::SQLITE_IOERR_DATA => {
            let what = sums::complaint().unwrap_or(what);
            StoreError::Damaged { path, what }
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy { path },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Damaged { path, what },
        ErrorCode::ConstraintViolation => StoreError::Contradiction { path, what },
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            StoreError::Unreadable { path, why: what }
        }
        // `no such table` and the like: our SQL is right, so the file is not what it says.
        ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::SchemaChanged => {
            StoreError::Damaged { path, what }
        }
        _ => StoreError::Io { path, what },
    }
}
