//! Results of single tests, read from what the engines write.
//!
//! Owns two small readers: nextest's JUnit file and libtest's lines. Also the files by which a test
//! says that it could not be carried out in this mode, and why.

use std::fs;
use std::path::Path;

/// How one test ended in one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    /// The test found that this mode cannot show its promise, and said why.
    NotHere(String),
}

/// Reads the test cases of a JUnit file. A case holding `<failure` or `<error` failed.
pub(super) fn from_junit(xml: &str) -> Vec<(String, Verdict)> {
    let mut results = Vec::new();
    for case in xml.split("<testcase ").skip(1) {
        let head_end = case.find('>').unwrap_or(case.len());
        let (head, rest) = case.split_at(head_end);
        let body = rest.split("</testcase>").next().unwrap_or_default();
        let body = if head.ends_with('/') { "" } else { body };
        let failed = body.contains("<failure") || body.contains("<error");
        let (Some(binary), Some(name)) = (attribute(head, "classname"), attribute(head, "name"))
        else {
            continue;
        };
        let verdict = if failed { Verdict::Failed } else { Verdict::Passed };
        results.push((format!("{binary} {name}"), verdict));
    }
    results
}

fn attribute(head: &str, name: &str) -> Option<String> {
    let start = head
        .find(&format!(" {name}=\""))
        .map(|at| at + name.len() + 3)
        .or_else(|| head.starts_with(&format!("{name}=\"")).then_some(name.len() + 2))?;
    let value = head[start..].split('"').next()?;
    Some(
        value
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

/// What the runner prints before libtest's lines of each binary.
pub(super) const BINARY: &str = "test binary: ";

/// Reads libtest's lines: `test path::name ... ok`.
pub(super) fn from_libtest(text: &str) -> Vec<(String, Verdict)> {
    let mut binary = "";
    text.lines()
        .filter_map(|line| {
            if let Some(name) = line.strip_prefix(BINARY) {
                binary = name;
                return None;
            }
            let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
            let verdict = match end {
                "ok" => Verdict::Passed,
                "FAILED" => Verdict::Failed,
                _ => return None,
            };
            Some((format!("{binary} {name}"), verdict))
        })
        .collect()
}

/// Applies the notes that tests left: one file `<anything>.not-here` per note, first line the
/// test's path, second line the reason.
pub(super) fn note_untestable(results: &mut [(String, Verdict)], directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.path().extension().is_none_or(|end| end != "not-here") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let (test, reason) = text.split_once('\n').unwrap_or((&text, "no reason given"));
        for (name, verdict) in results.iter_mut() {
            let same = name == test || name.ends_with(&format!(" {test}"));
            if same && *verdict == Verdict::Passed {
                *verdict = Verdict::NotHere(reason.trim().to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_cases_are_read_with_their_verdicts() {
        let xml = r#"<testsuite name="a"><testcase name="ends::well" classname="a" time="1"/>
            <testcase name="ends::badly" classname="a" time="1"><failure type="x"></failure></testcase>
            <testcase name="prints" classname="a::b" time="1"><system-out>x</system-out></testcase>"#;
        let expected = [
            ("a ends::well".to_owned(), Verdict::Passed),
            ("a ends::badly".to_owned(), Verdict::Failed),
            ("a::b prints".to_owned(), Verdict::Passed),
        ];
        assert_eq!(from_junit(xml), expected);
    }

    #[test]
    fn libtest_lines_are_read_with_their_verdicts() {
        let text = "test binary: core\nrunning 2 tests\ntest a::b ... ok\ntest c ... FAILED\n\ntest result: FAILED. 1";
        let expected =
            [("core a::b".to_owned(), Verdict::Passed), ("core c".to_owned(), Verdict::Failed)];
        assert_eq!(from_libtest(text), expected);
    }

    #[test]
    fn a_test_that_says_it_cannot_be_done_here_is_not_counted_as_passed() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        fs::write(directory.path().join("1.not-here"), "boot::reboot\nneeds root\n")
            .expect("a file can be written");
        let mut results = vec![("cli::e2e boot::reboot".to_owned(), Verdict::Passed)];
        note_untestable(&mut results, directory.path());
        assert_eq!(results[0].1, Verdict::NotHere("needs root".to_owned()));
    }
}
