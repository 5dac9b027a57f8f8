//! Which value wins, what is taken away, and that no table says yes.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let mut result = Environment::new();
    for (name, value) in pairs {
        result.set(name, value);
    }
    result
}

struct Case<'a> {
    captured: &'a [(&'a str, &'a str)],
    profile: Profile,
    keep: &'a [&'a str],
    explicit: &'a [(&'a str, &'a str)],
}

impl Case<'_> {
    fn make(&self) -> Environment {
        let captured = environment(self.captured);
        let keep: Vec<_> = self.keep.iter().map(|name| name.as_bytes().to_vec()).collect();
        let pair = |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        let explicit: Vec<_> = self.explicit.iter().map(pair).collect();
        let prepared = Prepared::new(&Recipe {
            captured: &captured,
            profile: self.profile,
            keep: &keep,
            explicit: &explicit,
            bin: b"/opt/meanwhile",
            home: Some(b"/h"),
        });
        let made = prepared.of_attempt(TaskId::from_random(0), 2, Some(b"/h/tmp/x.2"));
        let names: Vec<_> = made.iter().map(|e| e.split(|b| *b == b'=').next()).collect();
        let once: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(once.len(), names.len(), "a name has one value");
        Environment::from_entries(made.iter().map(Vec::as_slice))
    }

    fn check(&self, name: &str, expected: Option<&str>) {
        let made = self.make();
        let value = made.get(name).map(|v| String::from_utf8_lossy(v).into_owned());
        assert_eq!(value.as_deref(), expected, "{name}");
    }
}

const PLAIN: Case<'static> =
    Case { captured: &[], profile: Profile::Agent, keep: &[], explicit: &[] };

#[test]
fn the_order_is_ours_then_asked_for_then_kept_then_captured_then_default() {
    let captured = &[("PAGER", "less"), ("TMPDIR", "/var/tmp"), ("MEANWHILE_TASK", "old")];
    let user = Case { captured, ..PLAIN };
    user.check("PAGER", Some("less"));
    PLAIN.check("PAGER", Some("cat"));
    user.check("TMPDIR", Some("/h/tmp/x.2"));
    Case { keep: &["TMPDIR"], ..user }.check("TMPDIR", Some("/var/tmp"));
    let asked = Case { captured, explicit: &[("TMPDIR", "/a"), ("PAGER", "b")], ..PLAIN };
    asked.check("TMPDIR", Some("/a"));
    asked.check("PAGER", Some("b"));
    let impostor = Case {
        captured,
        keep: &["MEANWHILE_TASK"],
        explicit: &[("MEANWHILE_TASK", "mine"), ("MEANWHILE_HOME", "/else")],
        ..PLAIN
    };
    impostor.check("MEANWHILE_TASK", Some("0000000000"));
    impostor.check("MEANWHILE_HOME", Some("/h"));
    Case { explicit: &[("X", "1"), ("X", "2")], ..PLAIN }.check("X", Some("2"));
}

#[test]
fn what_identifies_the_parent_is_taken_away_and_its_settings_stay() {
    let captured = &[
        ("CLAUDECODE", "1"),
        ("CLAUDE_CODE_SESSION_ID", "s"),
        ("CLAUDE_CODE_SSE_PORT", "1234"),
        ("CODEX_THREAD_ID", "t"),
        ("CODEX_SANDBOX_NETWORK_DISABLED", "1"),
        ("OPENCODE_SESSION_ID", "o"),
        ("MEANWHILE_SESSION", "m"),
        ("MEANWHILE_TOKEN", "secret"),
        ("ANTHROPIC_API_KEY", "k"),
        ("CLAUDE_CONFIG_DIR", "/c"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "o"),
        ("CODEX_HOME", "/x"),
        ("LD_PRELOAD", "/lib/shim.so"),
    ];
    for profile in [Profile::Agent, Profile::Ci, Profile::Inherit] {
        let case = Case { captured, profile, ..PLAIN };
        for (name, value) in &captured[..8] {
            case.check(name, None);
            if !name.starts_with("MEANWHILE_") {
                Case { keep: &[name], ..case }.check(name, Some(value));
            }
        }
        for (name, value) in &captured[8..] {
            case.check(name, Some(value));
        }
    }
}

#[test]
fn only_the_profile_ci_claims_to_be_continuous_integration() {
    PLAIN.check("CI", None);
    Case { profile: Profile::Inherit, ..PLAIN }.check("CI", None);
    let ci = Case { profile: Profile::Ci, ..PLAIN };
    ci.check("CI", Some("1"));
    ci.check("GIT_TERMINAL_PROMPT", Some("0"));
    Case { captured: &[("CI", "false")], ..ci }.check("CI", Some("false"));
}

#[test]
fn inherit_adds_nothing_but_who_the_task_is() {
    let case = Case { captured: &[("A", "1")], profile: Profile::Inherit, ..PLAIN };
    let names: Vec<_> =
        case.make().iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    let expected =
        ["A", "MEANWHILE_ATTEMPT", "MEANWHILE_BIN", "MEANWHILE_HOME", "MEANWHILE_TASK", "TMPDIR"];
    assert_eq!(names, expected);
}

#[test]
fn a_user_who_asked_for_the_contrary_is_not_contradicted() {
    Case { captured: &[("FORCE_COLOR", "1")], ..PLAIN }.check("NO_COLOR", None);
    Case { captured: &[("LC_ALL", "de_DE.UTF-8")], ..PLAIN }.check("LANG", None);
    PLAIN.check("NO_COLOR", Some("1"));
}

#[test]
fn no_profile_answers_yes_for_anybody() {
    // Names by which tools are made to confirm, install or overwrite without asking.
    let yes = [
        "npm_config_yes",
        "NPM_CONFIG_YES",
        "CONDA_ALWAYS_YES",
        "MAMBA_ALWAYS_YES",
        "PULUMI_SKIP_CONFIRMATIONS",
        "YARN_ENABLE_IMMUTABLE_INSTALLS",
        "CLOUDSDK_CORE_DISABLE_PROMPTS",
        "NEEDRESTART_MODE",
        "NONINTERACTIVE",
        "ASSUME_ALWAYS_YES",
        "TF_CLI_ARGS_apply",
    ];
    for profile in [Profile::Agent, Profile::Ci, Profile::Inherit] {
        let case = Case { profile, ..PLAIN };
        for name in yes {
            case.check(name, None);
        }
        for (name, value) in case.make().iter() {
            let value = String::from_utf8_lossy(value).to_lowercase();
            let shown = String::from_utf8_lossy(name);
            assert!(!["y", "yes", "always"].contains(&value.as_str()), "{shown}={value}");
        }
    }
}

#[test]
fn entries_are_read_as_programs_read_them_and_written_back() {
    let raw: [&[u8]; 6] = [b"A=1", b"B=x=y", b"A=2", b"no equals sign", b"=odd", b"C=\xff\n"];
    let read = Environment::from_entries(raw);
    assert_eq!(read.entries(), [b"A=2".to_vec(), b"B=x=y".to_vec(), b"C=\xff\n".to_vec()]);
    assert_eq!(format!("{read:?}"), "Environment(3 variables)");
}

#[test]
fn a_daemon_gets_no_variable_that_changes_how_it_loads() {
    let caller = environment(&[
        ("HOME", "/u"),
        ("PATH", "/bin"),
        ("LC_ALL", "C"),
        ("LD_PRELOAD", "/x.so"),
        ("MEANWHILE_TASK", "t"),
        ("ANTHROPIC_API_KEY", "k"),
        ("RUST_LOG", "trace"),
    ]);
    let names: Vec<_> = daemon_environment(&caller).entries();
    assert_eq!(names, [b"HOME=/u".to_vec(), b"LC_ALL=C".to_vec(), b"PATH=/bin".to_vec()]);
}
