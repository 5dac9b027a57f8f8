//! `meanwhile-faults`: lists rows, runs one in the mode it is started in, and is the program that the
//! tasks of its workload run.
//!
//! Started by `cargo xtask faults`, which chooses user and cgroup. Never starts other modes itself.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool reports here")]

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: meanwhile-faults list | run ROW [--report FILE] | points [NAME]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            println!("{}", meanwhile_faults::list());
            ExitCode::SUCCESS
        }
        ["run", row] => report(meanwhile_faults::run(row, None)),
        ["run", row, "--report", file] => {
            report(meanwhile_faults::run(row, Some(&PathBuf::from(file))))
        }
        [meanwhile_faults::points::COMMAND] => meanwhile_faults::points::story(),
        ["points", ref only @ ..] => points(only.first().copied().unwrap_or_default()),
        ["work", ..] => ExitCode::from(meanwhile_faults::work::main(&arguments[1..])),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Every fault point whose name contains `only`.
fn points(only: &str) -> ExitCode {
    let Some(binary) = meanwhile_faults::points::binary() else {
        eprintln!("meanwhile-faults: no build with fault points: `cargo xtask points` makes one");
        return ExitCode::from(2);
    };
    let scratch = std::env::temp_dir().join(format!("mw-points-{}", std::process::id()));
    let began = std::time::Instant::now();
    let covered = meanwhile_faults::points::cover(&binary, &scratch, only);
    println!("{}", meanwhile_faults::points::words(&covered, began));
    covered.complaints.iter().for_each(|complaint| println!("COMPLAINT: {complaint}"));
    ExitCode::from(u8::from(!covered.complaints.is_empty()))
}

fn report(outcome: Result<bool, String>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("meanwhile-faults: {message}");
            ExitCode::from(2)
        }
    }
}
