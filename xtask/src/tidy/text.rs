//! What no committed file may say, code or not: paths of one machine, and unlisted hosts.
//!
//! Owns the list of hosts that documents and code may name. A path below somebody's home or a
//! service's address works on one machine and misleads on every other.

use super::Complaint;
use super::tree::{File, Tree};

/// First directories of paths that belong to one machine. An example uses `/srv` or `/home/me`.
const MACHINE_DIRECTORIES: [&str; 4] = ["root", "work", "workspace", "builds"];

/// Numbers of private networks and of the place where clouds keep credentials, which tests show to be refused. They are
/// on every network and lead to nobody's machine in particular.
const REFUSED: [&str; 4] = ["10.0.0.1", "10.1.2.3", "192.168.77.77", "169.254.169.254"];

/// Hosts that may be linked to. Loopback and reserved example names are always fine.
const HOSTS: [&str; 17] = [
    "www.standardwebhooks.com",
    "github.com",
    "keepachangelog.com",
    "semver.org",
    "www.apache.org",
    "opensource.org",
    "spec.openapis.org",
    "json-schema.org",
    "www.rfc-editor.org",
    "html.spec.whatwg.org",
    "no-color.org",
    "man7.org",
    "docs.kernel.org",
    "www.sqlite.org",
    "sqlite.org",
    "www.w3.org",
    "nexte.st",
];

pub(super) fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    for file in tree.files() {
        // The lock file is cargo's, and its sources have a rule of their own.
        if file.path == "Cargo.lock" || file.path.starts_with("LICENSE-") {
            continue;
        }
        check_file(file, complaints);
    }
}

fn check_file(file: &File, complaints: &mut Vec<Complaint>) {
    for (number, line) in file.text.lines().enumerate() {
        if let Some(path) = machine_path(line) {
            complaints.push(Complaint::new(
                &file.path,
                number + 1,
                format!("`{path}` is a path of one machine: use a relative or a temporary one"),
            ));
        }
        for host in foreign_hosts(line) {
            complaints.push(Complaint::new(
                &file.path,
                number + 1,
                format!("`{host}` is not a listed host: remove it, or list it in tidy/text.rs"),
            ));
        }
    }
}

fn machine_path(line: &str) -> Option<String> {
    MACHINE_DIRECTORIES.iter().find_map(|directory| {
        let needle = format!("/{directory}/");
        line.match_indices(&needle)
            // A path begins here only where nothing that could precede a slash does.
            .find(|(at, _)| {
                let before = line[..*at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-~}/$*".contains(c))
            })
            .map(|(at, _)| {
                let end = line[at..].find([' ', '"', '`', '\'', ')']).unwrap_or(line.len() - at);
                line[at..at + end].to_owned()
            })
    })
}

fn foreign_hosts(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for scheme in ["http://", "https://"] {
        for (at, _) in line.match_indices(scheme) {
            let rest = &line[at + scheme.len()..];
            let host: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || ".-[]".contains(*c))
                .collect();
            let reserved = !host.contains('.')
                || host.ends_with(".example")
                || host.starts_with("example.")
                || host.starts_with("127.")
                || host.ends_with(".example.com")
                || host.ends_with(".invalid")
                || host.ends_with(".localhost");
            let known = HOSTS.contains(&host.as_str()) || REFUSED.contains(&host.as_str());
            if !reserved && !known {
                found.push(host);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found_and_relative_ones_are_not() {
        let directory = MACHINE_DIRECTORIES[0];
        let bad = format!("see /{directory}/me/notes.txt for more");
        assert_eq!(machine_path(&bad), Some(format!("/{directory}/me/notes.txt")));
        assert_eq!(machine_path(&format!("docs/{directory}/page")), None);
    }

    #[test]
    fn unlisted_hosts_are_found_and_loopback_is_not() {
        assert!(
            foreign_hosts("http://127.0.0.1:80 http://localhost/ https://github.com/a").is_empty()
        );
        assert_eq!(foreign_hosts(concat!("https", "://packages.test-host.net/x")).len(), 1);
    }
}
