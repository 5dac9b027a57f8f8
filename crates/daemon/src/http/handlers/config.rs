//! `config get` and `config set`.

use meanwhile_api::config::{ConfigEntry, ConfigQuery, ConfigReply, ConfigSet, ConfigSource};
use meanwhile_api::{ApiError, ErrorCode, OsText};

use super::Answered;
use crate::http::context::Context;
use crate::http::exchange::{Asked, json};
use crate::letters::Ask;
use crate::settings::{self, KEYS, Key, Settings, SettingsError};

pub(super) fn get(context: &Context, asked: &Asked) -> Answered {
    let ConfigQuery { key } = asked.query()?;
    json(&reply(&context.home.paths.config, &context.settings(), key.as_deref())?)
}

/// The settings of a file, one key or all.
pub(crate) fn reply(
    path: &std::path::Path,
    settings: &Settings,
    key: Option<&str>,
) -> Result<ConfigReply, ApiError> {
    let written = settings::written_keys(path).map_err(|error| settings_error(&error))?;
    let keys = match key {
        Some(text) => vec![Key::find(text).map_err(|error| settings_error(&error))?],
        None => KEYS
            .iter()
            .map(Key::Plain)
            .chain(settings.core().lane_limits.into_keys().map(Key::Lane))
            .collect(),
    };
    let entries = keys.iter().map(|key| entry(key, settings, &written)).collect();
    Ok(ConfigReply { path: OsText::from(path), entries })
}

fn entry(key: &Key, settings: &Settings, written: &[String]) -> ConfigEntry {
    let name = key.name();
    let source = if written.contains(&name) { ConfigSource::File } else { ConfigSource::Default };
    ConfigEntry {
        value: key.get(settings),
        default: key.get(&Settings::default()),
        source,
        restart_needed: key.needs_restart(),
        help: key.about().to_owned(),
        key: name,
    }
}

pub(super) async fn set(context: &Context, asked: &Asked, change: ConfigSet) -> Answered {
    asked.caller.must_be_person("changing a setting")?;
    let path = &context.home.paths.config;
    let ConfigSet { key, value } = change;
    let edited = match &value {
        Some(value) => settings::set(path, &key, value),
        None => settings::unset(path, &key),
    }
    .map_err(|error| settings_error(&error))?;
    if Key::find(&key).is_ok_and(|key| key.is_private()) {
        tracing::info!(key = edited.key, "setting changed");
    } else {
        tracing::info!(key = edited.key, before = %edited.before, after = %edited.after, "setting changed");
    }
    // The file may have been edited by hand since it was read: all of it is in force from now on.
    let settings = edited.settings;
    context.replace_settings(settings.clone());
    context.postbox.ask(Ask::Configure(Box::new(settings.clone())), asked.request.clone()).await?;
    let mut reply = reply(path, &settings, Some(&key))?;
    json(&reply.entries.pop().expect("one key makes one entry"))
}

fn settings_error(error: &SettingsError) -> ApiError {
    let code = match error {
        SettingsError::Syntax(_) | SettingsError::BadValue { .. } => ErrorCode::Usage,
        SettingsError::UnknownKey { .. } => ErrorCode::Usage,
        SettingsError::File { .. } => ErrorCode::Store,
    };
    ApiError::new(code, error.to_string()).hint(error.hint())
}
