//! `cargo xtask`: what a maintainer types, and what CI runs.
//!
//! Owns the commands `test`, `faults`, `bench`, `fuzz`, `sim`, `tidy`, `gen`, `demo` and `picture`. It drives cargo and the built
//! `meanwhile` binary from outside; it links none of the product's crates and never edits sources
//! other than the generated files under `docs/`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool reports here")]

mod agents;
mod bench;
mod cargo;
mod clients;
mod conformance;
mod demo;
mod faults;
mod fuzz;
mod generate;
mod mutants;
mod picture;
mod points;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

/// What every command returns: an error is one message for the person at the keyboard.
pub(crate) type Outcome<T = ()> = Result<T, String>;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--plain] [--mode NAME]... [--package NAME]... [FILTER]
                                   every test, as root and unprivileged, with and without cgroups
  faults [ROW]... [--mode NAME]... [--slow] [--add] [--binary PATH | --debug-binary] | --page
                                   break things around the real binary, and look what is lost
  bench [--quick] [--only GROUP]... [--with-pueue] [--runs N] [--binary PATH]
                                   the design's figures, measured beside other programs
  fuzz [--seconds N] [TARGET]... [--input FILE]
                                   foreign bytes into every way in, for a bounded time
  sim [--seeds N] [--seed S [--story]]
                                   lives of the queue on a simulated machine, with all that goes wrong
  agents [FILTER]                  the tests with real agent CLIs, which it installs below target/
  conformance [FILTER]             the MCP conformance suite, which it installs below target/
  conformance-server --port P      the server that it asks, for another client
  clients [FILTER]                 MCP clients of others, which it installs below target/
  tidy                             the rules a compiler cannot check
  gen [--check]                    rewrite docs/reference from the built binary
  demo                             build, start a daemon, run a task in the background, show its end
  picture                          redraw the README's terminal picture from the real program
  points [NAME]                    kill a test build at every place (whose name contains this), row 14
  mutants [--list] [WORD]...       break every branch of recovery on purpose: some test must fail
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let outcome = match command {
        "test" => test::main(rest),
        "agents" => agents::main(rest),
        "bench" => bench::main(rest),
        "clients" => clients::main(rest),
        "conformance" => conformance::main(rest),
        "conformance-server" => conformance::server(rest),
        // Started by the benchmark in place of a task.
        bench::actor::COMMAND => bench::actor::main(rest),
        "fuzz" => fuzz::main(rest),
        "sim" => sim::main(rest),
        "tidy" => tidy::main(),
        "gen" => generate::main(rest),
        "faults" => faults::main(rest),
        "demo" => demo::main(),
        "picture" => picture::main(),
        "mutants" => mutants::main(rest),
        "points" => points::main(rest),
        // Started by cargo in place of each test binary, see `test::runner`.
        test::RUNNER_COMMAND => test::run_in_mode(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("unknown command `{other}`\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {command}: {message}");
            ExitCode::FAILURE
        }
    }
}
