//! Configuration: values, where they come from, and changing one.
//!
//! What it is for: `config get` and `config set`. What it owns: their shapes. What it never does: know the keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ApiError;
use crate::query::{Query, QueryReader, QueryWriter};
use crate::text::OsText;

/// `GET /v1/config`: one key, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigQuery {
    /// The key, such as `lanes.default.limit`; all when absent.
    pub key: Option<String>,
}

impl Query for ConfigQuery {
    fn write(&self, to: &mut QueryWriter) {
        to.opt("key", self.key.as_ref());
    }

    fn read(from: &mut QueryReader) -> Result<ConfigQuery, ApiError> {
        Ok(ConfigQuery { key: from.text("key")? })
    }
}

/// The values asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigReply {
    /// The file they come from, whether or not it exists.
    pub path: OsText,
    /// The values, by key.
    pub entries: Vec<ConfigEntry>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigEntry {
    /// Its key.
    pub key: String,
    /// The value in force.
    pub value: Value,
    /// The value without a file.
    pub default: Value,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// The value takes effect at the next start of the daemon.
    pub restart_needed: bool,
    /// What it does, in a sentence.
    pub help: String,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// It is built in.
    Default,
    /// The file says so.
    File,
}

/// `PUT /v1/config`: edits the file in place and applies the value at once. The answer is the new [`ConfigEntry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigSet {
    /// The key.
    pub key: String,
    /// The value as typed; null removes the key, so that the default holds again.
    pub value: Option<String>,
}
