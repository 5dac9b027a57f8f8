//! Rust source as the rules see it: code without comments and literals, line by line.
//!
//! Owns a small scanner, enough to tell code from comments, strings and test modules. It is no
//! parser: a rule that needs more than tokens on a line does not belong into tidy.

/// One Rust file, split into what rules look at.
pub(super) struct Source {
    /// Code only: comments and the contents of literals are blanks. Same lines as the file.
    pub(super) code: Vec<String>,
    /// Code with its string literals, comments blanked. For attributes such as `#[path = "…"]`.
    pub(super) with_strings: Vec<String>,
    /// The file as it is, for looking at comments.
    pub(super) raw: Vec<String>,
    /// The first line (from 0) of `#[cfg(test)] mod tests`, which is last in a file by rule.
    tests_from: usize,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let (code, with_strings) = blank(text);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let code = lines(&code);
        let tests_from = code
            .windows(2)
            .position(|pair| {
                pair[0].trim() == "#[cfg(test)]"
                    && pair[1].trim_start().contains("mod ")
                    && pair[1].contains('{')
            })
            .unwrap_or(code.len());
        Self { code, with_strings: lines(&with_strings), raw: lines(text), tests_from }
    }

    /// True for lines (from 0) of the test module at the end.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    /// True when the line, or a comment line directly above it, says `<word>: reason`.
    pub(super) fn is_annotated(&self, line: usize, word: &str) -> bool {
        let says = |text: &str| {
            text.split_once(&format!("// {word}: ")).is_some_and(|(_, why)| why.trim().len() > 10)
        };
        let above =
            self.raw[..line].iter().rev().take_while(|text| text.trim_start().starts_with("//"));
        says(&self.raw[line]) || above.into_iter().any(|text| says(text))
    }
}

/// Blanks comments and literals. Answers (code, code with string literals).
fn blank(text: &str) -> (String, String) {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut strings = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let (kind, end) = token(&characters, at);
        for &character in &characters[at..end] {
            let hidden = if character == '\n' { '\n' } else { ' ' };
            code.push(if matches!(kind, Kind::Code) { character } else { hidden });
            strings.push(if matches!(kind, Kind::Comment) { hidden } else { character });
        }
        at = end;
    }
    (code, strings)
}

enum Kind {
    Code,
    Comment,
    Literal,
}

/// The token that begins at `at`, and where it ends.
fn token(text: &[char], at: usize) -> (Kind, usize) {
    let rest = &text[at..];
    let starts = |prefix: &str| prefix.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    let in_word = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
    if starts("//") {
        let end = rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
        return (Kind::Comment, at + end);
    }
    if starts("/*") {
        return (Kind::Comment, at + block_comment(rest));
    }
    if !in_word {
        let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| starts(prefix));
        let skip = prefix.map_or(0, str::len);
        let raw = prefix.is_some_and(|prefix| prefix.ends_with('r'));
        if let Some(length) = string(&rest[skip..], raw) {
            return (Kind::Literal, at + skip + length);
        }
    }
    if let ('\'', Some(length)) = (rest[0], character(rest)) {
        return (Kind::Literal, at + length);
    }
    (Kind::Code, at + 1)
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a string literal that begins here (after its prefix letters), if one does.
fn string(rest: &[char], raw: bool) -> Option<usize> {
    let hashes = if raw { rest.iter().take_while(|c| **c == '#').count() } else { 0 };
    if rest.get(hashes) != Some(&'"') {
        return None;
    }
    let mut at = hashes + 1;
    while at < rest.len() {
        match rest[at] {
            '\\' if !raw => at += 2,
            '"' if rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes => {
                return Some(at + 1 + hashes);
            }
            _ => at += 1,
        }
    }
    Some(rest.len())
}

/// The length of a character literal; `None` for a lifetime.
fn character(rest: &[char]) -> Option<usize> {
    match (rest.get(1)?, rest.get(2)?) {
        ('\\', _) => rest.iter().skip(3).position(|c| *c == '\'').map(|at| at + 4),
        (_, '\'') => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = Source::new(
            "let a = \"todo!(\"; // todo!(\nlet b = r#\"x \" y\"#; /* a /* b */ c */ let c = '\\'';\nfn f<'a>() {}",
        );
        assert_eq!(source.code[0].trim_end(), "let a =         ;".trim_end());
        assert!(source.code[1].contains("let c ="));
        assert!(!source.code[1].contains('x'));
        assert_eq!(source.code[2], "fn f<'a>() {}");
        assert!(source.with_strings[0].contains("\"todo!(\""));
    }

    #[test]
    fn the_test_module_at_the_end_is_known() {
        let source = Source::new("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert!(!source.is_test_line(0));
        assert!(source.is_test_line(2));
    }

    #[test]
    fn an_annotation_needs_a_reason() {
        let source =
            Source::new("// sleep: the kernel offers no event for this\nx();\n// sleep: x\ny();");
        assert!(source.is_annotated(1, "sleep"));
        assert!(!source.is_annotated(3, "sleep"));
    }
}
