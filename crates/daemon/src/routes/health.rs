//! How other routes are: for `doctor` and `notify`.
//!
//! Owns the words about it. Reads the ledger without its lock, so that nobody waits for a courier.

use meanwhile_api::Timestamp;
use meanwhile_api::upkeep::{Check, Health};
use meanwhile_host::clock;
use meanwhile_host::dir::Dir;
use meanwhile_routes::read_secret;
use serde::Serialize;

use super::ledger::{self, Ledger};
use super::way::Way;
use crate::settings::RouteSettings;

/// What was given up longer ago is nobody's concern now.
const RECENT_MS: i64 = 24 * 3_600 * 1_000;

/// How one way is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Which way, without what may be a secret.
    pub route: String,
    /// Notices that wait for it.
    pub waiting: usize,
    /// Tries of the delivery that comes first.
    pub tries: u32,
    /// What the last of them came to.
    pub problem: Option<String>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it last worked.
    pub worked_at: Option<Timestamp>,
    /// Notices that were given up, of late.
    pub given_up: usize,
    /// Why the latest of them was.
    pub given_up_because: Option<String>,
}

/// How every way is that is set.
#[must_use]
pub fn standing(state: &Dir, settings: &RouteSettings) -> Vec<Standing> {
    let ledger = ledger::peek(state).ok().flatten().unwrap_or_default();
    Way::all(settings).iter().map(|way| of_way(way, &ledger)).collect()
}

fn of_way(way: &Way, ledger: &Ledger) -> Standing {
    let key = way.key();
    let head = ledger.head(&key).and_then(|index| ledger.due.get(index));
    let given_up = || ledger.given_up.iter().filter(|given_up| given_up.way == key);
    Standing {
        route: way.label(),
        waiting: ledger.due.iter().filter(|d| d.way == key).map(|d| d.notices.len()).sum(),
        tries: head.map_or(0, |delivery| delivery.tries),
        problem: head.and_then(|delivery| delivery.problem.clone()),
        next_at: head.map(|delivery| Timestamp::from_unix_ms(delivery.next_at)),
        worked_at: ledger.worked_at.get(&key).map(|at| Timestamp::from_unix_ms(*at)),
        given_up: given_up().map(|given_up| given_up.notices).sum(),
        given_up_because: given_up().next_back().map(|given_up| given_up.problem.clone()),
    }
}

/// For `doctor`.
pub(crate) fn check(state: Option<&Dir>, settings: &RouteSettings) -> Check {
    let name = "routes";
    let say =
        |health, text: String, hint: Vec<String>| Check { name: name.into(), health, text, hint };
    let ways = Way::all(settings);
    if ways.is_empty() {
        return say(Health::Ok, "no webhook, command, desktop or bell is set".into(), vec![]);
    }
    if !settings.webhook_secret_file.is_empty()
        && let Err(error) = read_secret(settings.webhook_secret_file.as_ref())
    {
        return say(Health::Failed, error.text, vec![error.hint]);
    }
    let ledger = state.and_then(|state| ledger::peek(state).ok().flatten()).unwrap_or_default();
    let now = clock::wall().0;
    let mut troubled = Vec::new();
    for way in &ways {
        let key = way.key();
        if let Some(delivery) = ledger.due.iter().find(|d| d.way == key && d.problem.is_some()) {
            let problem = delivery.problem.as_deref().unwrap_or_default();
            let tries = delivery.tries;
            troubled.push(format!("{}: {problem} ({tries} tries so far)", way.label()));
        }
        let recent = |at: i64| now.saturating_sub(at) < RECENT_MS;
        let last = ledger.given_up.iter().rev().find(|g| g.way == key && recent(g.at));
        if let Some(given_up) = last {
            let (count, problem) = (given_up.notices, &given_up.problem);
            troubled.push(format!("{}: {count} notices were given up: {problem}", way.label()));
        }
    }
    if !troubled.is_empty() {
        return say(Health::Warning, troubled.join("; "), vec!["meanwhile notify test".into()]);
    }
    let labels: Vec<String> = ways.iter().map(Way::label).collect();
    say(Health::Ok, format!("notices go to {}", labels.join(", ")), vec![])
}
