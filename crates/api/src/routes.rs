//! The table of routes: one place that daemon, client and OpenAPI read.
//!
//! What it is for: the daemon finds a route by method and path and matches on its [`RouteId`] exhaustively; the client
//! takes method, path and waiting behaviour from it; OpenAPI is generated from it. What it owns: the table.
//! What it never does: handle a request.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::error::{ApiError, ErrorCode};
use crate::query::{percent_decode, percent_encode};
use crate::{
    audit, change, config, daemon, event, inbox, lanes, list, output, submit, task, upkeep, wait,
};

/// The methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Does.
    Post,
    /// Sets.
    Put,
}

impl Method {
    /// As in the request line.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }
}

/// One name per route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteId {
    /// Submit tasks.
    Submit,
    /// Upload standard input.
    Stdin,
    /// List tasks.
    List,
    /// Count tasks.
    Summary,
    /// Show several tasks.
    Status,
    /// Show one task.
    Task,
    /// Read output.
    Output,
    /// Wait for tasks.
    Wait,
    /// Read the inbox.
    Inbox,
    /// Take what is unread, or wait for it.
    Deliver,
    /// Say that it has arrived.
    Acknowledge,
    /// Say what a session is doing.
    Presence,
    /// What a shortened conversation must know.
    Compaction,
    /// Cancel tasks.
    Cancel,
    /// Try a task again.
    Retry,
    /// Say how a task ended.
    Complete,
    /// Give a task more time.
    Extend,
    /// Show lanes.
    Lanes,
    /// Expire stale tasks.
    Prune,
    /// Delete finished tasks.
    Clean,
    /// Check health.
    Doctor,
    /// Read configuration.
    ConfigGet,
    /// Change configuration.
    ConfigSet,
    /// The daemon's facts.
    Daemon,
    /// Stop the daemon.
    DaemonStop,
    /// Who asked for what.
    Audit,
    /// The stream of events.
    Events,
    /// This table as OpenAPI.
    OpenApi,
}

/// What a request does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it may be sent again freely.
    Reads,
    /// It changes something: it carries a request id, and is on disk before it is answered.
    Changes,
}

/// How soon the answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Within [`crate::limits::ANSWER_TIME`], or the daemon is reported as unresponsive.
    AtOnce,
    /// When something happens: possibly never.
    Later,
}

/// A function that yields the schema of a type.
pub type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// What a request body holds.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// No body.
    Empty,
    /// JSON of this schema.
    Json(SchemaFn),
    /// Bytes.
    Bytes,
}

/// What a successful reply holds.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// JSON of this schema.
    Json(SchemaFn),
    /// Server-Sent Events with data of this schema.
    Events(SchemaFn),
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its name.
    pub id: RouteId,
    /// Its method.
    pub method: Method,
    /// Its path; `{id}` stands for one segment.
    pub path: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What it does to the world.
    pub effect: Effect,
    /// How soon it answers.
    pub answers: Answers,
    /// The schema of its query parameters, an object.
    pub query: Option<SchemaFn>,
    /// Its request body.
    pub body: Body,
    /// Its reply.
    pub reply: Reply,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn get(id: RouteId, path: &'static str, summary: &'static str, reply: SchemaFn) -> Route {
    let (effect, answers) = (Effect::Reads, Answers::AtOnce);
    let (method, reply) = (Method::Get, Reply::Json(reply));
    Route { id, method, path, summary, effect, answers, query: None, body: Body::Empty, reply }
}

const fn post(id: RouteId, path: &'static str, summary: &'static str, reply: SchemaFn) -> Route {
    Route { method: Method::Post, effect: Effect::Changes, ..get(id, path, summary, reply) }
}

impl Route {
    const fn query(self, query: SchemaFn) -> Route {
        Route { query: Some(query), ..self }
    }

    const fn json(self, body: SchemaFn) -> Route {
        Route { body: Body::Json(body), ..self }
    }

    const fn later(self) -> Route {
        Route { answers: Answers::Later, ..self }
    }
}

/// All routes.
pub static ROUTES: [Route; 28] = [
    post(RouteId::Submit, "/v1/tasks", "Launch tasks, all or none.", schema::<submit::SubmitReply>)
        .json(schema::<submit::SubmitRequest>),
    Route {
        body: Body::Bytes,
        ..post(
            RouteId::Stdin,
            "/v1/stdin",
            "Upload standard input for a task.",
            schema::<submit::StdinReply>,
        )
    },
    get(RouteId::List, "/v1/tasks", "List tasks, the newest first.", schema::<list::ListReply>)
        .query(schema::<list::ListQuery>),
    get(RouteId::Summary, "/v1/summary", "Count tasks by state.", schema::<list::SummaryReply>)
        .query(schema::<list::ListQuery>),
    get(RouteId::Status, "/v1/status", "Show several tasks in full.", schema::<list::StatusReply>)
        .query(schema::<list::StatusQuery>),
    get(RouteId::Task, "/v1/tasks/{id}", "Show one task in full.", schema::<task::Task>),
    get(
        RouteId::Output,
        "/v1/tasks/{id}/output",
        "Read a page of output; with follow=1, wait for it.",
        schema::<output::OutputReply>,
    )
    .query(schema::<output::OutputQuery>),
    Route {
        effect: Effect::Reads,
        ..post(
            RouteId::Wait,
            "/v1/wait",
            "Wait for tasks without polling.",
            schema::<wait::WaitReply>,
        )
        .json(schema::<wait::WaitRequest>)
        .later()
    },
    get(RouteId::Inbox, "/v1/inbox", "Read what is unread.", schema::<inbox::InboxReply>)
        .query(schema::<inbox::InboxQuery>),
    Route {
        // Sent again, it answers again: what was leased to the same holder comes once more.
        effect: Effect::Reads,
        ..post(
            RouteId::Deliver,
            "/v1/inbox/deliver",
            "Take what is unread under a lease, or wait for it without polling.",
            schema::<inbox::DeliverReply>,
        )
        .json(schema::<inbox::DeliverRequest>)
        .later()
    },
    post(
        RouteId::Acknowledge,
        "/v1/inbox/ack",
        "Say that notices have arrived.",
        schema::<inbox::AckReply>,
    )
    .json(schema::<inbox::AckRequest>),
    post(
        RouteId::Presence,
        "/v1/inbox/presence",
        "Say what a session is doing, or which one follows it.",
        schema::<inbox::PresenceReply>,
    )
    .json(schema::<inbox::PresenceRequest>),
    get(
        RouteId::Compaction,
        "/v1/inbox/compaction",
        "What a conversation must know after it was shortened.",
        schema::<inbox::CompactionReply>,
    ),
    post(
        RouteId::Cancel,
        "/v1/cancel",
        "Cancel tasks and what they launched.",
        schema::<change::CancelReply>,
    )
    .json(schema::<change::CancelRequest>)
    .later(),
    post(RouteId::Retry, "/v1/tasks/{id}/retry", "Start the next attempt.", schema::<task::Task>)
        .json(schema::<change::RetryRequest>),
    post(
        RouteId::Complete,
        "/v1/tasks/{id}/complete",
        "Stop a task and say how it ended.",
        schema::<task::Task>,
    )
    .json(schema::<change::CompleteRequest>)
    .later(),
    post(RouteId::Extend, "/v1/tasks/{id}/extend", "Give a task more time.", schema::<task::Task>)
        .json(schema::<change::ExtendRequest>),
    get(
        RouteId::Lanes,
        "/v1/lanes",
        "Show limits, who runs and who waits.",
        schema::<lanes::LanesReply>,
    ),
    post(
        RouteId::Prune,
        "/v1/prune",
        "Expire stale tasks and dead waiters.",
        schema::<upkeep::PruneReply>,
    )
    .later(),
    post(
        RouteId::Clean,
        "/v1/clean",
        "Delete finished tasks and their files.",
        schema::<upkeep::CleanReply>,
    )
    .json(schema::<upkeep::CleanRequest>)
    .later(),
    get(RouteId::Doctor, "/v1/doctor", "Check the daemon's health.", schema::<upkeep::DoctorReply>),
    get(RouteId::ConfigGet, "/v1/config", "Read the configuration.", schema::<config::ConfigReply>)
        .query(schema::<config::ConfigQuery>),
    Route {
        method: Method::Put,
        ..post(
            RouteId::ConfigSet,
            "/v1/config",
            "Change one setting.",
            schema::<config::ConfigEntry>,
        )
        .json(schema::<config::ConfigSet>)
    },
    get(RouteId::Daemon, "/v1/daemon", "The daemon's facts.", schema::<daemon::DaemonStatus>),
    post(
        RouteId::DaemonStop,
        "/v1/daemon/stop",
        "Stop the daemon; tasks run on unless cancelled.",
        schema::<daemon::StopReply>,
    )
    .json(schema::<daemon::StopRequest>)
    .later(),
    get(
        RouteId::Audit,
        "/v1/audit",
        "Who asked for what: for people.",
        schema::<audit::AuditReply>,
    )
    .query(schema::<audit::AuditQuery>),
    Route {
        reply: Reply::Events(schema::<event::Event>),
        ..get(
            RouteId::Events,
            "/v1/events",
            "Events as they happen, resumable.",
            schema::<event::Event>,
        )
        .query(schema::<event::EventsQuery>)
        .later()
    },
    get(
        RouteId::OpenApi,
        "/v1/openapi.json",
        "This interface as OpenAPI 3.1.",
        schema::<serde_json::Value>,
    ),
];

/// A route that was found, with the value of `{id}`.
#[derive(Clone, Debug)]
pub struct Found {
    /// The route.
    pub route: &'static Route,
    /// What stood for `{id}`, percent-decoded.
    pub id: Option<String>,
}

/// Finds the route of a request by its method and its path without the query.
pub fn find(method: &str, path: &str) -> Result<Found, ApiError> {
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(id) = matches(route.path, path) else { continue };
        if route.method.name() == method {
            let id =
                id.map(|text| percent_decode(text).ok_or_else(|| no_route(path))).transpose()?;
            return Ok(Found { route, id });
        }
        allowed.push(route.method.name());
    }
    if allowed.is_empty() {
        return Err(no_route(path));
    }
    let message = format!("use {method} on {path}");
    Err(ApiError::new(ErrorCode::WrongMethod, message)
        .hint(format!("use {}", allowed.join(" or "))))
}

fn no_route(path: &str) -> ApiError {
    ApiError::new(ErrorCode::NoSuchRoute, format!("find the path {path}"))
        .hint("GET /v1/openapi.json lists them all")
}

/// `Some(what stood for {id})` when a path fits a template.
fn matches<'a>(template: &str, path: &'a str) -> Option<Option<&'a str>> {
    let Some((before, after)) = template.split_once("{id}") else {
        return (template == path).then_some(None);
    };
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(Some(segment))
}

impl RouteId {
    /// The row of the table.
    pub fn route(self) -> &'static Route {
        ROUTES.iter().find(|route| route.id == self).expect("every id has a row; a test checks it")
    }
}

impl Route {
    /// The path with `{id}` filled in.
    pub fn path_for(&self, id: &str) -> String {
        self.path.replace("{id}", &percent_encode(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_by_its_own_path_and_only_there() {
        for route in &ROUTES {
            let found = find(route.method.name(), &route.path_for("a name/ß")).unwrap();
            assert_eq!(found.route.id, route.id, "{}", route.path);
            assert_eq!(found.id.as_deref(), route.path.contains("{id}").then_some("a name/ß"));
            assert_eq!(route.id.route().path, route.path);
        }
    }

    #[test]
    fn other_paths_and_methods_are_refused_by_name() {
        for path in
            ["/", "/v1/tasks/", "/v1/tasks/a/b", "/v1/tasks//output", "/v2/tasks", "/v1/tasks/%ff"]
        {
            assert_eq!(find("GET", path).unwrap_err().code, ErrorCode::NoSuchRoute, "{path}");
        }
        let error = find("DELETE", "/v1/tasks").unwrap_err();
        assert_eq!(error.code, ErrorCode::WrongMethod);
        assert_eq!(error.hint, ["use POST or GET"]);
    }
}
