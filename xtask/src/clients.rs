//! `cargo xtask clients`: MCP clients that others have written, against our server.
//!
//! Owns which clients in which versions, below `target/clients` (npm) and `target/clients-python` (pip), and the home
//! they run in. What is checked is in the scripts of `xtask/clients`, which print `ok NAME` for each check that held.
//! Each script is given the fixtures of the conformance suite, for what the product has no tool for (a question, an error
//! of the protocol), and the product itself. A missing tool fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::conformance::{Server, install_with_node};
use crate::{Outcome, cargo};

/// The clients of npm: the official one of either generation, the one for tasks, and the Inspector.
const PACKAGES: [&str; 4] = [
    "@modelcontextprotocol/client@2.3.1",
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/ext-tasks@0.2.2",
    "@modelcontextprotocol/inspector@2.12.0",
];
/// Where the scripts are.
const SCRIPTS: &str = "xtask/clients";
/// The clients of Python with all they need, each in its exact version.
const REQUIREMENTS: &str = "xtask/clients/requirements.txt";
/// What node runs, and what Python runs.
const NODE_SCRIPTS: [&str; 3] = ["ext_tasks.mjs", "official_client.mjs", "inspector.mjs"];
const PYTHON_SCRIPTS: [&str; 1] = ["fastmcp_tasks_check.py"];

pub(crate) fn main(filter: &[String]) -> Outcome {
    run(filter)?.map(|line| println!("clients: {line}"))
}

/// What the report of a whole test run says.
pub(crate) fn in_tests() -> Outcome<Result<String, String>> {
    println!("\n=== MCP clients of others ===");
    run(&[])
}

fn run(filter: &[String]) -> Outcome<Result<String, String>> {
    let (place, node) = install_with_node("clients", &PACKAGES)?;
    let python = install_python()?;
    let ground = Ground::new()?;
    let scripts = NODE_SCRIPTS
        .iter()
        .map(|script| (node.as_path(), *script))
        .chain(PYTHON_SCRIPTS.iter().map(|script| (python.as_path(), *script)));
    let wanted =
        |name: &str| filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str()));
    let (mut checks, mut failed) = (0, Vec::new());
    for (program, script) in scripts.filter(|(_, script)| wanted(script)) {
        // Node looks for packages beside the script.
        for file in ["checks.mjs", script] {
            let from = cargo::root().join(SCRIPTS).join(file);
            let copied = fs::copy(&from, place.join(file));
            copied.map_err(|error| format!("cannot copy {}: {error}", from.display()))?;
        }
        match ground.ask(program, &place.join(script))? {
            Ok(passed) => {
                println!("{script}: {passed} checks passed");
                checks += passed;
            }
            Err(why) => {
                println!("{script}: {why}");
                failed.push(script);
            }
        }
    }
    Ok(match (checks, failed.as_slice()) {
        (0, []) => Err("no check was made".to_owned()),
        (checks, []) => {
            let names =
                PACKAGES.iter().map(|name| name.trim_start_matches("@modelcontextprotocol/"));
            let names: Vec<&str> = names.chain(["fastmcp-tasks"]).collect();
            Ok(format!("{checks} checks passed with {}", names.join(", ")))
        }
        (_, failed) => Err(format!("failed: {}", failed.join(", "))),
    })
}

/// Python with the pinned packages, in an environment of its own.
fn install_python() -> Outcome<PathBuf> {
    let place = cargo::target_directory()?.join("clients-python");
    let python = place.join("bin/python");
    let requirements = cargo::root().join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .map_err(|error| format!("cannot read {REQUIREMENTS}: {error}"))?;
    let note = place.join("installed");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("installing {REQUIREMENTS}");
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&place);
    step(make)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.arg("--requirement").arg(&requirements);
    step(pip)?;
    fs::write(&note, wanted)
        .map_err(|error| format!("cannot write {}: {error}", note.display()))?;
    Ok(python)
}

fn step(mut command: Command) -> Outcome {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// What the clients are given: both servers over HTTP, both programs, and a home, which goes with this.
struct Ground {
    binary: PathBuf,
    fixtures: PathBuf,
    fixtures_server: Server,
    product_server: Server,
    token: String,
    home: tempfile::TempDir,
}

impl Ground {
    fn new() -> Outcome<Ground> {
        let binary = cargo::build_binary()?;
        let fixtures = cargo::build_conformance_server()?;
        let home = tempfile::Builder::new().prefix("meanwhile-clients-").tempdir();
        let home = home.map_err(|error| format!("cannot make a temporary home: {error}"))?;
        let mut command = Command::new(&fixtures);
        command.arg("127.0.0.1:0");
        let fixtures_server = Server::start(command)?;
        let mut command = in_home(&binary, home.path());
        command.arg("--home").arg(home.path().join("state"));
        command.args(["--json", "mcp", "--http", "127.0.0.1:0"]);
        let product_server = Server::start(command)?;
        let file = field(&product_server.told, "token_file")?;
        let token =
            fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
        let token = token.trim().to_owned();
        Ok(Ground { binary, fixtures, fixtures_server, product_server, token, home })
    }

    /// How many checks held, when all did; else what the script said.
    fn ask(&self, program: &Path, script: &Path) -> Outcome<Result<usize, String>> {
        let output = in_home(program, self.home.path())
            .arg(script)
            .env("FIXTURES", &self.fixtures)
            .env("FIXTURES_URL", &self.fixtures_server.told)
            .env("PRODUCT", &self.binary)
            .env("PRODUCT_HOME", self.home.path().join("state"))
            .env("PRODUCT_URL", field(&self.product_server.told, "url")?)
            .env("PRODUCT_TOKEN", &self.token)
            .output()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let held = text.lines().filter(|line| line.starts_with("ok ")).count();
        Ok(match (output.status.success(), held) {
            (true, 1..) => Ok(held),
            _ => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
        })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let mut stop = in_home(&self.binary, self.home.path());
        stop.arg("--home").arg(self.home.path().join("state")).args([
            "daemon",
            "stop",
            "--cancel-all",
        ]);
        // Without a daemon there is nothing to stop.
        let _ = stop.output();
    }
}

/// A program that sees nothing of the person who runs the tests, nor of the session they are run in.
fn in_home(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).current_dir(home).stdin(Stdio::null());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

fn field(line: &str, name: &str) -> Outcome<String> {
    let told: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
    told[name].as_str().map(str::to_owned).ok_or_else(|| format!("no `{name}` in {line}"))
}
