//! One entry of a batch as the core's spec and placement.
//!
//! Owns the defaults: lane, running time, grace, backoff, terminal size, standard input.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use meanwhile_api::submit::{EnvProfile as WireProfile, NewTask, Stdin as WireStdin, Work};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::spec::{
    Command, Dependency, EnvProfile, EnvSpec, EnvVar, Placement, ProcessContext, Stdin, TaskSpec,
    Timing,
};
use meanwhile_core::{GroupName, LaneName, policy};
use meanwhile_store::{CommandKey, Reader};

use super::{Shared, captured, place, words};
use crate::engine::refusals::store_error;
use crate::settings::Settings;

/// Successes that the default running time is made from.
const HISTORY: usize = 50;
/// A terminal's size where the caller has none: columns and rows.
const TERMINAL: (u16, u16) = (80, 24);

/// Running times of commands, each looked up once per batch.
#[derive(Default)]
pub(super) struct Histories(HashMap<CommandKey, Vec<Duration>>);

/// The spec and placement of an entry.
pub(super) fn build(
    shared: &mut Shared<'_>,
    reader: &mut dyn Reader,
    task: &NewTask,
    after: Vec<Dependency>,
) -> Result<(TaskSpec, Placement), ApiError> {
    let ready = words::readiness(&mut shared.patterns, task)?;
    let service = task.service || ready.is_some();
    let command = command(task)?;
    let cwd = place::working_directory(&shared.request.caller.cwd, task.cwd.as_ref())?;
    let set = variables(task)?;
    if after.is_empty() {
        check_place(shared, &command, &set, &cwd)?;
    }
    let timing = timing(shared, reader, task, &command, service)?;
    let caller = &shared.request.caller;
    let spec = TaskSpec {
        name: task.name.as_deref().map(|name| words::name("task", name)).transpose()?,
        command,
        cwd: cwd.into_os_string().into_vec(),
        labels: words::labels(task)?,
        env: EnvSpec {
            captured: None,
            set,
            keep: words::kept_variables(&task.keep_env)?,
            profile: task.env_profile.map_or(shared.settings.env_profile, profile),
            from: shared.launcher.env_from.into(),
        },
        process: process(shared)?,
        stdin: stdin(shared, task)?,
        pty: task.pty.then(|| caller.terminal.map_or(TERMINAL, |t| (t.columns, t.rows))),
        limits: words::resources(task)?,
        timing,
        retry: words::retry(task, shared.settings)?,
        after,
        delay: task.delay.map(Duration::from).filter(|delay| !delay.is_zero()),
        ready,
        service,
        artifacts: words::artifacts(&task.artifacts)?,
        keep_tmp: task.keep_tmp,
        keep_leaked: task.keep_leaked,
        idempotent: task.idempotent,
        idempotency_key: words::idempotency_key(task.idempotency_key.as_deref())?,
        extra: words::extra(&mut shared.patterns, task)?,
    };
    Ok((spec, placement(shared, task, service)?))
}

fn command(task: &NewTask) -> Result<Command, ApiError> {
    match task.work()? {
        Work::Command(arguments) => {
            place::check_arguments(arguments.iter().map(|argument| argument.as_bytes()))?;
            Ok(Command::Argv(arguments.iter().map(|a| a.as_bytes().to_vec()).collect()))
        }
        Work::Shell(line) => {
            place::check_arguments(std::iter::once(line.as_bytes()))?;
            Ok(Command::Shell(line.as_bytes().to_vec()))
        }
    }
}

fn variables(task: &NewTask) -> Result<Vec<EnvVar>, ApiError> {
    task.env
        .iter()
        .map(|(name, value)| {
            captured::check(name, value)?;
            Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        })
        .collect()
}

/// Refuses a program or directory that certainly cannot be.
fn check_place(
    shared: &mut Shared<'_>,
    command: &Command,
    set: &[EnvVar],
    cwd: &Path,
) -> Result<(), ApiError> {
    match command {
        Command::Shell(_) => shared.places.check_cwd(cwd),
        Command::Argv(arguments) => {
            // As the task will have it: what was asked for wins over what the caller has.
            let path =
                set.iter().rev().find(|(name, _)| name == b"PATH").map(|(_, v)| v.as_slice());
            let path = path.or_else(|| shared.environment.get("PATH"));
            let program = arguments.first().expect("a command has a program");
            shared.places.check_program(program, path, cwd)
        }
    }
}

fn timing(
    shared: &mut Shared<'_>,
    reader: &mut dyn Reader,
    task: &NewTask,
    command: &Command,
    service: bool,
) -> Result<Timing, ApiError> {
    let some = |span: Duration| Some(span).filter(|span| !span.is_zero());
    let timeout = match task.timeout {
        Some(span) => some(span.into()),
        None => default_timeout(shared, reader, command, service)?,
    };
    Ok(Timing {
        timeout,
        idle_timeout: task.idle_timeout.map(Duration::from).and_then(some),
        grace: task.kill_after.map_or(shared.settings.grace, Duration::from),
    })
}

fn default_timeout(
    shared: &mut Shared<'_>,
    reader: &mut dyn Reader,
    command: &Command,
    service: bool,
) -> Result<Option<Duration>, ApiError> {
    let setting = shared.settings.command_timeout();
    if shared.launcher.is_person || service || setting.is_none() {
        return Ok(None);
    }
    let key = CommandKey::of(command);
    let history = match shared.histories.0.get(&key) {
        Some(history) => history,
        None => {
            let history = reader.history(key, HISTORY).map_err(|error| store_error(&error))?;
            shared.histories.0.entry(key).or_insert(history)
        }
    };
    Ok(policy::default_timeout(false, service, setting, history))
}

fn process(shared: &Shared<'_>) -> Result<ProcessContext, ApiError> {
    let caller = &shared.request.caller;
    if caller.umask > 0o777 {
        return Err(words::usage(
            format!("{:o} is not a file mode creation mask", caller.umask),
            "give caller.umask as umask(2) has it",
        ));
    }
    let unlimited = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let rlimits = caller.rlimits.iter();
    Ok(ProcessContext {
        umask: caller.umask,
        rlimits: rlimits.map(|r| (r.resource, unlimited(r.soft), unlimited(r.hard))).collect(),
    })
}

fn stdin(shared: &Shared<'_>, task: &NewTask) -> Result<Stdin, ApiError> {
    if task.pty && task.stdin != WireStdin::None {
        return Err(words::usage(
            "a task with a terminal reads from it, not from a file".into(),
            "leave out --stdin or --pty",
        ));
    }
    match &task.stdin {
        WireStdin::None => Ok(Stdin::Null),
        WireStdin::Spooled(_) => Ok(Stdin::Spooled),
        WireStdin::File(path) if path.is_empty() || path.as_bytes().contains(&0) => {
            Err(words::usage(
                "name of the standard input's file is empty or has a NUL byte".into(),
                "use --stdin FILE",
            ))
        }
        // As the caller's shell would read it, whatever directory the task works in.
        WireStdin::File(path) => {
            let path = shared.request.caller.cwd.as_path().join(path.as_path());
            Ok(Stdin::File(path.as_os_str().as_bytes().to_vec()))
        }
    }
}

const fn profile(profile: WireProfile) -> EnvProfile {
    match profile {
        WireProfile::Agent => EnvProfile::Agent,
        WireProfile::Ci => EnvProfile::Ci,
        WireProfile::Inherit => EnvProfile::Inherit,
    }
}

fn placement(shared: &Shared<'_>, task: &NewTask, service: bool) -> Result<Placement, ApiError> {
    let launcher = shared.launcher;
    if task.over_limit && !launcher.is_person {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "--over-limit is for people, not for agents or tasks",
        )
        .hint("leave it out: the task is queued and starts in its turn"));
    }
    let lane = match &task.lane {
        Some(lane) => LaneName::new(words::name("lane", lane)?),
        None => Settings::default_lane(service),
    };
    let group = task.group.as_deref().map(|group| words::name("group", group)).transpose()?;
    Ok(Placement {
        session: launcher.session.clone(),
        group: group.map(GroupName::new),
        lane,
        priority: task.priority,
        ancestors: if task.detach { Vec::new() } else { launcher.ancestors.clone() },
        over_limit: task.over_limit,
        by_person: launcher.is_person,
    })
}
