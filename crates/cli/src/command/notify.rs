//! `notify`: webhooks, commands, desktop and bell.
//!
//! What it is for: seeing whether what was set arrives, and what waits. What it owns: how that is shown, and the hidden entry
//! of the courier. What it never does: set anything (`config` does) or start a daemon.

use clap::{Args, Subcommand, ValueEnum};
use meanwhile_api::Span;
use serde_json::json;

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::entry::{self, Standing, Tried};
use crate::show::paint::Tone;
use crate::show::sanitise;

/// Show or try where notices go beside the inbox: webhooks, a command, the desktop, a bell
///
/// All of them are off until they are set: `meanwhile config set notify.desktop true`. Without a subcommand: what is set,
/// what waits, what was given up. Does not start a daemon.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Notify {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Send a test by each route that is set, and say what came of it; exits 1 when one fails
    Test {
        /// Only by this kind of route
        #[arg(value_name = "ROUTE")]
        only: Option<Only>,
    },
    /// Deliver what is due
    #[command(hide = true)]
    Deliver {
        /// The last event that is not to be told
        #[arg(long, value_name = "SEQ")]
        after: u64,
        /// Where the daemon listens
        #[arg(long, value_name = "FD")]
        report_fd: Option<i32>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Only {
    Webhook,
    Command,
    Desktop,
    Bell,
}

impl Only {
    const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Command => "command",
            Self::Desktop => "desktop",
            Self::Bell => "bell",
        }
    }
}

impl Action for Notify {
    fn run(self, context: &Context) -> Answer {
        match self.what {
            None => show(context),
            Some(What::Test { only }) => test(context, only),
            Some(What::Deliver { after, report_fd }) => {
                entry::deliver(&context.globals, after, report_fd)?;
                Ok(0)
            }
        }
    }
}

fn show(context: &Context) -> Answer {
    let standing = entry::standing_of_routes(&context.globals)?;
    if context.globals.json {
        context.print_json(&standing)?;
    } else if standing.is_empty() {
        nothing_set(context);
    } else {
        context.print(&standing.iter().map(|one| line(context, one)).collect::<String>())?;
    }
    Ok(0)
}

fn nothing_set(context: &Context) {
    context.note(
        "no route is set; for example: meanwhile config set notify.desktop true, or notify.webhook.urls URL",
    );
}

fn line(context: &Context, one: &Standing) -> String {
    let mut facts = Vec::new();
    if let Some(at) = one.worked_at {
        facts.push(format!("worked at {at}"));
    }
    if one.waiting > 0 {
        facts.push(format!("{} waiting", one.waiting));
    }
    if let (Some(problem), tries) = (&one.problem, one.tries) {
        facts.push(format!("{tries} tries: {}", sanitise::line(problem)));
    }
    if let (Some(problem), Some(at)) = (&one.problem, one.next_at)
        && !problem.is_empty()
    {
        facts.push(format!("again at {at}"));
    }
    if one.given_up > 0 {
        let because = one.given_up_because.as_deref().unwrap_or_default();
        facts.push(format!("{} given up: {}", one.given_up, sanitise::line(because)));
    }
    if facts.is_empty() {
        facts.push("nothing told yet".into());
    }
    let troubled = one.problem.is_some() || one.given_up > 0;
    let tone = if troubled { Tone::Attention } else { Tone::Good };
    let route = sanitise::line(&one.route);
    format!("{}  {}\n", context.out.paint(tone, &route), facts.join("; "))
}

fn test(context: &Context, only: Option<Only>) -> Answer {
    let tried = entry::try_routes(&context.globals, only.map(Only::name))?;
    if tried.is_empty() {
        nothing_set(context);
        if context.globals.json {
            context.print_json(&json!([]))?;
        }
        return Ok(1);
    }
    if context.globals.json {
        let all: Vec<_> = tried.iter().map(object).collect();
        context.print_json(&all)?;
    } else {
        context.print(&tried.iter().map(|one| told(context, one)).collect::<String>())?;
    }
    Ok(u8::from(tried.iter().any(|one| one.result.is_err())))
}

fn object(one: &Tried) -> serde_json::Value {
    let Tried { way, result, took_ms } = one;
    let text = match result {
        Ok(text) | Err(text) => text,
    };
    json!({ "route": way, "ok": result.is_ok(), "text": text, "took_ms": took_ms })
}

fn told(context: &Context, one: &Tried) -> String {
    let (mark, tone, text) = match &one.result {
        Ok(text) => ("ok", Tone::Good, text),
        Err(text) => ("failed", Tone::Bad, text),
    };
    let mark = format!("{mark:<8}");
    let (way, text, took) =
        (sanitise::line(&one.way), sanitise::line(text), Span::from_ms(one.took_ms));
    format!("{}{way}  {text} ({took})\n", context.out.paint(tone, &mark))
}
