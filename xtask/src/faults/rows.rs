//! The rows as `meanwhile-faults` lists them, and running them one after the other.
//!
//! Owns the processes it starts, their time limits and their logs (`target/faults/MODE/ROW.log`). One
//! row at a time: they measure time, and they use the whole machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::test::Door;
use crate::{Outcome, cargo};

/// A row that takes longer than this has hung: four times what `slow: false` promises.
const FAST: Duration = Duration::from_secs(240);

/// The longest row tells a story of some seconds about a thousand times: row 14, an hour on two busy cores.
const SLOW: Duration = Duration::from_secs(9000);

/// The program with the rows, and its list of them.
pub(crate) struct Rows {
    program: PathBuf,
    list: Vec<Value>,
    logs: PathBuf,
}

impl Rows {
    /// Builds `meanwhile-faults` and asks it.
    pub(crate) fn build() -> Outcome<Self> {
        Self::of(cargo::build_program("meanwhile-faults")?)
    }

    /// Asks one that is built.
    pub(crate) fn of(program: PathBuf) -> Outcome<Self> {
        let output = std::process::Command::new(&program)
            .arg("list")
            .output()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let list: Vec<Value> = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("`meanwhile-faults list` printed no list: {error}"))?;
        let logs = cargo::target_directory()?.join("faults");
        Ok(Self { program, list, logs })
    }

    pub(super) fn all(&self) -> &[Value] {
        &self.list
    }

    /// Those that are named by number or name; without names all, the slow ones only when asked for.
    pub(crate) fn chosen(&self, names: &[String], slow: bool) -> Outcome<Vec<&Value>> {
        let is = |row: &Value, name: &String| {
            let number = name.parse::<u64>().ok().filter(|number| *number > 0);
            row["name"] == **name || (number.is_some() && row["number"].as_u64() == number)
        };
        for name in names {
            if !self.list.iter().any(|row| is(row, name)) {
                let known: Vec<&str> =
                    self.list.iter().filter_map(|row| row["name"].as_str()).collect();
                return Err(format!("no row `{name}`; there are {}", known.join(" ")));
            }
        }
        let wanted = |row: &&Value| {
            if names.is_empty() {
                slow || row["slow"] == false
            } else {
                names.iter().any(|name| is(row, name))
            }
        };
        Ok(self.list.iter().filter(wanted).collect())
    }

    /// Runs the chosen rows in one mode. Those that need one mode only are run in the first.
    pub(crate) fn run(
        &self,
        mode: &str,
        door: &Door,
        chosen: &[&Value],
        account: &mut Account,
    ) -> Outcome {
        let logs = self.logs.join(mode.replace('/', "-"));
        fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        account.modes.push(json!({ "name": mode, "not_run": null }));
        for row in chosen {
            let name = row["name"].as_str().unwrap_or_default();
            if row["modes"] == "once" && account.has(name) {
                continue;
            }
            print!("{mode:<17} {:>2} {name:<32} ", row["number"]);
            let _ = std::io::Write::flush(&mut std::io::stdout());
            let mut run = self.run_one(door, row, &logs)?;
            run["mode"] = json!(mode);
            let new: Vec<String> = door
                .leftovers()
                .into_iter()
                .filter(|line| account.left.insert(line.clone()))
                .collect();
            if !new.is_empty() {
                run["verdict"] = json!("fail");
                run["why"] = json!(format!("left behind: {}", new.join("; ")));
            }
            println!("{}", super::table::one_line(&run));
            account.runs.push(run);
        }
        Ok(())
    }

    fn run_one(&self, door: &Door, row: &Value, logs: &Path) -> Outcome<Value> {
        let name = row["name"].as_str().unwrap_or_default();
        let log = logs.join(format!("{name}.log"));
        let report = door.writable().join(format!("{name}.report"));
        let _ = fs::remove_file(&report);
        let out = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = out.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command =
            door.command(&self.program, &["run", name, "--report", &report.display().to_string()])?;
        let mut child = command
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start row {name}: {error}"))?;
        let limit = if row["slow"] == true { SLOW } else { FAST };
        let started = Instant::now();
        let status = wait(&mut child, limit);
        let account = fs::read(&report).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(account.unwrap_or_else(|| {
            let how = status.map_or_else(
                || format!("it did not end within {limit:?}"),
                |status| format!("it ended without an account: {status}"),
            );
            json!({
                "number": row["number"], "name": name, "seen": "", "verdict": "fail",
                "why": format!("{how}; see {}", log.display()),
                "seconds": started.elapsed().as_secs_f64(), "counts": {}, "figures": [],
            })
        }))
    }
}

/// The end of the child; `None` when it had to be killed after `limit`.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        // sleep: the standard library cannot wait for a child and a deadline at once
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What came of the rows so far.
#[derive(Default)]
pub(crate) struct Account {
    modes: Vec<Value>,
    runs: Vec<Value>,
    left: BTreeSet<String>,
}

impl Account {
    pub(crate) fn not_run(&mut self, mode: &str, reason: &str) {
        self.modes.push(json!({ "name": mode, "not_run": reason }));
    }

    pub(super) fn modes(&self) -> &[Value] {
        &self.modes
    }

    pub(crate) fn runs(&self) -> &[Value] {
        &self.runs
    }

    fn has(&self, name: &str) -> bool {
        self.runs.iter().any(|run| run["name"] == name && run["verdict"] != "not possible here")
    }
}
