//! The agents that can be integrated, and where each keeps its files.

use std::path::{Path, PathBuf};

/// An agent CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    Claude,
    Codex,
    OpenCode,
    Gemini,
    Droid,
    Copilot,
}

impl Agent {
    pub const ALL: [Self; 6] =
        [Self::Claude, Self::Codex, Self::OpenCode, Self::Gemini, Self::Droid, Self::Copilot];

    /// As one types it; also the name of its program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::OpenCode => "opencode",
            Self::Gemini => "gemini",
            Self::Droid => "droid",
            Self::Copilot => "copilot",
        }
    }

    /// The agent of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|agent| agent.name() == name)
    }
}

/// For whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For all sessions of this user.
    User,
    /// For all who work in this directory.
    Project(PathBuf),
}

/// Where this user's files are. Each agent has a variable that moves its own; none is the default.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub home: PathBuf,
    /// `XDG_CONFIG_HOME`.
    pub config: Option<PathBuf>,
    /// `CLAUDE_CONFIG_DIR`.
    pub claude: Option<PathBuf>,
    /// `CODEX_HOME`.
    pub codex: Option<PathBuf>,
    /// `OPENCODE_CONFIG_DIR`.
    pub opencode: Option<PathBuf>,
    /// `COPILOT_HOME`.
    pub copilot: Option<PathBuf>,
}

impl Places {
    /// Where the agent keeps most of what it is told, for a scope.
    pub(crate) fn directory(&self, agent: Agent, scope: &Scope) -> PathBuf {
        let moved = |place: &Option<PathBuf>, default: &str| {
            place.clone().unwrap_or_else(|| self.home.join(default))
        };
        match (agent, scope) {
            (Agent::Claude, Scope::User) => moved(&self.claude, ".claude"),
            (Agent::Claude, Scope::Project(root)) => root.join(".claude"),
            (Agent::Codex, Scope::User) => moved(&self.codex, ".codex"),
            (Agent::Codex, Scope::Project(root)) => root.join(".codex"),
            (Agent::OpenCode, Scope::User) => self
                .opencode
                .clone()
                .unwrap_or_else(|| moved(&self.config, ".config").join("opencode")),
            (Agent::OpenCode, Scope::Project(root)) => root.join(".opencode"),
            (Agent::Gemini, Scope::User) => self.home.join(".gemini"),
            (Agent::Gemini, Scope::Project(root)) => root.join(".gemini"),
            (Agent::Droid, Scope::User) => self.home.join(".factory"),
            (Agent::Droid, Scope::Project(root)) => root.join(".factory"),
            (Agent::Copilot, Scope::User) => moved(&self.copilot, ".copilot"),
            (Agent::Copilot, Scope::Project(root)) => root.join(".github"),
        }
    }

    /// The file of Claude Code that holds MCP servers.
    pub(crate) fn claude_servers(&self, scope: &Scope) -> PathBuf {
        match scope {
            Scope::User => self.claude.as_deref().unwrap_or(&self.home).join(".claude.json"),
            Scope::Project(root) => root.join(".mcp.json"),
        }
    }

    /// OpenCode takes comments in either; the one that is there is edited.
    pub(crate) fn opencode_settings(&self, scope: &Scope) -> PathBuf {
        let directory = match scope {
            Scope::User => self.directory(Agent::OpenCode, scope),
            Scope::Project(root) => root.clone(),
        };
        first_there(&directory, &["opencode.jsonc", "opencode.json"])
    }
}

/// The first of these names that exists in a directory, else the last.
fn first_there(directory: &Path, names: &[&str]) -> PathBuf {
    let there = names.iter().map(|name| directory.join(name)).find(|path| path.exists());
    there.unwrap_or_else(|| directory.join(names.last().expect("a name")))
}
