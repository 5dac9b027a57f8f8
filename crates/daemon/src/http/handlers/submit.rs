//! `run` and `--from`: submissions, and the upload of standard input.

use std::io::Write as _;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use meanwhile_api::limits::{BODY_TIME, STDIN_BYTES_MAX};
use meanwhile_api::submit::{Accepted, Detail, StdinReply, SubmitReply, SubmitRequest};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::TaskId;
use meanwhile_host::dir::Dir;

use super::Answered;
use super::change::unexpected;
use super::inherit::{Inherited, inherited};
use crate::http::caller::Caller;
use crate::http::context::Context;
use crate::http::exchange::{Asked, bad_request, json, too_large};
use crate::letters::{Ask, Reply};
use crate::prepare::{self, Batch, Launcher, captured};
use crate::retention::{UPLOAD_PREFIX, delete_stale_uploads};
use crate::routes::audience;
use crate::view::wire_id;

/// An upload that no submission has used for this long is deleted.
pub(crate) const UPLOAD_KEPT: std::time::Duration = std::time::Duration::from_secs(3600);
/// Tasks that an answer shows in full.
const SHOWN_MAX: usize = 1_000;

pub(super) async fn submit(
    context: &Context,
    asked: &Asked,
    mut request: SubmitRequest,
) -> Answered {
    let settings = context.settings();
    let Inherited { environment, cwd, from } = inherited(context, asked, &request).await?;
    request.caller.cwd = cwd;
    let launcher = launcher(&asked.caller, from);
    let Batch { mut tasks, uploads, warnings } = context.try_read(|reader| {
        prepare::prepare(reader, &request, &environment, &launcher, &settings)
    })?;
    // Where its bell rings.
    if settings.routes.want_terminal()
        && let Some(terminal) = asked.origin.and_then(|origin| audience::of_caller(origin.pid))
    {
        tasks.iter_mut().for_each(|task| task.spec.extra.push(terminal.clone()));
    }
    let detail = request.detail;
    // A large batch is not kept twice while the loop commits it.
    drop(request);
    // Nobody deletes the environment between its writing and the commit that needs it.
    let gate = context.env_gate.read().await;
    let name = captured::keep(&context.envs, &environment)?;
    for task in &mut tasks {
        task.spec.env.captured = Some(name.clone());
    }
    // A key that was known gives an old task; a request that was sent again gives its own.
    let keyed: Vec<Option<TaskId>> =
        tasks.iter().map(|t| t.spec.idempotency_key.is_some().then_some(t.id)).collect();
    let spooled = Spooled::new(context, &uploads)?;
    let reply = context.postbox.ask(Ask::Submit(tasks), asked.request.clone()).await;
    drop(gate);
    let accepted = match reply {
        Ok(Reply::Submitted(ids)) => Ok(ids),
        Ok(other) => Err(unexpected(&other)),
        Err(refused) => Err(refused),
    };
    if let Some(spooled) = spooled {
        spooled.keep_only(accepted.as_deref().unwrap_or_default());
    }
    let accepted = accepted?;
    asked.touches(&accepted);
    let shown = match detail {
        Detail::Ids => Vec::new(),
        Detail::Tasks => context.show_ids(&accepted[..accepted.len().min(SHOWN_MAX)]).await?,
    };
    let entries = accepted.iter().enumerate().map(|(index, id)| Accepted {
        id: wire_id(*id),
        existing: keyed.get(index).copied().flatten().is_some_and(|fresh| fresh != *id),
        deadline: shown.get(index).and_then(|task| task.deadline),
    });
    json(&SubmitReply { accepted: entries.collect(), tasks: shown, warnings })
}

fn launcher(caller: &Caller, env_from: &'static str) -> Launcher {
    let ancestors = match caller {
        Caller::Task { id, ancestors, .. } => {
            std::iter::once(*id).chain(ancestors.iter().copied()).collect()
        }
        Caller::Person | Caller::Session(_) | Caller::Unseen => Vec::new(),
    };
    Launcher {
        session: caller.session(),
        ancestors,
        is_person: caller.is_person(),
        only_session: caller.only_session(),
        env_from,
    }
}

/// Uploads under the names of the tasks that read them.
struct Spooled {
    directory: Dir,
    names: Vec<TaskId>,
}

impl Spooled {
    fn new(context: &Context, uploads: &[(TaskId, String)]) -> Result<Option<Self>, ApiError> {
        if uploads.is_empty() {
            return Ok(None);
        }
        let mut spooled = Self { directory: spool(context)?, names: Vec::new() };
        for (task, token) in uploads {
            if let Err(error) = spooled.link(*task, token) {
                spooled.keep_only(&[]);
                return Err(error);
            }
        }
        Ok(Some(spooled))
    }

    /// The upload itself stays for an hour, so that a request that is sent again finds it.
    fn link(&mut self, task: TaskId, token: &str) -> Result<(), ApiError> {
        use rustix::fs::{AtFlags, linkat};
        let name = task.to_string();
        meanwhile_faultpoint::fault_point!("stdin.before-naming");
        match linkat(&self.directory, token, &self.directory, name, AtFlags::empty()) {
            Ok(()) => {
                self.names.push(task);
                Ok(())
            }
            Err(rustix::io::Errno::NOENT) => Err(ApiError::new(
                ErrorCode::NotFound,
                format!("no upload `{token}`, or no longer"),
            )
            .hint("upload the standard input again: POST /v1/stdin")),
            Err(error) => Err(unspoolable(&error.into())),
        }
    }

    /// Removes the names of tasks that were not accepted. Only on an answer: without one (the client
    /// vanished) they may have been.
    fn keep_only(&self, accepted: &[TaskId]) {
        for name in self.names.iter().filter(|name| !accepted.contains(name)) {
            let _gone_already = self.directory.remove_file(&name.to_string());
        }
    }
}

fn spool(context: &Context) -> Result<Dir, ApiError> {
    context.home.stdin().map_err(|error| unspoolable(&std::io::Error::other(error.to_string())))
}

fn unspoolable(error: &std::io::Error) -> ApiError {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let code = if full { ErrorCode::DiskFull } else { ErrorCode::Store };
    ApiError::new(code, format!("standard input cannot be kept: {error}"))
        .hint("check the space and the mode of the directory stdin in the home")
}

/// Takes bytes as they come, so that none are held in memory.
pub(super) async fn upload(context: &Context, mut body: Incoming) -> Answered {
    if body.size_hint().lower() > STDIN_BYTES_MAX as u64 {
        return Err(too_large(STDIN_BYTES_MAX));
    }
    delete_stale_uploads(&context.home, UPLOAD_KEPT);
    let directory = spool(context)?;
    let token = new_token()?;
    let mut file = directory.create_new_file(&token).map_err(|error| unspoolable(&error))?;
    let mut bytes = 0;
    let taken = async {
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| bad_request(format!("request body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            bytes += data.len();
            if bytes > STDIN_BYTES_MAX {
                return Err(too_large(STDIN_BYTES_MAX));
            }
            file.write_all(&data).map_err(|error| unspoolable(&error))?;
        }
        file.sync_data().map_err(|error| unspoolable(&error))
    };
    let taken = tokio::time::timeout(BODY_TIME, taken)
        .await
        .unwrap_or_else(|_| Err(bad_request("request body did not arrive in time".into())));
    if let Err(error) = taken {
        let _gone_already = directory.remove_file(&token);
        return Err(error);
    }
    meanwhile_faultpoint::fault_point!("stdin.spooled");
    json(&StdinReply { token, bytes: bytes as u64 })
}

fn new_token() -> Result<String, ApiError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("no random numbers are to be had: {error}"))
    })?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{UPLOAD_PREFIX}{digits}"))
}
