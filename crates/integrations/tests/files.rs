//! Files of agents before, with and without Meanwhile: what is not ours keeps every byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use meanwhile_integrations::{Agent, Installation, Kind, Places, Scope, Wishes};

struct Stage {
    directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::create_dir(stage.home()).expect("it is ours");
        fs::create_dir(stage.project()).expect("it is ours");
        stage
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn project(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    fn installation(&self, agent: Agent, scope: Scope) -> Installation {
        Installation {
            agent,
            scope,
            places: Places { home: self.home(), ..Places::default() },
            wishes: Wishes { program: "/opt/bin/meanwhile".into(), allow_launch: false },
            state: self.directory.path().join("state"),
        }
    }

    fn user(&self, agent: Agent) -> Installation {
        self.installation(agent, Scope::User)
    }

    /// Puts a file into the home.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
        fs::write(&path, text).expect("it is ours");
        path
    }

    /// All names below home and project with what they hold; directories too.
    fn picture(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut picture = BTreeMap::new();
        for root in [self.home(), self.project()] {
            walk(&root, &mut picture);
        }
        picture
    }
}

fn walk(directory: &Path, picture: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it is there").path();
        let link = fs::symlink_metadata(&path).expect("it is there").is_symlink();
        if path.is_dir() && !link {
            picture.insert(path.clone(), b"(directory)".to_vec());
            walk(&path, picture);
        } else {
            let mut held = fs::read(&path).unwrap_or_default();
            held.extend_from_slice(if link { b"(link)" } else { b"" });
            picture.insert(path, held);
        }
    }
}

/// The server's file of each agent, and how somebody may have written it.
const WRITTEN: [(Agent, &str, &str); 6] = [
    (
        Agent::Claude,
        ".claude.json",
        "{\n\t\"numStartups\": 12,\n\t\"mcpServers\": {\n\t\t\"docs\": { \"command\": \"docs\" }\n\t},\n\t\"tipsHistory\": {}\n}",
    ),
    (
        Agent::Codex,
        ".codex/config.toml",
        "# mine\nmodel = \"o9\"   # the big one\n\n[mcp_servers.docs]\ncommand = 'docs'\n\n[tui]\ntheme = \"dark\"\n",
    ),
    (
        Agent::OpenCode,
        ".config/opencode/opencode.jsonc",
        "{\r\n  // what I use\r\n  \"theme\": \"x\", /* and */\r\n  \"mcp\": {\r\n    \"docs\": {\"type\": \"remote\"}, // last\r\n  },\r\n}\r\n",
    ),
    (Agent::Gemini, ".gemini/settings.json", "{\"ui\":{\"theme\":\"A\"},\"mcpServers\":{}}\n"),
    (Agent::Droid, ".factory/mcp.json", "\u{feff}{\n    \"mcpServers\" : { }\n}\n\n"),
    (Agent::Copilot, ".copilot/mcp-config.json", "{ }"),
];

#[test]
fn what_is_installed_into_nothing_leaves_nothing_behind() {
    for agent in Agent::ALL {
        for scope in [Scope::User, Scope::Project("project".into())] {
            let stage = Stage::new();
            let scope = match scope {
                Scope::User => Scope::User,
                Scope::Project(_) => Scope::Project(stage.project()),
            };
            let before = stage.picture();
            let installation = stage.installation(agent, scope.clone());
            let planned = installation.plan().expect("it can be planned");
            assert!(stage.picture() == before, "{agent:?}: a plan changes nothing");
            let done = installation.install().expect("it can be installed");
            assert_eq!(planned, done, "{agent:?}: what is done is what was planned");
            assert!(done.iter().all(|change| change.kind == Kind::Make), "{done:?}");
            assert!(stage.picture().len() > before.len());
            assert_eq!(installation.check().expect("it can be checked"), [], "{agent:?} {scope:?}");
            assert_eq!(installation.install().expect("again is fine"), [], "{agent:?}: idempotent");
            installation.uninstall().expect("it can be taken out");
            assert_eq!(stage.picture(), before, "{agent:?} {scope:?}");
            assert_eq!(installation.uninstall().expect("again is fine"), []);
        }
    }
}

#[test]
fn a_file_that_nobody_changed_since_is_as_it_was_to_the_byte() {
    for (agent, name, text) in WRITTEN {
        let stage = Stage::new();
        let path = stage.write(name, text);
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(&path, mode).expect("it is ours");
        let before = stage.picture();
        let installation = stage.user(agent);
        installation.install().expect("it can be installed");
        let with = fs::read_to_string(&path).expect("it is there");
        assert!(with.contains("/opt/bin/meanwhile"), "{with}");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o640);
        installation.uninstall().expect("it can be taken out");
        assert_eq!(stage.picture(), before, "{agent:?}");
    }
}

#[test]
fn every_line_of_others_is_still_there_while_we_are_installed() {
    for (agent, name, text) in WRITTEN {
        let stage = Stage::new();
        let path = stage.write(name, text);
        stage.user(agent).install().expect("it can be installed");
        let with = fs::read_to_string(&path).expect("it is there");
        for word in [
            "docs",
            "numStartups",
            "// what I use",
            "/* and */",
            "# mine",
            "# the big one",
            "dark",
            "theme",
        ] {
            assert_eq!(with.contains(word), text.contains(word), "{agent:?}: {word} in {with}");
        }
        assert_eq!(with.contains("\r\n"), text.contains("\r\n"), "{agent:?}: ends of lines");
        assert_eq!(with.starts_with('\u{feff}'), text.starts_with('\u{feff}'), "{agent:?}");
    }
}

#[test]
fn what_others_changed_since_stays_and_what_is_ours_goes() {
    for (agent, name, text) in WRITTEN {
        let stage = Stage::new();
        let path = stage.write(name, text);
        let installation = stage.user(agent);
        installation.install().expect("it can be installed");
        let with = fs::read_to_string(&path).expect("it is there");
        let changed = match agent {
            Agent::Codex => format!("{with}\n[profiles.late]\nmodel = \"o1\"\n"),
            _ => with.replacen('{', "{ \"late\": [1, 2],", 1),
        };
        assert_ne!(changed, with);
        fs::write(&path, &changed).expect("it is ours");
        installation.uninstall().expect("it can be taken out");
        let rest = fs::read_to_string(&path).expect("others are in it");
        assert!(!rest.contains("meanwhile") && rest.contains("late"), "{agent:?}: {rest}");
        assert_eq!(rest.contains("docs"), text.contains("docs"), "{agent:?}: {rest}");
        assert_eq!(rest.contains("// what I use"), text.contains("// what I use"), "{rest}");
    }
}

#[test]
fn a_damaged_file_is_named_and_no_other_is_changed() {
    for (agent, name, text) in WRITTEN {
        let damages: &[&str] = match agent {
            Agent::Codex => &["a = \n", "[mcp_servers\n", "mcp_servers = 3\n"],
            _ => &["{\"a\": ", "[1]", "{'a': 1}", "{\"mcpServers\": [], \"mcp\": 7}", "nonsense"],
        };
        for damage in damages {
            let stage = Stage::new();
            let path = stage.write(name, text);
            fs::write(&path, damage).expect("it is ours");
            let before = stage.picture();
            let trouble = stage.user(agent).install().expect_err("it is damaged");
            assert!(trouble.message.contains(name), "{agent:?}: {trouble}");
            assert!(trouble.hint[0].contains("nothing was changed"), "{trouble:?}");
            assert_eq!(stage.picture(), before, "{agent:?}: {damage}");
        }
    }
}

#[test]
fn a_read_only_file_is_refused_and_those_before_it_are_put_back() {
    let stage = Stage::new();
    stage.write(".claude.json", "{}\n");
    let path = stage.write(".claude/settings.json", "{\"permissions\": {\"allow\": [\"Read\"]}}\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("it is ours");
    let before = stage.picture();
    let trouble = stage.user(Agent::Claude).install().expect_err("it is read-only");
    assert!(trouble.message.contains("settings.json: it is read-only"), "{trouble}");
    assert_eq!(stage.picture(), before);
    assert!(
        !stage.directory.path().join("state").exists(),
        "nothing was done that is to be remembered"
    );
}

#[test]
fn a_link_stays_a_link_and_what_it_leads_to_is_edited() {
    let stage = Stage::new();
    let real = stage.write("dotfiles/claude.json", "{\"a\": 1}\n");
    symlink(&real, stage.home().join(".claude.json")).expect("it is ours");
    let before = stage.picture();
    let installation = stage.user(Agent::Claude);
    installation.install().expect("it can be installed");
    assert!(fs::symlink_metadata(stage.home().join(".claude.json")).expect("there").is_symlink());
    assert!(fs::read_to_string(&real).expect("it is there").contains("meanwhile"));
    installation.uninstall().expect("it can be taken out");
    assert_eq!(stage.picture(), before);
}

#[test]
fn a_program_that_moved_is_found_and_repaired_without_a_second_entry() {
    for agent in Agent::ALL {
        let stage = Stage::new();
        let old = stage.user(agent);
        let before = stage.picture();
        old.install().expect("it can be installed");
        let mut new = old.clone();
        new.wishes.program = "/usr/bin/meanwhile".into();
        let lacks = new.check().expect("it can be checked");
        assert!(!lacks.is_empty() && lacks.iter().all(|lack| lack.other), "{agent:?}: {lacks:?}");
        let entries = |stage: &Stage, program: &str| -> usize {
            let files = stage.picture().into_values();
            files.map(|held| String::from_utf8_lossy(&held).matches(program).count()).sum()
        };
        let were = entries(&stage, "/opt/bin/meanwhile");
        new.install().expect("it can be repaired");
        let are = (entries(&stage, "/opt/bin/meanwhile"), entries(&stage, "/usr/bin/meanwhile"));
        assert_eq!(are, (0, were), "{agent:?}: each entry was repaired in its place");
        new.uninstall().expect("it can be taken out");
        assert_eq!(stage.picture(), before, "{agent:?}: as it was before the first");
    }
}

#[test]
fn launching_needs_permission_unless_the_user_says_so_and_the_rest_does_not() {
    let stage = Stage::new();
    let mut installation = stage.user(Agent::Claude);
    let path = stage.home().join(".claude/settings.json");
    installation.install().expect("it can be installed");
    let rules = fs::read_to_string(&path).expect("it is there");
    for rule in ["mcp__meanwhile__list", "mcp__meanwhile__wait", "Bash(meanwhile wait:*)"] {
        assert!(rules.contains(rule), "{rule} in {rules}");
    }
    assert!(!rules.contains("__run") && !rules.contains("meanwhile run"), "{rules}");
    installation.wishes.allow_launch = true;
    installation.install().expect("it can be installed");
    let rules = fs::read_to_string(&path).expect("it is there");
    assert!(
        rules.contains("mcp__meanwhile__run") && rules.contains("Bash(meanwhile run:*)"),
        "{rules}"
    );
    installation.wishes.allow_launch = false;
    fs::write(&path, rules.replacen('{', "{\"late\": 1,", 1)).expect("it is ours");
    installation.uninstall().expect("it can be taken out");
    let rest = fs::read_to_string(&path).expect("others are in it");
    assert!(rest.contains("late") && !rest.contains("meanwhile"), "{rest}");
}

#[test]
fn a_lost_record_still_lets_everything_of_ours_be_taken_out() {
    for (agent, name, text) in WRITTEN {
        let stage = Stage::new();
        let path = stage.write(name, text);
        let installation = stage.user(agent);
        installation.install().expect("it can be installed");
        fs::remove_dir_all(stage.directory.path().join("state")).expect("it is there");
        installation.uninstall().expect("it can be taken out");
        let rest = fs::read_to_string(&path).expect("it is there");
        assert!(!rest.contains("meanwhile"), "{agent:?}: {rest}");
        let left: Vec<PathBuf> = stage
            .picture()
            .into_iter()
            .filter(|(_, held)| String::from_utf8_lossy(held).contains("/opt/bin/meanwhile"))
            .map(|(path, _)| path)
            .collect();
        assert!(left.is_empty(), "{agent:?}: {left:?}");
    }
}

#[test]
fn the_record_is_its_owners_alone() {
    let stage = Stage::new();
    stage.write(".claude.json", "{\"oauth\": \"secret\"}\n");
    stage.user(Agent::Claude).install().expect("it can be installed");
    let record = stage.directory.path().join("state/integrations/claude.json");
    let about = fs::metadata(&record).expect("it is there");
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    let directory = fs::metadata(record.parent().expect("it has one")).expect("it is there");
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_status_line_is_offered_where_there_is_none_and_never_replaced() {
    let stage = Stage::new();
    let claude = stage.user(Agent::Claude);
    let held = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(path).expect("it is there")).expect("JSON")
    };
    let own = "{\"statusLine\": {\"type\": \"command\", \"command\": \"mine\"}}\n";
    let path = stage.write(".claude/settings.json", own);
    claude.install().expect("it can be installed");
    assert_eq!(held(&path)["statusLine"]["command"], "mine");
    assert_eq!(claude.left_alone().expect("it can be read"), ["statusLine"]);
    assert_eq!(claude.check().expect("it can be checked"), [], "nothing is missing by that");
    claude.uninstall().expect("it can be taken out");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), own);

    fs::write(&path, "{}\n").expect("it is ours");
    claude.install().expect("it can be installed");
    let line = held(&path)["statusLine"]["command"].clone();
    assert_eq!(line, "'/opt/bin/meanwhile' statusline");
    assert_eq!(claude.left_alone().expect("it can be read"), Vec::<String>::new());
    let changed = fs::read_to_string(&path).expect("it is there").replace("/opt/bin/", "/old/");
    fs::write(&path, changed).expect("it is ours");
    assert!(claude.check().expect("it can be checked").iter().any(|one| one.what == "statusLine"));
    claude.install().expect("it can be repaired");
    assert_eq!(held(&path)["statusLine"]["command"], line, "a program that moved");
    // Whoever takes it away does not want it.
    let mut without = held(&path);
    without.as_object_mut().expect("an object").remove("statusLine");
    fs::write(&path, without.to_string()).expect("it is ours");
    assert_eq!(claude.check().expect("it can be checked"), []);
    claude.uninstall().expect("it can be taken out");
    assert!(!fs::read_to_string(&path).expect("it is there").contains("meanwhile"));
}

#[test]
fn the_plugin_of_opencode_names_the_program_whatever_its_path() {
    let stage = Stage::new();
    let mut opencode = stage.user(Agent::OpenCode);
    opencode.wishes.program = "/opt/odd \"dir\\/bin/meanwhile".into();
    opencode.install().expect("it can be installed");
    let plugin = stage.home().join(".config/opencode/plugin/meanwhile.js");
    let text = fs::read_to_string(&plugin).expect("it was made");
    assert!(text.contains("const PROGRAM = \"/opt/odd \\\"dir\\\\/bin/meanwhile\"\n"), "{text}");
    opencode.wishes.program = "/opt/bin/meanwhile".into();
    let moved = opencode.check().expect("it can be checked");
    assert!(moved.iter().any(|one| one.path == plugin && one.other), "{moved:?}");
}

#[test]
fn a_list_of_hooks_that_droid_prefers_gets_ours_and_no_other_is_made() {
    let stage = Stage::new();
    let droid = stage.user(Agent::Droid);
    droid.install().expect("it can be installed");
    let path = stage.home().join(".factory/hooks.json");
    assert!(!path.exists(), "it would hide hooks of settings.json");
    // Droid makes it when somebody adds a hook there.
    let own = "{\n  \"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]}]\n}\n";
    fs::write(&path, own).expect("it is ours");
    let missing = droid.check().expect("it can be checked");
    assert!(
        matches!(missing.as_slice(), [one] if one.what == "Stop: hook droid Stop"),
        "{missing:?}"
    );
    droid.install().expect("it can be repaired");
    let text = fs::read_to_string(&path).expect("it is there");
    assert!(text.contains("mine") && text.contains("hook droid Stop"), "{text}");
    assert!(!text.contains("SessionStart"), "{text}");
    droid.uninstall().expect("it can be taken out");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), own);
}

/// How long `meanwhile hook` holds a turn of an agent without a person, in seconds.
const HOLD_S: u64 = 30 * 60;

#[test]
fn whoever_is_held_at_the_end_of_a_turn_is_given_the_time() {
    let held = [
        (Agent::Claude, ".claude/settings.json", "/hooks/Stop/0/hooks/0/timeout", 1),
        (Agent::Codex, ".codex/hooks.json", "/hooks/Stop/0/hooks/0/timeout", 1),
        (Agent::Gemini, ".gemini/settings.json", "/hooks/AfterAgent/0/hooks/0/timeout", 1_000),
        (Agent::Droid, ".factory/settings.json", "/hooks/Stop/0/hooks/0/timeout", 1),
        (Agent::Copilot, ".copilot/hooks/meanwhile.json", "/hooks/agentStop/0/timeoutSec", 1),
    ];
    for (agent, file, place, unit) in held {
        let stage = Stage::new();
        stage.user(agent).install().expect("it can be installed");
        let text = fs::read_to_string(stage.home().join(file)).expect("it was made");
        let held: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let timeout = held.pointer(place).and_then(serde_json::Value::as_u64).expect("a number");
        assert!(timeout > HOLD_S * unit, "{agent:?}: {timeout}");
    }
}
