//! `run`: launch a command.
//!
//! What it is for: the most used command, and the one that must return at once. What it owns: spooling standard input,
//! and printing the id alone. What it never does: hold its standard output open for anybody else.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use meanwhile_api::client::Client;
use meanwhile_api::select::Select;
use meanwhile_api::submit::{Detail, NewTask, Stdin, SubmitReply, SubmitRequest};
use meanwhile_api::task::Task;
use meanwhile_api::wait::WaitRequest;
use meanwhile_api::{ApiError, ErrorCode, ExitCode, OsText, TaskId, limits};

use crate::cli::{Action, Answer};
use crate::command::batch::Batch;
use crate::command::options::TaskOptions;
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
    #[command(flatten)]
    task: TaskOptions,

    /// Run this line with /bin/sh instead of a program
    #[arg(long, value_name = "LINE", conflicts_with = "command")]
    shell: Option<OsString>,

    /// Its standard input: a file (opened when it starts; a FIFO works), or `-` for ours, up to 64 MiB
    #[arg(long, value_name = "FILE|-", value_parser = OsStringValueParser::new().try_map(check::bytes))]
    stdin: Option<OsString>,

    /// Launch many: one JSON object per line, with the names of these options as keys; all or none
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["command", "shell", "stdin", "follow"])]
    from: Option<OsString>,

    /// Wait for the end
    #[arg(long)]
    wait: bool,

    /// Print its output until the end
    #[arg(long, conflicts_with = "wait")]
    follow: bool,

    /// The program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
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
        let ours = if spool { Some(read_stdin()?) } else { None };
        let caller = caller::capture()?;
        let client = context.client()?;
        context.block_on(async {
            let mut task = task;
            if let Some(bytes) = ours {
                task.stdin = Stdin::Spooled(client.upload_stdin(bytes.into()).await?.token);
            }
            let detail =
                if context.globals.json || wait || follow { Detail::Tasks } else { Detail::Ids };
            let request = SubmitRequest { tasks: vec![task], caller, detail };
            let reply = match client.submit(&request).await {
                Ok(reply) => reply,
                Err(error) if wait || follow => return refused_start(error),
                Err(error) => return Err(error.into()),
            };
            warn(context, &reply);
            let id = reply.accepted.first().map(|accepted| accepted.id.clone());
            let id = id.ok_or_else(|| broken_promise("no id in its answer"))?;
            if follow {
                if !context.globals.json {
                    context.note(&format!("task {id}"));
                }
                return follow::to_the_end(context, &client, &id).await;
            }
            match reply.tasks.into_iter().next() {
                Some(task) if wait => wait_for_one(context, &client, task).await,
                Some(task) if context.globals.json => context.print_json(&task).map(|()| 0),
                _ => match context.print(&format!("{id}\n")) {
                    Ok(()) => Ok(0),
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
        if self.task.into_task() != NewTask::default() {
            return Err(Failure::usage(
                "`--from` takes no options of a task",
                r#"put them into its entries: {"command": ["make"], "timeout": "5m"}"#,
            ));
        }
        let mut batch = Batch::read(from)?;
        let caller = caller::capture()?;
        let client = context.client()?;
        context.block_on(async {
            let tasks = std::mem::take(&mut batch.tasks);
            let request = SubmitRequest { tasks, caller, detail: Detail::Ids };
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
                return Ok(0);
            }
            let ids: Vec<TaskId> = reply.accepted.into_iter().map(|one| one.id).collect();
            let request = wait_request(ids);
            let reply = watch::wait(context, &client, &request, Vec::new()).await?;
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
    tell_failure(context, &task);
    Ok(verdict::code(&task))
}

/// Says why a task did not succeed, where an exit code alone would leave one guessing.
pub(crate) fn tell_failure(context: &Context, task: &Task) {
    if words::succeeded(task) || context.globals.json {
        return;
    }
    let detail = words::detail(task);
    context.note(&format!("{} {}: {detail}", task.id, words::state(task.state)));
}

/// A start that was refused because it certainly fails ends like one that was tried.
fn refused_start(error: ApiError) -> Answer {
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
