//! How each agent CLI is called once, without a terminal, against the scripted model.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use meanwhile_testkit::model::Model;
use meanwhile_testkit::{Ran, TestHome};

use super::installed;

/// Such a program starts in seconds, and two cores are shared.
const PATIENCE: Duration = Duration::from_secs(120);

/// An agent CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cli {
    Claude,
    Codex,
    OpenCode,
    Copilot,
}

impl Cli {
    pub(super) const ALL: [Self; 4] = [Self::Claude, Self::Codex, Self::OpenCode, Self::Copilot];

    /// The name that `install` knows.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::OpenCode => "opencode",
            Self::Copilot => "copilot",
        }
    }

    /// By which name a model calls one of our tools.
    pub(super) fn tool(self, name: &str) -> String {
        match self {
            Self::Claude | Self::Codex => format!("mcp__meanwhile__{name}"),
            Self::OpenCode => format!("meanwhile_{name}"),
            Self::Copilot => format!("meanwhile-{name}"),
        }
    }

    /// Each platform has a package of its own. Those are called where the general one is only filled in by its install
    /// script, which is not run.
    pub(super) fn program(self) -> PathBuf {
        let platform = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        installed().join(match self {
            Self::Claude => format!("@anthropic-ai/claude-code-linux-{platform}/claude"),
            Self::Codex => ".bin/codex".to_owned(),
            Self::OpenCode => format!("opencode-linux-{platform}/bin/opencode"),
            Self::Copilot => format!("@github/copilot-linux-{platform}/copilot"),
        })
    }

    /// Its own settings: which model, and nothing over the network.
    pub(super) fn set_up(self, home: &TestHome, model: &Model) {
        let user = home.root().join("user");
        let write = |name: &str, text: String| {
            let path = user.join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
            fs::write(path, text).expect("it is ours");
        };
        let url = model.url();
        match self {
            Self::Claude | Self::Copilot => {}
            Self::Codex => write(
                ".codex/config.toml",
                format!(
                    "model = \"scripted-text\"\nmodel_provider = \"scripted\"\ncheck_for_update_on_startup = false\n\
                     [analytics]\nenabled = false\n[feedback]\nenabled = false\n\
                     [model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{url}/v1\"\n\
                     wire_api = \"responses\"\nenv_key = \"SCRIPTED_KEY\"\nrequest_max_retries = 1\n\
                     stream_max_retries = 1\nsupports_websockets = false\n"
                ),
            ),
            Self::OpenCode => write(
                ".config/opencode/opencode.json",
                serde_json::json!({
                    "autoupdate": false, "share": "disabled", "model": "scripted/scripted-text",
                    "small_model": "scripted/scripted-text",
                    "provider": { "scripted": {
                        "npm": "@ai-sdk/openai-compatible", "name": "scripted",
                        "options": { "baseURL": format!("{url}/v1"), "apiKey": "x" },
                        "models": { "scripted-text": { "name": "scripted" } },
                    } },
                })
                .to_string(),
            ),
        }
    }

    /// Asks once and waits for the answer.
    #[track_caller]
    pub(super) fn ask(self, home: &TestHome, model: &Model, prompt: &str) -> Ran {
        let words: &[&str] = match self {
            Self::Claude => &["-p", "--output-format", "json", prompt],
            // A person reviews hooks once, when it starts.
            Self::Codex => &[
                "exec",
                "--json",
                "--skip-git-repo-check",
                "--dangerously-bypass-hook-trust",
                prompt,
            ],
            // A prompt with spaces arrives in quotes when it is an argument.
            Self::OpenCode => &["run", "--format", "json"],
            Self::Copilot => {
                &["-p", prompt, "--output-format", "json", "--no-auto-update", "--allow-all-tools"]
            }
        };
        let mut call = home.invoke(words).program(self.program()).deadline(PATIENCE);
        if self == Self::OpenCode {
            call = call.stdin(prompt);
        }
        self.variables(model)
            .into_iter()
            .fold(call, |call, (name, value)| call.env(name, value))
            .run()
    }

    /// The environment that keeps it off the network and sends it to the scripted model.
    pub(super) fn variables(self, model: &Model) -> Vec<(&'static str, String)> {
        let said = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        match self {
            Self::Claude => said(&[
                ("ANTHROPIC_BASE_URL", &model.url()),
                ("ANTHROPIC_API_KEY", "sk-ant-scripted"),
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                ("DISABLE_AUTOUPDATER", "1"),
                ("DISABLE_TELEMETRY", "1"),
                ("DISABLE_ERROR_REPORTING", "1"),
                ("CLAUDE_CODE_MAX_RETRIES", "1"),
            ]),
            Self::Codex => said(&[("SCRIPTED_KEY", "x")]),
            Self::OpenCode => said(&[
                ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
                ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
                ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
            ]),
            Self::Copilot => said(&[
                ("COPILOT_OFFLINE", "true"),
                ("COPILOT_AUTO_UPDATE", "false"),
                ("COPILOT_PROVIDER_BASE_URL", &format!("{}/v1", model.url())),
                ("COPILOT_PROVIDER_TYPE", "openai"),
                // It masks this word wherever it prints it: a short one would be part of others.
                ("COPILOT_PROVIDER_API_KEY", "scripted-key-0123456789"),
                ("COPILOT_MODEL", "scripted-text"),
            ]),
        }
    }
}

/// A script for an agent's shell that launches a failing task of this name and stays until it has ended. It waits for it as
/// somebody without `session`, the variable of the agent's session, so that nobody is told by that.
pub(super) fn launches_and_stays(home: &TestHome, name: &str, session: &str) -> PathBuf {
    let program = home.binary();
    let program = program.display();
    let work = format!(
        "id=$('{program}' run --name {name} -- sh -c 'echo the-last-line; exit 3')\n\
         env -u {session} '{program}' wait \"$id\" > /dev/null\ntrue\n"
    );
    let script = home.path("work.sh");
    fs::write(&script, work).expect("it is ours");
    script
}
