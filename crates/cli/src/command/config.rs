//! `config`: read and change settings.
//!
//! What it is for: limits, timeouts, retention. What it owns: how values are shown. What it never does: edit the file (the
//! daemon does, and applies the value at once).

use clap::{Args, Subcommand};
use meanwhile_api::config::{ConfigEntry, ConfigQuery, ConfigSet, ConfigSource};
use serde_json::Value;

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::entry;
use crate::failure::Failure;
use crate::show::paint::Tone;
use crate::show::sanitise;
use crate::show::table::{self, Cell, Column};

/// Show or change settings
///
/// Without a subcommand: all settings with their values.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Config {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show one setting, or all
    Get {
        /// Such as `lanes.commands.limit`
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Change a setting; a running daemon applies it at once
    Set {
        /// Such as `lanes.commands.limit`
        #[arg(value_name = "KEY")]
        key: String,
        /// The value
        #[arg(
            value_name = "VALUE",
            required_unless_present = "default",
            allow_hyphen_values = true
        )]
        value: Option<String>,
        /// Take the setting out of the file, so that its default holds again
        #[arg(long, conflicts_with = "value")]
        default: bool,
    },
    /// Print where the file is
    Path,
}

impl Action for Config {
    fn run(self, context: &Context) -> Answer {
        match self.what {
            None => get(context, None),
            Some(What::Get { key }) => get(context, key),
            Some(What::Set { key, value, default: _ }) => set(context, key, value),
            Some(What::Path) => {
                let path = entry::config_path(&context.globals)?;
                if context.globals.json {
                    let path = path.to_string_lossy();
                    context.print_json(&serde_json::json!({ "path": path }))?;
                } else {
                    context.print(&format!("{}\n", path.display()))?;
                }
                Ok(0)
            }
        }
    }
}

fn get(context: &Context, key: Option<String>) -> Answer {
    let one = key.is_some();
    let client = context.reader()?;
    let reply = context.block_on(async { Ok(client.config(&ConfigQuery { key }).await?) })?;
    match reply.entries.as_slice() {
        [entry] if one && context.globals.json => context.print_json(entry)?,
        [entry] if one => context.print(&format!("{}\n", shown(&entry.value)))?,
        entries if context.globals.json => context.print_json(&entries)?,
        entries => context.print(&all(context, entries))?,
    }
    Ok(0)
}

fn all(context: &Context, entries: &[ConfigEntry]) -> String {
    let columns = [
        Column::left("KEY"),
        Column::elastic("VALUE", 8),
        Column::elastic("DEFAULT", 8),
        Column::elastic("WHAT IT DOES", 20),
    ];
    let row = |entry: &ConfigEntry| {
        let set = entry.source == ConfigSource::File;
        let tone = if set { Tone::Strong } else { Tone::Plain };
        let default = if set { shown(&entry.default) } else { String::new() };
        vec![
            Cell::toned(tone, sanitise::line(&entry.key)),
            Cell::toned(tone, shown(&entry.value)),
            Cell::toned(Tone::Faint, default),
            Cell::toned(Tone::Faint, sanitise::line(&entry.help)),
        ]
    };
    let rows: Vec<Vec<Cell>> = entries.iter().map(row).collect();
    table::render(&columns, &rows, &context.out)
}

fn set(context: &Context, key: String, value: Option<String>) -> Answer {
    let client = context.client()?;
    let request = ConfigSet { key, value };
    let entry = context.block_on(async { Ok::<_, Failure>(client.config_set(&request).await?) })?;
    if context.globals.json {
        context.print_json(&entry)?;
    } else {
        context.print(&format!("{} = {}\n", sanitise::line(&entry.key), shown(&entry.value)))?;
        if entry.restart_needed {
            context.note("it takes effect when the daemon starts next: meanwhile daemon stop");
        }
    }
    Ok(0)
}

/// A value as one would type it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => sanitise::line(text),
        Value::Null => String::new(),
        other => sanitise::line(&other.to_string()),
    }
}
