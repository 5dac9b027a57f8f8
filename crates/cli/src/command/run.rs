//! `run`: launch a command.
//!
//! What it is for: the most used command, and the one that must return at once. What it owns: spooling standard input,
//! and printing the id alone. What it never does: hold its standard output open for anybody else.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueHint};
use meanwhile_api::client::Client;
use meanwhile_api::select::Select;
use meanwhile_api::submit::{Detail, Inherit, NewTask, Stdin, SubmitReply, SubmitRequest};
use meanwhile_api::task::Task;
use meanwhile_api::wait::WaitRequest;
use meanwhile_api::{ApiError, ErrorCode, ExitCode, OsText, TaskId, limits};

use crate::cli::{Action, Answer};
use crate::command::batch::{Batch, Defaults};
use crate::command::caller::Place;
use crate::command::options::TaskOptions;
use crate::command::wait::shown;
use crate::command::{arguments as check, caller, follow, verdict, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::{sanitise, words};

/// Launch a command in the background and print its id
///
/// The task runs with this directory, environment, umask and resource limits. It goes on when this program, its terminal
/// or the daemon end. With `--wait` or `--follow` the exit code is the task's: 128+N for signal N, 124 for a timeout, 127
/// or 126 when it cannot be started, 125 for a failure of meanwhile itself.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Run this line with /bin/sh instead of a program
    #[arg(long, value_name = "LINE", conflicts_with = "command")]
    shell: Option<OsString>,

    /// Its standard input: a file (opened when it starts; a FIFO works), or `-` for ours, up to 64 MiB
    #[arg(long, value_name = "FILE|-", value_hint = ValueHint::FilePath, value_parser = OsStringValueParser::new().try_map(check::bytes))]
    stdin: Option<OsString>,

    /// Launch many, all or none: one JSON object per line, with the names of these options as keys
    ///
    /// Options given beside it hold for every entry that does not say otherwise; labels and variables are joined.
    #[arg(long, value_name = "FILE|-", value_hint = ValueHint::FilePath, conflicts_with_all = ["command", "shell", "stdin", "follow"])]
    from: Option<OsString>,

    /// Wait for the end
    #[arg(long)]
    wait: bool,

    /// Print its output until the end
    #[arg(long, conflicts_with = "wait")]
    follow: bool,

    #[command(flatten)]
    task: TaskOptions,

    /// The program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

impl Action for Run {
    fn run(self, context: &Context) -> Answer {
        let watched = self.wait || self.follow;
        let answer = match self.from.clone() {
            Some(from) => self.run_batch(context, &from),
            None => self.run_one(context),
        };
        if watched { answer.map_err(Failure::of_ours) } else { answer }
    }
}

impl Run {
    fn run_one(self, context: &Context) -> Answer {
        let (wait, follow) = (self.wait, self.follow);
        let (task, spool) = self.task()?;
        let advice = advice(&task.command);
        let ours = if spool { Some(read_stdin()?) } else { None };
        let caller = caller::capture(Place::of(task.cwd.as_ref()))?;
        let client = context.client()?;
        context.block_on(async {
            let mut task = task;
            if let Some(bytes) = ours {
                task.stdin = Stdin::Spooled(client.upload_stdin(bytes.into()).await?.token);
            }
            let detail =
                if context.globals.json || wait || follow { Detail::Tasks } else { Detail::Ids };
            let request =
                SubmitRequest { tasks: vec![task], caller, inherit: Inherit::Caller, detail };
            let reply = match client.submit(&request).await {
                Ok(reply) => reply,
                Err(error) => return refused_start(with_advice(error, advice), wait || follow),
            };
            warn(context, &reply);
            let id = reply.accepted.first().map(|accepted| accepted.id.clone());
            let id = id.ok_or_else(|| broken_promise("no id in its answer"))?;
            if follow {
                if !context.globals.json {
                    context.note(&format!("task {id}"));
                }
                let all = follow::Beginning::First;
                return follow::to_the_end(context, &client, &id, all).await;
            }
            match reply.tasks.into_iter().next() {
                Some(task) if wait => wait_for_one(context, &client, task).await,
                Some(task) if context.globals.json => context.print_json(&task).map(|()| 0),
                _ => match context.print(&format!("{id}\n")) {
                    Ok(()) => {
                        context.tell_unread(&client);
                        Ok(0)
                    }
                    Err(failure) => {
                        // The task runs, and nobody would know its id.
                        context.note(&format!("task {id}"));
                        Err(failure)
                    }
                },
            }
        })
    }

    /// The task, and whether its standard input is ours.
    fn task(self) -> Result<(NewTask, bool), Failure> {
        let mut task = self.task.into_task();
        task.command = self.command.into_iter().map(OsText::from).collect();
        task.shell = self.shell.map(OsText::from);
        check::work(&task).map_err(|(why, example)| Failure::usage(why, example))?;
        let spool = self.stdin.as_deref() == Some(OsStr::new("-"));
        if let Some(file) = self.stdin.filter(|_| !spool) {
            // The task opens it later, from another directory.
            let path = std::path::absolute(&file).unwrap_or_else(|_| file.into());
            task.stdin = Stdin::File(OsText::from(path));
        }
        Ok((task, spool))
    }

    fn run_batch(self, context: &Context, from: &OsStr) -> Answer {
        let defaults = Defaults::of(self.task.into_task())?;
        let mut batch = Batch::read(from, &defaults)?;
        let absolute = |task: &NewTask| Place::of(task.cwd.as_ref()) == Place::Elsewhere;
        let elsewhere = batch.tasks.iter().all(absolute);
        let caller = caller::capture(if elsewhere { Place::Elsewhere } else { Place::Here })?;
        let client = context.client()?;
        context.block_on(async {
            let tasks = std::mem::take(&mut batch.tasks);
            let request =
                SubmitRequest { tasks, caller, inherit: Inherit::Caller, detail: Detail::Ids };
            let reply = client.submit(&request).await.map_err(|error| batch.name_line(error))?;
            warn(context, &reply);
            let mut lines = String::new();
            for accepted in &reply.accepted {
                if context.globals.json {
                    let text = serde_json::to_string(accepted);
                    lines.push_str(&text.expect("an id holds nothing that JSON cannot"));
                } else {
                    lines.push_str(accepted.id.as_str());
                }
                lines.push('\n');
            }
            context.print(&lines)?;
            if !self.wait {
                context.tell_unread(&client);
                return Ok(0);
            }
            let ids: Vec<TaskId> = reply.accepted.into_iter().map(|one| one.id).collect();
            let request = wait_request(ids);
            let shown = shown(context, &client, &request.select).await?;
            let reply = watch::wait(context, &client, &request, shown).await?;
            let failed = || reply.tasks.iter().filter(|task| !words::succeeded(task));
            failed().take(FAILURES_MAX).for_each(|task| tell_failure(context, task));
            let more = failed().count().saturating_sub(FAILURES_MAX);
            if more > 0 && !context.globals.json {
                context.note(&format!("… and {more} more failed"));
            }
            Ok(reply.exit().code())
        })
    }
}

/// Prints the id, waits, and ends like the task.
async fn wait_for_one(context: &Context, client: &Client, task: Task) -> Answer {
    if !context.globals.json {
        context.print(&format!("{}\n", task.id))?;
    }
    let request = wait_request(vec![task.id.clone()]);
    let reply = watch::wait(context, client, &request, vec![task]).await?;
    let task = reply.tasks.into_iter().next();
    let task = task.ok_or_else(|| broken_promise("no task in its answer"))?;
    if context.globals.json {
        context.print_json(&task)?;
    }
    // On a terminal its line has said it already.
    if !context.err.moves {
        tell_failure(context, &task);
    }
    Ok(verdict::code(&task))
}

/// Says why a task did not succeed, where an exit code alone would leave one guessing.
pub(crate) fn tell_failure(context: &Context, task: &Task) {
    if words::succeeded(task) || context.globals.json {
        return;
    }
    let detail = words::detail(task, context.now());
    context.note(&format!("{} {}: {detail}", task.id, words::state(task.state)));
}

/// So many failures of a batch are told one by one.
const FAILURES_MAX: usize = 10;

/// Words that mean something to a shell and are no programs.
const SHELL_WORDS: [&str; 14] = [
    "alias", "cd", "eval", "exec", "export", "for", "if", "set", "source", "ulimit", "umask",
    "unset", "until", "while",
];

/// What to type instead, where what was typed is for a shell.
fn advice(command: &[OsText]) -> Option<String> {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let program = words.first()?;
    let line = words.join(" ");
    if program.contains(char::is_whitespace) || SHELL_WORDS.contains(&program.as_ref()) {
        return Some(format!(
            "to run a shell line: meanwhile run --shell {}",
            words::quoted(&line)
        ));
    }
    if program.starts_with('-') {
        return Some(
            "options stand before `--`, the program and its arguments after it".to_owned(),
        );
    }
    let variable = program.split_once('=').map(|(name, _)| name)?;
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!variable.is_empty() && variable.chars().all(name))
        .then(|| format!("to set a variable: meanwhile run --env {} -- …", words::quoted(program)))
}

/// Puts our advice in the place of the daemon's, which has not seen the line.
fn with_advice(mut error: ApiError, advice: Option<String>) -> ApiError {
    if let (ErrorCode::CannotStart, Some(advice)) = (error.code, advice) {
        error.hint = vec![advice];
    }
    error
}

/// A start that was refused because it certainly fails ends like one that was tried.
fn refused_start(error: ApiError, watched: bool) -> Answer {
    if !watched {
        return Err(error.into());
    }
    let code = error.details.get("run_wait_exit").and_then(serde_json::Value::as_u64);
    let code = code.and_then(|code| u8::try_from(code).ok());
    match (error.code, code) {
        (ErrorCode::CannotStart, Some(code)) => {
            Err(Failure::from(error.exit(ExitCode::from_code(code))).of_the_task())
        }
        _ => Err(error.into()),
    }
}

fn wait_request(ids: Vec<TaskId>) -> WaitRequest {
    let select = Select::Ids(ids);
    WaitRequest { select, any: false, until: Default::default(), timeout: None }
}

fn warn(context: &Context, reply: &SubmitReply) {
    for known in reply.accepted.iter().filter(|accepted| accepted.existing) {
        context.note(&format!("{} has this idempotency key; nothing was launched", known.id));
    }
    for warning in &reply.warnings {
        context.note(&format!("warning: {}", sanitise::line(warning)));
    }
}

fn broken_promise(what: &str) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("the daemon broke a promise: {what}"))
}

/// All of our standard input, as far as may be spooled.
fn read_stdin() -> Result<Vec<u8>, Failure> {
    let most = limits::STDIN_BYTES_MAX;
    let mut bytes = Vec::new();
    // One byte more than is allowed tells that there is too much.
    let read = io::stdin().lock().take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| {
        Failure::usage(format!("standard input cannot be read: {error}"), "use --stdin FILE")
    })?;
    if bytes.len() > most {
        return Err(Failure::usage(
            format!("standard input is longer than {} MiB", most >> 20),
            "put it into a file: --stdin FILE",
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_a_shell_is_answered_with_the_option_for_it() {
        let check = |words: &[&str], expected: Option<&str>| {
            let words: Vec<OsText> = words.iter().map(|word| OsText::from(*word)).collect();
            assert_eq!(advice(&words).as_deref(), expected, "{words:?}");
        };
        let shell = |line: &str| format!("to run a shell line: meanwhile run --shell {line}");
        check(&["ls -la /"], Some(&shell("'ls -la /'")));
        check(&["cd", "/tmp"], Some(&shell("'cd /tmp'")));
        check(&["A=b", "x"], Some("to set a variable: meanwhile run --env A=b -- …"));
        check(
            &["--wait"],
            Some("options stand before `--`, the program and its arguments after it"),
        );
        check(&["make"], None);
        check(&["a/b=c"], None);
        check(&[], None);
    }
}
