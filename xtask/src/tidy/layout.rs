//! The shape of the tree: headers, file sizes, names, and files that nothing compiles.
//!
//! Owns the rules about files as such. What is written inside is looked at in `bans` and `text`.

use std::collections::BTreeSet;

use super::Complaint;
use super::rust::Source;
use super::tree::{File, Tree};

/// Past this a file wants to be a folder (STYLE.md, rule 16).
const MAX_LINES: usize = 800;

/// Names that say nothing about what is inside (STYLE.md, rule 7).
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "manager", "imp"];

pub(super) fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    let compiled = compiled(tree);
    for (file, source) in tree.rust() {
        let says_what_it_is = source.raw.first().is_some_and(|line| line.starts_with("//! "));
        if !says_what_it_is {
            complaints.push(Complaint::new(
                &file.path,
                1,
                "no header: begin with `//!` lines on what it is for, owns, and never does",
            ));
        }
        if source.raw.len() > MAX_LINES {
            complaints.push(Complaint::new(
                &file.path,
                MAX_LINES + 1,
                format!("{} lines, at most {MAX_LINES}: make it a folder", source.raw.len()),
            ));
        }
        let empty = file.path.split(['/', '.']).find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = empty {
            complaints.push(Complaint::new(
                &file.path,
                1,
                format!("`{name}` says nothing: name the file after the thing or the verb inside"),
            ));
        }
        if !compiled.contains(file.path.as_str()) {
            complaints.push(Complaint::new(
                &file.path,
                1,
                "nothing compiles this file: declare it with `mod`, or remove it",
            ));
        }
    }
}

/// Every `.rs` file that is reached from a target's root by `mod` declarations.
fn compiled(tree: &Tree) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&File> = tree.rust().map(|(file, _)| file).filter(|f| is_root(f)).collect();
    while let Some(file) = open.pop() {
        if !reached.insert(file.path.clone()) {
            continue;
        }
        let Some(source) = &file.source else { continue };
        for path in children(file, source) {
            open.extend(tree.files().iter().find(|other| other.path == path));
        }
    }
    reached
}

/// The files cargo takes as targets by itself.
fn is_root(file: &File) -> bool {
    let Some((_, inside)) = file.path.split_once(&format!("{}/", file.room())) else {
        return false;
    };
    let parts: Vec<&str> = inside.split('/').collect();
    match parts[..] {
        ["build.rs"] | ["src", "lib.rs" | "main.rs"] | ["src", "bin", _] => true,
        ["tests" | "benches" | "examples" | "fuzz_targets", last] => last.ends_with(".rs"),
        ["tests" | "benches" | "examples", _, last] => last == "main.rs",
        _ => false,
    }
}

/// The paths that `mod name;` in this file may mean.
fn children(file: &File, source: &Source) -> Vec<String> {
    let directory = file.path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let stem = file.path[directory.len()..].trim_start_matches('/').trim_end_matches(".rs");
    let below = if is_root(file) || stem == "mod" {
        directory.to_owned()
    } else {
        format!("{directory}/{stem}")
    };
    let mut found = Vec::new();
    let mut path_attribute: Option<String> = None;
    // Inline modules (`mod a { mod b; }`) put their files one directory deeper.
    let mut inline: Vec<(usize, String)> = Vec::new();
    let mut depth = 0usize;
    for (code, full) in source.code.iter().zip(&source.with_strings) {
        if code.trim_start().starts_with("#[path") {
            path_attribute = full.split('"').nth(1).map(str::to_owned);
        }
        if let Some((name, opens)) = module(code) {
            if opens {
                inline.push((depth, name));
            } else {
                let inner: String = inline.iter().map(|(_, name)| format!("{name}/")).collect();
                match path_attribute.take() {
                    Some(path) => found.push(normal(&format!("{directory}/{path}"))),
                    None => {
                        found.push(format!("{below}/{inner}{name}.rs"));
                        found.push(format!("{below}/{inner}{name}/mod.rs"));
                    }
                }
            }
        }
        depth += code.matches('{').count();
        depth = depth.saturating_sub(code.matches('}').count());
        inline.retain(|(at, _)| *at < depth);
    }
    found
}

/// The module a line declares, and whether its body follows inline.
fn module(line: &str) -> Option<(String, bool)> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| word.starts_with("pub") || *word == "in" || word.ends_with(')'));
    if words.next()? != "mod" {
        return None;
    }
    let name = words.next()?;
    let opens = !name.ends_with(';');
    Some((name.trim_end_matches(';').to_owned(), opens))
}

/// Resolves `a/b/../c` to `a/c`.
pub(super) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned(), source: Some(Source::new(text)) }
    }

    #[test]
    fn modules_are_followed_as_rustc_follows_them() {
        let text = "mod a;\npub(crate) mod b {\n    mod c;\n}\n#[path = \"../other.rs\"]\nmod d;\n";
        let root = file("crates/core/src/lib.rs", text);
        let source = root.source.as_ref().expect("a .rs file has a source");
        let found = children(&root, source);
        assert!(found.contains(&"crates/core/src/a.rs".to_owned()));
        assert!(found.contains(&"crates/core/src/b/c.rs".to_owned()));
        assert!(found.contains(&"crates/core/other.rs".to_owned()));
        let inner = file("crates/core/src/a.rs", "mod e;");
        let source = inner.source.as_ref().expect("a .rs file has a source");
        assert!(children(&inner, source).contains(&"crates/core/src/a/e.rs".to_owned()));
    }

    #[test]
    fn a_test_file_that_no_target_reaches_is_no_root() {
        assert!(is_root(&file("crates/cli/tests/run.rs", "")));
        assert!(is_root(&file("fuzz/fuzz_targets/wire.rs", "")));
        assert!(is_root(&file("crates/cli/tests/e2e/main.rs", "")));
        assert!(!is_root(&file("crates/cli/tests/e2e/forgotten.rs", "")));
    }
}
