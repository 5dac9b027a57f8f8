//! The command line as a whole: global options, the table of commands, and the way from arguments to an exit code.
//!
//! What it is for: one place that knows every command. What it owns: the table; only the chosen command's options are
//! built, because building all of them is most of the time a short command takes. What it never does: know what a
//! command does.

use std::ffi::OsString;
use std::io;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches as _};

use crate::command::{self, arguments as check};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::screen::{Screen, Wishes};
use crate::usage;

/// What a command ends with: an exit code of its own, or a failure.
pub(crate) type Answer = Result<u8, Failure>;

/// A command: options that clap fills in, and what to do with them.
pub(crate) trait Action: Args {
    /// Does it.
    fn run(self, context: &Context) -> Answer;
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Globals {
    /// Answer in JSON: one document, or one per line for streams
    #[arg(long, global = true, display_order = 900)]
    pub(crate) json: bool,

    /// Keep everything below this directory [default: MEANWHILE_HOME, else XDG directories]
    #[arg(long, global = true, value_name = "DIR", display_order = 901, value_hint = clap::ValueHint::DirPath,
        value_parser = OsStringValueParser::new().try_map(check::bytes))]
    pub(crate) home: Option<OsString>,

    /// Act as this session [default: MEANWHILE_SESSION, else the agent that calls, else `user`]
    #[arg(long, global = true, value_name = "S", display_order = 902, value_parser = check::name)]
    pub(crate) session: Option<String>,
}

/// A row of the table of commands.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    /// Not for people; left out of help and completions.
    pub(crate) hidden: bool,
    /// What it does, as in "failed to launch the task".
    pub(crate) doing: &'static str,
    /// Lines one may type.
    pub(crate) examples: &'static [&'static str],
    define: fn(clap::Command) -> clap::Command,
    start: fn(&ArgMatches, &Context) -> Result<Answer, clap::Error>,
}

const fn verb<A: Action>(
    name: &'static str,
    doing: &'static str,
    examples: &'static [&'static str],
) -> Verb {
    Verb {
        name,
        aliases: &[],
        hidden: false,
        doing,
        examples,
        define: A::augment_args,
        start: |matches, context| Ok(A::from_arg_matches(matches)?.run(context)),
    }
}

impl Verb {
    const fn aliases(self, aliases: &'static [&'static str]) -> Verb {
        Verb { aliases, ..self }
    }

    const fn hidden(self) -> Verb {
        Verb { hidden: true, ..self }
    }

    /// The names of its subcommands.
    pub(crate) fn subcommands(&'static self) -> String {
        let command = self.command(false);
        let names = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        names.map(clap::Command::get_name).collect::<Vec<_>>().join(", ")
    }

    /// Its definition; a lazy one knows its options only once it is chosen.
    fn command(&'static self, lazy: bool) -> clap::Command {
        let command = clap::Command::new(self.name)
            .visible_aliases(self.aliases.iter().copied())
            .hide(self.hidden)
            .after_help(usage::examples(self.examples));
        if lazy { command.defer(self.define) } else { (self.define)(command) }
    }
}

/// All commands, in the order of `--help`.
pub(crate) static VERBS: [Verb; 28] = [
    verb::<command::run::Run>(
        "run",
        "launch the task",
        &["meanwhile run -- cargo test", "meanwhile run --shell 'make 2>&1 | tee log'"],
    ),
    verb::<command::list::List>(
        "list",
        "list tasks",
        &["meanwhile list --state running", "meanwhile list --summary"],
    )
    .aliases(&["ls", "ps"]),
    verb::<command::status::Status>("status", "show the task", &["meanwhile status ID"]),
    verb::<command::output::Output>(
        "output",
        "read the output",
        &["meanwhile output ID --tail 20", "meanwhile output ID --follow"],
    )
    .aliases(&["logs", "tail"]),
    verb::<command::follow::Follow>("follow", "follow the task", &["meanwhile follow ID"]),
    verb::<command::wait::Wait>(
        "wait",
        "wait",
        &["meanwhile wait ID", "meanwhile wait ID ID --any --timeout 10m"],
    ),
    verb::<command::inbox::Inbox>(
        "inbox",
        "read the inbox",
        &["meanwhile inbox", "meanwhile inbox --wait --timeout 10m"],
    ),
    verb::<command::cancel::Cancel>(
        "cancel",
        "cancel",
        &["meanwhile cancel ID", "meanwhile cancel --all"],
    )
    .aliases(&["kill", "stop"]),
    verb::<command::retry::Retry>("retry", "retry the task", &["meanwhile retry ID"]),
    verb::<command::complete::Complete>(
        "complete",
        "complete the task",
        &["meanwhile complete ID 'good enough'", "meanwhile complete ID --failed 'wrong branch'"],
    ),
    verb::<command::extend::Extend>(
        "extend",
        "give the task more time",
        &["meanwhile extend ID 10m"],
    ),
    verb::<command::lanes::Lanes>("lanes", "show lanes", &["meanwhile lanes"]),
    verb::<command::prune::Prune>("prune", "prune", &["meanwhile prune"]),
    verb::<command::clean::Clean>("clean", "clean", &["meanwhile clean --older-than 7d"]),
    verb::<command::daemon::Daemon>(
        "daemon",
        "manage the daemon",
        &["meanwhile daemon status", "meanwhile daemon stop"],
    ),
    verb::<command::doctor::Doctor>("doctor", "check", &["meanwhile doctor"]),
    verb::<command::config::Config>(
        "config",
        "configure",
        &["meanwhile config get", "meanwhile config set lanes.commands.limit 4"],
    ),
    verb::<command::setup::Setup>(
        "setup",
        "set up",
        &["meanwhile setup", "meanwhile setup claude codex --yes"],
    ),
    verb::<command::notify::Notify>(
        "notify",
        "look at the routes",
        &["meanwhile notify", "meanwhile notify test"],
    ),
    verb::<command::install::Install>(
        "install",
        "install",
        &["meanwhile install claude --dry-run", "meanwhile install --check"],
    ),
    verb::<command::install::Uninstall>("uninstall", "uninstall", &["meanwhile uninstall claude"]),
    verb::<command::mcp::Mcp>(
        "mcp",
        "serve MCP",
        &["meanwhile mcp", "meanwhile mcp --http 127.0.0.1:7778"],
    ),
    verb::<command::hook::Hook>(
        "hook",
        "answer the agent",
        &["meanwhile hook claude Stop < EVENT.json"],
    ),
    verb::<command::statusline::Statusline>(
        "statusline",
        "say what runs",
        &["meanwhile statusline < STATUS.json"],
    ),
    verb::<command::audit::Audit>(
        "audit",
        "read the event log",
        &["meanwhile audit --follow", "meanwhile audit --asked --task ID"],
    ),
    verb::<command::completions::Completions>(
        "completions",
        "write completions",
        &["meanwhile completions bash > ~/.local/share/bash-completion/completions/meanwhile"],
    ),
    verb::<command::front::Front>("overview", "show what is going on", &["meanwhile"]).hidden(),
    verb::<command::generate::Generate>("__gen", "generate", &["meanwhile __gen cli"]).hidden(),
];

/// The whole command line. A lazy one is for parsing; help, completions and the reference need every option.
pub(crate) fn definition(lazy: bool) -> clap::Command {
    bare_root().subcommands(VERBS.iter().map(|verb| verb.command(lazy)))
}

/// The program itself, without its commands.
fn bare_root() -> clap::Command {
    let root = clap::Command::new("meanwhile")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs commands in the background that nothing can lose")
        .infer_long_args(false)
        .after_help(usage::examples(&[
            "id=$(meanwhile run -- cargo build)",
            "meanwhile wait $id && meanwhile output $id --tail 5",
        ]));
    // The options' own doc comment must not become the description of the program.
    let about = root.get_about().cloned();
    let root = Globals::augment_args(root).long_about(None);
    match about {
        Some(about) => root.about(about),
        None => root,
    }
}

/// The whole command line without what is not for people.
pub(crate) fn visible_definition() -> clap::Command {
    let hidden: Vec<&str> = VERBS.iter().filter(|verb| verb.hidden).map(|verb| verb.name).collect();
    let all = definition(false);
    let kept: Vec<clap::Command> = all
        .get_subcommands()
        .filter(|command| !hidden.contains(&command.get_name()))
        .cloned()
        .collect();
    bare_root().subcommands(kept)
}

/// Parses the arguments and does what they say.
pub(crate) fn main(arguments: Vec<OsString>) -> std::process::ExitCode {
    let wishes = Wishes::of_this_process();
    let screens = (Screen::of(&io::stdout(), &wishes), Screen::of(&io::stderr(), &wishes));
    // Misuse must be told in JSON, too, although the arguments could not be parsed.
    let json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let code = match dispatch(arguments, screens) {
        Ok(code) => code,
        Err(failure) => {
            failure.report(json, &screens.1);
            failure.code()
        }
    };
    code.into()
}

fn dispatch(mut arguments: Vec<OsString>, screens: (Screen, Screen)) -> Answer {
    if arguments.get(1).is_some_and(|word| word == "help") {
        // Help is for people: there is no other form of it to be asked for.
        arguments.retain(|word| word != "--json");
    }
    let matches = match parse(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage::answer(&error, &arguments),
    };
    let invalid = |error: clap::Error| usage::answer(&error, &arguments);
    let globals = match globals(&matches) {
        Ok(globals) => globals,
        Err(error) => return invalid(error),
    };
    let (name, matches) = matches.subcommand().unwrap_or(("overview", &matches));
    let verb = VERBS.iter().find(|verb| verb.name == name);
    let verb = verb.expect("clap accepts only commands of the table");
    let context = Context::new(globals, screens);
    match (verb.start)(matches, &context) {
        Ok(answer) => answer.map_err(|failure| failure.doing(verb.doing)),
        Err(error) => invalid(error),
    }
}

/// The global options, wherever they stand.
fn globals(matches: &ArgMatches) -> Result<Globals, clap::Error> {
    let mut globals = Globals::from_arg_matches(matches)?;
    let mut inner = matches.subcommand();
    while let Some((_, matches)) = inner {
        globals.update_from_arg_matches(matches)?;
        inner = matches.subcommand();
    }
    Ok(globals)
}

/// The parsed arguments. Help is made from the full definition: a lazy one has not heard of what it would list.
pub(crate) fn parse(arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    definition(true).try_get_matches_from(arguments).or_else(|error| match error.kind() {
        ErrorKind::DisplayHelp => definition(false).try_get_matches_from(arguments),
        _ => Err(error),
    })
}

/// Runs a command line as far as it gets without a daemon.
#[cfg(test)]
pub(crate) fn dispatch_for_tests(mut arguments: Vec<OsString>) -> Answer {
    if !arguments.iter().any(|word| word == "--home") {
        arguments.insert(1, OsString::from("--home=/nonexistent/home"));
    }
    dispatch(arguments, (Screen::PLAIN, Screen::PLAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition(false).debug_assert();
    }

    #[test]
    fn global_options_work_before_and_after_every_command() {
        for words in [
            &["--json", "--home", "/h", "--session", "s", "list"][..],
            &["list", "--json", "--home=/h", "--session", "s"],
            &["--home", "/h", "daemon", "--json", "status", "--session=s"],
            &["daemon", "status", "--json", "--session", "s", "--home", "/h"],
        ] {
            let arguments: Vec<OsString> =
                std::iter::once(&"meanwhile").chain(words).map(OsString::from).collect();
            let matches = parse(&arguments).expect("parses");
            let globals = globals(&matches).expect("are there");
            assert!(globals.json, "{words:?}");
            assert_eq!(globals.home.as_deref(), Some("/h".as_ref()), "{words:?}");
            assert_eq!(globals.session.as_deref(), Some("s"), "{words:?}");
        }
    }

    #[test]
    fn every_command_has_help_and_an_example() {
        for verb in &VERBS {
            assert!(verb.command(false).get_about().is_some(), "{}", verb.name);
            assert!(!verb.examples.is_empty(), "{}", verb.name);
        }
    }
}
