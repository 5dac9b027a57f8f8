//! `cargo xtask fuzz`: foreign bytes into every way in, for a bounded time.
//!
//! Owns the build of the libFuzzer targets below `fuzz/`, their runs, and the account of them. The
//! bodies of the targets are the fuzz crate's. Installs cargo-fuzz below `target/` when it is not
//! there; works with a stable toolchain, which is told that the sanitizer's flags are wanted. Never
//! writes outside `target/`: a find is named, and kept by whoever repairs it.
//!
//! ```text
//!   cargo fuzz build ─► one program per target ─► corpus (target/fuzz/corpus) + seeds + regressions
//!                                              ─► executions, coverage, and what broke
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, cargo};

/// The release of cargo-fuzz that is used; another is replaced.
const CARGO_FUZZ: &str = "0.13.2";
/// Seconds over all targets unless `--seconds` says how many for each.
const BUDGET_SECONDS: u64 = 300;
/// An input that takes longer is a find. The slowest honest one takes a tenth, with a sanitizer.
const TIMEOUT_SECONDS: u64 = 10;
/// More memory than this is a find; the bodies' own bounds are far lower.
const MEMORY_MB: u64 = 3072;
/// What the sanitizer is told. Leaks are not looked for: the bodies bound memory by themselves, and
/// the threads of a server would look like leaks. A failed allocation is the program's to handle.
const SANITIZER: &str = "detect_leaks=0:detect_odr_violation=0:allocator_may_return_null=1";

pub(crate) fn main(arguments: &[String]) -> Outcome {
    let root = cargo::root();
    let all = targets(&root)?;
    let request = Request::parse(arguments, &all)?;
    need("c++", "libFuzzer is built from source; install a C++ compiler")?;
    let target = cargo::target_directory()?;
    let tool = cargo_fuzz(&target)?;
    let programs = build(&tool, &target, &request)?;
    if let Some(input) = &request.input {
        return reproduce(&programs[0], input);
    }
    let seconds = request.seconds.unwrap_or((BUDGET_SECONDS / request.targets.len() as u64).max(1));
    println!("{seconds} s for each of {} targets\n", programs.len());
    println!(
        "{:<12} {:>12} {:>8} {:>9} {:>9} {:>8} {:>8}  broken",
        "target", "executions", "per s", "coverage", "new", "slowest", "memory"
    );
    let mut broken = Vec::new();
    for program in &programs {
        let ran = program.run(&root, seconds)?;
        println!("{}", ran.row(&program.name));
        broken.extend(ran.find.map(|find| (program.name.clone(), find)));
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(broken.iter().map(|(name, find)| find.told(name)).collect::<Vec<_>>().join("\n"))
}

/// What was asked for on the command line.
struct Request {
    /// For each target.
    seconds: Option<u64>,
    targets: Vec<String>,
    /// Only this input, once.
    input: Option<PathBuf>,
}

impl Request {
    fn parse(arguments: &[String], all: &[String]) -> Outcome<Self> {
        let mut request = Self { seconds: None, targets: Vec::new(), input: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--seconds" => {
                    let number = rest.next().and_then(|text| text.parse().ok());
                    let number = number.filter(|seconds| *seconds > 0);
                    request.seconds = Some(number.ok_or("--seconds wants a number above 0")?);
                }
                "--input" => {
                    let file = rest.next().ok_or("--input wants the file of an input")?;
                    let file = fs::canonicalize(file).map_err(|e| format!("{file}: {e}"))?;
                    request.input = Some(file);
                }
                name if all.iter().any(|target| target == name) => {
                    request.targets.push(name.to_owned());
                }
                other => {
                    return Err(format!("no target `{other}`; there are {}", all.join(" ")));
                }
            }
        }
        if request.input.is_some() && request.targets.len() != 1 {
            return Err("--input wants exactly one target".into());
        }
        if request.targets.is_empty() {
            request.targets = all.to_vec();
        }
        Ok(request)
    }
}

/// The names of all targets: one file each.
fn targets(root: &Path) -> Outcome<Vec<String>> {
    let directory = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn need(program: &str, why: &str) -> Outcome {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("`{program}` is missing: {why}")),
    }
}

/// cargo-fuzz of the pinned release, below `target/tools`.
fn cargo_fuzz(target: &Path) -> Outcome<PathBuf> {
    let tools = target.join("tools");
    let program = tools.join("bin/cargo-fuzz");
    let version = Command::new(&program).arg("--version").output();
    let wanted = format!("cargo-fuzz {CARGO_FUZZ}");
    if version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim() == wanted) {
        return Ok(program);
    }
    println!("installing {wanted} into {}", tools.display());
    let status = cargo::cargo()
        .args(["install", "cargo-fuzz", "--locked", "--force", "--quiet"])
        .args(["--version", &format!("={CARGO_FUZZ}")])
        .arg("--root")
        .arg(&tools)
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{wanted} cannot be installed (see above)"));
    }
    Ok(program)
}

/// A built target.
struct Program {
    name: String,
    path: PathBuf,
    /// Where everything of the fuzzer's runs is kept.
    work: PathBuf,
}

fn build(tool: &Path, target: &Path, request: &Request) -> Outcome<Vec<Program>> {
    println!("building the targets (the first time takes some minutes)");
    let triple = cargo::host_triple()?;
    let work = target.join("fuzz");
    let build = |only: Option<&str>| -> Outcome {
        let mut command = Command::new(tool);
        command
            .current_dir(cargo::root())
            .args(["fuzz", "build", "--fuzz-dir", "fuzz", "--features", "libfuzzer"])
            .args(["--target", &triple, "--target-dir"])
            .arg(&work)
            .args(only)
            // Coverage and sanitizers are flags of nightly compilers, and of any that is told so.
            .env("RUSTC_BOOTSTRAP", "1")
            // The release profile is for users: here nothing is gained by its minutes of linking.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_PANIC", "unwind")
            .stdin(Stdio::null());
        let status = command.status().map_err(|error| format!("cannot run cargo-fuzz: {error}"))?;
        if status.success() { Ok(()) } else { Err("the targets do not build (see above)".into()) }
    };
    match &request.targets[..] {
        [only] => build(Some(only))?,
        _ => build(None)?,
    }
    let program = |name: &String| Program {
        name: name.clone(),
        path: work.join(&triple).join("release").join(name),
        work: work.clone(),
    };
    Ok(request.targets.iter().map(program).collect())
}

/// What came of a target's run.
#[derive(Default)]
struct Ran {
    executions: u64,
    per_second: u64,
    coverage: u64,
    /// Edges that the corpus did not reach before.
    new: u64,
    slowest_seconds: u64,
    memory_mb: u64,
    find: Option<Find>,
}

/// An input that broke something.
struct Find {
    /// The first words about it.
    what: String,
    input: Option<PathBuf>,
    log: PathBuf,
}

impl Program {
    fn run(&self, root: &Path, seconds: u64) -> Outcome<Ran> {
        let directory = |kind: &str| -> Outcome<PathBuf> {
            let path = self.work.join(kind).join(&self.name);
            fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(path)
        };
        let (corpus, artifacts) = (directory("corpus")?, directory("artifacts")?);
        let log = directory("logs")?.join("log");
        let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let ours = root.join("fuzz");
        let mut command = self.command();
        command.arg(&corpus);
        for kind in ["seeds", "regressions"] {
            // Only the first directory is written to.
            command.args(Some(ours.join(kind).join(&self.name)).filter(|path| path.is_dir()));
        }
        let words = ours.join("dictionaries").join(format!("{}.dict", self.name));
        if words.is_file() {
            command.arg(format!("-dict={}", words.display()));
        }
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-reload=0"])
            .stdout(Stdio::null())
            .stderr(file);
        let mut child = command.spawn().map_err(|error| self.cannot(&error))?;
        let status = child.wait().map_err(|error| self.cannot(&error))?;
        remove_scratch(child.id());
        let text = fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        let mut ran = read_log(&text);
        if !status.success() {
            let line = |start: &str| text.lines().find_map(|line| line.split_once(start));
            let what = ["panicked at ", "memory allocation of", "SUMMARY: "]
                .iter()
                .find_map(|w| line(w).map(|(_, rest)| format!("{w}{rest}")));
            let input = line("Test unit written to ").map(|(_, path)| PathBuf::from(path.trim()));
            let what = what.unwrap_or_else(|| format!("it ended with {status}"));
            ran.find = Some(Find { what, input, log });
        }
        Ok(ran)
    }

    fn command(&self) -> Command {
        // It takes all of one processor and is in nobody's way. A peer that hung up is an error to the
        // program, as it is to every other of ours, and no reason to end: libFuzzer does not see to that.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' PIPE; exec nice \"$0\" \"$@\""])
            .arg(&self.path)
            .env("ASAN_OPTIONS", SANITIZER)
            .env("RUST_BACKTRACE", "1")
            .arg(format!("-timeout={TIMEOUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"))
            .stdin(Stdio::null());
        command
    }

    fn cannot(&self, error: &std::io::Error) -> String {
        format!("cannot run {}: {error}", self.path.display())
    }
}

/// What a process that was ended by its own find has left in memory.
fn remove_scratch(process: u32) {
    let prefix = format!("meanwhile-fuzz-{process}-");
    for place in [PathBuf::from("/dev/shm"), std::env::temp_dir()] {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(&prefix)) {
            // Nothing depends on it; the next start of the machine removes it for good.
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}

fn reproduce(program: &Program, input: &Path) -> Outcome {
    let status = program.command().arg(input).status().map_err(|error| program.cannot(&error))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", program.name)) }
}

/// The figures in libFuzzer's own account.
fn read_log(text: &str) -> Ran {
    let stat = |name: &str| {
        let start = format!("stat::{name}:");
        let found = text.lines().find_map(|line| line.strip_prefix(&start));
        found.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    let covered = |line: &str| -> Option<u64> {
        line.split_once(" cov: ")?.1.split_whitespace().next()?.parse().ok()
    };
    // `#203 INITED cov: 1400 ft: ...`: what the corpus and the seeds reach.
    let before = text.lines().find(|line| line.contains("INITED")).and_then(covered);
    let after = text.lines().filter_map(covered).next_back().unwrap_or(0);
    Ran {
        executions: stat("number_of_executed_units"),
        per_second: stat("average_exec_per_sec"),
        coverage: after,
        new: after - before.unwrap_or(after).min(after),
        slowest_seconds: stat("slowest_unit_time_sec"),
        memory_mb: stat("peak_rss_mb"),
        find: None,
    }
}

impl Ran {
    fn row(&self, name: &str) -> String {
        let Self { executions, per_second, coverage, new, slowest_seconds, memory_mb, find } = self;
        let broken = find.as_ref().map_or("-", |find| find.what.as_str());
        format!(
            "{name:<12} {executions:>12} {per_second:>8} {coverage:>9} {new:>9} \
             {slowest_seconds:>6} s {memory_mb:>5} MB  {broken}"
        )
    }
}

impl Find {
    fn told(&self, target: &str) -> String {
        let Self { what, input, log } = self;
        let Some(input) = input else {
            return format!("{target}: {what}; see {}", log.display());
        };
        let input = input.display();
        format!(
            "{target}: {what}\n  again:  cargo xtask fuzz {target} --input {input}\n  \
             keep:   cp {input} fuzz/regressions/{target}/\n  log:    {}",
            log.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_run_are_read() {
        let log = "#3\tINITED cov: 100 ft: 200 corp: 3/9b exec/s: 0 rss: 30Mb\n\
                   #9\tNEW    cov: 140 ft: 250 corp: 4/9b lim: 4 exec/s: 0 rss: 30Mb L: 1/4 MS: 1\n\
                   stat::number_of_executed_units: 12345\nstat::average_exec_per_sec:     678\n\
                   stat::slowest_unit_time_sec:    1\nstat::peak_rss_mb:              90\n";
        let ran = read_log(log);
        assert_eq!((ran.executions, ran.per_second), (12_345, 678));
        assert_eq!((ran.coverage, ran.new), (140, 40));
        assert_eq!((ran.slowest_seconds, ran.memory_mb), (1, 90));
    }

    #[test]
    fn a_wrong_request_is_told() {
        let all = ["words".to_owned(), "wire".to_owned()];
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Request::parse(&words, &all)
        };
        assert_eq!(parse(&[]).map(|request| request.targets), Ok(all.to_vec()));
        assert_eq!(parse(&["--seconds", "5", "wire"]).map(|r| r.seconds), Ok(Some(5)));
        for wrong in [&["nothing"][..], &["--seconds"], &["--seconds", "0"], &["--input"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
