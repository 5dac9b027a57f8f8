//! The bodies of requests: decoded, and as far as it goes without a process, prepared.
//!
//! The first byte chooses the request. What is accepted is written and read again as the same; a
//! prepared task survives its written form in the store.

use std::fmt::Debug;
use std::sync::OnceLock;

use meanwhile_api::change::{CancelRequest, CompleteRequest, ExtendRequest, RetryRequest};
use meanwhile_api::config::ConfigSet;
use meanwhile_api::daemon::StopRequest;
use meanwhile_api::event::Event;
use meanwhile_api::list::ListReply;
use meanwhile_api::output::OutputReply;
use meanwhile_api::submit::{NewTask, SubmitReply, SubmitRequest};
use meanwhile_api::task::Task;
use meanwhile_api::upkeep::CleanRequest;
use meanwhile_api::wait::WaitRequest;
use meanwhile_core::{SessionId, TaskId};
use meanwhile_daemon::prepare::{self, Launcher, captured};
use meanwhile_daemon::settings::Settings;
use meanwhile_store::{Identity, MemoryStore, fuzzing};

use crate::feed::Feed;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    let choice = feed.byte();
    let body = feed.rest();
    match choice {
        b'a' => again::<NewTask>(body),
        b'b' => again::<CancelRequest>(body),
        b'c' => again::<RetryRequest>(body),
        b'd' => again::<CompleteRequest>(body),
        b'e' => again::<ExtendRequest>(body),
        b'f' => again::<WaitRequest>(body),
        b'g' => again::<CleanRequest>(body),
        b'h' => again::<ConfigSet>(body),
        b'i' => again::<StopRequest>(body),
        // What a client reads.
        b'j' => again::<Task>(body),
        b'k' => again::<SubmitReply>(body),
        b'l' => again::<ListReply>(body),
        b'm' => again::<OutputReply>(body),
        b'n' => again::<Event>(body),
        b'p' => submit(body, &person()),
        _ => submit(body, &agent()),
    }
}

/// A value that is read is written and read again as the same.
fn again<T>(body: &[u8])
where
    T: written::Both + PartialEq + Debug,
{
    let Some(value) = T::read(body) else { return };
    let again = T::read(&value.written()).expect("what we write we read");
    assert_eq!(again, value);
}

/// Both ways through JSON, for whatever has both.
mod written {
    pub(super) trait Both: Sized {
        fn read(body: &[u8]) -> Option<Self>;
        fn written(&self) -> Vec<u8>;
    }

    macro_rules! both {
        ($($type:ty),* $(,)?) => {$(
            impl Both for $type {
                fn read(body: &[u8]) -> Option<Self> {
                    serde_json::from_slice(body).ok()
                }

                fn written(&self) -> Vec<u8> {
                    serde_json::to_vec(self).expect("our shapes can be written")
                }
            }
        )*};
    }

    both! {
        super::NewTask, super::CancelRequest, super::RetryRequest, super::CompleteRequest,
        super::ExtendRequest, super::WaitRequest, super::CleanRequest, super::ConfigSet,
        super::StopRequest, super::Task, super::SubmitReply, super::ListReply, super::OutputReply,
        super::Event, super::SubmitRequest,
    }
}

fn submit(body: &[u8], launcher: &Launcher) {
    use written::Both as _;
    // A whole request, or the tasks of one.
    let Some(request) = SubmitRequest::read(body).or_else(|| request_of(body)) else { return };
    let again = SubmitRequest::read(&request.written()).expect("what we write we read");
    assert_eq!(again, request);
    let Ok(environment) = captured::read(&request.caller) else { return };
    let settings = Settings::default();
    let mut store = store();
    let prepared = prepare::prepare(&mut store, &request, &environment, launcher, &settings);
    let Ok(batch) = prepared else { return };
    assert_eq!(batch.tasks.len(), request.tasks.len());
    for task in batch.tasks {
        let written = fuzzing::launch_to_text(&task.spec, &task.placement);
        let (spec, _) =
            fuzzing::launch_from_text(&written, &task.placement).expect("what we write we read");
        assert_eq!(spec, *task.spec);
        assert!(task.spec.cwd.starts_with(b"/") && !task.spec.cwd.contains(&0));
    }
}

/// Tasks with the surroundings of an ordinary caller around them.
fn request_of(tasks: &[u8]) -> Option<SubmitRequest> {
    let caller = br#","caller":{"cwd":"/","env":[["PATH","/usr/bin:/bin"]],"umask":18}}"#;
    serde_json::from_slice(&[br#"{"tasks":"#, tasks, caller].concat()).ok()
}

fn person() -> Launcher {
    Launcher {
        session: SessionId::user(),
        ancestors: Vec::new(),
        is_person: true,
        only_session: None,
        env_from: "caller",
    }
}

fn agent() -> Launcher {
    let session = SessionId::new("s1");
    Launcher {
        session: session.clone(),
        ancestors: vec![TaskId::from_random(7)],
        is_person: false,
        only_session: Some(session),
        env_from: "session",
    }
}

fn store() -> MemoryStore {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    let identity = || Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() };
    MemoryStore::new(IDENTITY.get_or_init(identity).clone())
}
