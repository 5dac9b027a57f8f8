//! `cargo xtask faults`: every fault on the real binary, in every mode this machine can offer.
//!
//! Builds the release binary and `meanwhile-faults`, starts each row in each mode as a process of its
//! own, and keeps the account: a table, `target/faults.json`, and after a full run the page
//! `docs/reference/reliability.md`. A full run takes most of an hour; with `--add` it can be made in parts.
//! Never judges a row: that is the row's own work. A row that cannot
//! be staged here is told with its reason.
//!
//! ```text
//! main -> rows::list (meanwhile-faults list) -> for each mode, row: rows::Rows::run -> account
//!      -> table::print, faults.json, page::write
//! ```

mod earlier;
mod page;
mod rows;
mod table;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::test::Stages;
use crate::{Outcome, cargo};

pub(crate) use rows::{Account, Rows};

/// What is written after every run.
const ACCOUNT: &str = "faults.json";

pub(crate) fn main(arguments: &[String]) -> Outcome {
    if arguments == ["--page"] {
        return again();
    }
    let request = Request::parse(arguments)?;
    let binary = match &request.binary {
        Some(binary) => binary.clone(),
        None if request.debug_binary => cargo::build_binary()?,
        None => cargo::build_release_binary()?,
    };
    let rows = match &request.program {
        Some(program) => Rows::of(program.clone())?,
        None => Rows::build()?,
    };
    let chosen = rows.chosen(&request.rows, request.slow)?;
    let builds = request.program.is_none();
    if builds && chosen.iter().any(|row| row["name"] == "fault-points") {
        cargo::build_fault_points()?;
    }
    let stages = Stages::new()?;
    let target = cargo::target_directory()?;
    let mut account = Account::default();
    for staged in stages.doors(&binary)? {
        let asked = request.modes.is_empty() || request.modes.contains(&staged.name);
        match &staged.available {
            Err(reason) => account.not_run(&staged.name, reason),
            Ok(_) if !asked => account.not_run(&staged.name, "not asked for on the command line"),
            Ok(door) => rows.run(&staged.name, door, &chosen, &mut account)?,
        }
    }
    let file = target.join(ACCOUNT);
    let mut account = document(&account, &rows, &binary);
    if request.add {
        earlier::add(&mut account, &file)?;
    }
    let whole = request.is_whole() || (request.add && earlier::is_whole(&account));
    std::fs::write(&file, format!("{account:#}\n"))
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    table::print(&account);
    println!("the whole account: {}", file.display());
    if whole {
        page::write(&account, &target)?;
    }
    table::judge(&account)
}

/// The page once more from the account that is there: what other commands found may be newer.
fn again() -> Outcome {
    let target = cargo::target_directory()?;
    let file = target.join(ACCOUNT);
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let account = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{} is no account: {error}", file.display()))?;
    page::write(&account, &target)
}

fn document(account: &Account, rows: &Rows, binary: &Path) -> Value {
    // Cargo names the directory after the profile.
    let profile = binary.parent().and_then(Path::file_name).unwrap_or_default();
    let profile = profile.to_string_lossy();
    let size = std::fs::metadata(binary).map_or(0, |about| about.len());
    json!({
        "machine": page::machine(),
        "profile": profile,
        "binary_bytes": size,
        "commit": cargo::commit(),
        "date": page::today(),
        "rows": rows.all(),
        "modes": account.modes(),
        "runs": account.runs(),
    })
}

/// What was asked for on the command line.
struct Request {
    rows: Vec<String>,
    modes: Vec<String>,
    slow: bool,
    debug_binary: bool,
    /// What earlier runs saw stays in the account, for rows that are not run again.
    add: bool,
    /// A binary that is there already, in a directory named after its profile, so that all parts of a run are about the
    /// same one.
    binary: Option<PathBuf>,
    /// A copy of `meanwhile-faults`, so that a run of hours is not disturbed by builds. Row 14 then looks for the
    /// build with fault points beside it, as `../fault-points/debug/meanwhile`.
    program: Option<PathBuf>,
}

impl Request {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut request = Self {
            rows: Vec::new(),
            modes: Vec::new(),
            slow: false,
            debug_binary: false,
            add: false,
            binary: None,
            program: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--slow" => request.slow = true,
                "--debug-binary" => request.debug_binary = true,
                "--add" => request.add = true,
                "--binary" => request.binary = Some(existing(argument, rest.next())?),
                "--program" => request.program = Some(existing(argument, rest.next())?),
                "--mode" => {
                    let name = rest.next().ok_or("--mode wants a name, such as root/off")?;
                    if !crate::test::MODES.contains(&name.as_str()) {
                        let known = crate::test::MODES.join(" ");
                        return Err(format!("no mode `{name}`; there are {known}"));
                    }
                    request.modes.push(name.clone());
                }
                option if option.starts_with('-') => {
                    return Err(format!(
                        "unknown option `{option}`; there are --mode M, --slow, --add, --binary PATH, --program PATH, --debug-binary"
                    ));
                }
                row => request.rows.push(row.to_owned()),
            }
        }
        Ok(request)
    }

    /// All rows in all modes on the release binary: what the page is about.
    fn is_whole(&self) -> bool {
        self.rows.is_empty() && self.modes.is_empty() && self.slow && !self.debug_binary
    }
}

/// The file that an option names.
fn existing(option: &str, path: Option<&String>) -> Outcome<PathBuf> {
    let path = path.ok_or_else(|| format!("{option} wants the path of a built program"))?;
    std::fs::canonicalize(path).map_err(|error| format!("{option}: {path}: {error}"))
}
