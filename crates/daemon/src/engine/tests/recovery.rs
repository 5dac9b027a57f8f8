//! What the daemon concludes from supervisors that break off, leave, lie about their attempt or do not answer.
//!
//! Owns nothing beyond the scripted supervisor of its parent. Each of these is one branch of the recovery.

use meanwhile_store::{EventFilter, Logged};

use super::*;

#[test]
fn an_end_of_another_attempt_is_not_taken_for_this_ones() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let late = record_of(Token([9; 16]));
    supervisor.say(&mut bench, &FromSupervisor::Ended(Box::new(late)));
    assert_eq!(bench.state(task), State::Running);
    supervisor.ends(&mut bench);
    assert_eq!(bench.state(task), State::Completed);
}

#[test]
fn a_supervisor_whose_connection_broke_is_met_again() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let broken = supervisor.connection.take().unwrap();
    rustix::io::write(&broken, &[0xff; 64]).unwrap();
    bench.until(|b| b.holder(task).is_none());
    supervisor.found(&mut bench, Phase::Running);
    supervisor.ends(&mut bench);
    assert_eq!(bench.state(task), State::Completed);
}

#[test]
fn what_could_not_be_read_is_read_again() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let path = bench.owner_path(task);
    std::fs::create_dir(&path).unwrap();
    bench.start();
    bench.engine().turn().unwrap();
    assert_eq!(bench.state(task), State::Running, "nothing is known, so nothing is concluded");
    std::fs::remove_dir(&path).unwrap();
    bench.until(|b| b.state(task).is_terminal());
    assert_eq!(bench.cause(task), Cause::Lost);
}

/// It had been idle and was about to go: no fault of the task, and no try of it.
#[test]
fn a_supervisor_that_was_just_leaving_costs_the_next_task_nothing() {
    let (mut bench, mut supervisor, next, token) = asked_while_idle();
    let asked = bench.holder(next);
    let refused = FromSupervisor::Refused { token, why: RefusedWhy::Leaving };
    supervisor.say(&mut bench, &refused);
    assert_eq!(bench.state(next), State::Starting);
    let again = bench.engine().core.task(next).unwrap().token.unwrap();
    assert_eq!(again.0, token.0, "the same attempt");
    assert_ne!(bench.holder(next), asked, "by another supervisor");
    let events = bench.store.clone().events_since(0, 1000, &EventFilter::default()).unwrap();
    assert!(!events.iter().any(|e| matches!(e.what, Logged::Requeued { .. })));
}

#[test]
fn who_holds_the_lock_and_does_not_answer_is_asked_less_and_less_often() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let supervisor = Scripted::of(&bench, task);
    drop(supervisor.listener);
    bench.home.run().unwrap().remove_file(NAME).unwrap();
    bench.start();
    let mut pauses = Vec::new();
    while pauses.len() < 6 {
        bench.engine().turn().unwrap();
        let now = clock::boot();
        let next = bench.engine().unreached.first().map(|u| u.again_at.since(now));
        pauses.extend(next.filter(|pause| !pause.is_zero()));
    }
    assert!(pauses[5] > pauses[0] * 8, "{pauses:?}");
    assert_eq!(bench.state(task), State::Running);
}

#[test]
fn what_nothing_could_kill_keeps_its_seat_until_it_is_gone() {
    let mut bench = Bench::new(BOOT);
    let (task, next) = (bench.running(1), bench.queued(2));
    let _supervisor = Scripted::of(&bench, task);
    bench.start();
    let token = token(task);
    let remains = remains::Remains { report: meanwhile_core::input::Report::Lost, over: false };
    bench.engine().remains.insert(token, remains);
    drop(bench.ask(Ask::RemainsGone { task, token, emptied: false }));
    bench.engine().turn().unwrap();
    assert_eq!((bench.state(task), bench.cause(task)), (State::Failed, Cause::Unkillable));
    assert_eq!(bench.state(next), State::Queued);
    drop(bench.ask(Ask::RemainsGone { task, token, emptied: true }));
    bench.until(|b| b.state(next) != State::Queued);
    assert_eq!(bench.cause(task), Cause::Unkillable, "its end stays what it was");
}

#[test]
fn an_attempt_whose_owner_file_is_gone_is_lost_and_no_mystery() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    assert!(!bench.owner_path(task).exists(), "its directory is there, and empty");
    bench.start();
    bench.until(|b| b.state(task).is_terminal());
    assert_eq!(bench.cause(task), Cause::Lost);
}

/// With the file of a start in flight cut or lengthened it is not known whether the attempt ran: it is not run again.
#[test]
fn a_start_in_flight_whose_file_has_another_length_is_lost_and_not_made_again() {
    use meanwhile_supervisor::limits::OWNER_LEN;
    for len in [0, OWNER_LEN / 2, OWNER_LEN - 1, OWNER_LEN, OWNER_LEN + 1] {
        let mut bench = Bench::new(BOOT);
        let task = bench.queued(1);
        bench.record(task, Fact::Starting { token: token(task) });
        drop(Scripted::of(&bench, task));
        let file = std::fs::File::options().write(true).open(bench.owner_path(task)).unwrap();
        file.set_len(len).unwrap();
        bench.start();
        bench.until(|b| b.state(task).is_terminal() || requeued(b));
        if len == OWNER_LEN {
            assert!(requeued(&bench), "it was claimed and never started");
        } else {
            assert!(!requeued(&bench), "with {len} bytes");
            assert_eq!((bench.state(task), bench.cause(task)), (State::Interrupted, Cause::Lost));
        }
    }
}

fn requeued(bench: &Bench) -> bool {
    let events = bench.store.clone().events_since(0, 1000, &EventFilter::default()).unwrap();
    events.iter().any(|event| matches!(event.what, Logged::Requeued { .. }))
}

#[test]
fn what_nothing_could_kill_frees_its_seat_though_the_daemon_that_knew_of_it_is_gone() {
    let mut bench = Bench::new(BOOT);
    let (task, next) = (bench.running(1), bench.queued(2));
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let unkillable = FromSupervisor::Unkillable { token: Token(token(task).0), pids: vec![1] };
    supervisor.say(&mut bench, &unkillable);
    assert_eq!(bench.cause(task), Cause::Unkillable);
    let mut bench = after_its_daemon(bench);
    drop(supervisor);
    bench.start();
    assert!(bench.engine().unreached.iter().any(|u| u.job.task == task), "it is looked after");
    assert_eq!(bench.state(next), State::Queued);
    bench.until(|b| b.state(next) != State::Queued);
    assert_eq!(bench.cause(task), Cause::Unkillable, "its end stays what it was");
}

/// The same home and store, for another daemon.
fn after_its_daemon(bench: Bench) -> Bench {
    let Bench { _base, home, store, order, engine, .. } = bench;
    drop(engine);
    let bell = Arc::new(Bell::new().unwrap());
    let (postbox, letters) = Postbox::new(Arc::clone(&bell));
    Bench { _base, home, store, postbox, engine: None, parts: Some((letters, bell)), order }
}

/// A start was in flight to it when the last daemon went: it is read, or dropped, and then the lock is free.
#[test]
fn a_supervisor_met_without_its_attempt_is_looked_at_for_as_long_as_the_lock_is_held() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    bench.until(|b| b.holder(task).is_some());
    let (socket, _) = supervisor.listener.accept().unwrap();
    supervisor.connection = Some(Connection::new(socket.into()).unwrap());
    let idle = FromSupervisor::Hello { protocol: 1, pid: 1, start_time: 1, current: None };
    supervisor.say(&mut bench, &idle);
    for _ in 0..3 {
        assert!(bench.engine().unreached.iter().any(|u| u.job.task == task));
        bench.engine().turn().unwrap();
    }
    assert_eq!(bench.state(task), State::Running);
    let Scripted { _lock: lock, connection, listener, .. } = supervisor;
    drop(lock);
    bench.until(|b| b.state(task).is_terminal());
    assert_eq!(bench.cause(task), Cause::Lost);
    drop((connection, listener));
}

/// Its connection was lost and came back, or its end was heard, while a look at it was still to come.
#[test]
fn neither_an_attempt_that_is_over_nor_one_that_was_met_is_looked_into_again() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    // Whoever looks into it finds the lock held, cannot connect, and has to look again.
    bench.home.run().unwrap().remove_file(NAME).unwrap();
    for token in [token(task), AttemptToken([9; 16])] {
        bench.engine().look_again(clock::now(), Job { task, attempt: 1, token });
        assert_eq!(bench.engine().unreached.len(), 1);
        bench.engine().turn().unwrap();
        assert!(bench.engine().unreached.is_empty());
    }
    supervisor.ends(&mut bench);
    assert_eq!(bench.state(task), State::Completed);
}

#[test]
fn what_is_left_of_a_lost_attempt_is_looked_after_once() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let supervisor = Scripted::of(&bench, task);
    let view = supervisor._lock.read().unwrap();
    bench.start();
    let job = Job { task, attempt: 1, token: token(task) };
    for _ in 0..2 {
        let report = meanwhile_core::input::Report::Lost;
        bench.engine().look_after(job, &view, remains::Remains { report, over: false });
        assert_eq!(bench.engine().remains_at_once, 1);
    }
}

#[test]
fn what_was_left_of_an_earlier_attempt_says_nothing_of_this_one() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let token = AttemptToken([9; 16]);
    let report = meanwhile_core::input::Report::Lost;
    bench.engine().remains.insert(token, remains::Remains { report, over: false });
    drop(bench.ask(Ask::RemainsGone { task, token, emptied: true }));
    bench.turn();
    assert!(bench.engine().remains.is_empty());
    assert_eq!(bench.state(task), State::Running);
    // With this commit goes what was refused, if anything was.
    supervisor.ends(&mut bench);
    assert_eq!(bench.state(task), State::Completed);
    let events = bench.store.clone().events_since(0, 1000, &EventFilter::default()).unwrap();
    assert!(!events.iter().any(|event| matches!(event.what, Logged::Refused { .. })));
}

#[test]
fn only_a_supervisor_without_a_task_and_without_leftovers_gets_the_next_one() {
    for (tree, is_idle) in [(TreeState::Empty, true), (TreeState::Kept, false)] {
        let mut bench = Bench::new(BOOT);
        let task = bench.running(1);
        let mut supervisor = Scripted::of(&bench, task);
        bench.start();
        supervisor.found(&mut bench, Phase::Running);
        let key = bench.holder(task).unwrap();
        bench.engine().fleet.give_back(key);
        assert_eq!(bench.engine().fleet.take_idle(), None, "it is busy");
        let record = ExitRecord { tree, ..record_of(Token(token(task).0)) };
        supervisor.say(&mut bench, &FromSupervisor::Ended(Box::new(record)));
        assert_eq!(bench.state(task), State::Completed);
        assert_eq!(bench.engine().fleet.take_idle().is_some(), is_idle, "{tree:?}");
    }
}

#[test]
fn the_last_word_of_a_supervisor_that_goes_at_once_is_heard() {
    let mut bench = Bench::new(BOOT);
    let task = bench.running(1);
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    supervisor.found(&mut bench, Phase::Running);
    let mut connection = supervisor.connection.take().unwrap();
    let record = record_of(Token(token(task).0));
    connection.say(&FromSupervisor::Ended(Box::new(record)));
    connection.flush().unwrap();
    drop(connection);
    bench.turn();
    assert_eq!(bench.state(task), State::Completed, "its lock is held, so no file would be read");
}

#[test]
fn a_start_in_flight_that_is_found_running_runs() {
    let mut bench = Bench::new(BOOT);
    let task = bench.queued(1);
    bench.record(task, Fact::Starting { token: token(task) });
    let mut supervisor = Scripted::of(&bench, task);
    bench.start();
    assert_eq!(bench.state(task), State::Starting);
    supervisor.found(&mut bench, Phase::Running);
    let running = bench.engine().core.standing(task).unwrap().state;
    assert_eq!(running, State::Running);
    supervisor.ends(&mut bench);
    assert_eq!(bench.state(task), State::Completed);
}
