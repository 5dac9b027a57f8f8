//! Names, labels, patterns and numbers: what can be checked by looking at it.
//!
//! Owns the limits of texts and the wording of what is wrong with one. Names are single lines
//! without control characters, so that no list and no message is broken by one.

use std::collections::HashSet;
use std::time::Duration;

use globset::Glob;
use meanwhile_api::submit::NewTask;
use meanwhile_api::{ApiError, ErrorCode, Size};
use meanwhile_core::limits::MAX_RETRIES;
use meanwhile_core::notice::Scope;
use meanwhile_core::spec::{Readiness, ResourceLimits, RetryPolicy};

use crate::output;
use crate::retention::UPLOAD_PREFIX;
use crate::settings::Settings;

/// The longest name of a task, group or lane, and the longest key of a label.
const NAME_BYTES: usize = 200;
/// The longest value of a label.
const LABEL_BYTES: usize = 1_000;
/// Labels of one task.
const LABELS: usize = 64;
/// Globs of artifacts of one task.
const ARTIFACTS: usize = 100;
/// The longest of them. Braces may be nested as deep as it is long, and are read by recursion.
const GLOB_BYTES: usize = 1_000;

/// Different patterns of one batch: each takes a moment to read, and a thousand services have one each.
const PATTERNS: usize = 1_000;

/// Patterns of a batch that were found to be good: thousands of entries have the same one.
#[derive(Default)]
pub(super) struct Patterns(HashSet<String>);

impl Patterns {
    fn check(&mut self, text: &str) -> Result<(), ApiError> {
        if self.0.contains(text) {
            return Ok(());
        }
        output::pattern(text)?;
        if self.0.len() == PATTERNS {
            return Err(ApiError::new(
                ErrorCode::Limit,
                format!("batch has more than {PATTERNS} different patterns"),
            )
            .hint("submit it in parts"));
        }
        self.0.insert(text.to_owned());
        Ok(())
    }
}

pub(super) fn usage(message: String, hint: &str) -> ApiError {
    ApiError::new(ErrorCode::Usage, message).hint(hint)
}

/// A name of something: one line, printable, of a sensible length.
pub(super) fn name(what: &str, text: &str) -> Result<String, ApiError> {
    let problem = if text.trim().is_empty() {
        "is empty"
    } else if text.len() > NAME_BYTES {
        "is longer than 200 bytes"
    } else if text.chars().any(char::is_control) {
        "has a control character (a name is a single line)"
    } else {
        return Ok(text.to_owned());
    };
    Err(usage(format!("name of the {what} {problem}"), "use a short name such as `unit tests`"))
}

pub(super) fn labels(task: &NewTask) -> Result<Vec<(String, String)>, ApiError> {
    let hint = "for example --label area=backend";
    if task.labels.len() > LABELS {
        return Err(usage(format!("task has more than {LABELS} labels"), hint));
    }
    for (key, value) in &task.labels {
        name("label", key)?;
        if key.contains('=') {
            return Err(usage(format!("name of the label `{key}` has a `=`"), hint));
        }
        if value.len() > LABEL_BYTES || value.chars().any(char::is_control) {
            let message = format!("value of the label `{key}` is not a line of up to 1,000 bytes");
            return Err(usage(message, hint));
        }
    }
    Ok(task.labels.clone().into_iter().collect())
}

pub(super) fn idempotency_key(key: Option<&str>) -> Result<Option<String>, ApiError> {
    key.map(|key| name("idempotency key", key)).transpose()
}

pub(super) fn retry(task: &NewTask, settings: &Settings) -> Result<RetryPolicy, ApiError> {
    if task.retries > MAX_RETRIES {
        let message = format!("{} retries are more than {MAX_RETRIES}", task.retries);
        return Err(usage(message, "a task that fails so often does not need another try"));
    }
    if let Some(code) = task.retry_on.iter().find(|code| !(1..=255).contains(*code)) {
        let message = format!("{code} is not an exit code to retry on (1 to 255)");
        return Err(usage(message, "for example --retry-on 1,75"));
    }
    Ok(RetryPolicy {
        retries: task.retries,
        backoff: task.backoff.map_or(settings.backoff, Duration::from),
        on_codes: task.retry_on.clone(),
    })
}

pub(super) fn readiness(
    patterns: &mut Patterns,
    task: &NewTask,
) -> Result<Option<Readiness>, ApiError> {
    match (&task.ready, task.ready_port) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(usage(
            "task has both a line and a port that say it is ready".into(),
            "give either --ready or --ready-port",
        )),
        (None, Some(0)) => Err(usage("0 is not a port".into(), "for example --ready-port 8080")),
        (None, Some(port)) => Ok(Some(Readiness::Port(port))),
        (Some(text), None) => {
            patterns.check(text)?;
            Ok(Some(Readiness::Pattern(text.clone())))
        }
    }
}

pub(super) fn artifacts(globs: &[String]) -> Result<Vec<String>, ApiError> {
    let hint = "for example --artifact 'target/criterion/**/*.json'";
    if globs.len() > ARTIFACTS {
        return Err(usage(format!("task has more than {ARTIFACTS} artifacts"), hint));
    }
    for glob in globs {
        if glob.is_empty() || glob.starts_with('/') || glob.split('/').any(|part| part == "..") {
            let message = format!("artifact `{}` is not below the working directory", plain(glob));
            return Err(usage(message, hint));
        }
        if glob.len() > GLOB_BYTES {
            let message = format!("artifact has {} bytes, more than {GLOB_BYTES}", glob.len());
            return Err(usage(message, hint));
        }
        Glob::new(glob).map_err(|error| {
            usage(format!("`{}` is not a glob: {}", plain(glob), error.kind()), hint)
        })?;
    }
    Ok(globs.to_vec())
}

pub(super) fn resources(task: &NewTask) -> Result<ResourceLimits, ApiError> {
    let positive = |name: &str, bytes: Option<Size>| match bytes.map(Size::as_bytes) {
        Some(0) => Err(usage(
            format!("a limit of 0 for --{name} leaves nothing to run with"),
            "leave it out for no limit",
        )),
        bytes => Ok(bytes),
    };
    if task.pids == Some(0) {
        return Err(usage(
            "a limit of 0 for --pids leaves nothing to run with".into(),
            "leave it out for no limit",
        ));
    }
    Ok(ResourceLimits {
        max_log: positive("max-log", task.max_log)?,
        memory: positive("memory", task.memory)?,
        cpus: task.cpus.map(cpus).transpose()?,
        pids: task.pids.map(u64::from),
        nice: task.nice.map(nice).transpose()?,
    })
}

/// Processors are given by affinity, which knows whole ones alone.
fn cpus(cpus: f64) -> Result<u32, ApiError> {
    if !cpus.is_finite() || cpus <= 0.0 {
        return Err(usage(format!("{cpus} is not a number of processors"), "for example --cpus 2"));
    }
    if cpus.fract() != 0.0 {
        return Err(ApiError::new(
            ErrorCode::Unsupported,
            format!("{cpus} processors cannot be held to: a task gets whole ones here"),
        )
        .hint(format!("use --cpus {}", cpus.ceil())));
    }
    if cpus > f64::from(u16::MAX) {
        return Err(usage(format!("{cpus} is not a number of processors"), "for example --cpus 2"));
    }
    // Checked to be whole and in range.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(cpus as u32)
}

fn nice(nice: i32) -> Result<i32, ApiError> {
    if !(-20..=19).contains(&nice) {
        return Err(usage(
            format!("{nice} is not a niceness (-20 to 19)"),
            "for example --nice 10",
        ));
    }
    if nice < 0 && !rustix::process::geteuid().is_root() {
        return Err(ApiError::new(
            ErrorCode::Unsupported,
            format!("a niceness of {nice} is for the superuser to give"),
        )
        .hint("use 0 to 19"));
    }
    Ok(nice)
}

/// Options of later parts, kept as they are.
pub(super) fn extra(
    patterns: &mut Patterns,
    task: &NewTask,
) -> Result<Vec<(String, String)>, ApiError> {
    use meanwhile_api::submit::OnWaiting;
    let mut extra = Vec::new();
    if let Some(policy) = &task.notify {
        if !["all-done", "each", "failures", "none"].contains(&policy.as_str()) {
            let message = format!("`{}` is not a notice policy", plain(policy));
            return Err(usage(message, "use all-done, each, failures or none"));
        }
        extra.push(("notify".into(), policy.clone()));
    }
    if let Some(turn) = &task.turn {
        extra.push((Scope::TURN_OPTION.into(), name("turn", turn)?));
    }
    if let Some(pattern) = &task.notify_on {
        patterns.check(pattern)?;
        extra.push(("notify_on".into(), pattern.clone()));
    }
    if let Some(what) = task.on_waiting {
        let word = match what {
            OnWaiting::Notify => "notify",
            OnWaiting::Kill => "kill",
            OnWaiting::Retry => "retry",
        };
        extra.push(("on_waiting".into(), word.into()));
    }
    Ok(extra)
}

pub(super) fn kept_variables(names: &[String]) -> Result<Vec<Vec<u8>>, ApiError> {
    names
        .iter()
        .map(|name| {
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = format!("`{}` is not the name of a variable", plain(name));
                return Err(usage(message, "for example --keep-env CODEX_THREAD_ID"));
            }
            Ok(name.clone().into_bytes())
        })
        .collect()
}

/// The name of an upload, as the answer to it said.
pub(super) fn upload_token(token: &str) -> Result<String, ApiError> {
    let rest = token.strip_prefix(UPLOAD_PREFIX).unwrap_or_default();
    if rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Ok(token.to_owned());
    }
    Err(usage(
        format!("`{}` is not the token of an upload", plain(token)),
        "upload the standard input first: POST /v1/stdin",
    ))
}

/// For messages: without control characters and not too long.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
