//! Documents against the tree and the program: links that lead somewhere, commands that exist.
//!
//! Owns two rules. A relative link in a page names a file of the repository. A line of a page that
//! begins with `meanwhile` names a command, and options, that the generated reference knows.

use std::collections::BTreeSet;

use super::Complaint;
use super::tree::{File, Tree};

/// The generated page that says what there is.
const REFERENCE: &str = "docs/reference/cli.md";

/// How its headings name a command.
const HEADING: &str = "## meanwhile ";

pub(super) fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    let reference = tree.files().iter().find(|file| file.path == REFERENCE);
    for file in tree.files().iter().filter(|file| file.path.ends_with(".md")) {
        check_links(tree, file, complaints);
        if let Some(reference) = reference.filter(|reference| reference.path != file.path) {
            check_commands(reference, file, complaints);
        }
    }
}

fn check_links(tree: &Tree, file: &File, complaints: &mut Vec<Complaint>) {
    let directory = file.path.rsplit_once('/').map_or("", |(directory, _)| directory);
    for (number, line) in file.text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let wanted =
                if directory.is_empty() { path.to_owned() } else { format!("{directory}/{path}") };
            let wanted = super::layout::normal(&wanted);
            let known =
                |file: &File| file.path == wanted || file.path.starts_with(&format!("{wanted}/"));
            if !tree.files().iter().any(known) {
                let message = format!("the link `{target}` leads nowhere: correct or remove it");
                complaints.push(Complaint::new(&file.path, number + 1, message));
            }
        }
    }
}

fn check_commands(reference: &File, file: &File, complaints: &mut Vec<Complaint>) {
    let commands: BTreeSet<&str> = reference
        .text
        .lines()
        .filter_map(|line| line.strip_prefix(HEADING)?.split_whitespace().next())
        .collect();
    let mut in_code = false;
    for (number, line) in file.text.lines().enumerate() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        let Some(words) = typed(line).filter(|_| in_code) else { continue };
        let mut complain = |what: &str| {
            let message = format!("`{what}` is not in {REFERENCE}: the page is out of date");
            complaints.push(Complaint::new(&file.path, number + 1, message));
        };
        match words.first() {
            Some(command) if !commands.contains(command) => complain(command),
            _ => {}
        }
        // What follows `--` belongs to the task.
        let ours = words.iter().take_while(|word| **word != "--");
        for option in ours.filter(|word| word.starts_with("--") && word.len() > 2) {
            if !reference.text.contains(*option) {
                complain(option);
            }
        }
    }
}

/// The words after `meanwhile` in a line that types it, without a comment at the end.
fn typed(line: &str) -> Option<Vec<&str>> {
    let line = line.trim().trim_start_matches("$ ");
    let line = line.strip_prefix("id=$(").unwrap_or(line);
    let rest = line.strip_prefix("meanwhile")?;
    let rest = rest.strip_prefix(' ')?;
    let rest = rest.split(" # ").next().unwrap_or(rest);
    Some(rest.split_whitespace().map(|word| word.trim_end_matches(')')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned(), source: None }
    }

    #[test]
    fn a_page_that_types_what_does_not_exist_is_found() {
        let reference = page(REFERENCE, "## meanwhile run\n- `--name NAME`: x\n");
        let text = "```\nid=$(meanwhile run --name a -- x --odd)\nmeanwhile fly\nmeanwhile run --wings\n```\nmeanwhile in prose\n";
        let mut complaints = Vec::new();
        check_commands(&reference, &page("README.md", text), &mut complaints);
        let lines: Vec<usize> = complaints.iter().map(|complaint| complaint.line).collect();
        assert_eq!(lines, [3, 4]);
    }
}
