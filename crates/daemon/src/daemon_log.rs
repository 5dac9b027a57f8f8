//! The daemon's own log: one JSON object per line in `logs/daemon.log`, owner-only.
//!
//! Owns the file, its rotation (one old file is kept) and the form of a line. Values of environments
//! are logged nowhere; argument lists only at `debug`, by whoever logs them. A log that cannot be
//! written stops nothing: the line is dropped and the next one tries again.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use meanwhile_api::Timestamp;
use meanwhile_host::dir::Dir;
use meanwhile_host::home::DAEMON_LOG;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::settings::LogLevel;

/// A file of the log is replaced at this size; two of them are kept.
const FILE_BYTES: u64 = 4 << 20;
/// The longest line; a longer value is cut.
const VALUE_BYTES: usize = 8 << 10;
const OLD: &str = "daemon.log.1";

/// Logs to the file of a directory from now on, for the whole process. A second call is ignored.
pub fn init(logs: Dir, level: LogLevel) {
    let subscriber = FileLog { level: max_level(level), file: Mutex::new(LogFile::new(logs)) };
    let _already_logging = tracing::subscriber::set_global_default(subscriber);
}

const fn max_level(level: LogLevel) -> Level {
    match level {
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    }
}

/// Writes events; spans are not used.
struct FileLog {
    level: Level,
    file: Mutex<LogFile>,
}

impl Subscriber for FileLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates' chatter (hyper logs request lines) is not ours to keep.
        *metadata.level() <= self.level && metadata.target().starts_with("meanwhile")
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let line = line(event);
        self.file.lock().unwrap_or_else(PoisonError::into_inner).append(line.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn line(event: &Event<'_>) -> String {
    let now = meanwhile_host::clock::now().wall;
    let mut fields = Fields(Map::new());
    let metadata = event.metadata();
    fields.0.insert("at".into(), Timestamp::from_unix_ms(now.0).to_string().into());
    fields.0.insert("level".into(), metadata.level().as_str().to_ascii_lowercase().into());
    fields.0.insert("in".into(), metadata.target().into());
    event.record(&mut fields);
    let mut line = Value::Object(fields.0).to_string();
    line.push('\n');
    line
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Cut(String::new());
        let _cut = write!(text, "{value:?}");
        self.put(field, text.0);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Cut(String::new());
        let _cut = text.write_str(value);
        self.put(field, text.0);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

/// Text up to the longest value.
struct Cut(String);

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = VALUE_BYTES.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let cut = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.0.push_str(&text[..cut]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

struct LogFile {
    directory: Dir,
    open: Option<(File, u64)>,
}

impl LogFile {
    const fn new(directory: Dir) -> Self {
        Self { directory, open: None }
    }

    fn append(&mut self, line: &[u8]) {
        if self.open.as_ref().is_some_and(|(_, bytes)| *bytes >= FILE_BYTES) {
            self.open = None;
            let _kept_growing = self.directory.rename_file(DAEMON_LOG, OLD);
        }
        if self.open.is_none() {
            let Ok(file) = self.directory.append_file(DAEMON_LOG) else { return };
            let bytes = file.metadata().map_or(0, |metadata| metadata.size());
            self.open = Some((file, bytes));
        }
        let Some((file, bytes)) = &mut self.open else { return };
        match file.write_all(line) {
            Ok(()) => *bytes += line.len() as u64,
            Err(_disk_full) => self.open = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn logging(dir: &std::path::Path, level: LogLevel, work: impl FnOnce()) {
        let logs = Dir::open(dir, &[]).unwrap();
        let log = FileLog { level: max_level(level), file: Mutex::new(LogFile::new(logs)) };
        tracing::subscriber::with_default(log, work);
    }

    #[test]
    fn every_line_is_an_object_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        logging(dir.path(), LogLevel::Info, || {
            tracing::info!(task = "abc\n", tasks = 3, "two\nlines");
            tracing::debug!("not at this level");
            tracing::warn!(error = %"x".repeat(VALUE_BYTES * 2), "long");
            tracing::info!(target: "hyper", "not ours");
        });
        let path = dir.path().join(DAEMON_LOG);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "two\nlines");
        assert_eq!((&lines[0]["task"], &lines[0]["tasks"]), (&"abc\n".into(), &3.into()));
        assert_eq!(lines[0]["level"], "info");
        assert!(lines[1]["error"].as_str().unwrap().len() < VALUE_BYTES + 8);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn two_files_are_kept_however_much_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
        let mut log = LogFile::new(Dir::open(dir.path(), &[]).unwrap());
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            log.append(&line);
        }
        let sizes: Vec<u64> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= FILE_BYTES + (1 << 20)), "{sizes:?}");
    }
}
