//! Promises of `config.toml`.

use std::fs;
use std::time::Duration;

use meanwhile_core::LaneName;
use serde_json::json;

use super::*;

fn error(text: &str) -> String {
    Settings::parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_the_defaults_of_the_core() {
    let settings = Settings::parse("").unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.core(), Config::default());
}

#[test]
fn every_key_reads_what_it_shows() {
    for entry in KEYS {
        let default = Settings::default();
        let key = Key::find(entry.name).unwrap();
        let shown = key.get(&default);
        let text = format!("{} = {shown}", entry.name);
        assert_eq!(Settings::parse(&text).as_ref(), Ok(&default), "{text}");
    }
}

#[test]
fn a_lane_has_the_limit_that_was_set_and_others_keep_theirs() {
    let text = "[lanes]\ncommands.limit = 7\n\"openai/gpt\".limit = 0\ndefault.limit = 2\n";
    let core = Settings::parse(text).unwrap().core();
    let limit = |lane: &str| core.lane_limit(&LaneName::new(lane));
    assert_eq!(limit("commands"), Some(7));
    assert_eq!(limit("openai/gpt"), None);
    assert_eq!(limit("services"), Some(10));
    assert_eq!(limit("anything"), Some(2));
}

#[test]
fn a_misspelt_key_or_a_bad_value_refuses_the_whole_file_and_is_named() {
    let unknown = Settings::parse("limits.strats = 3").unwrap_err();
    assert!(unknown.to_string().contains("limits.strats"), "{unknown}");
    assert!(unknown.hint().contains("limits.starts"), "{}", unknown.hint());
    assert!(error("limits.starts = 0").contains("limits.starts"));
    assert!(error("limits.starts = \"many\"").contains("whole number"));
    assert!(error("timeouts.command = 300").contains("duration"));
    assert!(error("timeouts.command = \"5 min\"").contains("5 min"));
    assert!(error("log.cap = \"1KiB\"").contains("at least 64KiB"));
    assert!(error("isolation.cgroup = \"on\"").contains("auto, off"));
    assert!(error("store.network = \"yes\"").contains("true or false"));
    assert!(error("limits = 3").contains("limits"));
    assert!(error("[[lanes]]\nlimit = 3").contains("lanes"));
    assert!(error("a = ").contains("not TOML"));
}

#[test]
fn routes_are_off_until_they_are_named_and_a_bad_one_is_refused_without_repeating_it() {
    assert!(!Settings::default().routes.any());
    let text = r#"
[notify]
command = ["notify-me", "--title=a b", ""]
sessions = "one"
[notify.webhook]
urls = ["https://example.com/x", "http://127.0.0.1:9/y"]
secret_file = "/home/me/secret"
"#;
    let routes = Settings::parse(text).unwrap().routes;
    assert!(routes.any() && !routes.want_terminal());
    assert_eq!(routes.command, ["notify-me", "--title=a b", ""]);
    assert_eq!(routes.sessions, ["one"], "a single text is a list of one");
    assert_eq!(routes.webhook_urls.len(), 2);
    for (bad, says) in [
        ("webhook.urls = [\"http://example.com/SECRET\"]", "entry 1: http goes to this machine"),
        ("webhook.urls = \"https://me:SECRET@example.com/\"", "password"),
        ("webhook.urls = 3", "text in quotes"),
        ("webhook.secret_file = \"SECRET\"", "path from the root"),
        ("command = [\"a\", 3]", "entry 2"),
        ("command = [\"a\\u0000SECRET\"]", "zero byte"),
        ("tell = \"all\"", "policy, each, failures"),
        ("sessions = [\"\"]", "empty"),
        ("bell = \"yes\"", "true or false"),
        ("backoff = \"1ms\"", "at least 100ms"),
    ] {
        let error = error(&format!("notify.{bad}"));
        assert!(error.contains(says) && error.contains("notify."), "{bad}: {error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
    let many = vec!["\"https://example.com\""; 17].join(",");
    assert!(error(&format!("notify.webhook.urls = [{many}]")).contains("more than 16"));
}

#[test]
fn a_list_is_typed_as_one_entry_or_as_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let check = |value: &str, expected: serde_json::Value| {
        let edited = set(&path, "notify.command", value).unwrap();
        assert_eq!(edited.after, expected);
        assert_eq!(load(&path), Ok(edited.settings));
    };
    check("say it", json!(["say it"]));
    check(r#"["a", "b c"]"#, json!(["a", "b c"]));
    check("[not a list", json!(["[not a list"]));
    check("", json!([]));
}

#[test]
fn setting_a_key_keeps_comments_and_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "# mine\n[limits] # these\nstarts = 4 # four\n\n[log]\ncap = \"1MiB\"\n")
        .unwrap();
    let edited = set(&path, "limits.starts", "6").unwrap();
    assert_eq!((edited.before, edited.after), (json!(4), json!(6)));
    assert_eq!(edited.settings.starts, 6);
    set(&path, "lanes.\"openai/gpt\".limit", "2").unwrap();
    set(&path, "timeouts.command", "10m").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# mine\n[limits] # these\nstarts = 6 # four\n"), "{text}");
    let settings = load(&path).unwrap();
    assert_eq!(settings.lane_limits[&LaneName::new("openai/gpt")], 2);
    assert_eq!(settings.command_timeout, Duration::from_secs(600));
    assert_eq!(settings.log_cap, 1 << 20);
}

#[test]
fn a_refused_value_leaves_the_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/config.toml");
    set(&path, "limits.depth", "2").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for (key, value) in
        [("limits.depth", "0"), ("limits.deep", "2"), ("log.cap", "x"), ("store.network", "1")]
    {
        set(&path, key, value).unwrap_err();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn unsetting_brings_the_default_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    set(&path, "retention.age", "1d").unwrap();
    let edited = unset(&path, "retention.age").unwrap();
    assert_eq!(edited.settings, Settings::default());
    assert_eq!(edited.after, json!("30d"));
}

#[test]
fn a_lane_may_be_named_without_quotes_on_the_command_line() {
    for text in ["lanes.\"openai/gpt\".limit", "lanes.openai/gpt.limit"] {
        assert_eq!(Key::find(text).unwrap().name(), "lanes.\"openai/gpt\".limit");
    }
    assert!(Key::find("lanes.\"a\\nb\".limit").is_err());
}

#[test]
fn a_key_that_is_a_book_is_refused_at_once_and_in_a_line() {
    let key = "lanes".to_owned() + &".a".repeat(1 << 21);
    let begun = std::time::Instant::now();
    let refused = Key::find(&key).unwrap_err();
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert!(refused.to_string().len() < 100 && refused.hint().contains("config get"), "{refused}");
}
