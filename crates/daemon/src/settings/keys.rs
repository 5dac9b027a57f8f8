//! The keys of `config.toml`: name, kind, meaning, and the field each one sets.
//!
//! Owns the table and the messages about a wrong key or value. The same table reads the file, checks
//! `config set` and prints `config get`, so that they cannot disagree.

use std::fmt;
use std::time::Duration;

use meanwhile_api::{Size, Span};
use meanwhile_core::LaneName;
use meanwhile_core::inbox::Waking;
use meanwhile_core::spec::EnvProfile;
use serde_json::{Value as Json, json};
use toml_edit::{Item, TableLike, Value};

use super::routes::{self, LIST_MAX, TEXT_BYTES};
use super::{Isolation, LogLevel, Settings, Telling};

/// One key that can be set.
#[derive(Debug)]
pub struct Entry {
    /// As it is written; `lanes."NAME".limit` stands for a key per lane.
    pub name: &'static str,
    /// What it does, for `config get`.
    pub about: &'static str,
    field: Field,
}

/// Where a value goes and what it may be.
#[derive(Debug)]
enum Field {
    /// A whole number from the first on; 0 is said where it is allowed.
    Count(u32, fn(&mut Settings) -> &mut u32),
    /// A duration of at least the first.
    Span(Duration, fn(&mut Settings) -> &mut Duration),
    /// A size of at least the first; 0 is allowed where the first is 0.
    Size(u64, fn(&mut Settings) -> &mut u64),
    /// One of some words.
    Word(&'static [&'static str], fn(&Settings) -> &'static str, fn(&mut Settings, &str)),
    /// True or false.
    Flag(fn(&mut Settings) -> &mut bool),
    /// A text that is checked.
    Text(Check, fn(&mut Settings) -> &mut String),
    /// A list of texts, each checked; a single text is a list of one.
    Texts(Check, fn(&mut Settings) -> &mut Vec<String>),
}

/// What is wrong with a text, if anything is.
type Check = fn(&str) -> Result<(), String>;

/// The smallest log that still has a head and two tail segments of a useful size.
const MIN_LOG_CAP: u64 = 64 << 10;
/// The longest name of a lane, so that a list of lanes stays readable.
pub(crate) const MAX_NAME: usize = 200;

/// Every key but the ones per lane, in the order they are shown.
pub const KEYS: &[Entry] = &[
    count(
        "lanes.default.limit",
        "tasks at once in a lane without a limit of its own; 0 is unlimited",
        0,
        |s| &mut s.default_lane_limit,
    ),
    count("limits.starts", "starts in flight over all lanes", 1, |s| &mut s.starts),
    count("limits.agents", "agents at once over all lanes", 1, |s| &mut s.agents),
    count("limits.depth", "levels of tasks that launch tasks", 1, |s| &mut s.depth),
    count("limits.descendants", "live tasks that agents may launch per session", 1, |s| {
        &mut s.descendants
    }),
    count("limits.queued", "queued tasks over all lanes", 1, |s| &mut s.queued),
    span("limits.stale_queued", "`prune` cancels what has been queued for longer", 1, |s| {
        &mut s.stale_queued
    }),
    span(
        "timeouts.command",
        "running time of a command that an agent launched; 0 is for ever",
        0,
        |s| &mut s.command_timeout,
    ),
    span("timeouts.agent", "running time of an agent; 0 is for ever", 0, |s| &mut s.agent_timeout),
    span("timeouts.grace", "time between SIGTERM and SIGKILL", 0, |s| &mut s.grace),
    span("retry.backoff", "wait before the first retry; doubles from there", 0, |s| &mut s.backoff),
    span("retry.max_backoff", "longest wait before a retry", 0, |s| &mut s.max_backoff),
    span("mcp.max_wait", "how long the MCP tool `wait` blocks at most", 1, |s| &mut s.mcp_max_wait),
    size("log.cap", "bytes of log kept per task", MIN_LOG_CAP, |s| &mut s.log_cap),
    span("retention.age", "how long ended tasks are kept; 0 is for ever", 0, |s| {
        &mut s.retention_age
    }),
    size(
        "retention.bytes",
        "bytes the files of ended tasks may take; 0 is without bound",
        0,
        |s| &mut s.retention_bytes,
    ),
    Entry {
        name: "isolation.cgroup",
        about: "whether tasks get control groups of their own: auto or off",
        field: Field::Word(
            &["auto", "off"],
            |s| s.cgroup.name(),
            |s, word| {
                s.cgroup = if word == "off" { Isolation::Off } else { Isolation::Auto };
            },
        ),
    },
    Entry {
        name: "env.profile",
        about: "variables a task gets where its caller has none: agent, ci or inherit",
        field: Field::Word(
            &["agent", "ci", "inherit"],
            |s| s.env_profile.name(),
            |s, word| {
                s.env_profile = match word {
                    "ci" => EnvProfile::Ci,
                    "inherit" => EnvProfile::Inherit,
                    _ => EnvProfile::Agent,
                };
            },
        ),
    },
    Entry {
        name: "notify.wake",
        about: "for what a turn of an idle session may be started: auto, failures or never",
        field: Field::Word(
            &["auto", "failures", "never"],
            |s| s.waking.name(),
            |s, word| {
                s.waking = match word {
                    "failures" => Waking::Failures,
                    "never" => Waking::Never,
                    _ => Waking::Auto,
                };
            },
        ),
    },
    Entry {
        name: "notify.webhook.urls",
        about: "where notices are posted: https, or http on this machine; each once, then again until it is taken",
        field: Field::Texts(routes::check_url, |s| &mut s.routes.webhook_urls),
    },
    Entry {
        name: "notify.webhook.secret_file",
        about: "the file (mode 600) with the secret that posts are signed with",
        field: Field::Text(routes::check_path, |s| &mut s.routes.webhook_secret_file),
    },
    Entry {
        name: "notify.webhook.private",
        about: "whether posts may go to machines of private networks",
        field: Field::Flag(|s| &mut s.routes.webhook_private),
    },
    Entry {
        name: "notify.webhook.output",
        about: "whether posts have the last line that a task has printed",
        field: Field::Flag(|s| &mut s.routes.webhook_output),
    },
    Entry {
        name: "notify.command",
        about: "a program and its arguments, run without a shell with notices as JSON on its standard input",
        field: Field::Texts(routes::check_word, |s| &mut s.routes.command),
    },
    Entry {
        name: "notify.desktop",
        about: "whether notices are shown on the desktop: by notify-send, else by the terminal",
        field: Field::Flag(|s| &mut s.routes.desktop),
    },
    Entry {
        name: "notify.bell",
        about: "whether the terminal that a task was launched from rings",
        field: Field::Flag(|s| &mut s.routes.bell),
    },
    Entry {
        name: "notify.tell",
        about: "which notices these four are told of: policy (as each task was launched), each or failures",
        field: Field::Word(
            &["policy", "each", "failures"],
            |s| s.routes.telling.name(),
            |s, word| {
                s.routes.telling = match word {
                    "each" => Telling::Each,
                    "failures" => Telling::Failures,
                    _ => Telling::Policy,
                };
            },
        ),
    },
    Entry {
        name: "notify.sessions",
        about: "of which sessions; of all when empty",
        field: Field::Texts(routes::check_name, |s| &mut s.routes.sessions),
    },
    Entry {
        name: "notify.groups",
        about: "of which groups; of all tasks when empty",
        field: Field::Texts(routes::check_name, |s| &mut s.routes.groups),
    },
    span(
        "notify.backoff",
        "wait before a post or command that failed is tried again; four times as long for each one after it",
        100,
        |s| &mut s.routes.backoff,
    ),
    Entry {
        name: "store.network",
        about: "whether the home may be on a network file system",
        field: Field::Flag(|s| &mut s.network_store),
    },
    Entry {
        name: "daemon.log_level",
        about: "how much the daemon's own log says: warn, info or debug",
        field: Field::Word(
            &["warn", "info", "debug"],
            |s| s.log_level.name(),
            |s, word| {
                s.log_level = match word {
                    "warn" => LogLevel::Warn,
                    "debug" => LogLevel::Debug,
                    _ => LogLevel::Info,
                };
            },
        ),
    },
];

const fn count(
    name: &'static str,
    about: &'static str,
    least: u32,
    field: fn(&mut Settings) -> &mut u32,
) -> Entry {
    Entry { name, about, field: Field::Count(least, field) }
}

const fn span(
    name: &'static str,
    about: &'static str,
    least_ms: u64,
    field: fn(&mut Settings) -> &mut Duration,
) -> Entry {
    Entry { name, about, field: Field::Span(Duration::from_millis(least_ms), field) }
}

const fn size(
    name: &'static str,
    about: &'static str,
    least: u64,
    field: fn(&mut Settings) -> &mut u64,
) -> Entry {
    Entry { name, about, field: Field::Size(least, field) }
}

/// One key, resolved.
#[derive(Clone, Debug)]
pub enum Key {
    /// One of [`KEYS`].
    Plain(&'static Entry),
    /// The limit of one lane.
    Lane(LaneName),
}

/// What is wrong with a setting or with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// The file is not TOML; the parser's words name the line.
    Syntax(String),
    /// No such key; the nearest one, if any is near.
    UnknownKey { key: String, nearest: Option<String> },
    /// The value is not what the key takes.
    BadValue { key: String, problem: String },
    /// The file cannot be read or written.
    File { path: String, problem: String },
}

impl Key {
    /// The key of this writing: `limits.starts`, `lanes.commands.limit`, `lanes."a/b".limit`.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn find(text: &str) -> Result<Self, SettingsError> {
        // Every letter of a lane's name may be written as an escape of ten.
        if text.len() > 10 * MAX_KEY {
            return Err(unknown(text));
        }
        match toml_edit::Key::parse(text) {
            Ok(parts) => {
                let parts: Vec<&str> = parts.iter().map(toml_edit::Key::get).collect();
                Self::from_parts(&parts)
            }
            // `lanes.anthropic/opus.limit`: what was meant is clear without the quotes.
            Err(_) => match text.strip_prefix("lanes.").and_then(|t| t.strip_suffix(".limit")) {
                Some(lane) => Self::from_parts(&["lanes", lane.trim_matches('"'), "limit"]),
                None => Err(unknown(text)),
            },
        }
    }

    fn from_parts(parts: &[&str]) -> Result<Self, SettingsError> {
        let name = parts.join(".");
        if let Some(entry) = KEYS.iter().find(|entry| entry.name == name) {
            return Ok(Self::Plain(entry));
        }
        match parts {
            ["lanes", lane, "limit"] => {
                check_lane(lane)?;
                Ok(Self::Lane(LaneName::new(*lane)))
            }
            _ => Err(unknown(&name)),
        }
    }

    /// As it is written in messages and in the file.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Plain(entry) => entry.name.to_owned(),
            Self::Lane(lane) => crate::view::lane_setting(lane),
        }
    }

    /// What it does.
    #[must_use]
    pub fn about(&self) -> &'static str {
        match self {
            Self::Plain(entry) => entry.about,
            Self::Lane(_) => "tasks at once in this lane; 0 is unlimited",
        }
    }

    /// Whether a change of it takes effect at the next start of the daemon.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        match self {
            Self::Lane(_) => false,
            Self::Plain(entry) => {
                ["isolation.cgroup", "store.network", "daemon.log_level"].contains(&entry.name)
            }
        }
    }

    /// Whether its value may be a secret, to be written into no log: the path of a webhook often is one.
    #[must_use]
    pub fn is_private(&self) -> bool {
        ["notify.webhook.urls", "notify.command"].contains(&self.name().as_str())
    }

    /// The tables and the name in the last of them.
    pub(super) fn path(&self) -> Vec<String> {
        match self {
            Self::Plain(entry) => entry.name.split('.').map(str::to_owned).collect(),
            Self::Lane(lane) => vec!["lanes".into(), lane.to_string(), "limit".into()],
        }
    }

    /// Its value in these settings: a number, a word, a duration or a size as it is written.
    #[must_use]
    pub fn get(&self, settings: &Settings) -> Json {
        // The accessors are for writing; a copy is cheap and reading is rare.
        let mut settings = settings.clone();
        match self {
            Self::Lane(lane) => json!(settings.core().lane_limit(lane).unwrap_or(0)),
            Self::Plain(entry) => match &entry.field {
                Field::Count(_, field) => json!(*field(&mut settings)),
                Field::Span(_, field) => json!(written_span(*field(&mut settings))),
                Field::Size(_, field) => {
                    json!(Size::from_bytes(*field(&mut settings)).to_string())
                }
                Field::Word(_, get, _) => json!(get(&settings)),
                Field::Flag(field) => json!(*field(&mut settings)),
                Field::Text(_, field) => json!(*field(&mut settings)),
                Field::Texts(_, field) => json!(*field(&mut settings)),
            },
        }
    }

    /// The value that the words of `config set` mean, as it is put in the file.
    pub(super) fn value_of(&self, text: &str) -> Result<Value, SettingsError> {
        let text = text.trim();
        let value = match self {
            Self::Lane(_) => whole_number(text),
            Self::Plain(entry) => match &entry.field {
                Field::Count(..) => whole_number(text),
                Field::Flag(_) => text.parse::<bool>().ok().map(Value::from),
                Field::Texts(..) => Some(list_of(text)),
                Field::Span(..) | Field::Size(..) | Field::Word(..) | Field::Text(..) => {
                    Some(Value::from(text))
                }
            },
        };
        // What is not of the key's kind stays text, and `apply` says what was expected.
        Ok(value.unwrap_or_else(|| Value::from(text)))
    }

    /// Puts a value of the file into the settings.
    pub(super) fn apply(
        &self,
        value: &Value,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        let bad = |problem: String| SettingsError::BadValue { key: self.name(), problem };
        match self {
            Self::Lane(lane) => {
                let limit = read_count(value, 0).map_err(bad)?;
                settings.lane_limits.insert(lane.clone(), limit);
            }
            Self::Plain(entry) => match &entry.field {
                Field::Count(least, field) => {
                    *field(settings) = read_count(value, *least).map_err(bad)?;
                }
                Field::Span(least, field) => {
                    *field(settings) = read_span(value, *least).map_err(bad)?;
                }
                Field::Size(least, field) => {
                    *field(settings) = read_size(value, *least).map_err(bad)?;
                }
                Field::Word(words, _, put) => {
                    let word = value.as_str().filter(|word| words.contains(word));
                    put(settings, word.ok_or_else(|| bad(not_a_word(value, words)))?);
                }
                Field::Flag(field) => {
                    let flag = value.as_bool();
                    *field(settings) =
                        flag.ok_or_else(|| bad(format!("{} is not true or false", shown(value))))?;
                }
                Field::Text(check, field) => {
                    *field(settings) = read_text(value, *check).map_err(bad)?;
                }
                Field::Texts(check, field) => {
                    *field(settings) = read_texts(value, *check).map_err(bad)?;
                }
            },
        }
        Ok(())
    }
}

/// Reads a table of the file into the settings.
pub(super) fn read_table(
    table: &dyn TableLike,
    above: &mut Vec<String>,
    settings: &mut Settings,
) -> Result<(), SettingsError> {
    for (name, item) in table.iter() {
        above.push(name.to_owned());
        let parts: Vec<&str> = above.iter().map(String::as_str).collect();
        match item {
            Item::None => {}
            Item::ArrayOfTables(_) => return Err(unknown(&parts.join("."))),
            Item::Table(inner) => read_table(inner, above, settings)?,
            Item::Value(Value::InlineTable(inner)) => read_table(inner, above, settings)?,
            Item::Value(value) => Key::from_parts(&parts)?.apply(value, settings)?,
        }
        above.pop();
    }
    Ok(())
}

/// The names of the keys that a table of the file sets.
pub(super) fn names_in(table: &dyn TableLike, above: &mut Vec<String>, names: &mut Vec<String>) {
    for (name, item) in table.iter() {
        above.push(name.to_owned());
        match item {
            Item::Table(inner) => names_in(inner, above, names),
            Item::Value(Value::InlineTable(inner)) => names_in(inner, above, names),
            Item::Value(_) => {
                let parts: Vec<&str> = above.iter().map(String::as_str).collect();
                names.extend(Key::from_parts(&parts).ok().map(|key| key.name()));
            }
            Item::None | Item::ArrayOfTables(_) => {}
        }
        above.pop();
    }
}

/// A lane's name: one line, printable, not too long.
pub(crate) fn check_lane(lane: &str) -> Result<(), SettingsError> {
    let problem = if lane.is_empty() {
        "a lane's name is empty"
    } else if lane.len() > MAX_NAME {
        "a lane's name is longer than 200 bytes"
    } else if lane.chars().any(char::is_control) {
        "a lane's name has a control character"
    } else {
        return Ok(());
    };
    Err(SettingsError::BadValue { key: format!("lanes.{lane:?}.limit"), problem: problem.into() })
}

fn whole_number(text: &str) -> Option<Value> {
    text.parse::<i64>().ok().map(Value::from)
}

fn read_count(value: &Value, least: u32) -> Result<u32, String> {
    let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| *number >= least)
        .ok_or_else(|| format!("{} is not a whole number from {least} on", shown(value)))
}

fn read_span(value: &Value, least: Duration) -> Result<Duration, String> {
    let span = match value {
        Value::String(text) => text.value().parse::<Span>().map_err(|error| error.to_string())?,
        Value::Integer(number) if *number.value() == 0 => Span::ZERO,
        other => return Err(format!("{} is not a duration such as \"5m\"", shown(other))),
    };
    let span = span.as_duration();
    if span < least {
        return Err(format!("it must be at least {}", written_span(least)));
    }
    Ok(span)
}

fn read_size(value: &Value, least: u64) -> Result<u64, String> {
    let size = match value {
        Value::String(text) => text.value().parse::<Size>().map_err(|error| error.to_string())?,
        Value::Integer(number) => u64::try_from(*number.value())
            .map(Size::from_bytes)
            .map_err(|_| format!("{} is below zero", number.value()))?,
        other => return Err(format!("{} is not a size such as \"64MiB\"", shown(other))),
    };
    if size.as_bytes() < least {
        return Err(format!("it must be at least {}", Size::from_bytes(least)));
    }
    Ok(size.as_bytes())
}

/// A text. What is wrong with it is said without repeating it.
fn read_text(value: &Value, check: Check) -> Result<String, String> {
    let text = value.as_str().ok_or("it is not a text in quotes")?;
    if text.len() > TEXT_BYTES {
        return Err(format!("it has more than {TEXT_BYTES} bytes"));
    }
    check(text).map(|()| text.to_owned())
}

fn read_texts(value: &Value, check: Check) -> Result<Vec<String>, String> {
    let Some(list) = value.as_array() else {
        return read_text(value, check).map(|text| vec![text]);
    };
    if list.len() > LIST_MAX {
        return Err(format!("it has more than {LIST_MAX} entries"));
    }
    let read = |(index, value)| {
        read_text(value, check).map_err(|problem| format!("entry {}: {problem}", index + 1))
    };
    list.iter().enumerate().map(read).collect()
}

/// The list that somebody has typed: `["a", "b"]`, or one entry as it is.
fn list_of(text: &str) -> Value {
    match text.parse::<Value>() {
        Ok(list) if list.is_array() => list,
        _ if text.is_empty() => Value::Array(toml_edit::Array::new()),
        _ => Value::Array(std::iter::once(text).collect()),
    }
}

fn written_span(span: Duration) -> String {
    Span::from_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).to_string()
}

fn not_a_word(value: &Value, words: &[&str]) -> String {
    format!("{} is not one of {}", shown(value), words.join(", "))
}

fn shown(value: &Value) -> String {
    format!("`{}`", value.to_string().trim())
}

/// What is longer than any key with a lane's name is no misspelling: it is said in part, and not compared.
const MAX_KEY: usize = MAX_NAME + 50;

fn unknown(key: &str) -> SettingsError {
    if key.len() > MAX_KEY {
        let start: String = key.chars().take(40).collect();
        return SettingsError::UnknownKey { key: format!("{start}..."), nearest: None };
    }
    let names = KEYS.iter().map(|entry| entry.name).chain(["lanes.\"NAME\".limit"]);
    let nearest = names
        .map(|name| (distance(key, name), name))
        .min()
        // Further than this it is another word, not a misspelling.
        .filter(|(distance, name)| *distance <= name.len().max(key.len()) / 2)
        .map(|(_, name)| name.to_owned());
    SettingsError::UnknownKey { key: key.to_owned(), nearest }
}

/// Letters to insert, delete or change to make one from the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl SettingsError {
    pub(super) fn syntax(error: &toml_edit::TomlError) -> Self {
        // The parser draws the line with an arrow below it, for which an error has no room.
        let text = error.to_string();
        let place = text.lines().next().unwrap_or_default();
        let place = place.strip_prefix("TOML parse error at ").unwrap_or(place);
        Self::Syntax(format!("{place}: {}", error.message().replace('\n', ", ")))
    }

    /// What to type next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Syntax(_) => "correct the file, or move it away to use the defaults".into(),
            Self::UnknownKey { nearest: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::UnknownKey { nearest: None, .. } => {
                "`meanwhile config get` lists every key".into()
            }
            Self::BadValue { key, .. } => format!("`meanwhile config get {key}` shows the default"),
            Self::File { .. } => "`meanwhile config path` names the file".into(),
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(problem) => write!(f, "settings are not TOML: {problem}"),
            Self::UnknownKey { key, .. } => write!(f, "no setting is called `{key}`"),
            Self::BadValue { key, problem } => write!(f, "setting `{key}`: {problem}"),
            Self::File { path, problem } => write!(f, "settings file {path}: {problem}"),
        }
    }
}

impl std::error::Error for SettingsError {}
