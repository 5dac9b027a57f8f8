//! A full run in parts: what earlier runs saw, kept for rows and modes that were not run again.
//!
//! Owns nothing: it reads the account of the run before, and takes nothing from one of another profile or machine.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::table::{list, text};
use crate::Outcome;

/// Adds what the account in `file` has and this one has not.
pub(super) fn add(account: &mut Value, file: &Path) -> Outcome {
    let Ok(bytes) = std::fs::read(file) else { return Ok(()) };
    let earlier: Value = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{} is no account: {error}", file.display()))?;
    for about in ["profile", "machine"] {
        if earlier[about] != account[about] {
            return Err(format!(
                "{} is of another {about}: {}; run without --add first",
                file.display(),
                earlier[about]
            ));
        }
    }
    let modes = list(account, "modes").map(|mode| mode_of(mode, &earlier)).collect();
    let mut runs: Vec<Value> = list(&earlier, "runs")
        .filter(|run| list(account, "rows").any(|row| row["name"] == run["name"]))
        .filter(|run| !list(account, "runs").any(|new| is_same(new, run)))
        .cloned()
        .collect();
    runs.extend(list(account, "runs").cloned());
    let mut commits: BTreeSet<&str> = text(&earlier, "commit").split(", ").collect();
    commits.extend([text(account, "commit")]);
    let commits = commits.into_iter().collect::<Vec<_>>().join(", ");
    account["commit"] = commits.into();
    account["modes"] = modes;
    account["runs"] = Value::Array(runs);
    Ok(())
}

fn is_same(one: &Value, other: &Value) -> bool {
    one["name"] == other["name"] && one["mode"] == other["mode"]
}

/// A mode that was not asked for now may have been run before.
fn mode_of(mode: &Value, earlier: &Value) -> Value {
    let before = list(earlier, "modes").find(|before| before["name"] == mode["name"]);
    match before {
        Some(before) if !mode["not_run"].is_null() && before["not_run"].is_null() => before.clone(),
        _ => mode.clone(),
    }
}

/// Whether every row was run in every mode that was entered; those that need one mode only, in one.
pub(super) fn is_whole(account: &Value) -> bool {
    let modes: Vec<&str> = list(account, "modes")
        .filter(|mode| mode["not_run"].is_null())
        .map(|mode| text(mode, "name"))
        .collect();
    let was_run = |row: &Value, mode: &str| {
        list(account, "runs").any(|run| run["name"] == row["name"] && run["mode"] == mode)
    };
    list(account, "rows").all(|row| match text(row, "modes") {
        "once" => modes.iter().any(|mode| was_run(row, mode)),
        _ => modes.iter().all(|mode| was_run(row, mode)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn earlier_runs_stay_unless_they_were_made_again() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = directory.path().join("faults.json");
        let rows = json!([{ "name": "a", "modes": "every" }, { "name": "b", "modes": "once" }]);
        let account = |runs: Value, off: Value| {
            json!({
                "profile": "release", "machine": "m", "commit": "c", "rows": rows, "runs": runs,
                "modes": [{ "name": "root/off", "not_run": null }, { "name": "user/off", "not_run": off }],
            })
        };
        let run = |name: &str, mode: &str, verdict: &str| json!({ "name": name, "mode": mode, "verdict": verdict });
        let before = account(
            json!([
                run("a", "user/off", "fail"),
                run("b", "root/off", "pass"),
                run("gone", "root/off", "pass")
            ]),
            Value::Null,
        );
        std::fs::write(&file, before.to_string()).expect("a file can be written");
        let mut now = account(json!([run("a", "root/off", "pass")]), json!("not asked for"));
        assert!(!is_whole(&now));
        add(&mut now, &file).expect("they fit");
        assert!(is_whole(&now), "{now:#}");
        assert_eq!(now["runs"].as_array().map(Vec::len), Some(3));
        let mut again = account(json!([run("a", "user/off", "pass")]), Value::Null);
        add(&mut again, &file).expect("they fit");
        assert!(list(&again, "runs").all(|run| run["verdict"] == "pass"), "{again:#}");
        now["profile"] = json!("debug");
        assert!(add(&mut now, &file).is_err());
    }
}
