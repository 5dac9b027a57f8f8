//! What systemd-logind does to a user's processes when the user logs out.
//!
//! Owns reading its configuration (logind.conf(5), drop-ins included) and the marks of lingering
//! users. Only reads.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the mark of a lingering user is.
const LINGER: &str = "/var/lib/systemd/linger";
/// Directories of configuration, the most important first.
const PLACES: [&str; 4] =
    ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];

/// The settings that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logind {
    kill_user_processes: bool,
    only: Vec<String>,
    /// `root` is exempt unless the setting says otherwise.
    exclude: Option<Vec<String>>,
}

/// Whether this user's manager stays without a login.
pub(crate) fn lingers(user: &str) -> bool {
    !user.is_empty() && !user.contains('/') && Path::new(LINGER).join(user).exists()
}

impl Logind {
    /// Reads the main file and all drop-ins.
    pub(crate) fn read() -> Self {
        let mut settings = Self::default();
        for text in texts(&PLACES.map(PathBuf::from)) {
            settings.apply(&text);
        }
        settings
    }

    /// The setting that kills.
    #[cfg(test)]
    pub(crate) fn set_for_tests(&mut self) {
        self.kill_user_processes = true;
    }

    /// Whether a session's processes of this user are ended with it.
    pub(crate) fn kills(&self, user: Option<&str>, is_root: bool) -> bool {
        let named = |list: &[String]| user.is_some_and(|user| list.iter().any(|name| name == user));
        let excluded = match &self.exclude {
            Some(list) => named(list),
            None => is_root,
        };
        self.kill_user_processes && !excluded && (self.only.is_empty() || named(&self.only))
    }

    fn apply(&mut self, text: &str) {
        for line in text.lines().map(str::trim) {
            // Distributions write the value they were built with as a comment.
            if let Some(built) = line.strip_prefix("#KillUserProcesses=") {
                self.kill_user_processes = is_yes(built);
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let words = || value.split_ascii_whitespace().map(str::to_owned).collect();
            match key.trim() {
                "KillUserProcesses" => self.kill_user_processes = is_yes(value),
                "KillOnlyUsers" => self.only = words(),
                "KillExcludeUsers" => self.exclude = Some(words()),
                _ => {}
            }
        }
    }
}

fn is_yes(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "yes" | "y" | "true" | "t" | "on")
}

/// The main file of the most important place that has one, then the drop-ins in the order of their
/// names, of two with one name the more important.
fn texts(places: &[PathBuf]) -> Vec<String> {
    let mut drop_ins: Vec<(std::ffi::OsString, PathBuf)> = Vec::new();
    for place in places {
        let Ok(entries) = fs::read_dir(place.join("logind.conf.d")) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_new = drop_ins.iter().all(|(known, _)| *known != name);
            if is_new && Path::new(&name).extension().is_some_and(|e| e == "conf") {
                drop_ins.push((name, entry.path()));
            }
        }
    }
    drop_ins.sort();
    let main = places.iter().map(|place| place.join("logind.conf")).find(|path| path.exists());
    let paths = main.into_iter().chain(drop_ins.into_iter().map(|(_, path)| path));
    paths.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(texts: &[&str]) -> Logind {
        let mut settings = Logind::default();
        for text in texts {
            settings.apply(text);
        }
        settings
    }

    #[test]
    fn the_last_word_counts_and_the_built_in_value_is_the_first() {
        let kills = |texts: &[&str]| settings(texts).kills(Some("ann"), false);
        assert!(!kills(&[]));
        assert!(!kills(&["[Login]\n#KillUserProcesses=no\n"]));
        assert!(kills(&["[Login]\n#KillUserProcesses=yes\n"]));
        assert!(!kills(&["#KillUserProcesses=yes\nKillUserProcesses=no\n"]));
        assert!(kills(&["#KillUserProcesses=no\n", "[Login]\nKillUserProcesses = true\n"]));
    }

    #[test]
    fn some_users_are_exempt() {
        let kills = |text: &str, user: &str, is_root| settings(&[text]).kills(Some(user), is_root);
        let yes = "KillUserProcesses=yes\n";
        assert!(!kills(yes, "root", true));
        assert!(kills(&format!("{yes}KillExcludeUsers=ann\n"), "root", true));
        assert!(!kills(&format!("{yes}KillExcludeUsers=ann bob\n"), "bob", false));
        assert!(!kills(&format!("{yes}KillOnlyUsers=ann\n"), "bob", false));
        assert!(kills(&format!("{yes}KillOnlyUsers=ann\n"), "ann", false));
    }

    #[test]
    fn drop_ins_follow_the_main_file_in_order_and_hide_their_namesakes() {
        let base = tempfile::tempdir().unwrap();
        let places = ["etc", "lib"].map(|name| base.path().join(name));
        let write = |name: &str, text: &str| {
            let path = base.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("lib/logind.conf", "lib main");
        write("lib/logind.conf.d/10-a.conf", "lib 10");
        write("lib/logind.conf.d/20-b.conf", "lib 20");
        write("etc/logind.conf.d/20-b.conf", "etc 20");
        write("etc/logind.conf.d/05-c.conf", "etc 05");
        write("etc/logind.conf.d/readme.txt", "not this");
        assert_eq!(texts(&places), ["lib main", "etc 05", "lib 10", "etc 20"]);
    }
}
