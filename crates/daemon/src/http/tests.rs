//! The server over a real socket, with a scripted loop: a thread that owns a store and answers letters.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::time::Duration;

use meanwhile_api::caller::CallerContext;
use meanwhile_api::change::{CancelRequest, ExtendRequest};
use meanwhile_api::client::{Client, Options};
use meanwhile_api::config::{ConfigQuery, ConfigSet};
use meanwhile_api::event::EventsQuery;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::list::ListQuery;
use meanwhile_api::output::OutputQuery;
use meanwhile_api::select::Select;
use meanwhile_api::submit::{Detail, Inherit, NewTask, Stdin, SubmitRequest};
use meanwhile_api::task::State as WireState;
use meanwhile_api::wait::{Until as WireUntil, Verdict, WaitRequest};
use meanwhile_api::{ApiError, ErrorCode, OsText, Span};
use meanwhile_core::event::{End, Event, Exit, Fact, RunFigures};
use meanwhile_core::{Answer, AttemptToken, Cause, State, TaskId, Wall};
use meanwhile_host::home::{Home, SOCKET};
use meanwhile_store::{Batch, Identity, Reader, SqliteStore, Store};
use tokio::sync::watch;

use super::*;
use crate::letters::{Ask, Bell, Change, Letter, LoopStatus, Postbox, Reply};
use crate::settings::Settings;

/// The scripted loop's memory, shared with the test.
struct Loop {
    store: SqliteStore,
    committed: watch::Sender<u64>,
    order: u64,
    waits: Vec<Letter>,
    hangups: usize,
    configured: Option<Settings>,
}

impl Loop {
    fn commit(&mut self, task: TaskId, fact: Fact) {
        let event = Event { at: Wall(1_000), task, attempt: 1, fact };
        let batch = Batch { events: &[event], ..Batch::default() };
        let committed = self.store.commit(&batch).unwrap();
        self.committed.send_replace(committed.last_seq);
    }

    fn start(&mut self, task: TaskId) {
        self.commit(task, Fact::Starting { token: AttemptToken([1; 16]) });
        self.commit(task, Fact::Started { pid: 11, supervisor_pid: 10, deadline: None });
    }

    fn end(&mut self, task: TaskId, state: State, log_bytes: u64) {
        let end = End {
            state,
            cause: Cause::Exit { code: i32::from(state != State::Completed) },
            exit: Some(Exit::Code(i32::from(state != State::Completed))),
            run: Some(RunFigures { log_bytes, ..RunFigures::default() }),
            seat_kept: false,
        };
        self.commit(task, Fact::Ended { end: Box::new(end), notice: None });
        let states = vec![(task, Some(state))];
        let about = |letter: &Letter| matches!(&letter.ask, Ask::Wait { wait, .. } if wait.targets.contains(&task));
        for letter in self.waits.extract_if(.., |letter| about(letter)) {
            let answer = Answer { states: states.clone(), met: true, timed_out: false };
            let _gone = letter.reply.send(Ok(Reply::Waited(answer)));
        }
    }

    fn take(&mut self, letter: Letter) {
        let reply = match &letter.ask {
            Ask::Wait { wait, .. } if wait.timeout.is_some() => {
                let states = wait.targets.iter().map(|id| (*id, None)).collect();
                Ok(Reply::Waited(Answer { states, met: false, timed_out: true }))
            }
            Ask::Wait { wait, .. } => {
                let states = self.store.states(&wait.targets).unwrap();
                if states.iter().any(|state| state.is_none_or(|state| !state.is_terminal())) {
                    return self.waits.push(letter);
                }
                let states = wait.targets.iter().copied().zip(states).collect();
                Ok(Reply::Waited(Answer { states, met: true, timed_out: false }))
            }
            Ask::Hangup(_) => {
                self.hangups += 1;
                return;
            }
            Ask::Views(ids) => Ok(Reply::Views(vec![None; ids.len()])),
            Ask::WriteDown => Ok(Reply::Done),
            Ask::Lanes => Ok(Reply::Lanes(Vec::new())),
            Ask::Status => {
                Ok(Reply::Status(LoopStatus { supervisors_busy: 1, ..LoopStatus::default() }))
            }
            Ask::Configure(settings) => {
                self.configured = Some((**settings).clone());
                Ok(Reply::Done)
            }
            Ask::Extend { .. } => {
                Err(ApiError::new(ErrorCode::WrongState, "no deadline").hint("none"))
            }
            _ => return self.change(letter),
        };
        let _gone = letter.reply.send(reply);
    }

    fn change(&mut self, letter: Letter) {
        let reply = match letter.ask {
            Ask::Submit(tasks) => {
                let ids = tasks.iter().map(|task| task.id).collect();
                for task in tasks {
                    self.order += 1;
                    let (spec, placement) = (task.spec, task.placement);
                    let order = self.order;
                    self.commit(
                        task.id,
                        Fact::Submitted { spec, placement, order, not_before: None },
                    );
                }
                Reply::Submitted(ids)
            }
            Ask::Cancel { targets, .. } => {
                let mut changes = Vec::new();
                for task in targets {
                    let before = self.store.states(&[task]).unwrap()[0].unwrap();
                    let acted = !before.is_terminal();
                    if acted {
                        self.end(task, State::Cancelled, 0);
                    }
                    changes.push(Change { task, before, acted });
                }
                Reply::Changed(changes)
            }
            Ask::Forget { tasks } => {
                let change = |task| Change { task, before: State::Completed, acted: true };
                let changes = tasks.iter().copied().map(change).collect();
                for task in tasks {
                    self.commit(task, Fact::Forgotten);
                }
                Reply::Changed(changes)
            }
            other => panic!("the script has no answer to {other:?}"),
        };
        let _gone = letter.reply.send(Ok(reply));
    }
}

/// A server with its loop, and a client's runtime.
struct Bench {
    _base: tempfile::TempDir,
    home: Arc<Home>,
    socket: PathBuf,
    world: Arc<Mutex<Loop>>,
    server: Option<Server>,
    runtime: tokio::runtime::Runtime,
}

fn bench() -> Bench {
    let base = tempfile::tempdir().unwrap();
    let home = Arc::new(crate::view::tests::home(&base.path().join("home")));
    let identity = Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() };
    let store = SqliteStore::open(&home.paths.database(), &identity).unwrap();
    let (committed, seen) = watch::channel(0);
    let (postbox, letters) = Postbox::new(Arc::new(Bell::new().unwrap()));
    let world =
        Loop { store, committed, order: 0, waits: Vec::new(), hangups: 0, configured: None };
    let world = Arc::new(Mutex::new(world));
    run_loop(Arc::clone(&world), letters);
    let socket = home.paths.state.join(SOCKET);
    let listener = UnixListener::bind(&socket).unwrap();
    let inputs = ContextInputs {
        postbox,
        home: Arc::clone(&home),
        settings: Arc::new(RwLock::new(Arc::new(Settings::default()))),
        committed: seen,
        sessions: watch::channel(Arc::default()).1,
        cgroups: Err(meanwhile_host::cgroup::NoCgroup::SwitchedOff),
        env_gate: Arc::default(),
    };
    let server = Some(start(listener, inputs).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Bench { _base: base, home, socket, world, server, runtime }
}

fn run_loop(world: Arc<Mutex<Loop>>, letters: mpsc::Receiver<Letter>) {
    std::thread::spawn(move || {
        for letter in letters {
            world.lock().unwrap().take(letter);
        }
    });
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The loop's end of every letter goes first, as when a daemon stops.
        if let Ok(mut world) = self.world.lock() {
            world.waits.clear();
        }
        self.server.take().expect("finished once").finish();
    }
}

impl Bench {
    fn client(&self, session: Option<&str>) -> Client {
        let mut options = Options::new(&self.socket);
        options.session = session.map(SessionClaim::explicit);
        Client::new(options)
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), future).await.expect("answered in time")
        })
    }

    fn submit_as(
        &self,
        session: Option<&str>,
        tasks: Vec<NewTask>,
    ) -> Result<Vec<TaskId>, ApiError> {
        let request = SubmitRequest {
            tasks,
            caller: self.caller(),
            inherit: Inherit::Caller,
            detail: Detail::Tasks,
        };
        let reply = self.run(self.client(session).submit(&request))?;
        assert_eq!(reply.tasks.len(), reply.accepted.len());
        Ok(reply.accepted.iter().map(|task| task.id.as_str().parse().unwrap()).collect())
    }

    fn submit(&self, tasks: Vec<NewTask>) -> Vec<TaskId> {
        self.submit_as(None, tasks).unwrap()
    }

    fn caller(&self) -> CallerContext {
        CallerContext {
            cwd: OsText::from(self.home.paths.state.as_path()),
            env: vec![
                (OsText::from("PATH"), OsText::from("/usr/bin:/bin")),
                (OsText::from("TOKEN"), OsText::from("hunter2")),
            ],
            umask: 0o022,
            rlimits: Vec::new(),
            terminal: None,
        }
    }

    fn world(&self) -> std::sync::MutexGuard<'_, Loop> {
        self.world.lock().unwrap()
    }

    fn write_log(&self, task: TaskId, text: &str) {
        use std::io::Write;
        self.home.attempt(task, 1).unwrap();
        let path = self.home.paths.attempt(task, 1).join("output.log");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Bytes to the socket as they are, and everything that comes back.
    fn raw(&self, request: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _cut_off = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _cut = stream.read_to_string(&mut answer);
        answer
    }
}

fn task() -> NewTask {
    NewTask { command: vec![OsText::from("true")], ..NewTask::default() }
}

fn wire(id: TaskId) -> meanwhile_api::TaskId {
    crate::view::wire_id(id)
}

fn wait_for(select: Select) -> WaitRequest {
    WaitRequest { select, any: false, until: WireUntil::Done, timeout: None }
}

#[test]
fn a_task_is_submitted_listed_and_found_by_prefix_and_name() {
    let bench = bench();
    let ids = bench.submit(vec![NewTask { name: Some("unit tests".into()), ..task() }, task()]);
    let client = bench.client(None);
    let list = bench.run(client.list(&ListQuery::default())).unwrap();
    assert_eq!((list.total, list.tasks.len()), (2, 2));
    assert_eq!(list.tasks[0].id, wire(ids[1]), "the newest first");
    for text in [ids[0].to_string(), ids[0].to_string()[..6].to_owned(), "unit tests".into()] {
        let found = bench.run(client.task(&text.as_str().into())).unwrap();
        assert_eq!(found.id, wire(ids[0]), "{text}");
        assert_eq!((found.state, found.lane.as_str()), (WireState::Queued, "commands"));
        assert_eq!(found.env_from.as_deref(), Some("caller"));
    }
    let both = bench.run(client.status(vec![wire(ids[1]), wire(ids[0])])).unwrap();
    assert_eq!(both.iter().map(|t| t.id.clone()).collect::<Vec<_>>(), [wire(ids[1]), wire(ids[0])]);
    let summary = bench.run(client.summary(&ListQuery::default())).unwrap();
    assert_eq!((summary.total, summary.states["queued"]), (2, 2));
}

#[test]
fn unknown_malformed_and_ambiguous_ids_are_told_apart() {
    let bench = bench();
    let twin = || NewTask { name: Some("twin".into()), ..task() };
    bench.submit(vec![twin(), twin()]);
    let client = bench.client(None);
    let code = |text: &str| bench.run(client.task(&text.into())).unwrap_err().code;
    assert_eq!(code("zzzzzzzzzz"), ErrorCode::NoSuchTask);
    assert_eq!(code("not an id"), ErrorCode::Usage);
    assert_eq!(code("../../etc/passwd"), ErrorCode::Usage);
    assert_eq!(code("twin"), ErrorCode::Ambiguous);
}

#[test]
fn a_task_that_is_named_very_often_is_looked_up_once() {
    let bench = bench();
    let named = NewTask { name: Some("one".into()), ..task() };
    bench.submit(vec![named]);
    let select = Select::Ids(vec!["one".into(); 300_000]);
    let begun = std::time::Instant::now();
    let cancelled =
        bench.run(bench.client(None).cancel(&CancelRequest { select, wait: false, cascade: true }));
    assert_eq!(cancelled.unwrap().tasks.len(), 1);
    // A look-up of each takes a minute here.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn an_environment_is_kept_in_an_owner_only_file_and_named_in_the_spec() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench();
    let id = bench.submit(vec![task()])[0];
    let spec = bench.world().store.spec(id).unwrap().unwrap();
    let file = bench.home.paths.state.join("env").join(spec.env.captured.unwrap());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().contains("TOKEN=hunter2"));
}

#[test]
fn an_agent_cannot_see_change_or_wait_for_another_sessions_tasks() {
    let bench = bench();
    let own = bench.submit_as(Some("s1"), vec![task()]).unwrap()[0];
    let other = bench.submit(vec![task()])[0];
    let agent = bench.client(Some("s1"));
    let list = bench.run(agent.list(&ListQuery::default())).unwrap();
    assert_eq!(list.tasks.iter().map(|t| t.id.clone()).collect::<Vec<_>>(), [wire(own)]);
    let forbidden = |code: ErrorCode| assert_eq!(code, ErrorCode::Forbidden);
    forbidden(bench.run(agent.task(&wire(other))).unwrap_err().code);
    let any = ListQuery { any_session: true, ..ListQuery::default() };
    forbidden(bench.run(agent.list(&any)).unwrap_err().code);
    let cancel = |select| CancelRequest { select, wait: true, cascade: true };
    forbidden(bench.run(agent.cancel(&cancel(Select::Ids(vec![wire(other)])))).unwrap_err().code);
    forbidden(bench.run(agent.cancel(&cancel(Select::Everything))).unwrap_err().code);
    forbidden(bench.run(agent.wait(&wait_for(Select::Session("user".into())))).unwrap_err().code);
    let set = ConfigSet { key: "limits.depth".into(), value: Some("9".into()) };
    forbidden(bench.run(agent.config_set(&set)).unwrap_err().code);
    let cancelled = bench.run(agent.cancel(&cancel(Select::Own))).unwrap();
    assert_eq!(cancelled.tasks.len(), 1);
    assert_eq!(bench.run(bench.client(None).list(&ListQuery::default())).unwrap().total, 2);
}

#[test]
fn a_wait_ends_with_its_tasks_and_says_whether_all_went_well() {
    let bench = bench();
    let ids = bench.submit(vec![task(), task()]);
    let client = bench.client(None);
    {
        let mut world = bench.world();
        world.start(ids[0]);
        world.start(ids[1]);
        world.end(ids[1], State::Failed, 0);
    }
    let world = Arc::clone(&bench.world);
    let first = ids[0];
    let reply = bench.run(async {
        let select = Select::Ids(vec![wire(ids[0])]);
        let request = wait_for(select);
        let waiting = client.wait(&request);
        let ending = async {
            // The wait is in the loop's hands before the task ends.
            while world.lock().unwrap().waits.is_empty() {
                tokio::task::yield_now().await;
            }
            world.lock().unwrap().end(first, State::Completed, 0);
        };
        tokio::join!(waiting, ending).0
    });
    let reply = reply.unwrap();
    assert_eq!((reply.verdict, reply.tasks[0].state), (Verdict::Met, WireState::Completed));
    let reply = bench.run(client.wait(&wait_for(Select::Ids(vec![wire(ids[1])])))).unwrap();
    assert_eq!(reply.verdict, Verdict::NotMet);
    let nothing = bench.run(client.wait(&wait_for(Select::Own))).unwrap();
    assert_eq!((nothing.verdict, nothing.tasks.len()), (Verdict::Met, 0));
    let unknown = bench.run(client.wait(&wait_for(Select::Group("none".into())))).unwrap_err();
    assert_eq!(unknown.exit.code(), 3);
}

#[test]
fn a_wait_that_times_out_says_so_and_a_client_that_vanishes_is_told_to_the_loop() {
    let bench = bench();
    let id = bench.submit(vec![task()])[0];
    let client = bench.client(None);
    let timed =
        WaitRequest { timeout: Some(Span::from_secs(1)), ..wait_for(Select::Ids(vec![wire(id)])) };
    assert_eq!(bench.run(client.wait(&timed)).unwrap().verdict, Verdict::TimedOut);
    bench.run(async {
        let request = wait_for(Select::Ids(vec![wire(id)]));
        tokio::select! {
            _ = client.wait(&request) => panic!("nothing has ended"),
            () = async { while bench.world().waits.is_empty() { tokio::task::yield_now().await } } => {}
        }
    });
    drop(client);
    bench.run(async {
        while bench.world().hangups == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn cancelling_what_has_ended_says_so() {
    let bench = bench();
    let ids = bench.submit(vec![task(), task()]);
    {
        let mut world = bench.world();
        world.start(ids[0]);
        world.end(ids[0], State::Completed, 0);
    }
    let select = Select::Ids(vec![wire(ids[0]), wire(ids[1])]);
    let request = CancelRequest { select, wait: true, cascade: true };
    let reply = bench.run(bench.client(None).cancel(&request)).unwrap();
    assert_eq!(reply.already_ended, [wire(ids[0])]);
    let states: Vec<_> = reply.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [WireState::Completed, WireState::Cancelled]);
}

#[test]
fn following_answers_when_the_log_grows_and_when_the_task_ends() {
    let bench = bench();
    let id = bench.submit(vec![task()])[0];
    let client = bench.client(None);
    let page = bench.run(client.output(&wire(id), &OutputQuery::default())).unwrap();
    assert_eq!((page.text.len(), page.ended), (0, false));
    let follow = |since| OutputQuery { since: Some(since), follow: true, ..OutputQuery::default() };
    // Nothing has been written when it is asked: the answer comes with the first line.
    let world = Arc::clone(&bench.world);
    let page = bench.run(async {
        let query = follow(0);
        let id_text = wire(id);
        let following = client.output(&id_text, &query);
        let working = async {
            world.lock().unwrap().start(id);
            tokio::task::yield_now().await;
            bench.write_log(id, "first\n");
        };
        tokio::join!(following, working).0.unwrap()
    });
    assert_eq!((page.text.as_str(), page.state), (Some("first\n"), WireState::Running));
    let page = bench.run(async {
        let query = follow(page.next_cursor);
        let id_text = wire(id);
        let following = client.output(&id_text, &query);
        let working = async { world.lock().unwrap().end(id, State::Completed, 6) };
        tokio::join!(following, working).0.unwrap()
    });
    assert_eq!((page.text.len(), page.ended, page.bytes), (0, true, 6));
}

#[test]
fn what_is_uploaded_becomes_the_tasks_standard_input() {
    let bench = bench();
    let client = bench.client(None);
    let upload = bench.run(client.upload_stdin("input\n".into())).unwrap();
    assert_eq!(upload.bytes, 6);
    let with_input = || NewTask { stdin: Stdin::Spooled(upload.token.clone()), ..task() };
    let id = bench.submit(vec![with_input()])[0];
    let spooled = bench.home.paths.state.join("stdin").join(id.to_string());
    assert_eq!(std::fs::read_to_string(spooled).unwrap(), "input\n");
    // The same request sent again finds the upload still there.
    bench.submit(vec![with_input()]);
    let missing = NewTask { stdin: Stdin::Spooled(format!("upload-{}", "0".repeat(32))), ..task() };
    assert_eq!(bench.submit_as(None, vec![missing]).unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn a_setting_is_written_and_in_force_at_once() {
    let bench = bench();
    let client = bench.client(None);
    let set = ConfigSet { key: "lanes.commands.limit".into(), value: Some("7".into()) };
    let entry = bench.run(client.config_set(&set)).unwrap();
    assert_eq!((entry.value, entry.default), (7.into(), 3.into()));
    let configured = bench.world().configured.clone().unwrap();
    assert_eq!(configured.core().lane_limit(&meanwhile_core::LaneName::new("commands")), Some(7));
    let all = bench.run(client.config(&ConfigQuery::default())).unwrap();
    assert!(all.entries.len() > 15, "{}", all.entries.len());
    let bad = ConfigSet { key: "limits.strats".into(), value: Some("7".into()) };
    let error = bench.run(client.config_set(&bad)).unwrap_err();
    assert_eq!(error.exit.code(), 2);
    assert!(error.hint[0].contains("limits.starts"), "{error:?}");
}

#[test]
fn events_are_told_from_a_number_on_and_as_they_happen() {
    let bench = bench();
    let first = bench.submit(vec![task()])[0];
    let client = bench.client(None);
    let world = Arc::clone(&bench.world);
    let kinds = bench.run(async {
        let query = EventsQuery { since: Some(0), ..EventsQuery::default() };
        let mut events = client.events(query);
        let mut kinds = vec![events.next().await.unwrap()];
        world.lock().unwrap().start(first);
        kinds.push(events.next().await.unwrap());
        kinds.push(events.next().await.unwrap());
        kinds
    });
    let seen: Vec<_> = kinds.iter().map(|event| (event.seq, event.kind.as_str())).collect();
    assert_eq!(seen, [(1, "submitted"), (2, "starting"), (3, "started")]);
    assert_eq!(kinds[0].session.as_deref(), Some("user"));
    assert_eq!(kinds[2].data["pid"], 11);
}

#[test]
fn the_daemon_says_what_it_is_and_the_loops_refusals_come_through() {
    let bench = bench();
    let id = bench.submit(vec![task()])[0];
    let client = bench.client(None);
    let status = bench.run(client.daemon()).unwrap();
    assert_eq!((status.pid, status.supervisors), (std::process::id(), 1));
    assert_eq!((status.tasks.total, status.store.last_event), (1, 1));
    let doctor = bench.run(client.doctor()).unwrap();
    assert!(doctor.checks.iter().any(|check| check.name == "store.integrity"));
    let extend = ExtendRequest { by: Span::from_secs(60) };
    let error = bench.run(client.extend(&wire(id), &extend)).unwrap_err();
    assert_eq!((error.code, error.hint.len()), (ErrorCode::WrongState, 1));
}

#[test]
fn cleaning_forgets_ended_tasks_alone() {
    let bench = bench();
    let ids = bench.submit(vec![task(), task()]);
    {
        let mut world = bench.world();
        world.start(ids[0]);
        world.end(ids[0], State::Completed, 0);
    }
    let client = bench.client(None);
    let cleaned = bench.run(client.clean(&meanwhile_api::upkeep::CleanRequest::default())).unwrap();
    assert_eq!(cleaned.tasks, 1);
    let left = bench.run(client.list(&ListQuery::default())).unwrap();
    assert_eq!(left.tasks.iter().map(|t| t.id.clone()).collect::<Vec<_>>(), [wire(ids[1])]);
}

#[test]
fn what_is_no_request_of_ours_is_answered_with_an_error_and_not_served() {
    let bench = bench();
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let get = |path: &str, header: &str| {
        bench.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}connection: close\r\n\r\n"))
    };
    assert_eq!(status(&get("/v1/nothing", "")), "404");
    assert_eq!(status(&get("/v1/tasks?colour=red", "")), "400");
    assert_eq!(status(&get("/v1/tasks", "meanwhile-protocol: 99\r\n")), "426");
    assert_eq!(status(&get("/v1/tasks", "meanwhile-session: nonsense\r\n")), "400");
    let fine = get("/v1/tasks", "");
    assert_eq!(status(&fine), "200");
    assert!(fine.contains("meanwhile-protocol: 1-1"), "{fine}");
    assert_eq!(status(&get("/v1/openapi.json", "")), "200");
    // The answer may be lost with the connection, which is closed with bytes unread.
    let endless = status(&get("/v1/tasks", &format!("x: {}\r\n", "y".repeat(1_000_000))));
    assert!(["431", ""].contains(&endless.as_str()), "{endless}");
    let post = |body: &str| {
        let length = body.len();
        bench.raw(&format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    };
    assert_eq!(status(&post("not json")), "400");
    assert_eq!(status(&post("{\"tasks\": 3}")), "400");
    let refused = post("{\"tasks\":[],\"caller\":{\"cwd\":\"/\",\"env\":[],\"umask\":18}}");
    assert_eq!(status(&refused), "400");
    assert!(refused.contains("\"exit\":2"), "{refused}");
}
