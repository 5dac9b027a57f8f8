//! Reads without a daemon: the same answers, from the store and the log files.
//!
//! Owns nothing of its own but the way there: the views are made by the same code as the daemon's,
//! and why a queued task waits is asked of a core loaded from the store. Starts nothing and changes
//! nothing; what needs a daemon is left to one.

use std::collections::HashMap;

use meanwhile_api::client::OfflineRequest;
use meanwhile_api::config::ConfigQuery;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::lanes::LanesReply;
use meanwhile_api::list::{ListReply, StatusQuery, StatusReply};
use meanwhile_api::output::{OutputQuery, OutputReply};
use meanwhile_api::query::Query;
use meanwhile_api::routes::RouteId;
use meanwhile_api::task::{Held, Task};
use meanwhile_api::upkeep::{DoctorReply, Health};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::machine::TaskView;
use meanwhile_core::{Core, LoadedTask, State, TaskId};
use meanwhile_host::cgroup::{self, CgroupMode, NoCgroup};
use meanwhile_host::clock;
use meanwhile_host::dir::DirErrorKind;
use meanwhile_host::doctor::{CgroupFacts, Examination, Fact, examine};
use meanwhile_host::environment::Environment;
use meanwhile_host::home::{Home, HomePaths};
use meanwhile_store::{
    Filter, Identity, MemoryStore, Reader, SqliteReader, StoreError, TaskRecord, limits,
};
use serde::Serialize;

use crate::engine::refusals::store_error;
use crate::find::unfinished_states;
use crate::hidden;
use crate::http::caller::{self, Caller};
use crate::http::handlers::{config, find_in, inbox, lists, output, upkeep};
use crate::output::{PageRequest, Pager};
use crate::sessions;
use crate::settings::{self, Isolation, Settings};
use crate::view::{LimitsHeld, Viewer, lane_object};

/// Answers reads of one home.
#[derive(Clone, Debug)]
pub struct Offline {
    /// Where everything is.
    pub paths: HomePaths,
    /// The session the caller says it belongs to.
    pub claim: Option<SessionClaim>,
}

/// What is there to read.
struct Found {
    /// None where nothing has been run yet.
    home: Option<Home>,
    reader: Box<dyn Reader>,
    caller: Caller,
    settings: Settings,
}

impl Offline {
    /// The JSON that a daemon would answer with; none for what needs one.
    #[must_use]
    pub fn answer(&self, request: OfflineRequest<'_>) -> Option<Result<Vec<u8>, ApiError>> {
        let OfflineRequest { route, id, query } = request;
        let id = id.unwrap_or_default();
        let answered = match route {
            RouteId::List => self.find().and_then(|found| found.list(query)),
            RouteId::Summary => self.find().and_then(|found| found.summary(query)),
            RouteId::Status => self.find().and_then(|found| found.status(query)),
            RouteId::Task => self.find().and_then(|found| found.task(id)),
            RouteId::Output => match OutputQuery::from_query(query) {
                Ok(query) if query.follow => return None,
                query => self.find().and_then(|found| found.output(id, &query?)),
            },
            RouteId::Inbox => self.find().and_then(|found| found.inbox(query)),
            RouteId::Compaction => self.find().and_then(|mut found| {
                written(&inbox::shortened(&mut *found.reader, &found.caller)?)
            }),
            RouteId::Lanes => self.find().and_then(Found::lanes),
            RouteId::Doctor => self.doctor(),
            RouteId::ConfigGet => self.config(query),
            RouteId::Submit
            | RouteId::Stdin
            | RouteId::Wait
            | RouteId::Deliver
            | RouteId::Acknowledge
            | RouteId::Presence
            | RouteId::Cancel
            | RouteId::Retry
            | RouteId::Complete
            | RouteId::Extend
            | RouteId::Prune
            | RouteId::Clean
            | RouteId::ConfigSet
            | RouteId::Daemon
            | RouteId::DaemonStop
            | RouteId::Audit
            | RouteId::Events
            | RouteId::OpenApi => return None,
        };
        // A store of an older release is migrated by the daemon that is started now.
        match answered {
            Err(error) if error.details["older"] == true => None,
            answered => Some(answered),
        }
    }

    fn find(&self) -> Result<Found, ApiError> {
        let home = match Home::open(self.paths.clone()) {
            Ok(home) => Some(home),
            Err(error) if matches!(error.kind, DirErrorKind::Missing) => None,
            Err(error) => {
                return Err(ApiError::new(ErrorCode::Store, error.to_string()).hint(error.hint()));
            }
        };
        let mut reader: Box<dyn Reader> = match SqliteReader::open(&self.paths.database()) {
            Ok(reader) => Box::new(reader),
            // Nothing has been run yet: as good as an empty store.
            Err(StoreError::Missing { .. }) => Box::new(MemoryStore::new(Identity {
                machine: String::new(),
                pid_namespace: 0,
                boot: String::new(),
            })),
            Err(error @ StoreError::Older { .. }) => {
                return Err(store_error(&error).detail("older", true));
            }
            Err(error) => return Err(store_error(&error)),
        };
        let known = reader.sessions().map_err(|error| store_error(&error))?;
        // Numbers of processes are not looked at: only names lead on.
        let known = sessions::from_text(known.as_deref(), "");
        let caller = match caller::outside(self.claim.as_ref())? {
            Caller::Session(session) => Caller::Session(known.current(&session)),
            other => other,
        };
        Ok(Found { home, reader, caller, settings: self.settings()? })
    }

    fn settings(&self) -> Result<Settings, ApiError> {
        settings::load(&self.paths.config)
            .map_err(|error| ApiError::new(ErrorCode::Usage, error.to_string()).hint(error.hint()))
    }

    fn config(&self, query: &str) -> Result<Vec<u8>, ApiError> {
        let ConfigQuery { key } = ConfigQuery::from_query(query)?;
        written(&config::reply(&self.paths.config, &self.settings()?, key.as_deref())?)
    }

    fn doctor(&self) -> Result<Vec<u8>, ApiError> {
        let not_running = "the daemon does not run; it is started when it is needed";
        let mut checks = vec![upkeep::check("daemon", Health::Ok, not_running, &[])];
        match self.find() {
            Ok(mut found) => {
                let problems = found.reader.integrity().map_err(|error| store_error(&error));
                checks.push(upkeep::store(problems));
                checks.push(upkeep::checksums(&self.paths.database()));
                let state = found.home.as_ref().map(|home| &home.state);
                checks.push(crate::routes::health::check(state, &found.settings.routes));
                checks.extend(upkeep::machine(self.facts(&found)));
            }
            Err(error) => {
                let hint: Vec<&str> = error.hint.iter().map(String::as_str).collect();
                checks.push(upkeep::check("home", Health::Failed, error.message, &hint));
            }
        }
        written(&DoctorReply { checks })
    }
}

impl Offline {
    /// What the machine would let a daemon promise. What it would be given by systemd depends on the
    /// environment it is started with, so a "no" of that kind is not said here.
    fn facts(&self, found: &Found) -> Vec<Fact> {
        let mode = match found.settings.cgroup {
            Isolation::Auto => CgroupMode::Auto,
            Isolation::Off => CgroupMode::Off,
        };
        let home_hash = self.paths.hash(rustix::process::geteuid().as_raw());
        let environment = &Environment::new();
        let prospect = cgroup::probe(&cgroup::Request { mode, home_hash: &home_hash, environment });
        let unsure = matches!(prospect, Err(NoCgroup::NotDelegated(..)));
        let mut facts = examine(&Examination {
            cgroup: CgroupFacts::Prospect(&prospect),
            state: found.home.as_ref().map(|home| &home.state),
            user: None,
            daemon_cgroup: None,
        });
        facts.retain(|fact| !(unsure && fact.name == "cgroup"));
        facts
    }
}

impl Found {
    fn list(mut self, query: &str) -> Result<Vec<u8>, ApiError> {
        let wanted = lists::wanted(&mut *self.reader, &self.caller, &Query::from_query(query)?)?;
        let (records, total) = wanted.list(&mut *self.reader).map_err(|e| store_error(&e))?;
        let tasks = self.show(&records)?;
        written(&ListReply { tasks, total })
    }

    fn summary(mut self, query: &str) -> Result<Vec<u8>, ApiError> {
        let wanted = lists::wanted(&mut *self.reader, &self.caller, &Query::from_query(query)?)?;
        let counts = wanted.summary(&mut *self.reader).map_err(|e| store_error(&e))?;
        written(&lists::summary_reply(&counts))
    }

    fn status(mut self, query: &str) -> Result<Vec<u8>, ApiError> {
        let StatusQuery { id } = StatusQuery::from_query(query)?;
        let found = id.iter().map(|id| find_in(&mut *self.reader, &self.caller, id.as_str()));
        let records = found.collect::<Result<Vec<_>, _>>()?;
        let tasks = self.show(&records)?;
        written(&StatusReply { tasks })
    }

    fn task(mut self, id: &str) -> Result<Vec<u8>, ApiError> {
        let record = find_in(&mut *self.reader, &self.caller, id)?;
        written(&self.show(&[record])?.pop())
    }

    fn output(mut self, id: &str, query: &OutputQuery) -> Result<Vec<u8>, ApiError> {
        let hides = query.redact || !self.caller.is_person();
        let request = PageRequest::new(query)?.redacting(hides);
        let record = find_in(&mut *self.reader, &self.caller, id)?;
        let attempt = output::attempt_of(&record, query.attempt)?;
        let facts = output::facts(attempt);
        let home = self.home.as_ref();
        let directory = home.and_then(|home| home.existing_attempt(record.id, attempt.number));
        let page: OutputReply = match home.zip(directory) {
            None => output::nothing_yet(facts, &request),
            Some((home, directory)) => {
                let request = hidden::on_page(request, home, &directory);
                let failed = |error| output::unreadable(record.id, error);
                let mut pager = Pager::open(&directory, request, facts.ended).map_err(failed)?;
                pager.run().map_err(failed)?;
                pager.reply(facts)
            }
        };
        written(&page)
    }

    fn inbox(mut self, query: &str) -> Result<Vec<u8>, ApiError> {
        let query = Query::from_query(query)?;
        written(&inbox::peek(&mut *self.reader, self.home.as_ref(), &self.caller, &query)?)
    }

    fn lanes(mut self) -> Result<Vec<u8>, ApiError> {
        let lanes = self.core()?.lanes();
        written(&LanesReply { lanes: lanes.iter().map(|lane| lane_object(lane, None)).collect() })
    }

    fn show(&mut self, records: &[TaskRecord]) -> Result<Vec<Task>, ApiError> {
        let queued: Vec<TaskId> =
            records.iter().filter(|r| r.state == State::Queued).map(|r| r.id).collect();
        let views: HashMap<TaskId, TaskView> = if queued.is_empty() {
            HashMap::new()
        } else {
            let views = self.core()?.views(&queued);
            queued.into_iter().zip(views).filter_map(|(id, view)| Some((id, view?))).collect()
        };
        let Some(home) = &self.home else { return Ok(Vec::new()) };
        // What the machine enforces is known to a running daemon; sampling is always possible.
        let held = LimitsHeld { memory: Held::Sampled, pids: Held::Sampled };
        let viewer = Viewer { home, held, now: clock::now().wall };
        Ok(records.iter().map(|record| viewer.task(record, views.get(&record.id))).collect())
    }

    /// The queue as a daemon would find it.
    fn core(&mut self) -> Result<Core, ApiError> {
        let filter = Filter { states: unfinished_states(), ..Filter::default() };
        let records =
            self.reader.list(&filter, limits::LIST).map_err(|error| store_error(&error))?;
        let mut tasks = Vec::with_capacity(records.len());
        for record in records.into_iter().rev() {
            tasks.push(self.loaded(record)?);
        }
        Ok(Core::load(self.settings.core(), tasks, true, clock::now()))
    }

    fn loaded(&mut self, record: TaskRecord) -> Result<LoadedTask, ApiError> {
        let after: Vec<TaskId> = record.spec.after.iter().map(|d| d.task).collect();
        let states = self.reader.states(&after).map_err(|error| store_error(&error))?;
        let ended = after.into_iter().zip(states);
        let ended_dependencies =
            ended.filter_map(|(id, s)| Some((id, s.filter(|s| s.is_terminal())?))).collect();
        let current = record.current();
        Ok(LoadedTask {
            id: record.id,
            state: record.state,
            attempt: current.number,
            order: record.order,
            created_at: record.created_at,
            queued_at: current.queued_at,
            not_before: record.not_before,
            token: current.token,
            stop: record.stop.clone(),
            crashes: current.crashes,
            retries_used: record.retries_used,
            lost_retries: record.lost_retries,
            timeout: current.timeout(&record.spec),
            deadline: current.deadline,
            ready: current.ready.is_some(),
            seat_kept: record.seat_kept,
            ended_dependencies,
            spec: record.spec,
            placement: record.placement,
        })
    }
}

fn written(reply: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(reply).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("answer cannot be written: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use meanwhile_core::event::Event;
    use meanwhile_core::{Fact, Wall};
    use meanwhile_store::{Batch, SqliteStore, Store};
    use serde_json::Value;

    use super::*;

    fn offline(base: &Path) -> Offline {
        Offline { paths: crate::view::tests::paths(base), claim: None }
    }

    fn ask(
        offline: &Offline,
        route: RouteId,
        id: Option<&str>,
        query: &str,
    ) -> Result<Value, ApiError> {
        let request = OfflineRequest { route, id, query };
        let answer = offline.answer(request).expect("needs no daemon");
        answer.map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn where_nothing_was_run_there_is_nothing_and_nothing_is_made() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().join("home");
        let offline = offline(&home);
        assert_eq!(ask(&offline, RouteId::List, None, "").unwrap()["total"], 0);
        assert_eq!(ask(&offline, RouteId::Summary, None, "").unwrap()["total"], 0);
        let unknown = ask(&offline, RouteId::Task, Some("zzzzzzzzzz"), "").unwrap_err();
        assert_eq!(unknown.code, ErrorCode::NoSuchTask);
        let lanes = ask(&offline, RouteId::Lanes, None, "").unwrap();
        assert_eq!(lanes["lanes"][0]["name"], "commands");
        let config = ask(&offline, RouteId::ConfigGet, None, "key=limits.starts").unwrap();
        assert_eq!(config["entries"][0]["value"], 10);
        ask(&offline, RouteId::Doctor, None, "").unwrap();
        assert!(!home.exists());
    }

    #[test]
    fn a_queued_task_says_why_it_waits_and_a_log_is_read_without_a_daemon() {
        let base = tempfile::tempdir().unwrap();
        let home = crate::view::tests::home(&base.path().join("home"));
        let identity = Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() };
        let mut store = SqliteStore::open(&home.paths.database(), &identity).unwrap();
        let events: Vec<Event> = (1..=2)
            .map(|bits| {
                let record = crate::view::tests::record(bits);
                let mut placement = record.placement;
                placement.lane = meanwhile_core::LaneName::new("one");
                let fact = Fact::Submitted {
                    spec: Box::new(record.spec),
                    placement: Box::new(placement),
                    order: bits,
                    not_before: None,
                };
                Event { at: Wall(1_000), task: record.id, attempt: 1, fact }
            })
            .collect();
        store.commit(&Batch { events: &events, ..Batch::default() }).unwrap();
        settings::set(&home.paths.config, "lanes.one.limit", "1").unwrap();
        let offline = Offline { paths: home.paths.clone(), claim: None };
        let list = ask(&offline, RouteId::List, None, "lane=one").unwrap();
        assert_eq!((&list["total"], &list["tasks"][0]["queue_position"]), (&2.into(), &2.into()));
        let first = events[0].task;
        home.attempt(first, 1).unwrap();
        std::fs::write(home.paths.attempt(first, 1).join("output.log"), "hello\n").unwrap();
        let page = ask(&offline, RouteId::Output, Some(&first.to_string()), "").unwrap();
        assert_eq!((&page["text"], &page["ended"]), (&"hello\n".into(), &false.into()));
        let follow = OfflineRequest { route: RouteId::Output, id: None, query: "follow=1" };
        assert!(offline.answer(follow).is_none(), "following needs a daemon");
    }

    #[test]
    fn an_agent_sees_its_own_session_without_a_daemon_too() {
        let base = tempfile::tempdir().unwrap();
        let claim = Some(SessionClaim::explicit("s1"));
        let offline = Offline { claim, ..offline(&base.path().join("home")) };
        let error = ask(&offline, RouteId::List, None, "any_session=1").unwrap_err();
        assert_eq!(error.code, ErrorCode::Forbidden);
    }
}
