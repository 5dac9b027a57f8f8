//! The settings of other routes: what is told to webhooks, commands, desktops and terminals.
//!
//! Owns the plain data, its defaults (nothing is told to anybody) and what single texts of it must be. Whether a file
//! with a secret can be read is found out when it is used: it may be written later.

use std::path::Path;
use std::time::Duration;

use meanwhile_routes::WebhookUrl;

/// Entries of a list: each route is asked for every notice.
pub(super) const LIST_MAX: usize = 16;
/// The longest text of a list.
pub(super) const TEXT_BYTES: usize = 4_096;
/// Wait before the first further try by default.
const BACKOFF: Duration = Duration::from_secs(5);

/// Which notices routes are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Telling {
    /// As each task was launched: failures at once, successes with the last of their group or turn.
    #[default]
    Policy,
    /// Each one, as soon as it is there.
    Each,
    /// Failures and deadlines alone.
    Failures,
}

/// Everything that can be set about other routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Where to post.
    pub webhook_urls: Vec<String>,
    /// The file with the secret to sign with; none where it is empty.
    pub webhook_secret_file: String,
    /// Whether machines of private networks may be posted to.
    pub webhook_private: bool,
    /// Whether a task's last line goes along.
    pub webhook_output: bool,
    /// A program and its arguments; none where it is empty.
    pub command: Vec<String>,
    /// Whether the desktop shows it.
    pub desktop: bool,
    /// Whether the terminal rings.
    pub bell: bool,
    /// Which notices.
    pub telling: Telling,
    /// Of these sessions; of all where it is empty.
    pub sessions: Vec<String>,
    /// Of these groups; of all tasks where it is empty.
    pub groups: Vec<String>,
    /// Wait before the first further try; four times as long for each one after it.
    pub backoff: Duration,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            webhook_urls: Vec::new(),
            webhook_secret_file: String::new(),
            webhook_private: false,
            webhook_output: false,
            command: Vec::new(),
            desktop: false,
            bell: false,
            telling: Telling::Policy,
            sessions: Vec::new(),
            groups: Vec::new(),
            backoff: BACKOFF,
        }
    }
}

impl RouteSettings {
    /// Whether anything is told to anybody.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.webhook_urls.is_empty() || !self.command.is_empty() || self.desktop || self.bell
    }

    /// Whether launches are to remember their terminal.
    #[must_use]
    pub const fn want_terminal(&self) -> bool {
        self.desktop || self.bell
    }
}

impl Telling {
    /// The word in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Each => "each",
            Self::Failures => "failures",
        }
    }
}

/// The address of a webhook. What is wrong is said without repeating it: its path may be a secret.
pub(super) fn check_url(text: &str) -> Result<(), String> {
    WebhookUrl::parse(text).map(|_| ()).map_err(|error| error.to_string())
}

/// A path from the root, or nothing.
pub(super) fn check_path(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        text if Path::new(text).is_absolute() => Ok(()),
        _ => {
            Err("it is not a path from the root, such as /home/me/.config/meanwhile/secret".into())
        }
    }
}

/// A word of a command: the system takes everything but a zero byte.
pub(super) fn check_word(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("a word has a zero byte".into()) } else { Ok(()) }
}

/// A name of a session or group.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("a name is empty or has a control character".into());
    }
    Ok(())
}
