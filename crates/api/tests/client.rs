//! The client against a scripted daemon on a unix socket: it resends, resumes, and gives up as promised.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meanwhile_api::client::{Client, Options, Patience};
use meanwhile_api::daemon::{StopReply, StopRequest};
use meanwhile_api::event::{Event, EventsQuery, sse_start};
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::lanes::LanesReply;
use meanwhile_api::list::{ListQuery, ListReply};
use meanwhile_api::output::{OutputQuery, OutputReply};
use meanwhile_api::routes::RouteId;
use meanwhile_api::select::Select;
use meanwhile_api::task::State;
use meanwhile_api::upkeep::PruneReply;
use meanwhile_api::wait::{Until, Verdict, WaitReply, WaitRequest};
use meanwhile_api::{ApiError, ErrorCode, ExitCode, OsText, Span, TaskId, Timestamp};
use scripted::{Daemon, Step};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Tests that expect an error need not wait the usual five and ten seconds for it.
const IMPATIENT: Patience =
    Patience { answer: Duration::from_millis(100), reach: Duration::from_millis(100) };

#[test]
fn a_change_is_sent_again_with_the_same_id_when_the_daemon_dies() {
    let reply = Step::json(&PruneReply::default());
    let mut partial = reply.clone();
    if let Step::Answer { body, .. } = &mut partial {
        body.truncate(3);
    }
    let daemon = Daemon::start(vec![Step::Die, partial, reply]);
    let client = Client::new(Options::new(daemon.socket()));
    run(client.prune()).unwrap();
    let seen = daemon.finish();
    let ids: Vec<_> = seen.iter().map(|request| request.header("meanwhile-request-id")).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids[0].is_some_and(|id| id.len() == 32), "{ids:?}");
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn two_changes_have_two_ids_and_share_a_connection() {
    let reply = Step::json(&PruneReply::default());
    let daemon = Daemon::start(vec![reply.clone(), reply]);
    let client = Client::new(Options::new(daemon.socket()));
    run(async {
        client.prune().await.unwrap();
        client.prune().await.unwrap();
    });
    let seen = daemon.finish();
    assert_ne!(seen[0].header("meanwhile-request-id"), seen[1].header("meanwhile-request-id"));
    assert_eq!((seen[0].connection, seen[1].connection), (1, 1));
}

#[test]
fn a_request_says_who_asks_and_in_which_protocol() {
    let daemon = Daemon::start(vec![Step::json(&LanesReply { lanes: Vec::new() })]);
    let session = Some(SessionClaim::explicit("release 1"));
    let client = Client::new(Options { session, ..Options::new(daemon.socket()) });
    run(client.lanes()).unwrap();
    let seen = daemon.finish();
    assert_eq!(seen[0].line, "GET /v1/lanes HTTP/1.1");
    assert_eq!(seen[0].header("meanwhile-session"), Some("explicit:release%201"));
    assert_eq!(seen[0].header("meanwhile-protocol"), Some("1"));
    assert!(seen[0].header("meanwhile-client-version").is_some());
    assert_eq!(seen[0].header("meanwhile-request-id"), None);
}

#[test]
fn a_stopping_daemon_is_asked_again() {
    let stopping = ApiError::new(ErrorCode::Stopping, "take requests: the daemon is stopping");
    let daemon =
        Daemon::start(vec![Step::error(stopping), Step::json(&LanesReply { lanes: Vec::new() })]);
    run(Client::new(Options::new(daemon.socket())).lanes()).unwrap();
    assert_eq!(daemon.finish().len(), 2);
}

#[test]
fn an_error_of_the_daemon_arrives_whole() {
    let error = ApiError::new(ErrorCode::NoSuchTask, "find task zzzz").hint("meanwhile list");
    let daemon = Daemon::start(vec![Step::error(error.clone())]);
    let client = Client::new(Options::new(daemon.socket()));
    assert_eq!(run(client.task(&TaskId::from("zzzz"))).unwrap_err(), error);
    assert_eq!(daemon.finish()[0].line, "GET /v1/tasks/zzzz HTTP/1.1");
}

#[test]
fn what_is_too_large_is_refused_before_it_is_sent() {
    let client = Client::new(Options::new("/nonexistent/daemon.sock"));
    let bytes = vec![0; meanwhile_api::limits::STDIN_BYTES_MAX + 1];
    let error = run(client.upload_stdin(bytes.into())).unwrap_err();
    assert_eq!((error.code, error.exit), (ErrorCode::TooLarge, ExitCode::Usage));
}

#[test]
fn a_missing_daemon_is_started_and_reached_over_a_path_longer_than_an_address() {
    let home = tempfile::tempdir().unwrap();
    let deep = home.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let socket = deep.join("daemon.sock");
    let (slot, at) = (Arc::new(std::sync::Mutex::new(None)), socket.clone());
    let started = Arc::clone(&slot);
    let start = Box::new(move || {
        let steps = vec![Step::json(&LanesReply { lanes: Vec::new() })];
        *started.lock().unwrap() = Some(Daemon::start_at(at.clone(), steps));
        Ok(())
    });
    run(Client::new(Options { start: Some(start), ..Options::new(socket) }).lanes()).unwrap();
    let daemon = slot.lock().unwrap().take().expect("it was started");
    assert_eq!(daemon.finish().len(), 1);
}

#[test]
fn a_daemon_that_cannot_be_reached_is_exit_code_5_with_a_hint() {
    let home = tempfile::tempdir().unwrap();
    let starts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&starts);
    let start = Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let socket = home.path().join("daemon.sock");
    let options = Options { start: Some(start), patience: IMPATIENT, ..Options::new(socket) };
    let error = run(Client::new(options).lanes()).unwrap_err();
    assert_eq!((error.code, error.exit), (ErrorCode::Unreachable, ExitCode::Unreachable));
    assert!(!error.hint.is_empty());
    assert_eq!(starts.load(Ordering::Relaxed), 1);
}

#[test]
fn a_daemon_that_cannot_start_says_so_itself() {
    let home = tempfile::tempdir().unwrap();
    let start = Box::new(|| Err(ApiError::new(ErrorCode::Store, "open the store: not a database")));
    let options = Options { start: Some(start), ..Options::new(home.path().join("daemon.sock")) };
    let error = run(Client::new(options).lanes()).unwrap_err();
    assert_eq!(error.exit, ExitCode::StoreUnusable);
}

#[test]
fn a_silent_daemon_is_named_by_its_pid_and_asked_once() {
    let daemon = Daemon::start(vec![Step::Silence]);
    let options = Options { patience: IMPATIENT, ..Options::new(daemon.socket()) };
    let client = Client::new(options);
    let error = run(client.lanes()).unwrap_err();
    assert_eq!((error.code, error.exit), (ErrorCode::Unresponsive, ExitCode::Unreachable));
    let pid = std::process::id().to_string();
    assert!(error.message.contains(&pid) && error.hint.iter().any(|hint| hint.contains(&pid)));
    assert_eq!(daemon.finish().len(), 1);
}

#[test]
fn reads_are_answered_without_a_daemon_where_that_is_possible() {
    let home = tempfile::tempdir().unwrap();
    let offline = Box::new(|request: meanwhile_api::client::OfflineRequest<'_>| {
        (request.route == RouteId::List).then(|| {
            assert_eq!(request.query, "limit=5");
            Ok(serde_json::to_vec(&ListReply { tasks: Vec::new(), total: 7 }).unwrap())
        })
    });
    let socket = home.path().join("daemon.sock");
    let client = Client::new(Options { offline: Some(offline), ..Options::new(socket) });
    let query = ListQuery { limit: Some(5), ..ListQuery::default() };
    assert_eq!(run(client.list(&query)).unwrap().total, 7);
    assert_eq!(run(client.lanes()).unwrap_err().code, ErrorCode::Unreachable);
}

#[test]
fn a_running_daemon_is_preferred_to_the_offline_answer() {
    let daemon = Daemon::start(vec![Step::json(&ListReply { tasks: Vec::new(), total: 1 })]);
    let offline = Box::new(|_: meanwhile_api::client::OfflineRequest<'_>| {
        Some(Err(ApiError::new(ErrorCode::Internal, "must not be asked")))
    });
    let client = Client::new(Options { offline: Some(offline), ..Options::new(daemon.socket()) });
    assert_eq!(run(client.list(&ListQuery::default())).unwrap().total, 1);
    daemon.finish();
}

#[test]
fn stopping_a_daemon_never_starts_one() {
    let home = tempfile::tempdir().unwrap();
    let start = || -> meanwhile_api::client::StartDaemon { Box::new(|| panic!("started")) };
    let absent = Options { start: Some(start()), ..Options::new(home.path().join("daemon.sock")) };
    let client = Client::new(absent);
    assert_eq!(run(client.stop(&StopRequest::default())).unwrap(), None);
    assert_eq!(run(client.running_daemon()).unwrap(), None);

    let daemon =
        Daemon::start(vec![Step::json(&StopReply { pid: 3, still_running: 1, cancelled: 0 })]);
    let client = Client::new(Options { start: Some(start()), ..Options::new(daemon.socket()) });
    assert_eq!(run(client.stop(&StopRequest::default())).unwrap().map(|reply| reply.pid), Some(3));
    daemon.finish();
}

/// An older daemon with these steps, and a client that may start one which answers with an empty list of lanes.
struct Upgrade {
    older: Daemon,
    newer: Arc<std::sync::Mutex<Option<Daemon>>>,
    client: Client,
}

impl Upgrade {
    fn new(home: &tempfile::TempDir, steps: Vec<Step>, may_replace: bool) -> Upgrade {
        let socket = home.path().join("daemon.sock");
        let older = Daemon::start_at(socket.clone(), steps);
        let newer = Arc::new(std::sync::Mutex::new(None));
        let (slot, at) = (Arc::clone(&newer), socket.clone());
        let start = Box::new(move || {
            let steps = vec![Step::json(&LanesReply { lanes: Vec::new() })];
            *slot.lock().unwrap() = Some(Daemon::start_at(at.clone(), steps));
            Ok(())
        });
        let may_replace: Option<Box<dyn Fn() -> bool + Send + Sync>> =
            Some(Box::new(move || may_replace));
        let options = Options { start: Some(start), may_replace, ..Options::new(socket) };
        Upgrade { older, newer, client: Client::new(options) }
    }

    fn newer(&self) -> Daemon {
        self.newer.lock().unwrap().take().expect("it was started")
    }
}

#[test]
fn an_older_daemon_answers_and_is_then_replaced() {
    let home = tempfile::tempdir().unwrap();
    let answer = Box::new(Step::json(&LanesReply { lanes: Vec::new() }));
    let steps = vec![Step::Older { protocols: "1-1", answer }, Step::DieAndUnlink];
    let upgrade = Upgrade::new(&home, steps, true);
    run(async {
        upgrade.client.lanes().await.unwrap();
        upgrade.client.lanes().await.unwrap();
    });
    let newer = upgrade.newer().finish();
    assert_eq!(newer.len(), 1, "the second request is for the daemon of now");
    let older = upgrade.older.finish();
    assert_eq!(older[1].line, "POST /v1/daemon/stop HTTP/1.1");
    assert_eq!(older[1].connection, 1, "asked over the connection that is surely the old one's");
    let asked: StopRequest = serde_json::from_slice(&older[1].body).unwrap();
    assert_eq!(asked, StopRequest { cancel_all: false, hand_over: true });
}

#[test]
fn a_request_that_an_older_daemon_cannot_understand_is_for_the_next() {
    let home = tempfile::tempdir().unwrap();
    let refusal = ApiError::new(ErrorCode::Protocol, "talk protocol 1 with this daemon");
    let answer = Box::new(Step::error(refusal));
    let steps = vec![Step::Older { protocols: "0-0", answer }, Step::DieAndUnlink];
    let upgrade = Upgrade::new(&home, steps, true);
    run(upgrade.client.lanes()).unwrap();
    assert_eq!(upgrade.newer().finish().len(), 1);
    let older = upgrade.older.finish();
    assert_eq!(older[0].header("meanwhile-protocol"), Some("1"));
    assert_eq!(older[1].header("meanwhile-protocol"), Some("0"), "in words it understands");
}

#[test]
fn an_older_daemon_stays_where_it_must_not_be_replaced() {
    let home = tempfile::tempdir().unwrap();
    let answer = || Box::new(Step::json(&LanesReply { lanes: Vec::new() }));
    let older = || Step::Older { protocols: "1-1", answer: answer() };
    let upgrade = Upgrade::new(&home, vec![older(), older()], false);
    run(async {
        upgrade.client.lanes().await.unwrap();
        upgrade.client.lanes().await.unwrap();
    });
    assert_eq!(upgrade.older.finish().len(), 2);
    assert!(upgrade.newer.lock().unwrap().is_none());
}

#[test]
fn a_daemon_that_listens_elsewhere_is_found_there() {
    let daemon = Daemon::start(vec![Step::json(&LanesReply { lanes: Vec::new() })]);
    let at = daemon.socket().to_owned();
    let elsewhere: Option<meanwhile_api::client::FindSocket> =
        Some(Box::new(move || Some(at.clone())));
    let options = Options { elsewhere, ..Options::new("/nonexistent/daemon.sock") };
    run(Client::new(options).lanes()).unwrap();
    assert_eq!(daemon.finish().len(), 1);
}

#[test]
fn a_stop_whose_daemon_goes_without_a_word_has_done_its_work() {
    let daemon = Daemon::start(vec![Step::DieAndUnlink]);
    let client = Client::new(Options::new(daemon.socket()));
    assert_eq!(run(client.stop(&StopRequest::default())).unwrap(), None);
    daemon.finish();
}

#[test]
fn waiting_goes_on_after_the_daemon_died() {
    let reply = WaitReply { verdict: Verdict::Met, tasks: Vec::new() };
    let daemon = Daemon::start(vec![Step::Die, Step::json(&reply)]);
    let client = Client::new(Options::new(daemon.socket()));
    let request = WaitRequest {
        select: Select::Own,
        any: false,
        until: Until::Done,
        timeout: Some(Span::from_secs(60)),
    };
    assert_eq!(run(client.wait(&request)).unwrap(), reply);
    let seen = daemon.finish();
    let timeout = |body: &[u8]| serde_json::from_slice::<WaitRequest>(body).unwrap().timeout;
    let (first, second) = (timeout(&seen[0].body), timeout(&seen[1].body));
    assert!(second < first, "{second:?} is not less than {first:?}");
}

#[test]
fn following_resumes_at_the_cursor_and_keeps_to_its_attempt() {
    let page = |text: &str, next_cursor, ended| {
        Step::json(&OutputReply {
            text: OsText::from(text),
            next_cursor,
            bytes: next_cursor,
            dropped_bytes: 0,
            gaps: Vec::new(),
            truncated: false,
            attempt: 2,
            state: State::Running,
            ended,
        })
    };
    let daemon = Daemon::start(vec![page("one\n", 4, false), Step::Die, page("two\n", 8, true)]);
    let client = Client::new(Options::new(daemon.socket()));
    let text = run(async {
        let query = OutputQuery { tail: Some(10), ..OutputQuery::default() };
        let mut follow = client.follow(&TaskId::from("abcd"), query);
        let mut text = String::new();
        while let Some(page) = follow.next().await.unwrap() {
            text.push_str(page.text.as_str().unwrap());
        }
        text
    });
    assert_eq!(text, "one\ntwo\n");
    let lines: Vec<_> = daemon.finish().into_iter().map(|request| request.line).collect();
    assert_eq!(lines[0], "GET /v1/tasks/abcd/output?tail=10&follow=1 HTTP/1.1");
    assert_eq!(lines[1], "GET /v1/tasks/abcd/output?attempt=2&since=4&follow=1 HTTP/1.1");
    assert_eq!(lines[1], lines[2]);
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        at: Timestamp::from_unix_ms(0),
        kind: "ended".to_owned(),
        task: None,
        session: None,
        attempt: None,
        data: serde_json::Value::Null,
    }
}

#[test]
fn events_resume_after_the_last_one_seen_and_none_comes_twice() {
    let (first, second) = (event(5), event(6));
    let cut = &second.to_sse()[..10];
    let daemon = Daemon::start(vec![
        Step::Stream(sse_start(4)),
        Step::Stream(format!("{}{cut}", first.to_sse())),
        Step::Die,
        Step::Stream(second.to_sse()),
    ]);
    let client = Client::new(Options::new(daemon.socket()));
    run(async {
        let mut events = client.events(EventsQuery::default());
        assert_eq!(events.next().await.unwrap(), first);
        assert_eq!(events.next().await.unwrap(), second);
    });
    let lines: Vec<_> = daemon.finish().into_iter().map(|request| request.line).collect();
    assert_eq!(lines[0], "GET /v1/events HTTP/1.1");
    assert_eq!(lines[1], "GET /v1/events?since=4 HTTP/1.1");
    assert_eq!(lines[2], "GET /v1/events?since=5 HTTP/1.1");
    assert_eq!(lines[3], lines[2]);
}

#[test]
fn a_refused_stream_is_an_error_and_not_retried() {
    let error = ApiError::new(ErrorCode::Forbidden, "read the events of session other");
    let daemon = Daemon::start(vec![Step::error(error.clone())]);
    let client = Client::new(Options::new(daemon.socket()));
    let got = run(async { client.events(EventsQuery::default()).next().await });
    assert_eq!(got.unwrap_err(), error);
    assert_eq!(daemon.finish().len(), 1);
}

#[test]
fn an_answer_that_is_not_ours_is_named_by_its_status() {
    let body = b"<html>".to_vec();
    let daemon = Daemon::start(vec![Step::Answer { status: 502, length: body.len(), body }]);
    let error = run(Client::new(Options::new(daemon.socket())).lanes()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Protocol);
    assert!(error.message.contains("502"), "{}", error.message);
    daemon.finish();
}
