//! One try of one delivery by one way.
//!
//! Owns what each way is given. Blocks for a bounded time, in the courier or in a command that tries the routes; never in
//! the daemon.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use meanwhile_api::inbox::Notice;
use meanwhile_api::sanitise;
use meanwhile_host::clock;
use meanwhile_host::home::HomePaths;
use meanwhile_routes::{
    COMMAND_TIME, DESKTOP_TIME, Failure, Post, Program, Said, Terminal, Trust, WEBHOOK_TIME,
    bell_text, desktop_text, post, read_secret, run, say,
};

use super::audience;
use super::body::{self, Kind};
use super::way::Way;
use crate::settings::RouteSettings;

/// What desktops call us.
const TITLE: &str = "Meanwhile";
/// As which program receivers see us.
const USER_AGENT: &str = concat!("meanwhile/", env!("CARGO_PKG_VERSION"));
/// Terminals that one delivery is written to.
const TERMINALS: usize = 20;
/// The longest value of a variable, of the 128 KiB that the kernel takes.
const VARIABLE_CHARS: usize = 2_000;

/// A delivery, ready to go.
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    pub(super) id: &'a str,
    pub(super) attempt: u32,
    pub(super) notices: &'a [Notice],
    /// Where the tasks were launched from.
    pub(super) terminals: &'a BTreeSet<Terminal>,
    /// The home, where it was named.
    pub(super) home: Option<&'a PathBuf>,
}

/// What became of a trial of one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Which way.
    pub way: String,
    /// What it answered, or why it did not.
    pub result: Result<String, String>,
    /// How long that took.
    pub took_ms: u64,
}

/// Tries every way that is set (or those whose label begins so), one after the other.
#[must_use]
pub fn try_all(settings: &RouteSettings, paths: &HomePaths, only: Option<&str>) -> Vec<Tried> {
    let terminals: BTreeSet<Terminal> = audience::own().into_iter().collect();
    let id = fresh_id();
    let message = Message {
        kind: Kind::Test,
        id: &id,
        attempt: 1,
        notices: &[],
        terminals: &terminals,
        home: paths.explicit.then_some(&paths.state),
    };
    let wanted = |way: &Way| only.is_none_or(|only| way.label().starts_with(only));
    Way::all(settings)
        .into_iter()
        .filter(wanted)
        .map(|way| {
            let begun = Instant::now();
            let result = send(&way, settings, &message);
            Tried {
                way: way.label(),
                result: result.map_err(|failure| sanitise::line(failure.text())),
                took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            }
        })
        .collect()
}

/// An id that no other delivery has.
pub(super) fn fresh_id() -> String {
    let bits = getrandom::u64().expect("the kernel's random source works once the system is up");
    format!("msg_{bits:016x}")
}

/// Tries it once; what it came to, in words.
pub(super) fn send(
    way: &Way,
    settings: &RouteSettings,
    message: &Message<'_>,
) -> Result<String, Failure> {
    match way {
        Way::Webhook(url) => {
            let secret = match settings.webhook_secret_file.as_str() {
                "" => None,
                // It may be put right while this waits for its next try.
                path => Some(read_secret(path.as_ref()).map_err(|e| Failure::Passing(e.text))?),
            };
            let trust = if settings.webhook_private { Trust::Private } else { Trust::Public };
            let status = post(
                url,
                trust,
                &Post {
                    id: message.id,
                    timestamp: clock::wall().0.div_euclid(1000),
                    body: document(message).as_bytes(),
                    secret: secret.as_ref(),
                    user_agent: USER_AGENT,
                    time: WEBHOOK_TIME,
                },
            )?;
            let signed = if secret.is_some() { "signed" } else { "not signed" };
            Ok(format!("answered {status}, {signed}"))
        }
        Way::Command(words) => {
            let variables = variables(message);
            let input = document(message);
            let program = Program {
                arguments: words,
                variables: &variables,
                input: input.as_bytes(),
                time: COMMAND_TIME,
            };
            run(&program).map(|_| "exited 0".into())
        }
        Way::Desktop => desktop(message),
        Way::Bell => Ok(match say_to_all(message.terminals, &bell_text()) {
            0 => "no terminal of these tasks is left".into(),
            _ => "rang".into(),
        }),
    }
}

fn document(message: &Message<'_>) -> String {
    let Message { kind, id, attempt, notices, terminals: _, home: _ } = message;
    body::document(*kind, id, *attempt, notices).to_string()
}

/// The facts for commands that read no JSON. None begins with MEANWHILE_SESSION or the like: what such a command asks of
/// us, it asks for the person whose setting it is.
fn variables(message: &Message<'_>) -> Vec<(&'static str, String)> {
    let short = |text: String| text.chars().take(VARIABLE_CHARS).collect::<String>();
    let bad = message.notices.iter().filter(|notice| body::is_bad(notice)).count();
    let mut variables = vec![
        ("NOTICE_TEXT", short(body::line(message.kind, message.notices))),
        ("NOTICE_DELIVERY", message.id.to_owned()),
        ("NOTICE_COUNT", message.notices.len().to_string()),
        ("NOTICE_FAILED", bad.to_string()),
    ];
    // Of the first, which is the only one as a rule.
    if let Some(first) = message.notices.first() {
        variables.extend([
            ("NOTICE_ID", first.id.clone()),
            ("NOTICE_TASK", first.task.as_str().to_owned()),
            ("NOTICE_NAME", short(first.name.clone().unwrap_or_default())),
            ("NOTICE_STATE", first.state.name().to_owned()),
            ("NOTICE_SESSION", short(sanitise::line(&first.session))),
        ]);
    }
    if let Some(home) = message.home.and_then(|home| home.to_str()) {
        variables.push(("MEANWHILE_HOME", home.to_owned()));
    }
    variables
}

fn desktop(message: &Message<'_>) -> Result<String, Failure> {
    let text = body::line(message.kind, message.notices);
    let bad = message.notices.iter().any(body::is_bad);
    let urgency = if bad { "--urgency=critical" } else { "--urgency=normal" };
    // Servers of notices read a markup of their own in the text.
    let plain = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let words = ["notify-send", "--app-name=Meanwhile", urgency, "--", TITLE, &plain];
    let words = words.map(str::to_owned);
    let program = Program { arguments: &words, variables: &[], input: b"", time: DESKTOP_TIME };
    let Err(failure) = run(&program) else { return Ok("shown by notify-send".into()) };
    match say_to_all(message.terminals, &desktop_text(TITLE, &text)) {
        0 => Err(Failure::Lasting(format!("{}; no terminal to show it either", failure.text()))),
        _ => Ok("shown by the terminal".into()),
    }
}

fn say_to_all(terminals: &BTreeSet<Terminal>, text: &[u8]) -> usize {
    let written = |terminal: &&Terminal| say(terminal, text, audience::is_same) == Said::Written;
    terminals.iter().take(TERMINALS).filter(written).count()
}
