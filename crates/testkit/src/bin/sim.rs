//! The simulation as a program: many seeds with their figures, or one with its story.
//!
//! Owns what is printed and the file of figures. Started by `cargo xtask sim`; see `meanwhile_testkit::sim`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool reports here")]

use std::process::ExitCode;
use std::time::Instant;

use meanwhile_testkit::sim::{self, Backend, Campaign, Conditions, Failed, Figures, Run, Telling};

const USAGE: &str = "\
usage: sim [--seeds N] [--sqlite-seeds N] [--first SEED] [--threads N] [--json FILE]
       sim --seed SEED [--story] [--sqlite]

  --seeds N          run so many seeds over the store in memory (default 10000)
  --sqlite-seeds N   and so many over the real SQLite store (default 1 in 100 of them)
  --first SEED       begin with this one (default 0)
  --threads N        default: as many as there are processors
  --json FILE        write the figures there
  --seed SEED        run one seed; when it fails, its script is shrunk and told
  --story            tell it also when it passes
  --sqlite           run it over the real SQLite store
";

/// What was asked for.
struct Request {
    seeds: u64,
    sqlite_seeds: Option<u64>,
    first: u64,
    threads: usize,
    json: Option<String>,
    seed: Option<u64>,
    story: bool,
    backend: Backend,
}

fn main() -> ExitCode {
    let request = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(message) => {
            eprint!("sim: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    sim::catch_panics();
    let passed = match request.seed {
        Some(seed) => one(seed, &request),
        None => many(&request),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut request = Request {
        seeds: 10_000,
        sqlite_seeds: None,
        first: 0,
        threads,
        json: None,
        seed: None,
        story: false,
        backend: Backend::Memory,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        let number = |text: String| {
            text.parse::<u64>().map_err(|_| format!("{argument} wants a number, not `{text}`"))
        };
        match argument.as_str() {
            "--seeds" => request.seeds = number(value()?)?,
            "--sqlite-seeds" => request.sqlite_seeds = Some(number(value()?)?),
            "--first" => request.first = number(value()?)?,
            "--threads" => request.threads = usize::try_from(number(value()?)?).unwrap_or(1),
            "--json" => request.json = Some(value()?),
            "--seed" => request.seed = Some(number(value()?)?),
            "--story" => request.story = true,
            "--sqlite" => request.backend = Backend::Sqlite,
            "--help" | "-h" => return Err("about the simulation".into()),
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    Ok(request)
}

/// One seed, twice: it must be the same run to the bit.
fn one(seed: u64, request: &Request) -> bool {
    let telling = if request.story { Telling::Everything } else { Telling::Nothing };
    let conditions = Conditions { telling, ..Conditions::plain(request.backend) };
    let run = sim::play(seed, &sim::script(seed), conditions);
    let again = sim::run(seed, request.backend);
    for line in &run.story {
        println!("{line}");
    }
    figures(&run.figures);
    println!("trace {:016x}", run.trace);
    if again.trace != run.trace {
        println!("BROKEN: the same seed gave another run, {:016x}", again.trace);
        return false;
    }
    if run.violation.is_some() {
        explain(seed, request.backend);
        return false;
    }
    println!("seed {seed}: every promise was kept");
    true
}

fn many(request: &Request) -> bool {
    let began = Instant::now();
    let sqlite_seeds = request.sqlite_seeds.unwrap_or(request.seeds / 100);
    let memory = sim::campaign(request.first, request.seeds, Backend::Memory, request.threads);
    let sqlite = sim::campaign(request.first, sqlite_seeds, Backend::Sqlite, request.threads);
    let mut sum = memory.figures;
    sum.add(&sqlite.figures);
    let seconds = began.elapsed().as_secs_f64();
    figures(&sum);
    let hours = sum.simulated_ms / 3_600_000;
    let violations = memory.violations + sqlite.violations;
    println!(
        "\n{} seeds ({} of them over SQLite), {hours} simulated hours, {} transitions checked, \
         {violations} violations, {seconds:.1} s, trace {:016x} {:016x}",
        memory.seeds + sqlite.seeds,
        sqlite.seeds,
        sum.transitions,
        memory.trace,
        sqlite.trace,
    );
    let written = request.json.as_ref().map(|path| {
        std::fs::write(path, json(&memory, &sqlite, &sum, violations, seconds))
            .map_err(|error| eprintln!("sim: write {path}: {error}"))
    });
    let failed: Vec<&Failed> = memory.failed.iter().chain(&sqlite.failed).collect();
    for Failed { seed, violation, .. } in &failed {
        println!("seed {seed}: BROKEN: {}: {}", violation.promise, violation.what);
    }
    if let Some(Failed { seed, backend, .. }) = failed.first() {
        explain(*seed, *backend);
    }
    violations == 0 && !matches!(written, Some(Err(())))
}

/// Shrinks a failing seed and tells its story.
fn explain(seed: u64, backend: Backend) {
    let script = sim::script(seed);
    let shrunk = sim::shrink(seed, &script, Conditions::plain(backend));
    let Run { violation, story, .. } = &shrunk.run;
    println!("\nseed {seed}, shrunk from {} steps to {}:", script.len(), shrunk.steps.len());
    for line in story {
        println!("{line}");
    }
    if let Some(violation) = violation {
        println!("BROKEN: {}: {}", violation.promise, violation.what);
    }
    let of = if backend == Backend::Sqlite { " --sqlite" } else { "" };
    println!("again: cargo xtask sim --seed {seed}{of}");
}

fn figures(figures: &Figures) {
    for (name, number) in figures.named() {
        println!("{:<24} {number}", name.replace('_', " "));
    }
}

fn json(
    memory: &Campaign,
    sqlite: &Campaign,
    sum: &Figures,
    violations: u64,
    seconds: f64,
) -> String {
    let named: serde_json::Map<String, serde_json::Value> =
        sum.named().into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect();
    let value = serde_json::json!({
        "seeds": memory.seeds + sqlite.seeds,
        "seeds_memory": memory.seeds,
        "seeds_sqlite": sqlite.seeds,
        "simulated_hours": sum.simulated_ms / 3_600_000,
        "violations": violations,
        "real_seconds": seconds,
        "trace_memory": format!("{:016x}", memory.trace),
        "trace_sqlite": format!("{:016x}", sqlite.trace),
        "figures": named,
    });
    format!("{value:#}\n")
}
