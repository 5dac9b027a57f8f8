//! `install` and `uninstall`: Meanwhile in an agent's own files, and out of them again.
//!
//! What it is for: one command, and an agent has the tools. What it owns: the options, where this user's files are, how a
//! plan is shown. What it never does: know a file of an agent (`meanwhile-integrations` does).

use std::path::{Path, PathBuf};

use clap::Args;
use meanwhile_api::{ApiError, ErrorCode, ExitCode};
use meanwhile_integrations::{
    Agent, Changed, Installation, Kind, Missing, Places, Scope, Trouble, Wishes,
};
use serde::Serialize;

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::entry;
use crate::failure::Failure;
use crate::show::paint::Tone;
use crate::show::{sanitise, when};

/// Said to those who have a status line, which is never replaced.
const OWN_STATUS_LINE: &str = "your status line stays as it is; to add ours, pass its input on to: \
     meanwhile statusline";

/// What sessions need that are older than their settings.
pub(super) const RESTART: &str =
    "end and start them again: they read their settings when they start";

/// Give an agent CLI the tools of Meanwhile
///
/// Shows what it changes: the MCP server, permissions for tools that only look, wait or cancel (launching keeps asking),
/// a skill. What was in the files stays as it is. `uninstall` takes everything out again.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Which agent; with --check, all that were installed if none is named
    #[arg(value_name = "AGENT", value_parser = agent, required_unless_present = "check")]
    agent: Option<Agent>,
    #[command(flatten)]
    scope: ScopeOptions,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Let the agent launch tasks without asking, too
    #[arg(long)]
    allow_launch: bool,
    /// Only say what is missing, moved or waits for a restart; exits 1 if anything is missing or moved
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
}

/// Take Meanwhile out of an agent's files
///
/// A file that nobody changed since is as it was before, to the byte; in others only what is ours goes.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Which agent
    #[arg(value_name = "AGENT", value_parser = agent)]
    agent: Agent,
    #[command(flatten)]
    scope: ScopeOptions,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct ScopeOptions {
    /// For everybody who works in this directory
    #[arg(long, conflicts_with = "user")]
    project: bool,
    /// For all sessions of this user [default]
    #[arg(long)]
    user: bool,
}

pub(super) fn agent(name: &str) -> Result<Agent, String> {
    let names = || Agent::ALL.map(Agent::name).join(", ");
    Agent::named(name).ok_or_else(|| format!("known are {}", names()))
}

/// The answer as JSON.
#[derive(Serialize)]
struct Reply {
    agent: &'static str,
    scope: &'static str,
    /// Nothing was changed: it was only asked what would be.
    dry_run: bool,
    changes: Vec<Change>,
}

#[derive(Serialize)]
pub(super) struct Change {
    path: String,
    /// `make`, `change` or `remove`.
    kind: &'static str,
    purpose: &'static str,
    lines: Vec<String>,
}

/// One line of a check as JSON.
#[derive(Serialize)]
struct Lack {
    agent: &'static str,
    path: String,
    what: String,
    /// It is there in another form: of an older release, or of a program elsewhere.
    other: bool,
}

impl Action for Install {
    fn run(self, context: &Context) -> Answer {
        if self.check {
            return check(context, self.agent, &self.scope, self.allow_launch);
        }
        let agent = self.agent.expect("clap demands one without --check");
        let installation = installation(context, agent, &self.scope, self.allow_launch)?;
        let changes = if self.dry_run { installation.plan() } else { installation.install() };
        let changes = changes.map_err(failure)?;
        show(context, &installation, &changes, self.dry_run)?;
        if context.globals.json {
            return Ok(0);
        }
        let name = agent.name();
        if changes.is_empty() {
            context.note(&format!("everything is there already: meanwhile install --check {name}"));
        } else if !self.dry_run {
            context.note(&format!("sessions of {name} that run now see it after a restart"));
        }
        if let Some(what) = installation.cannot() {
            context.note(what);
        }
        if !installation.left_alone().map_err(failure)?.is_empty() {
            context.note(OWN_STATUS_LINE);
        }
        Ok(0)
    }
}

impl Action for Uninstall {
    fn run(self, context: &Context) -> Answer {
        let installation = installation(context, self.agent, &self.scope, false)?;
        let changes =
            if self.dry_run { installation.plan_removal() } else { installation.uninstall() };
        let changes = changes.map_err(failure)?;
        show(context, &installation, &changes, self.dry_run)?;
        if changes.is_empty() && !context.globals.json {
            context.note("nothing of ours is there");
        }
        Ok(0)
    }
}

fn check(
    context: &Context,
    agent: Option<Agent>,
    scope: &ScopeOptions,
    allow_launch: bool,
) -> Answer {
    let mut lacks = Vec::new();
    let mut looked = 0;
    for one in Agent::ALL.into_iter().filter(|one| agent.is_none_or(|agent| agent == *one)) {
        let installation = installation(context, one, scope, allow_launch)?;
        if agent.is_none() && !installation.is_remembered() {
            continue;
        }
        looked += 1;
        let older = older_sessions(&installation);
        if older > 0 && !context.globals.json {
            let sessions = when::plural(older, "running session");
            context.note(&format!(
                "{}: {sessions} began before it was installed: {RESTART}",
                one.name()
            ));
        }
        let missing = installation.check().map_err(failure)?;
        lacks.extend(missing.into_iter().map(|missing| (one, missing)));
    }
    if looked == 0 {
        let error = ApiError::new(ErrorCode::NotFound, "no agent has the tools of Meanwhile");
        let error = error.exit(ExitCode::WorkFailed).hint("meanwhile install claude --dry-run");
        return Err(Failure::Fact(error));
    }
    if context.globals.json {
        let lacks: Vec<Lack> = lacks.iter().map(|(agent, missing)| lack(*agent, missing)).collect();
        context.print_json(&lacks)?;
    } else {
        let line = |(agent, missing): &(Agent, Missing)| {
            let state = if missing.other { "differs" } else { "missing" };
            let path = sanitise::line(&missing.path.display().to_string());
            format!("{:<9} {state}  {path}: {}\n", agent.name(), sanitise::line(&missing.what))
        };
        context.print(&lacks.iter().map(line).collect::<String>())?;
        match lacks.first() {
            Some((agent, _)) => {
                context.note(&format!("to repair: meanwhile install {}", agent.name()))
            }
            None => context.note("everything is there"),
        }
    }
    Ok(u8::from(!lacks.is_empty()))
}

/// How many processes of the agent are older than the last change of its files.
pub(super) fn older_sessions(installation: &Installation) -> u64 {
    let Some(age) = installation.changed_at().and_then(|at| at.elapsed().ok()) else { return 0 };
    let older = entry::ages(installation.agent.name()).into_iter().filter(|ran| *ran > age);
    u64::try_from(older.count()).unwrap_or(u64::MAX)
}

fn lack(agent: Agent, missing: &Missing) -> Lack {
    Lack {
        agent: agent.name(),
        path: missing.path.display().to_string(),
        what: missing.what.clone(),
        other: missing.other,
    }
}

fn show(
    context: &Context,
    installation: &Installation,
    changes: &[Changed],
    dry_run: bool,
) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json(&Reply {
            agent: installation.agent.name(),
            scope: match installation.scope {
                Scope::User => "user",
                Scope::Project(_) => "project",
            },
            dry_run,
            changes: changes.iter().map(Change::of).collect(),
        });
    }
    context.print(&described(context, changes, dry_run))
}

impl Change {
    pub(super) fn of(change: &Changed) -> Self {
        Self {
            path: change.path.display().to_string(),
            kind: match change.kind {
                Kind::Make => "make",
                Kind::Change => "change",
                Kind::Remove => "remove",
            },
            purpose: change.purpose,
            lines: change.lines.clone(),
        }
    }
}

/// Changes for a person: a line for each file, and one for each thing in it.
pub(super) fn described(context: &Context, changes: &[Changed], dry_run: bool) -> String {
    let mut text = String::new();
    for change in changes {
        let verb = match (change.kind, dry_run) {
            (Kind::Make, false) => "made",
            (Kind::Change, false) => "changed",
            (Kind::Remove, false) => "removed",
            (Kind::Make, true) => "would make",
            (Kind::Change, true) => "would change",
            (Kind::Remove, true) => "would remove",
        };
        let path = sanitise::line(&change.path.display().to_string());
        let purpose = format!("({})", change.purpose);
        let purpose = context.out.paint(Tone::Faint, &purpose);
        text.push_str(&format!("{verb} {path} {purpose}\n"));
        for line in &change.lines {
            text.push_str(&format!("  {}\n", sanitise::line(line)));
        }
    }
    text
}

pub(super) fn failure(trouble: Trouble) -> Failure {
    let error = ApiError::new(ErrorCode::Refused, trouble.message);
    trouble.hint.into_iter().fold(error, ApiError::hint).into()
}

fn installation(
    context: &Context,
    agent: Agent,
    scope: &ScopeOptions,
    allow_launch: bool,
) -> Result<Installation, Failure> {
    let here = || std::env::current_dir().map_err(|error| cannot("find this directory", &error));
    let scope = if scope.project { Scope::Project(here()?) } else { Scope::User };
    installation_for(context, agent, scope, allow_launch)
}

pub(super) fn installation_for(
    context: &Context,
    agent: Agent,
    scope: Scope,
    allow_launch: bool,
) -> Result<Installation, Failure> {
    Ok(Installation {
        agent,
        scope,
        places: places()?,
        wishes: Wishes { program: program()?, allow_launch },
        state: entry::state_directory(&context.globals)?,
    })
}

fn cannot(doing: &str, error: &std::io::Error) -> Failure {
    ApiError::new(ErrorCode::Internal, format!("{doing}: {error}")).into()
}

fn places() -> Result<Places, Failure> {
    let directory =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = directory("HOME").ok_or_else(|| {
        Failure::usage("HOME is not an absolute path", "HOME=/home/you meanwhile install AGENT")
    })?;
    Ok(Places {
        home,
        config: directory("XDG_CONFIG_HOME"),
        claude: directory("CLAUDE_CONFIG_DIR"),
        codex: directory("CODEX_HOME"),
        opencode: directory("OPENCODE_CONFIG_DIR"),
        copilot: directory("COPILOT_HOME"),
    })
}

/// Where an agent's program is, as a shell would find it.
pub(super) fn on_path(agent: Agent) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(agent.name()))
        .find(|path| {
            let about = std::fs::metadata(path);
            about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
        })
}

/// Our own program by the path that stays the same over upgrades: the link on PATH where it leads to us.
fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| cannot("find our own executable", &error))?;
    let leads_to_us = |path: &Path| std::fs::canonicalize(path).is_ok_and(|found| found == own);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    let on_path = places.find_map(|directory| {
        let path = directory.join("meanwhile");
        leads_to_us(&path).then_some(path)
    });
    Ok(on_path.unwrap_or(own))
}
