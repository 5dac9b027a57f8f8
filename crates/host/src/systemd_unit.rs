//! The systemd unit that `daemon install` writes, so that the daemon is there from boot or login and
//! its tasks have a delegated cgroup.
//!
//! Owns the unit's text and its place. Never writes it or talks to systemd: that is the command's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cgroup::UNIT_SUBGROUP;

/// The unit's name.
pub const UNIT: &str = "meanwhile.service";

/// Where the user's unit goes; `None` when neither directory is known.
#[must_use]
pub fn unit_path(home: Option<&OsStr>, xdg_config_home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |value: Option<&OsStr>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    let config = absolute(xdg_config_home).or_else(|| Some(absolute(home)?.join(".config")))?;
    Some(config.join("systemd/user").join(UNIT))
}

/// The unit's text, for this program (absolute) and, unless it is the default, this home.
#[must_use]
pub fn unit_text(program: &Path, home: Option<&Path>) -> String {
    let program = quoted(program);
    let home = home.map(|home| format!(" --home {}", quoted(home))).unwrap_or_default();
    format!(
        "[Unit]\n\
         Description=Meanwhile, background tasks for coding agents\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program}{home} daemon run\n\
         # Only the daemon is stopped with the unit: tasks and their supervisors run on.\n\
         KillMode=process\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         # Each task gets a cgroup of its own below the unit's.\n\
         Delegate=yes\n\
         DelegateSubgroup={UNIT_SUBGROUP}\n\
         # A task that runs out of memory is that task's failure.\n\
         OOMPolicy=continue\n\
         UMask=0077\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    )
}

/// What to type after writing it.
#[must_use]
pub fn next_commands(user: Option<&str>) -> Vec<String> {
    let mut commands = vec![
        "systemctl --user daemon-reload".to_owned(),
        format!("systemctl --user enable --now {UNIT}"),
    ];
    // Without lingering the user's manager, and all below it, ends with the last login.
    commands.extend(user.map(|user| format!("loginctl enable-linger {user}")));
    commands
}

/// As systemd.syntax(7) and systemd.service(5) want it: in quotes, with their own special characters
/// (quotes, backslashes, specifiers, variables) taken literally.
fn quoted(path: &Path) -> String {
    let mut quoted = String::from("\"");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
            b'%' => quoted.push_str("%%"),
            b'$' => quoted.push_str("$$"),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            other => quoted.push_str(&format!("\\x{other:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_stops_only_the_daemon_and_delegates_its_cgroup() {
        let text = unit_text(Path::new("/usr/bin/meanwhile"), None);
        for line in [
            "ExecStart=\"/usr/bin/meanwhile\" daemon run",
            "KillMode=process",
            "Delegate=yes",
            "DelegateSubgroup=meanwhile-daemon",
            "Restart=on-failure",
            "OOMPolicy=continue",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in:\n{text}");
        }
    }

    #[test]
    fn paths_with_special_characters_reach_the_daemon_as_they_are() {
        let check = |path: &str, expected: &str| assert_eq!(quoted(Path::new(path)), expected);
        check("/a b", r#""/a b""#);
        check(r#"/50%/$HOME/"q"\"#, r#""/50%%/$$HOME/\"q\"\\""#);
        check("/ü", r#""/\xc3\xbc""#);
        let text = unit_text(Path::new("/m"), Some(Path::new("/my home")));
        assert!(text.contains("ExecStart=\"/m\" --home \"/my home\" daemon run\n"), "{text}");
    }

    #[test]
    fn the_unit_goes_where_the_users_manager_looks() {
        let at = |home: Option<&str>, config: Option<&str>| {
            unit_path(home.map(OsStr::new), config.map(OsStr::new))
        };
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(at(Some("/u"), None), path("/u/.config/systemd/user/meanwhile.service"));
        assert_eq!(at(Some("/u"), Some("/c")), path("/c/systemd/user/meanwhile.service"));
        assert_eq!(at(None, Some("relative")), None);
    }
}
