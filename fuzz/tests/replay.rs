//! Every seed, and every input that ever broke something, through its target again.
//!
//! A find of the fuzzer is put into `regressions/<target>/` and stays: from then on this test keeps
//! what was repaired.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that names its inputs")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meanwhile_fuzz::{TARGETS, run};

/// No input may take longer, in an unoptimised program on a busy machine. What is quadratic takes
/// minutes.
const PATIENCE: Duration = Duration::from_secs(60);

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target);
    let Ok(entries) = fs::read_dir(&directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn replay(target: &str) {
    let seeds = inputs("seeds", target);
    assert!(!seeds.is_empty(), "fuzz/seeds/{target} is empty");
    for path in seeds.into_iter().chain(inputs("regressions", target)) {
        // Shown with a failure, also with one that ends the process.
        print!("{}", path.display());
        std::io::stdout().flush().unwrap();
        let begun = Instant::now();
        run(target, &fs::read(&path).unwrap());
        let took = begun.elapsed();
        println!(" {took:.2?}");
        assert!(took < PATIENCE, "{} took {took:?}", path.display());
    }
}

macro_rules! replays {
    ($($target:ident),* $(,)?) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            let replayed = [$(stringify!($target)),*];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, replayed);
        }
    };
}

replays!(
    words, arguments, requests, http, mcp, settings, wire, owner, log, sanitiser, pager, records,
    database,
);
