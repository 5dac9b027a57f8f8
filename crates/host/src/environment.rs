//! The environment of a task: the caller's, minus what identifies the caller's own conversation, plus
//! a profile that keeps programs from asking, plus what tells the task who it is.
//!
//! Owns the tables and their order. Pure: byte strings in, byte strings out. No profile answers yes
//! for anybody: a variable that confirms, installs or overwrites is not in any table here.
//!
//! ```text
//!   ours (MEANWHILE_*) > --env > --keep-env > TMPDIR > captured by the caller > profile
//! ```
//!
//! The profile is a default: it sets a variable only where the caller has none of that name.
//! `--keep-env` brings back what the removal took.

use std::collections::BTreeMap;
use std::fmt;

use meanwhile_core::TaskId;

/// Names and values, sorted by name. Its `Debug` form shows no value: they may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<Vec<u8>, Vec<u8>>);

/// Which defaults a task gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing may ask, page or open an editor.
    Agent,
    /// As `agent`, and programs are told that this is continuous integration (`CI=1`), which
    /// changes what some of them do.
    Ci,
    /// The caller's as it is, but for what identifies the caller.
    Inherit,
}

/// What a task's environment is made from.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The caller's, as captured.
    pub captured: &'a Environment,
    /// The defaults.
    pub profile: Profile,
    /// Names whose captured values stay, whatever the removal list says (`--keep-env`).
    pub keep: &'a [Vec<u8>],
    /// Names and values that were asked for (`--env`), the last of a name counting.
    pub explicit: &'a [(Vec<u8>, Vec<u8>)],
    /// `MEANWHILE_BIN`: the absolute path of the program to call. Set over everything else.
    pub bin: &'a [u8],
    /// `MEANWHILE_HOME`: the state directory, set over everything else; `None` for the default home,
    /// which the task resolves as its caller did.
    pub home: Option<&'a [u8]>,
}

impl Environment {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Reads entries of the form `K=V`. Of two with one name the last counts; an entry without a
    /// name or without `=` is dropped, as no program can look it up.
    #[must_use]
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut environment = Self::new();
        for entry in entries {
            // A leading `=` is part of the name in no shell, but `=x` has an empty one.
            if let Some(at) = entry.iter().position(|b| *b == b'=').filter(|at| *at > 0) {
                environment.set(&entry[..at], &entry[at + 1..]);
            }
        }
        environment
    }

    /// The entries `K=V`, sorted by name.
    #[must_use]
    pub fn entries(&self) -> Vec<Vec<u8>> {
        self.iter().map(|(name, value)| [name, b"=", value].concat()).collect()
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.0.get(name.as_ref()).map(Vec::as_slice)
    }

    /// Sets a value, over the one there is.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.0.insert(name.as_ref().to_vec(), value.as_ref().to_vec());
    }

    /// Removes a name.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        self.0.remove(name.as_ref());
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn set_default(&mut self, name: &str, value: &str) {
        self.0.entry(name.as_bytes().to_vec()).or_insert_with(|| value.as_bytes().to_vec());
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.len())
    }
}

impl Profile {
    /// The profile of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "agent" => Some(Self::Agent),
            "ci" => Some(Self::Ci),
            "inherit" => Some(Self::Inherit),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Ci => "ci",
            Self::Inherit => "inherit",
        }
    }

    fn defaults(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let (quiet, ci): (&'static [_], &'static [_]) = match self {
            Self::Agent => (NON_INTERACTIVE, &[]),
            Self::Ci => (NON_INTERACTIVE, CONTINUOUS_INTEGRATION),
            Self::Inherit => (&[], &[]),
        };
        quiet.iter().chain(ci)
    }
}

/// What all attempts of tasks with one recipe have in common: the work is done once for a batch.
#[derive(Clone)]
pub struct Prepared {
    /// Sorted by name; without what [`Prepared::of_attempt`] adds.
    entries: Vec<Vec<u8>>,
    /// `TMPDIR` was asked for, and is among the entries.
    has_tmpdir: bool,
}

impl Prepared {
    /// Does everything but what is of one attempt.
    #[must_use]
    pub fn new(recipe: &Recipe<'_>) -> Self {
        let Recipe { captured, profile, keep, explicit, bin, home } = recipe;
        let mut result = without_identity_of_the_caller(captured);
        for (name, value) in profile.defaults() {
            let opposed = OPPOSITES.iter().any(|(a, b)| a == name && result.get(b).is_some());
            if !opposed {
                result.set_default(name, value);
            }
        }
        let kept: Vec<_> =
            keep.iter().filter_map(|name| Some((name, captured.get(name)?))).collect();
        let has_tmpdir = kept.iter().any(|(name, _)| name.as_slice() == TMPDIR)
            || explicit.iter().any(|(name, _)| name.as_slice() == TMPDIR);
        for (name, value) in kept {
            result.set(name, value);
        }
        for (name, value) in *explicit {
            result.set(name, value);
        }
        result.set("MEANWHILE_BIN", bin);
        if let Some(home) = home {
            result.set("MEANWHILE_HOME", home);
        }
        result.remove(TASK);
        result.remove(ATTEMPT);
        Self { entries: result.entries(), has_tmpdir }
    }

    /// The environment of one attempt, as entries `K=V`. A captured `TMPDIR` stays where there is no other.
    #[must_use]
    pub fn of_attempt(&self, task: TaskId, attempt: u32, tmpdir: Option<&[u8]>) -> Vec<Vec<u8>> {
        let tmpdir = tmpdir.filter(|_| !self.has_tmpdir);
        let is_old = |entry: &[u8]| {
            tmpdir.is_some()
                && entry.strip_prefix(TMPDIR).is_some_and(|rest| rest.starts_with(b"="))
        };
        let mut entries: Vec<Vec<u8>> = Vec::with_capacity(self.entries.len() + 3);
        entries.extend(self.entries.iter().filter(|entry| !is_old(entry)).cloned());
        entries.push([TASK, b"=", task.to_string().as_bytes()].concat());
        entries.push([ATTEMPT, b"=", attempt.to_string().as_bytes()].concat());
        entries.extend(tmpdir.map(|tmpdir| [TMPDIR, b"=", tmpdir].concat()));
        entries
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({} variables)", self.entries.len())
    }
}

const TASK: &[u8] = b"MEANWHILE_TASK";
const ATTEMPT: &[u8] = b"MEANWHILE_ATTEMPT";
const TMPDIR: &[u8] = b"TMPDIR";

/// The captured environment without what says which conversation it belongs to. This is also what
/// a launch from inside a task hands on.
#[must_use]
pub fn without_identity_of_the_caller(captured: &Environment) -> Environment {
    let kept = captured.0.iter().filter(|(name, _)| !identifies_the_caller(name));
    Environment(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// What a daemon and its supervisors are started with: enough to find the user's directories and
/// the user manager, nothing that could change how we load, log or behave.
#[must_use]
pub fn daemon_environment(caller: &Environment) -> Environment {
    let kept = caller.0.iter().filter(|(name, _)| is_for_the_daemon(name));
    Environment(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn identifies_the_caller(name: &[u8]) -> bool {
    IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        || IDENTITY_NAMES.iter().any(|listed| name == listed.as_bytes())
}

fn is_for_the_daemon(name: &[u8]) -> bool {
    meanwhile_faultpoint::is_our_variable(name)
        || name.starts_with(b"LC_")
        || DAEMON_NAMES.iter().any(|listed| name == listed.as_bytes())
}

/// Everything of these is about one launch of one task or session, tokens included.
const IDENTITY_PREFIXES: &[&str] = &[
    "MEANWHILE_",
    // How a running Claude Code is reached: its editor bridge, its messages, its sub-sessions.
    "CLAUDE_CODE_SSE_",
    "CLAUDE_CODE_MESSAGING_",
    "CLAUDE_CODE_SESSION",
    "CLAUDE_CODE_REMOTE",
    "CODEX_INTERNAL_",
    "CODEX_SANDBOX",
];

/// Single names by which a CLI recognises that it runs inside a conversation, and which one.
/// Settings of the user (keys, base URLs, config homes, models) are not among them.
const IDENTITY_NAMES: &[&str] = &[
    "AI_AGENT",
    "CLAUDECODE",
    "CLAUDE_CODE_AGENT_ID",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_PARENT_SESSION_ID",
    "CLAUDE_CODE_TASK_LIST_ID",
    "CLAUDE_CODE_TEAM_NAME",
    "CLAUDE_ENV_FILE",
    "CLAUDE_PID",
    "CLAUDE_PROJECT_DIR",
    "CLAUDE_SESSION_ID",
    "CODEX_CI",
    "CODEX_SESSION_ID",
    "CODEX_THREAD_ID",
    "COPILOT_AGENT_SESSION_ID",
    "COPILOT_CLI",
    "FACTORY_PROJECT_DIR",
    "FACTORY_SESSION_ID",
    "GEMINI_CLI",
    "GEMINI_SESSION_ID",
    "OPENCODE",
    "OPENCODE_CALLER",
    "OPENCODE_PID",
    "OPENCODE_RUN_ID",
    "OPENCODE_SESSION_ID",
    "QWEN_CODE",
    "QWEN_SESSION_ID",
];

/// What a daemon and supervisors keep.
const DAEMON_NAMES: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "HOME",
    "LANG",
    "LOGNAME",
    "PATH",
    "RUST_BACKTRACE",
    "SHELL",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// Programs are told that nobody is there to ask, page for or draw for. Each entry makes a program
/// fail or stay quiet; none makes it say yes.
const NON_INTERACTIVE: &[(&str, &str)] = &[
    // Pagers.
    ("PAGER", "cat"),
    ("MANPAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("GH_PAGER", "cat"),
    ("BAT_PAGER", "cat"),
    ("DELTA_PAGER", "cat"),
    ("PSQL_PAGER", "cat"),
    ("SYSTEMD_PAGER", ""),
    ("SYSTEMD_LESS", ""),
    ("AWS_PAGER", ""),
    ("LESS", "-R"),
    // Editors: the text as it was proposed, rather than a screen that waits.
    ("EDITOR", ":"),
    ("VISUAL", ""),
    ("GIT_EDITOR", ":"),
    ("GIT_SEQUENCE_EDITOR", ":"),
    ("GIT_MERGE_AUTOEDIT", "no"),
    // Passwords and host keys: no prompt is a clear failure. GIT_SSH_COMMAND is not set: it would
    // hide the user's core.sshCommand, and without a terminal ssh cannot ask anyway.
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GCM_INTERACTIVE", "never"),
    ("SSH_ASKPASS_REQUIRE", "never"),
    ("SUDO_ASKPASS", "/bin/false"),
    ("GH_PROMPT_DISABLED", "1"),
    // System packages: no dialogs. What is asked on a terminal is still asked, and fails.
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("NEEDRESTART_SUSPEND", "1"),
    ("UCF_FORCE_CONFFOLD", "1"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("HOMEBREW_NO_AUTO_UPDATE", "1"),
    // Tools with a switch of their own against asking.
    ("PIP_NO_INPUT", "1"),
    ("POETRY_NO_INTERACTION", "1"),
    ("COMPOSER_NO_INTERACTION", "1"),
    ("TF_INPUT", "0"),
    ("TF_IN_AUTOMATION", "1"),
    ("AWS_CLI_AUTO_PROMPT", "off"),
    ("NG_CLI_ANALYTICS", "false"),
    // Output for a reader who pays by the line: no bars, banners or advertisements.
    ("PIP_PROGRESS_BAR", "off"),
    ("TQDM_DISABLE", "1"),
    ("GIT_ADVICE", "0"),
    ("NPM_CONFIG_FUND", "false"),
    ("NPM_CONFIG_AUDIT", "false"),
    ("npm_config_update_notifier", "false"),
    ("NO_UPDATE_NOTIFIER", "1"),
    ("ADBLOCK", "1"),
    // Questions about telemetry, answered no.
    ("NEXT_TELEMETRY_DISABLED", "1"),
    ("ASTRO_TELEMETRY_DISABLED", "1"),
    ("DOTNET_CLI_TELEMETRY_OPTOUT", "1"),
    // Logs that are live, in UTF-8, without colours or cursor movements.
    ("PYTHONUNBUFFERED", "1"),
    ("TERM", "dumb"),
    ("NO_COLOR", "1"),
    ("LANG", "C.UTF-8"),
];

/// A default that is not set beside the second name, by which the user asked for the contrary.
const OPPOSITES: &[(&str, &str)] = &[
    ("NO_COLOR", "FORCE_COLOR"),
    ("NO_COLOR", "CLICOLOR_FORCE"),
    ("LANG", "LC_ALL"),
    // A person's VISUAL or EDITOR is left alone as a pair: programs look at both.
    ("VISUAL", "EDITOR"),
];

/// Only where it was asked for: warnings become errors, lock files freeze, snapshots are not
/// written.
const CONTINUOUS_INTEGRATION: &[(&str, &str)] = &[("CI", "1")];

#[cfg(test)]
mod tests;
