//! Whether a program can be started, answered before a task is accepted.
//!
//! Owns the search that execvp(3) makes and the reasons it can fail. Says no only with certainty:
//! what might work is left to the attempt itself. Never starts anything.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

/// Searched when there is no `PATH`, as the C library does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
/// A `#!` line is at most this long (`BINPRM_BUF_SIZE`).
const INTERPRETER_LINE: usize = 256;
/// A name this many edits away is near enough to be meant.
const NEAR: usize = 2;

/// Why something can certainly not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotStart {
    /// No name, or one with a zero byte.
    InvalidName,
    /// No file of that name.
    NotFound {
        /// What was asked for.
        program: PathBuf,
        /// A name in `PATH` that is close to it.
        nearest: Option<String>,
    },
    /// It is a directory.
    IsDirectory(PathBuf),
    /// It is there and may not be executed.
    NotExecutable(PathBuf),
    /// It is a script whose interpreter does not exist.
    NoInterpreter {
        /// The script.
        script: PathBuf,
        /// What its first line names.
        interpreter: PathBuf,
    },
    /// The working directory does not exist.
    NoSuchCwd(PathBuf),
    /// The working directory is something else.
    CwdNotADirectory(PathBuf),
    /// The working directory may not be entered.
    CwdForbidden(PathBuf),
}

/// What execvp(3) would run for `program` with this `PATH` in this directory, absolute.
///
/// The working directory is checked first: everything relative depends on it.
///
/// # Errors
/// When it certainly cannot be started. An error that might pass (a network disk that does not
/// answer) is none: the name is handed back as it is.
pub fn resolve(program: &[u8], path: Option<&[u8]>, cwd: &Path) -> Result<PathBuf, CannotStart> {
    check_cwd(cwd)?;
    if program.is_empty() || program.contains(&0) {
        return Err(CannotStart::InvalidName);
    }
    let name = Path::new(OsStr::from_bytes(program));
    if program.contains(&b'/') {
        let candidate = cwd.join(name);
        return match look_at(&candidate) {
            Found::Executable => check_interpreter(candidate),
            Found::Unsure => Ok(candidate),
            Found::Directory => Err(CannotStart::IsDirectory(candidate)),
            Found::Forbidden | Found::Hidden => Err(CannotStart::NotExecutable(candidate)),
            Found::Nothing => Err(CannotStart::NotFound { program: candidate, nearest: None }),
        };
    }
    search(name, path.unwrap_or(DEFAULT_PATH), cwd)
}

/// Whether a process can be started in this directory.
///
/// # Errors
/// When it certainly cannot.
pub fn check_cwd(cwd: &Path) -> Result<(), CannotStart> {
    let path = || cwd.to_path_buf();
    match rustix::fs::stat(cwd) {
        Err(Errno::NOENT) => Err(CannotStart::NoSuchCwd(path())),
        Err(Errno::NOTDIR) => Err(CannotStart::CwdNotADirectory(path())),
        Err(Errno::ACCESS) => Err(CannotStart::CwdForbidden(path())),
        Err(_) => Ok(()),
        Ok(stat) if !is_kind(&stat, rustix::fs::FileType::Directory) => {
            Err(CannotStart::CwdNotADirectory(path()))
        }
        Ok(_) => match may_execute(cwd) {
            Err(Errno::ACCESS) => Err(CannotStart::CwdForbidden(path())),
            _ => Ok(()),
        },
    }
}

impl CannotStart {
    /// The exit code a shell gives for it: 127 for what is not there, 126 for what cannot be
    /// executed, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::InvalidName | Self::NotFound { .. } | Self::NoInterpreter { .. } => 127,
            Self::IsDirectory(_) | Self::NotExecutable(_) => 126,
            Self::NoSuchCwd(_) | Self::CwdNotADirectory(_) | Self::CwdForbidden(_) => 1,
        }
    }

    /// What to type next, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { nearest: Some(near), .. } => Some(format!("did you mean {near}?")),
            Self::NotFound { program, nearest: None } => {
                let line = program.to_string_lossy();
                Some(if line.contains(char::is_whitespace) {
                    format!("to run a shell line, use --shell '{line}'")
                } else if line.contains('/') {
                    format!("see what is there: ls {}", directory_of(program).display())
                } else {
                    format!(
                        "is it installed? to see where it is looked for: type -a {line}; echo $PATH"
                    )
                })
            }
            Self::NotExecutable(path) => Some(format!("chmod +x {}", path.display())),
            Self::IsDirectory(path) => {
                Some(format!("to run it there, use --cwd {}", path.display()))
            }
            Self::NoSuchCwd(_) | Self::CwdNotADirectory(_) | Self::CwdForbidden(_) => {
                Some("name another directory: --cwd DIR".into())
            }
            Self::NoInterpreter { script, .. } => {
                Some(format!("correct its first line: head -n 1 {}", script.display()))
            }
            Self::InvalidName => None,
        }
    }
}

fn directory_of(program: &Path) -> &Path {
    program.parent().unwrap_or(Path::new("/"))
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName => write!(f, "start a program without a name"),
            Self::NotFound { program, .. } => {
                write!(f, "start {}: no such program", program.display())
            }
            Self::IsDirectory(path) => write!(f, "start {}: it is a directory", path.display()),
            Self::NotExecutable(path) => {
                write!(f, "start {}: it is not executable", path.display())
            }
            Self::NoInterpreter { script, interpreter } => {
                let (script, interpreter) = (script.display(), interpreter.display());
                write!(f, "start {script}: its interpreter {interpreter} does not exist")
            }
            Self::NoSuchCwd(path) => write!(f, "work in {}: no such directory", path.display()),
            Self::CwdNotADirectory(path) => {
                write!(f, "work in {}: it is not a directory", path.display())
            }
            Self::CwdForbidden(path) => write!(f, "work in {}: permission denied", path.display()),
        }
    }
}

impl std::error::Error for CannotStart {}

/// What there is at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Executable,
    Directory,
    Forbidden,
    /// The way there may not be gone: what is there cannot be seen.
    Hidden,
    Nothing,
    Unsure,
}

fn look_at(candidate: &Path) -> Found {
    match rustix::fs::stat(candidate) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => Found::Nothing,
        Err(Errno::ACCESS) => Found::Hidden,
        Err(_) => Found::Unsure,
        Ok(stat) if is_kind(&stat, rustix::fs::FileType::Directory) => Found::Directory,
        Ok(stat) if !is_kind(&stat, rustix::fs::FileType::RegularFile) => Found::Forbidden,
        Ok(_) => match may_execute(candidate) {
            Ok(()) => Found::Executable,
            Err(Errno::ACCESS) => Found::Forbidden,
            Err(_) => Found::Unsure,
        },
    }
}

/// The first candidate that can be executed. As execvp(3), one that may not be is passed over and
/// only named when nothing better follows. Unlike it and like a shell, a directory of `PATH` that may not be searched is
/// no sign that the program is there.
fn search(name: &Path, path: &[u8], cwd: &Path) -> Result<PathBuf, CannotStart> {
    let mut passed_over = None;
    for directory in directories(path, cwd) {
        let candidate = directory.join(name);
        match look_at(&candidate) {
            Found::Executable => return check_interpreter(candidate),
            Found::Unsure => return Ok(candidate),
            Found::Nothing | Found::Hidden => {}
            Found::Forbidden => {
                passed_over.get_or_insert(CannotStart::NotExecutable(candidate));
            }
            Found::Directory => {
                passed_over.get_or_insert(CannotStart::IsDirectory(candidate));
            }
        }
    }
    Err(passed_over.unwrap_or_else(|| CannotStart::NotFound {
        program: name.to_path_buf(),
        nearest: nearest(name, path, cwd),
    }))
}

/// An empty entry of `PATH` is the working directory.
fn directories<'a>(path: &'a [u8], cwd: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
    path.split(|b| *b == b':').map(|entry| cwd.join(OsStr::from_bytes(entry)))
}

fn check_interpreter(script: PathBuf) -> Result<PathBuf, CannotStart> {
    // Opened without waiting: it is a regular file, so this cannot block on a FIFO.
    let Ok(file) = fs::File::open(&script) else { return Ok(script) };
    let mut line = Vec::with_capacity(INTERPRETER_LINE);
    if file.take(INTERPRETER_LINE as u64).read_to_end(&mut line).is_err() {
        return Ok(script);
    }
    let Some(rest) = line.strip_prefix(b"#!") else { return Ok(script) };
    let Some(line) = rest.split(|b| *b == b'\n').next() else { return Ok(script) };
    let interpreter = line.trim_ascii().split(|b| matches!(b, b' ' | b'\t')).next().unwrap_or(b"");
    let interpreter = Path::new(OsStr::from_bytes(interpreter));
    // A relative one depends on where it is started; that is rare enough to be left to the start.
    if interpreter.is_absolute() && look_at(interpreter) == Found::Nothing {
        let interpreter = interpreter.to_path_buf();
        return Err(CannotStart::NoInterpreter { script, interpreter });
    }
    Ok(script)
}

fn may_execute(path: &Path) -> Result<(), Errno> {
    rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

fn is_kind(stat: &rustix::fs::Stat, kind: rustix::fs::FileType) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == kind
}

/// The executable whose name is fewest edits away, if it is near enough to be meant.
fn nearest(name: &Path, path: &[u8], cwd: &Path) -> Option<String> {
    let wanted = name.to_str()?;
    let near = NEAR.min(wanted.chars().count() / 3);
    let mut best: Option<(usize, String)> = None;
    for directory in directories(path, cwd) {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Ok(candidate) = entry.file_name().into_string() else { continue };
            let limit = best.as_ref().map_or(near + 1, |(distance, _)| *distance);
            let distance = edits(wanted, &candidate);
            if distance < limit && look_at(&entry.path()) == Found::Executable {
                best = Some((distance, candidate));
            }
        }
    }
    best.map(|(_, name)| name)
}

/// How many characters to change, add, drop or swap with their neighbour to get from one to the
/// other; names of very different length are simply far.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > NEAR {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests;
