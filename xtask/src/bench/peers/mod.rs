//! The programs Meanwhile is measured against, installed where they are missing.
//!
//! Owns the installation: Debian's packages by apt, HyperQueue into a Python environment and pueue by cargo below
//! `target/peers`. One that cannot be installed is a reason in the report, never a silence. Nothing is installed from a
//! place the machine does not trust already.

pub(super) mod hyperqueue;
pub(super) mod nq;
pub(super) mod pueue;
pub(super) mod spooler;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::hyperqueue::HyperQueue;
use self::nq::Nq;
use self::pueue::Pueue;
use self::spooler::Spooler;

/// The version whose Python interface the driver is written for.
const HYPERQUEUE: &str = "hyperqueue==0.27.0";

/// Each peer, or why it is not there.
pub(super) struct Peers {
    pub(super) spooler: Result<Spooler, String>,
    pub(super) nq: Result<Nq, String>,
    pub(super) hyperqueue: Result<HyperQueue, String>,
    pub(super) pueue: Result<Pueue, String>,
    /// Names and versions, for the report.
    pub(super) versions: Vec<String>,
}

impl Peers {
    /// Finds or installs all of them below a directory.
    pub(super) fn prepare(directory: &Path, with_pueue: bool) -> Self {
        let spooler = packaged("tsp", "task-spooler").map(|()| Spooler("tsp"));
        let nq = packaged("nq", "nq").map(|()| Nq("nq"));
        let hyperqueue = hyperqueue(&directory.join("hyperqueue")).map(HyperQueue);
        let pueue = pueue(directory, with_pueue).map(Pueue);
        let mut versions = Vec::new();
        for (name, found) in [
            ("task-spooler", spooler.as_ref().map(|_| package_version("task-spooler"))),
            ("nq", nq.as_ref().map(|_| package_version("nq"))),
            ("HyperQueue", hyperqueue.as_ref().map(|_| "0.27.0".to_owned())),
            ("pueue", pueue.as_ref().map(|p| first_line(&p.0.join("pueue"), "--version"))),
        ] {
            match found {
                Ok(version) => versions.push(format!("{name} {version}")),
                Err(why) => {
                    eprintln!("bench: WITHOUT {name}: {why}");
                    versions.push(format!("{name}: not here ({why})"));
                }
            }
        }
        Self { spooler, nq, hyperqueue, pueue, versions }
    }
}

/// A program of a Debian package.
fn packaged(program: &str, package: &str) -> Result<(), String> {
    if is_there(program) {
        return Ok(());
    }
    println!("bench: installing {package}");
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", package]).env("DEBIAN_FRONTEND", "noninteractive");
    run(install).map_err(|error| format!("`apt-get install {package}`: {error}"))?;
    if is_there(program) { Ok(()) } else { Err(format!("{package} brings no `{program}`")) }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn package_version(package: &str) -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    output.map_or_else(
        |_| "of unknown version".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// The interpreter that can load HyperQueue.
fn hyperqueue(directory: &Path) -> Result<PathBuf, String> {
    let python = directory.join("bin/python");
    let loads = || {
        let mut command = Command::new(&python);
        command.args(["-c", "import hyperqueue"]);
        run(command)
    };
    if loads().is_ok() {
        return Ok(python);
    }
    println!("bench: installing {HYPERQUEUE}");
    let mut environment = Command::new("python3");
    environment.args(["-m", "venv"]).arg(directory);
    run(environment).map_err(|error| format!("`python3 -m venv`: {error}"))?;
    let mut install = Command::new(directory.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", HYPERQUEUE]);
    run(install).map_err(|error| format!("`pip install {HYPERQUEUE}`: {error}"))?;
    loads().map_err(|error| format!("installed, but cannot be loaded: {error}"))?;
    Ok(python)
}

/// The directory of pueue's programs.
fn pueue(directory: &Path, wanted: bool) -> Result<PathBuf, String> {
    let programs = directory.join("bin");
    if programs.join("pueued").is_file() {
        return Ok(programs);
    }
    if !wanted {
        return Err("not asked for (--with-pueue builds it, which takes minutes)".to_owned());
    }
    println!("bench: building pueue; this takes some minutes");
    let mut install = crate::cargo::cargo();
    install.args(["install", "--locked", "--root"]).arg(directory).arg("pueue");
    run(install).map_err(|error| format!("`cargo install pueue`: {error}"))?;
    Ok(programs)
}

fn run(mut command: Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("no word").to_owned();
    Err(format!("{}: {last}", output.status))
}

fn first_line(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(
        |_| "of unknown version".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned(),
    )
}
