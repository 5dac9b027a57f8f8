//! Misuse of the command line, told in our words.
//!
//! What it is for: one line that says what is wrong, and hints that say what to type: the nearest name and an example.
//! What it owns: the reshaping of clap's errors, and the words people guess. What it never does: print a page of usage
//! where one line is enough.

use std::error::Error as _;
use std::ffi::OsString;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use meanwhile_api::{ApiError, ErrorCode};

use crate::cli::{Answer, VERBS, Verb};
use crate::show::{sanitise, words};

/// Words people try, and the command that does it here.
const GUESSES: [(&str, &str); 34] = [
    ("abort", "cancel"),
    ("add", "run"),
    ("attach", "follow"),
    ("bg", "run"),
    ("cat", "output"),
    ("delete", "clean"),
    ("done", "complete"),
    ("enqueue", "run"),
    ("exec", "run"),
    ("fg", "follow"),
    ("gc", "clean"),
    ("get", "status"),
    ("history", "list"),
    ("info", "status"),
    ("inspect", "status"),
    ("jobs", "list"),
    ("join", "wait"),
    ("launch", "run"),
    ("log", "output"),
    ("new", "run"),
    ("queue", "lanes"),
    ("read", "output"),
    ("remove", "clean"),
    ("rerun", "retry"),
    ("restart", "retry"),
    ("result", "output"),
    ("rm", "clean"),
    ("set", "config"),
    ("show", "status"),
    ("start", "run"),
    ("submit", "run"),
    ("tasks", "list"),
    ("terminate", "cancel"),
    ("top", "list"),
];

/// Options people try, by command, and what does it here.
const GUESSED_OPTIONS: [(&str, &str, &str); 15] = [
    ("cancel", "-9", "what does not end by itself is killed after its grace period"),
    ("clean", "--all", "to delete all finished tasks: meanwhile clean --older-than 0"),
    ("list", "--all", "finished tasks are shown already; of all sessions: --any-session"),
    ("list", "-a", "finished tasks are shown already; of all sessions: --any-session"),
    ("list", "--failed", "meanwhile list --state failed"),
    ("list", "--running", "meanwhile list --state running"),
    ("list", "running", "meanwhile list --state running"),
    ("output", "--last", "the last lines: --tail N"),
    ("output", "--lines", "the last lines: --tail N, the first: --head N"),
    ("run", "--background", "every task runs in the background; to wait for it: --wait"),
    ("run", "-d", "every task runs in the background; to wait for it: --wait"),
    ("run", "-f", "to see its output: --follow"),
    ("run", "-n", "to name it: --name NAME"),
    ("run", "-w", "to wait for it: --wait"),
    ("wait", "--all", "without ids it waits for all: meanwhile wait"),
];

/// So many words of a mistaken line are repeated in a hint.
const WORDS_MAX: usize = 12;

/// The end of a help text: lines one may type.
pub(crate) fn examples(lines: &[&str]) -> String {
    let mut text = String::from(if lines.len() == 1 { "Example:" } else { "Examples:" });
    for line in lines {
        text.push_str("\n  ");
        text.push_str(line);
    }
    text
}

/// Answers what clap could not: help is no failure, all else is.
pub(crate) fn answer(error: &clap::Error, arguments: &[OsString]) -> Answer {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render().to_string();
            std::io::stdout().lock().write_all(text.as_bytes())?;
            Ok(0)
        }
        _ => Err(reshape(error, arguments).into()),
    }
}

/// The error in our words.
fn reshape(error: &clap::Error, arguments: &[OsString]) -> ApiError {
    let verb = chosen_verb(arguments);
    let invalid = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            return unknown_command(&word, verb, arguments);
        }
        ErrorKind::UnknownArgument => return unknown_option(error, &invalid, verb, arguments),
        _ => {}
    }
    let message = match error.kind() {
        ErrorKind::InvalidValue if value.is_empty() => format!("`{invalid}` needs a value"),
        ErrorKind::InvalidValue => {
            let choice = text(error, ContextKind::ValidValue).unwrap_or_default();
            format!("`{value}` is no value of `{invalid}` (one of: {choice})")
        }
        ErrorKind::ValueValidation => {
            let why = error.source().map(|why| plain_range(&why.to_string()));
            let why = why.unwrap_or_else(|| format!("`{value}` cannot be used"));
            format!("bad value of `{invalid}`: {why}")
        }
        ErrorKind::NoEquals => format!("`{invalid}` needs `=` before its value"),
        ErrorKind::TooManyValues => format!("`{value}` is one value too many for `{invalid}`"),
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("`{invalid}` needs more values")
        }
        ErrorKind::ArgumentConflict => {
            match text(error, ContextKind::PriorArg).filter(|prior| *prior != invalid) {
                Some(prior) => format!("`{invalid}` cannot be used together with `{prior}`"),
                None => format!("`{invalid}` is given more than once"),
            }
        }
        ErrorKind::MissingRequiredArgument => match invalid.rsplit_once(", ") {
            Some((others, last)) => format!("{others} and {last} are missing"),
            None => format!("{invalid} is missing"),
        },
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let choice = verb.map(Verb::subcommands).unwrap_or_default();
            format!("a subcommand is missing (one of: {choice})")
        }
        ErrorKind::InvalidUtf8 => "an argument that must be text is not valid UTF-8".to_owned(),
        _ => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    with_example(ApiError::new(ErrorCode::Usage, message), verb, arguments)
}

/// clap's words about a number outside of a range, without its notation: `0 is not in 1..=9`.
fn plain_range(why: &str) -> String {
    let parts = why.split_once(" is not in ");
    let parts = parts.and_then(|(value, range)| Some((value, range.split_once("..=")?)));
    match parts {
        Some((value, (least, most))) if most == u32::MAX.to_string() => {
            format!("`{value}` is not {least} or more")
        }
        Some((value, (least, most))) => format!("`{value}` is not {least} to {most}"),
        None => why.to_owned(),
    }
}

fn unknown_command(word: &str, verb: Option<&'static Verb>, arguments: &[OsString]) -> ApiError {
    if let Some(verb) = verb {
        let choice = match verb.subcommands() {
            none if none.is_empty() => none,
            some => format!(" (one of: {some})"),
        };
        let message = format!("`meanwhile {}` has no subcommand `{word}`{choice}", verb.name);
        let error = ApiError::new(ErrorCode::Usage, message);
        return with_example(error, Some(verb), arguments);
    }
    let error = ApiError::new(ErrorCode::Usage, format!("unknown command `{word}`"));
    match nearest_command(word) {
        _ if word == "version" => error.hint("to see the version: meanwhile --version"),
        Some(verb) => {
            error.hint(format!("did you mean `{}`? for example: {}", verb.name, verb.examples[0]))
        }
        None => error.hint(format!("to run a program: meanwhile run -- {}", rest(word, arguments))),
    }
    .hint("all commands: meanwhile --help")
}

/// What was typed from this word on, as one might type it again.
fn rest(word: &str, arguments: &[OsString]) -> String {
    let typed = arguments.iter().skip_while(|argument| *argument != word);
    let words: Vec<String> =
        typed.take(WORDS_MAX).map(|word| words::quoted(&word.to_string_lossy())).collect();
    if words.is_empty() { "PROGRAM ARGUMENTS".to_owned() } else { words.join(" ") }
}

fn unknown_option(
    error: &clap::Error,
    option: &str,
    verb: Option<&'static Verb>,
    arguments: &[OsString],
) -> ApiError {
    if is_negative(option) {
        // What was typed is the value of the option before it, of which clap says no more than its first digit.
        let mut typed = arguments.iter().filter_map(|word| word.to_str());
        let typed = typed.rfind(|word| word.starts_with(option)).unwrap_or(option);
        let message = format!("`{typed}` looks like a negative value, and none was expected");
        return with_example(ApiError::new(ErrorCode::Usage, message), verb, arguments);
    }
    let what = if option.starts_with('-') { "unknown option" } else { "unexpected argument" };
    let place = verb.map(|verb| format!(" of `meanwhile {}`", verb.name)).unwrap_or_default();
    let mut reshaped = ApiError::new(ErrorCode::Usage, format!("{what} `{option}`{place}"));
    let guessed = |(name, guess, _): &&(&str, &str, &str)| {
        *guess == option && verb.is_some_and(|verb| verb.name == *name)
    };
    if let Some((.., advice)) = GUESSED_OPTIONS.iter().find(guessed) {
        reshaped = reshaped.hint(*advice);
    } else if let Some(near) = text(error, ContextKind::SuggestedArg) {
        reshaped = reshaped.hint(format!("did you mean `{near}`?"));
    }
    with_example(reshaped, verb, arguments)
}

/// No option begins with a digit.
fn is_negative(option: &str) -> bool {
    option.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn with_example(error: ApiError, verb: Option<&'static Verb>, arguments: &[OsString]) -> ApiError {
    match verb {
        Some(verb) => error
            .hint(format!("for example: {}", nearest_example(verb, arguments)))
            .hint(format!("all options: meanwhile {} --help", verb.name)),
        None => error.hint("all commands: meanwhile --help"),
    }
}

/// The example that shares most words with what was typed.
fn nearest_example(verb: &'static Verb, arguments: &[OsString]) -> &'static str {
    let shared = |example: &&&str| {
        let words = example.split(' ').skip(1);
        words.zip(arguments.iter().skip(1)).take_while(|(one, other)| *other == one).count()
    };
    // Of several equal ones `max_by_key` takes the last; the first is the usual one.
    verb.examples.iter().rev().max_by_key(shared).expect("every command has an example")
}

/// The command that the arguments name: the first word that is neither a global option nor its value.
fn chosen_verb(arguments: &[OsString]) -> Option<&'static Verb> {
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next().and_then(|word| word.to_str()) {
        match word {
            "--home" | "--session" => drop(words.next()),
            "help" => {}
            word if word.starts_with('-') => {}
            word => return by_name(word),
        }
    }
    None
}

fn by_name(word: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == word || verb.aliases.contains(&word))
}

/// The command that somebody who typed this probably wants.
fn nearest_command(word: &str) -> Option<&'static Verb> {
    if let Some((_, name)) = GUESSES.iter().find(|(guess, _)| *guess == word) {
        return by_name(name);
    }
    let names = VERBS.iter().filter(|verb| !verb.hidden).flat_map(|verb| {
        std::iter::once(&verb.name).chain(verb.aliases).map(move |name| (*name, verb))
    });
    let near = names
        .map(|(name, verb)| {
            let distance = distance(word, name);
            let begins = word.len() >= 2 && name.starts_with(word);
            (if begins { 1 } else { distance }, name.len(), verb)
        })
        .min_by_key(|(distance, length, _)| (*distance, *length));
    // Two typing mistakes in a short word make it another word.
    near.filter(|(distance, length, _)| *distance <= (length / 3).clamp(1, 2)).map(|near| near.2)
}

/// How many letters to insert, delete, change or swap with their neighbour to turn one word into the other.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

/// A fact of a clap error as text.
fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    let text = match error.get(kind)? {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        ContextValue::StyledStr(text) => text.to_string(),
        ContextValue::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(sanitise::line(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn nearest(word: &str) -> Option<&'static str> {
        nearest_command(word).map(|verb| verb.name)
    }

    #[test]
    fn a_mistyped_command_finds_the_right_one() {
        for (word, name) in [
            ("statsu", "status"),
            ("lsit", "list"),
            ("rnu", "run"),
            ("out", "output"),
            ("canel", "cancel"),
            ("deamon", "daemon"),
            ("confg", "config"),
            ("log", "output"),
            ("rm", "clean"),
            ("start", "run"),
            ("dokter", "doctor"),
        ] {
            assert_eq!(nearest(word), Some(name), "{word}");
        }
        for word in ["make", "cargo", "x", "ls -la", ""] {
            assert_eq!(nearest(word), None, "{word}");
        }
    }

    #[test]
    fn every_guess_names_a_command_and_none_hides_one() {
        for (guess, name) in GUESSES {
            assert!(by_name(name).is_some(), "{name}");
            assert!(by_name(guess).is_none(), "{guess}");
        }
    }

    /// The error of a misuse, by clap or by the command before it sends anything.
    fn misuse(words: &[&str]) -> ApiError {
        let words = std::iter::once(&"meanwhile").chain(words);
        let arguments: Vec<OsString> = words.map(OsString::from).collect();
        match crate::cli::dispatch_for_tests(arguments) {
            Err(Failure::Error { error, .. }) => error,
            other => panic!("{other:?}"),
        }
    }

    fn check(words: &[&str], expected: &str) {
        let error = misuse(words);
        assert_eq!(error.exit.code(), 2, "{words:?}: {error}");
        assert!(error.message.contains(expected), "{words:?}: {}", error.message);
        assert!(!error.message.contains('\n'), "{words:?}: {}", error.message);
        assert!(!error.hint.is_empty(), "{words:?}: {error:?}");
    }

    #[test]
    fn options_people_guess_are_answered_and_hide_none() {
        assert_eq!(misuse(&["run", "-w", "true"]).hint[0], "to wait for it: --wait");
        for (name, option, _) in GUESSED_OPTIONS {
            check(&[name, option, "abcd"], option);
        }
    }

    #[test]
    fn ranges_are_told_in_words() {
        check(&["list", "-n", "0"], "`0` is not 1 or more");
        check(&["run", "--nice", "20", "--", "x"], "`20` is not -20 to 19");
        check(&["run", "--ready-port", "0", "--", "x"], "`0` is not 1 to 65535");
    }

    #[test]
    fn only_the_first_word_names_the_command() {
        check(&["add", "ls"], "unknown command `add`");
        check(&["--session", "list", "frob", "run"], "unknown command `frob`");
        let hints = misuse(&["cargo", "build", "--name", "a b"]).hint;
        assert_eq!(hints[0], "to run a program: meanwhile run -- cargo build --name 'a b'");
        assert_eq!(misuse(&["version"]).hint[0], "to see the version: meanwhile --version");
        check(&["daemon"], "(one of: run, start, stop, status, install)");
        check(&["extend"], "<ID> and <D> are missing");
    }

    #[test]
    fn an_unknown_command_or_option_is_answered_with_the_nearest_one() {
        check(&["statsu"], "unknown command `statsu`");
        assert!(misuse(&["statsu"]).hint[0].contains("did you mean `status`?"));
        check(&["frobnicate"], "unknown command `frobnicate`");
        check(&["daemon", "halt"], "`meanwhile daemon` has no subcommand `halt`");
        check(&["daemon"], "subcommand is missing");
        check(&["run", "--tiemout", "5m", "--", "x"], "unknown option `--tiemout`");
        let hints = misuse(&["run", "--tiemout", "5m", "--", "x"]).hint;
        assert!(hints.iter().any(|hint| hint.contains("--timeout")), "{hints:?}");
        check(&["list", "extra"], "unexpected argument `extra`");
        check(&["--frob"], "unknown option `--frob`");
    }

    #[test]
    fn every_bad_value_is_a_usage_error_that_names_it() {
        let table: &[(&[&str], &str)] = &[
            (&["run"], "the task has no command"),
            (&["run", "--"], "the task has no command"),
            (&["run", "--", ""], "the program has no name"),
            (&["run", "--shell", ""], "the shell line is empty"),
            (&["run", "--shell", "  "], "the shell line is empty"),
            (&["run", "--shell", "x", "--", "y"], "cannot be used together"),
            (&["run", "--timeout", "5", "--", "x"], "`5` is not a duration"),
            (&["run", "--timeout", "soon", "--", "x"], "`soon` is not a duration"),
            (&["run", "--timeout", "", "--", "x"], "is not a duration"),
            (&["run", "--timeout=-5s", "--", "x"], "`-5s` is not a duration"),
            (&["run", "--timeout", "99999d", "--", "x"], "longer than 10 years"),
            (&["run", "--timeout"], "`--timeout <D>` needs a value"),
            (&["run", "--idle-timeout", "1x", "--", "x"], "`1x` is not a duration"),
            (&["run", "--kill-after", "x", "--", "x"], "`x` is not a duration"),
            (&["run", "--delay", "1.5h", "--", "x"], "`1.5h` is not a duration"),
            (&["run", "--backoff", "x", "--", "x"], "`x` is not a duration"),
            (&["run", "--max-log", "64QiB", "--", "x"], "`64QiB` is not a size"),
            (&["run", "--max-log", "0", "--", "x"], "leaves no room"),
            (&["run", "--memory", "0", "--", "x"], "leaves no room"),
            (&["run", "--memory=-1", "--", "x"], "is not a size"),
            (&["run", "--memory", "99999999999TiB", "--", "x"], "too large"),
            (&["run", "--cpus", "0", "--", "x"], "above zero"),
            (&["run", "--cpus", "-1", "--", "x"], "above zero"),
            (&["run", "--cpus", "many", "--", "x"], "above zero"),
            (&["run", "--pids", "0", "--", "x"], "bad value of `--pids"),
            (&["run", "--pids", "-3", "--", "x"], "bad value of `--pids"),
            (&["run", "--nice", "20", "--", "x"], "bad value of `--nice"),
            (&["run", "--retries", "-1", "--", "x"], "-1"),
            (&["run", "--retries", "x", "--", "x"], "bad value of `--retries"),
            (&["run", "--retry-on", "1,x", "--", "x"], "`x` is not an exit code"),
            (&["run", "--retry-on", "256", "--", "x"], "`256` is not an exit code"),
            (&["run", "--priority", "high", "--", "x"], "bad value of `--priority"),
            (&["run", "--ready", "(", "--", "x"], "not a regular expression"),
            (&["run", "--notify-on", "[", "--", "x"], "not a regular expression"),
            (&["run", "--ready-port", "0", "--", "x"], "bad value of `--ready-port"),
            (&["run", "--ready-port", "65536", "--", "x"], "bad value of `--ready-port"),
            (&["run", "--artifact", "a[", "--", "x"], "not a glob"),
            (&["run", "--label", "nothing", "--", "x"], "`nothing` is not a label"),
            (&["run", "--label", "=v", "--", "x"], "is not a label"),
            (&["run", "--env", "NOVALUE", "--", "x"], "is not NAME=VALUE"),
            (&["run", "--env", "=v", "--", "x"], "is not NAME=VALUE"),
            (&["run", "--env-profile", "x", "--", "x"], "`x` is no value of"),
            (&["run", "--after", "abcd:maybe", "--", "x"], "is not a dependency"),
            (&["run", "--after", ":ok", "--", "x"], "is not a dependency"),
            (&["run", "--name", "", "--", "x"], "it is empty"),
            (&["run", "--name", "a\nb", "--", "x"], "control character"),
            (&["run", "--cwd", "", "--", "x"], "it is empty"),
            (&["run", "--wait", "--follow", "--", "x"], "cannot be used together"),
            (&["run", "--from", "/nonexistent/batch"], "cannot be read"),
            (&["run", "--from", "-", "--", "x"], "cannot be used together"),
            (&["run", "--from", "f", "--name", "n"], "`--name` is for one task"),
            (&["--home", "", "list"], "it is empty"),
            (&["list", "--session", ""], "it is empty"),
            (&["list", "--state", "done"], "`done` is no state"),
            (&["list", "--limit", "0"], "bad value of `--limit"),
            (&["list", "--since", "yesterday"], "neither a duration"),
            (&["list", "--label", "a b"], "`a b` is no key of a label"),
            (&["status", ""], "is no id"),
            (&["output"], "<ID> is missing"),
            (&["output", "abcd", "--grep", "("], "not a regular expression"),
            (&["output", "abcd", "--tail", "-1"], "-1"),
            (&["output", "abcd", "--tail", "x"], "bad value of `--tail"),
            (&["output", "abcd", "--head", "1", "--tail", "1"], "cannot be used together"),
            (&["output", "abcd", "--since", "x"], "bad value of `--since"),
            (&["output", "abcd", "--max-bytes", "1k"], "bad value of `--max-bytes"),
            (&["output", "abcd", "--stream", "stdlog"], "`stdlog` is no value of"),
            (&["wait", "abcd", "--timeout", "x"], "`x` is not a duration"),
            (&["wait", "abcd", "--until", "later"], "`later` is no value of"),
            (&["wait", "abcd", "--group", "g"], "cannot be used together"),
            (&["cancel"], "nothing to cancel is named"),
            (&["cancel", "abcd", "--all"], "cannot be used together"),
            (&["extend", "abcd"], "<D> is missing"),
            (&["extend", "abcd", "0"], "no time at all"),
            (&["extend", "abcd", "-5m"], "`-5m` is not a duration"),
            (&["clean", "--older-than", "old"], "`old` is not a duration"),
            (&["config", "set", "lanes.default.limit"], "is missing"),
            (&["completions", "tcsh-ng"], "`tcsh-ng` is no value of"),
            (&["follow"], "<ID> is missing"),
            (&["retry"], "<ID> is missing"),
        ];
        for (words, expected) in table {
            check(words, expected);
        }
    }

    #[test]
    fn what_follows_the_program_belongs_to_it() {
        for words in [
            &["run", "--", "make", "--json", "-j"][..],
            &["run", "make", "--timeout", "soon", "-j"],
            &["run", "--name", "n", "make", "--", "x"],
        ] {
            let arguments = std::iter::once(&"meanwhile").chain(words).map(OsString::from);
            let matches = crate::cli::parse(&arguments.collect::<Vec<_>>()).expect("parses");
            let (_, run) = matches.subcommand().expect("has one");
            let command: Vec<&OsString> = run.get_many("command").expect("has one").collect();
            assert_eq!(command[0], "make", "{words:?}");
            assert_eq!(command.len(), if words[1] == "make" { 4 } else { 3 }, "{words:?}");
        }
    }
}
