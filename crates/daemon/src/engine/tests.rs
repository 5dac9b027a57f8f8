//! The loop against supervisors that say what a test wants: the ways of a start and of an end that real ones
//! go once in a thousand times.
//!
//! Owns the scripted supervisor: it holds an owner file's lock and listens where its header says, as after a
//! restart of the daemon. New supervisors are the test's own program, which ends at once on their arguments.

mod recovery;

use std::time::Duration;

use meanwhile_core::cause::Cause;
use meanwhile_core::time::Due;
use meanwhile_core::{Actor, Boot, Event, Fact, State, Wall};
use meanwhile_host::spawn_supervisor::{Executable, SupervisorStarter};
use meanwhile_store::{Batch, Identity, MemoryStore, Reader};
use meanwhile_supervisor::exit::{EndWhy, ExitRecord, Leaked, TreeState, Usage};
use meanwhile_supervisor::owner::{Owner, OwnerHeader};
use meanwhile_supervisor::wire::{
    self, Connection, FromSupervisor, Phase, RefusedWhy, Running, Token,
};

use super::*;
use crate::letters::{Ask, Claim};
use crate::view::tests::{home, record};

const BOOT: &str = "this boot";
const NAME: &str = "scripted.sock";

struct NoChecks;

impl ReadinessWatch for NoChecks {
    fn watch(&self, _: TaskId, _: u32, _: AttemptToken, _: meanwhile_core::spec::Readiness) {}
}

struct Bench {
    _base: tempfile::TempDir,
    home: Arc<Home>,
    store: MemoryStore,
    postbox: Postbox,
    engine: Option<Engine>,
    parts: Option<(mpsc::Receiver<Letter>, Arc<Bell>)>,
    order: u64,
}

fn identity(boot: &str) -> Identity {
    Identity { machine: "m".into(), pid_namespace: 1, boot: boot.into() }
}

fn token(task: TaskId) -> AttemptToken {
    let mut bytes = [0; 16];
    bytes[..10].copy_from_slice(&task.to_ascii());
    AttemptToken(bytes)
}

impl Bench {
    /// A home whose store was last used in this boot of the machine.
    fn new(boot: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        let home = Arc::new(home(&base.path().join("home")));
        let bell = Arc::new(Bell::new().unwrap());
        let (postbox, letters) = Postbox::new(Arc::clone(&bell));
        Self {
            _base: base,
            home,
            store: MemoryStore::new(identity(boot)),
            postbox,
            engine: None,
            parts: Some((letters, bell)),
            order: 0,
        }
    }

    fn record(&mut self, task: TaskId, fact: Fact) {
        let event = Event { at: Wall(1), task, attempt: 1, fact };
        let batch = Batch { now: clock::now(), events: &[event], ..Batch::default() };
        self.store.commit(&batch).unwrap();
    }

    fn queued(&mut self, bits: u64) -> TaskId {
        self.queued_until(bits, None)
    }

    fn queued_until(&mut self, bits: u64, not_before: Option<Due>) -> TaskId {
        let record = record(bits);
        self.order += 1;
        let fact = Fact::Submitted {
            spec: Box::new(record.spec),
            placement: Box::new(record.placement),
            order: self.order,
            not_before,
        };
        self.record(record.id, fact);
        record.id
    }

    fn running(&mut self, bits: u64) -> TaskId {
        let task = self.queued(bits);
        self.record(task, Fact::Starting { token: token(task) });
        self.record(task, Fact::Started { pid: 1, supervisor_pid: 2, deadline: None });
        task
    }

    /// Starts the loop, with one seat in every lane.
    fn start(&mut self) {
        let (letters, bell) = self.parts.take().unwrap();
        let executable: &'static _ = Box::leak(Box::new(Executable::own().unwrap()));
        let run: &'static _ = Box::leak(Box::new(self.home.run().unwrap()));
        let starter = Starter::new(
            StarterInputs {
                paths: self.home.paths.clone(),
                spawner: SupervisorStarter::new(executable, run, &Default::default()),
                cgroups: None,
                identity: identity(BOOT),
                boot_id: [1; 16],
                init: wire::Init::default(),
                bin: b"/bin/meanwhile".to_vec(),
            },
            meanwhile_host::env_store::EnvStore::new(self.home.env().unwrap()),
            self.home.run().unwrap(),
        );
        let settings = Settings { default_lane_limit: 1, ..Settings::default() };
        let mut lanes = settings.lane_limits.clone();
        lanes.insert(meanwhile_core::LaneName::new("commands"), 1);
        let parts = Parts {
            home: Arc::clone(&self.home),
            store: Box::new(self.store.clone()),
            settings: Arc::new(Settings { lane_limits: lanes, ..settings }),
            letters,
            postbox: self.postbox.clone(),
            bell,
            committed: watch::channel(0).0,
            sessions: watch::channel(Arc::default()).0,
            readiness: Box::new(NoChecks),
            starter,
            env_gate: Arc::default(),
        };
        self.engine = Some(Engine::new(parts).unwrap_or_else(|e| panic!("{e:?}")));
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    fn ask(&self, ask: Ask) -> oneshot::Receiver<Result<Reply, ApiError>> {
        let (reply, answer) = oneshot::channel();
        self.postbox.post(Letter { ask, request: None, reply, claim: Claim::default() });
        answer
    }

    fn cancel(&self, task: TaskId) {
        drop(self.ask(Ask::Cancel { targets: vec![task], by: Actor::Person, cascade: false }));
    }

    /// One turn that does not wait for anything.
    fn turn(&mut self) {
        drop(self.ask(Ask::Status));
        self.engine().turn().unwrap_or_else(|e| panic!("{e:?}"));
    }

    /// Turns until it is so; each waits for what comes next.
    #[track_caller]
    fn until(&mut self, so: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if so(self) {
                return;
            }
            self.engine().turn().unwrap_or_else(|e| panic!("{e:?}"));
        }
        panic!("it never came");
    }

    fn state(&self, task: TaskId) -> State {
        self.store.clone().states(&[task]).unwrap()[0].unwrap()
    }

    fn cause(&self, task: TaskId) -> Cause {
        let record = self.store.clone().task(task).unwrap().unwrap();
        record.attempts.last().unwrap().cause.clone().unwrap()
    }

    fn holder(&self, task: TaskId) -> Option<fleet::MemberKey> {
        let engine = self.engine.as_ref().unwrap();
        engine.fleet.holder(engine.core.task(task)?.token?)
    }

    /// The file that the next start of a task will claim.
    fn owner_path(&self, task: TaskId) -> std::path::PathBuf {
        drop(self.home.attempt(task, 1).unwrap());
        self.home.paths.attempt(task, 1).join("owner")
    }
}

/// The record of an attempt that did its work and left nothing.
fn record_of(token: Token) -> ExitRecord {
    ExitRecord {
        token,
        wait_status: Some(0),
        spawn_error: None,
        why: EndWhy::Exited,
        tree: TreeState::Empty,
        run_ms: 1,
        started_wall_ms: 1,
        ended_wall_ms: 2,
        usage: Usage::default(),
        log_bytes: 0,
        dropped_bytes: 0,
        leaked: Leaked::default(),
    }
}

/// A supervisor whose task has ended and that was just asked to take the next one, with that one's attempt.
fn asked_while_idle() -> (Bench, Scripted, TaskId, Token) {
    let mut bench = Bench::new(BOOT);
    let (task, next) = (bench.running(1), bench.queued(2));
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let key = bench.holder(task);
    supervisor.ends(&mut bench);
    assert!(key.is_some());
    assert_eq!(bench.holder(next), key, "the idle supervisor was asked");
    let token = Token(bench.engine().core.task(next).unwrap().token.unwrap().0);
    (bench, supervisor, next, token)
}

/// A supervisor that has this task and waits to be found.
struct Scripted {
    listener: std::os::unix::net::UnixListener,
    _lock: Owner,
    connection: Option<Connection>,
    task: TaskId,
}

impl Scripted {
    fn of(bench: &Bench, task: TaskId) -> Self {
        let dir = bench.home.attempt(task, 1).unwrap();
        let header = OwnerHeader {
            token: Token(token(task).0),
            boot_id: [1; 16],
            pid_namespace: 1,
            pid: std::process::id(),
            start_time: 1,
            cgroup: None,
            protocol: 1,
            socket_name: NAME.into(),
        };
        let lock = Owner::create(&dir, &header).unwrap();
        let listener = bench.home.run().unwrap().bind_socket(NAME).unwrap();
        Self { listener, _lock: lock, connection: None, task }
    }

    /// Is found, and says what it has.
    fn found(&mut self, bench: &mut Bench, phase: Phase) {
        bench.until(|b| b.holder(self.task).is_some());
        let (socket, _) = self.listener.accept().unwrap();
        self.connection = Some(Connection::new(socket.into()).unwrap());
        let current = Running {
            token: Token(token(self.task).0),
            task: wire::TaskId(self.task.to_ascii()),
            attempt: 1,
            main: Some((1, 1)),
            started_wall_ms: 1,
            phase,
            log_bytes: 0,
            dropped_bytes: 0,
        };
        let hello =
            FromSupervisor::Hello { protocol: 1, pid: 1, start_time: 1, current: Some(current) };
        self.say(bench, &hello);
    }

    fn say(&mut self, bench: &mut Bench, message: &FromSupervisor) {
        let connection = self.connection.as_mut().unwrap();
        connection.say(message);
        connection.flush().unwrap();
        bench.turn();
    }

    fn ends(&mut self, bench: &mut Bench) {
        let record = record_of(Token(token(self.task).0));
        self.say(bench, &FromSupervisor::Ended(Box::new(record)));
    }
}

#[test]
fn the_seat_of_an_unkillable_task_is_freed_when_its_supervisor_says_that_it_is_empty() {
    for restarted in [false, true] {
        let mut bench = Bench::new(BOOT);
        let (task, next) = (bench.running(1), bench.queued(2));
        let mut supervisor = Scripted::of(&bench, task);
        bench.start();
        if restarted {
            // It said so to the last daemon, which died before it wrote it down.
            supervisor.found(&mut bench, Phase::Unkillable);
        } else {
            supervisor.found(&mut bench, Phase::Running);
            let token = Token(token(task).0);
            supervisor.say(&mut bench, &FromSupervisor::Unkillable { token, pids: vec![1] });
        }
        assert_eq!((bench.state(task), bench.cause(task)), (State::Failed, Cause::Unkillable));
        bench.turn();
        assert_eq!(bench.state(next), State::Queued, "its seat is taken");
        let key = bench.holder(task);
        assert!(key.is_some(), "it is not free for other work");
        supervisor.ends(&mut bench);
        assert_eq!(bench.state(next), State::Starting);
        assert_eq!(bench.holder(next), key, "now it is");
    }
}

#[test]
fn a_cancel_is_not_lost_with_the_supervisor_that_refused_the_start() {
    let mut bench = Bench::new(BOOT);
    let (task, next) = (bench.running(1), bench.queued(2));
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    supervisor.ends(&mut bench);
    assert!(bench.holder(next).is_some(), "the idle supervisor was asked");
    let token = bench.engine().core.task(next).unwrap().token.unwrap();
    bench.cancel(next);
    bench.turn();
    let refused = FromSupervisor::Refused { token: Token(token.0), why: RefusedWhy::Leaving };
    supervisor.say(&mut bench, &refused);
    assert_eq!(bench.state(next), State::Cancelled, "and it was not started anew");
    assert_eq!(bench.engine().fleet.counts().0, 0);
}

#[test]
fn an_attempt_that_ran_and_whose_file_is_gone_is_lost_and_never_stuck() {
    let check = |boot: &str, cause: Cause| {
        let mut bench = Bench::new(boot);
        let (task, next) = (bench.running(1), bench.queued(2));
        drop(bench.home.attempt_tmp(task, 1).unwrap());
        let tmp = bench.home.paths.attempt_tmp(task, 1);
        std::fs::write(tmp.join("large"), "x").unwrap();
        bench.start();
        bench.until(|b| b.state(task).is_terminal());
        if cause == Cause::Lost {
            assert!(!tmp.exists(), "what nobody needs is deleted");
        }
        assert_eq!((bench.state(task), bench.cause(task)), (State::Interrupted, cause));
        bench.turn();
        assert_ne!(bench.state(next), State::Queued, "the seat is free");
    };
    check(BOOT, Cause::Lost);
    check("an earlier boot", Cause::Reboot);
}

/// Files are not synced: after a power cut the mark of a start may be gone, the file with it.
#[test]
fn what_was_starting_when_the_machine_went_down_is_not_run_again_as_the_same_attempt() {
    for file_survives in [false, true] {
        let mut bench = Bench::new("an earlier boot");
        let task = bench.queued(1);
        bench.record(task, Fact::Starting { token: token(task) });
        if file_survives {
            drop(Scripted::of(&bench, task));
        }
        bench.start();
        bench.until(|b| b.state(task).is_terminal());
        assert_eq!((bench.state(task), bench.cause(task)), (State::Interrupted, Cause::Reboot));
    }
}

#[test]
fn a_queue_found_at_the_start_is_looked_at_though_nothing_happens_and_nothing_is_due() {
    let mut bench = Bench::new(BOOT);
    let task = bench.queued(1);
    bench.start();
    // Retention alone may have been due, and it can be switched off.
    assert!(!bench.engine().follow_ups.is_empty(), "the first turn waits for nothing");
    bench.engine().turn().unwrap_or_else(|e| panic!("{e:?}"));
    assert_ne!(bench.state(task), State::Queued);
}

#[test]
fn a_task_that_is_forgotten_twice_in_one_turn_is_forgotten_once_and_is_unknown_at_once() {
    let mut bench = Bench::new(BOOT);
    let task = bench.queued(1);
    bench.start();
    bench.cancel(task);
    bench.turn();
    let mut answers: Vec<_> = [vec![task, task], vec![task]]
        .into_iter()
        .map(|tasks| bench.ask(Ask::Forget { tasks }))
        .collect();
    let mut retry = bench.ask(Ask::Retry { task, by: Actor::Person, env: None });
    bench.turn();
    let changes: Vec<usize> = answers
        .iter_mut()
        .map(|answer| match answer.try_recv().unwrap().unwrap() {
            Reply::Changed(changes) => changes.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(changes, [1, 0]);
    assert!(retry.try_recv().unwrap().is_err(), "what is forgotten is not tried again");
    assert_eq!(bench.store.clone().states(&[task]).unwrap(), [None]);
}

#[test]
fn an_idle_supervisor_is_kept_when_a_start_for_it_fails() {
    let mut bench = Bench::new(BOOT);
    let (task, bad, good) = (bench.running(1), bench.queued(2), bench.queued(3));
    std::fs::create_dir(bench.owner_path(bad)).unwrap();
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let key = bench.holder(task);
    supervisor.ends(&mut bench);
    bench.turn();
    assert!(matches!(bench.cause(bad), Cause::SpawnError { .. }), "{:?}", bench.cause(bad));
    assert_eq!(bench.holder(good), key);
}

#[test]
fn a_start_for_which_there_is_no_room_is_tried_again_and_can_be_cancelled() {
    for cancelled in [false, true] {
        let mut bench = Bench::new(BOOT);
        let (task, next) = (bench.running(1), bench.queued(2));
        // Whoever has the lock makes the claim fail as a want of descriptors or processes does.
        let path = bench.owner_path(next).with_file_name("owner.new");
        let looked_at = std::fs::File::create(&path).unwrap();
        looked_at.lock().unwrap();
        let mut supervisor = Scripted::of(&bench, task);
        bench.start();
        supervisor.found(&mut bench, Phase::Running);
        supervisor.ends(&mut bench);
        bench.turn();
        assert_eq!((bench.state(next), bench.holder(next)), (State::Starting, None));
        if cancelled {
            bench.cancel(next);
            bench.until(|b| b.state(next).is_terminal());
            assert_eq!(bench.state(next), State::Cancelled);
        } else {
            drop(looked_at);
            bench.until(|b| b.holder(next).is_some());
            assert_eq!(bench.state(next), State::Starting);
        }
        bench.turn();
        assert_eq!(bench.engine().postponed_due(), None);
    }
}

#[test]
fn a_start_for_which_a_supervisor_has_no_room_waits_says_why_and_can_be_cancelled() {
    let (mut bench, mut supervisor, next, token) = asked_while_idle();
    let why = RefusedWhy::Shortage(rustix::io::Errno::AGAIN.raw_os_error());
    supervisor.say(&mut bench, &FromSupervisor::Refused { token, why });
    assert_eq!((bench.state(next), bench.holder(next)), (State::Starting, None));
    assert!(bench.engine().postponed_due().is_some(), "it is tried again");
    let mut views = bench.ask(Ask::Views(vec![next]));
    bench.turn();
    let Reply::Views(views) = views.try_recv().unwrap().unwrap() else { panic!("no views") };
    let why = views[0].as_ref().unwrap().view.why.clone();
    assert!(matches!(why, Some(meanwhile_core::machine::Why::Shortage { .. })), "{why:?}");
    bench.cancel(next);
    bench.until(|b| b.state(next).is_terminal());
    assert_eq!(bench.state(next), State::Cancelled);
    bench.turn();
    assert_eq!(bench.engine().postponed_due(), None);
}

#[test]
fn a_task_that_runs_is_told_as_running_before_that_is_on_disk() {
    let (mut bench, mut supervisor, next, token) = asked_while_idle();
    let started =
        FromSupervisor::Started { token, pid: 7, start_time: 1, wall_ms: 1, in_cgroup: false };
    supervisor.say(&mut bench, &started);
    assert_eq!(bench.state(next), State::Starting, "it costs no commit of its own");
    let mut views = bench.ask(Ask::Views(vec![next]));
    bench.turn();
    let Reply::Views(views) = views.try_recv().unwrap().unwrap() else { panic!("no views") };
    let started = views[0].as_ref().unwrap().started.as_ref().map(|event| &event.fact);
    assert!(matches!(started, Some(Fact::Started { pid: 7, .. })), "{started:?}");
    // Whoever counts states has it written down first.
    drop(bench.ask(Ask::WriteDown));
    bench.turn();
    assert_eq!(bench.state(next), State::Running);
    drop(bench.ask(Ask::WriteDown));
    bench.turn();
    let due = bench.engine().next_due();
    assert!(due.is_none_or(|due| due > clock::boot()), "nothing is left that is due: {due:?}");
}

#[test]
fn input_that_nobody_takes_is_refused() {
    let mut bench = Bench::new(BOOT);
    let (task, next) = (bench.running(1), bench.queued(2));
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    let input = |task| Ask::Input { task, bytes: b"y".to_vec(), close: false };
    let ask = |bench: &mut Bench, task| {
        let mut answer = bench.ask(input(task));
        bench.turn();
        answer.try_recv().unwrap().map_err(|error| error.code)
    };
    assert_eq!(ask(&mut bench, next), Err(meanwhile_api::ErrorCode::WrongState), "it is queued");
    supervisor.found(&mut bench, Phase::Running);
    assert_eq!(ask(&mut bench, task), Ok(Reply::Done));
}

#[test]
fn every_stop_is_answered_and_what_cannot_be_killed_does_not_keep_the_daemon() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let stop = || Ask::Stop { cancel_all: true, hand_over: false, by: Actor::Person };
    let mut answers = [bench.ask(stop()), bench.ask(stop())];
    bench.turn();
    assert!(!bench.engine().may_end(), "the task has not ended");
    let token = Token(token(task).0);
    supervisor.say(&mut bench, &FromSupervisor::Unkillable { token, pids: vec![1] });
    assert!(bench.engine().may_end());
    drop(bench.engine.take().unwrap().end());
    for answer in &mut answers {
        assert_eq!(answer.try_recv().unwrap().unwrap(), Reply::Done);
    }
}

/// In an hour: longer than any test.
fn later() -> Due {
    const HOUR: Duration = Duration::from_secs(3600);
    let now = clock::now();
    Due { boot: now.boot.after(HOUR), wall: now.wall.after(HOUR) }
}

#[test]
fn while_work_waits_and_nothing_runs_one_supervisor_is_kept() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let delayed = bench.queued_until(2, Some(later()));
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let key = bench.holder(task);
    // Until the task's supervisor was reached, there may have been another one in its stead.
    bench.until(|b| b.engine.as_ref().unwrap().guard.member.is_none());
    supervisor.ends(&mut bench);
    bench.turn();
    assert_eq!(bench.engine().guard.member, key);
    bench.cancel(delayed);
    bench.turn();
    bench.turn();
    assert_eq!(bench.engine().guard.member, None, "it is let go with the last work");
}

#[test]
fn a_guard_that_ends_at_once_is_not_started_again_and_again() {
    let mut bench = Bench::new(BOOT);
    bench.queued_until(1, Some(later()));
    bench.start();
    bench.until(|b| b.engine.as_ref().unwrap().guard.again_at.is_some());
    assert_eq!(bench.engine().fleet.counts(), (0, 0));
    let soon = clock::boot().after(Duration::from_secs(60));
    assert!(bench.engine().next_due().is_some_and(|due| due < soon), "it is tried again later");
}

#[test]
fn nothing_is_due_in_the_past_once_a_turn_is_over() {
    let mut bench = Bench::new(BOOT);
    bench.queued(1);
    bench.start();
    bench.until(|b| b.engine.as_ref().unwrap().core.unfinished() == 0);
    let due: Option<Boot> = bench.engine().next_due();
    let soon = clock::boot().after(Duration::from_millis(1));
    assert!(due.is_none_or(|due| due > soon), "{due:?}");
}

#[test]
fn a_daemon_that_starts_on_a_full_disk_records_ends_by_its_reserve() {
    let mut bench = Bench::new(BOOT);
    let (task, next) = (bench.running(1), bench.queued(2));
    let mut supervisor = Scripted::of(&bench, task);
    bench.store.fail_next_commit(meanwhile_store::MemoryFault::Full);
    bench.start();
    bench.turn();
    assert_eq!(bench.engine().status.held.as_deref(), Some("disk full"));
    supervisor.found(&mut bench, Phase::Running);
    supervisor.ends(&mut bench);
    assert_eq!(bench.state(task), State::Completed);
    assert_eq!(bench.state(next), State::Queued, "nothing starts");
}

#[test]
fn nobody_is_told_of_what_could_not_be_committed() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    bench.store.fail_next_commit(meanwhile_store::MemoryFault::IoLost);
    let mut answer =
        bench.ask(Ask::Cancel { targets: vec![task], by: Actor::Person, cascade: true });
    let ending = bench.engine().turn();
    assert!(matches!(ending, Err(Ending::Store(StoreError::Io { .. }))), "{ending:?}");
    bench.engine = None;
    assert!(matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

#[test]
fn many_supervisors_lost_at_once_are_looked_after_in_turn() {
    let mut bench = Bench::new(BOOT);
    let tasks: Vec<TaskId> = (1..=30).map(|bits| bench.running(bits)).collect();
    bench.start();
    for task in &tasks {
        bench.until(|b| {
            assert!(b.engine.as_ref().unwrap().remains_at_once <= 8);
            b.state(*task).is_terminal()
        });
        assert_eq!(bench.cause(*task), Cause::Lost);
    }
    assert_eq!(bench.engine().remains_at_once, 0);
}

#[test]
fn prune_settles_an_attempt_that_nobody_has() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    bench.start();
    bench.engine().unreached.clear();
    bench.turn();
    drop(bench.ask(Ask::Prune));
    bench.until(|b| b.state(task).is_terminal());
    assert_eq!(bench.cause(task), Cause::Lost);
}

/// The daemon died between the commit and the deletion: nobody would come for the files any more.
#[test]
fn files_of_tasks_that_were_just_forgotten_are_deleted_by_the_next_daemon() {
    let mut bench = Bench::new(BOOT);
    let (gone, kept) = (bench.queued(1), bench.queued(2));
    for task in [gone, kept] {
        drop(bench.home.attempt(task, 1).unwrap());
    }
    let cause = Cause::CancelledBy { who: Actor::Person };
    let end = meanwhile_core::event::End {
        state: State::Cancelled,
        cause,
        exit: None,
        run: None,
        seat_kept: false,
    };
    bench.record(gone, Fact::Ended { end: Box::new(end), notice: None });
    bench.record(gone, Fact::Forgotten);
    bench.start();
    let tasks = bench.home.paths.state.join("tasks");
    assert!(!tasks.join(gone.to_string()).exists());
    assert!(tasks.join(kept.to_string()).exists());
}
