//! Secret values in text that goes to a model, a report or a webhook.
//!
//! What it is for: a program that prints its own key must not put it into a conversation. What it owns: which variables
//! hold secrets, the prints by which their values are known again when the values themselves have been deleted, and the
//! mask. What it never does: read a file or an environment, keep a value, or change the length of a text: cursors into
//! a log stay true.
//!
//! ```text
//! environment --secrets--> values --Prints::of--> (length, head, sum) --text--> a file beside the log
//! log --read--> mask: head of 8 bytes known? sum of the length known? then `*` for every byte
//! ```
//!
//! Found are values as they are, in one piece. What encodes, cuts or colours them within hides them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::limits::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRETS_MAX};

/// Parts of a name, between underscores, that end in one of these hold a secret.
const ENDINGS: [&str; 9] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "COOKIE",
];
/// Parts of a name that hold one when they are the whole part.
const PARTS: [&str; 9] = ["KEY", "KEYS", "TOKENS", "SECRETS", "PASS", "PWD", "AUTH", "PAT", "DSN"];
/// Last parts of names that say where something is, which is no secret.
const PLACES: [&str; 9] =
    ["FILE", "PATH", "DIR", "SOCK", "SOCKET", "HOME", "URL", "URI", "ENDPOINT"];
/// Bytes of a value's beginning that are looked for at every place of a text.
const HEAD: usize = SECRET_BYTES_MIN;
/// Bytes of a sum: enough that nothing else has it.
const SUM: usize = 16;
/// The first line of a file of prints.
const TITLE: &str = "meanwhile secrets 1";

/// Whether a variable of this name holds a secret.
pub fn is_secret_name(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    // A shell's own, which are directories.
    if matches!(name.as_str(), "PWD" | "OLDPWD") {
        return false;
    }
    let parts: Vec<&str> = name.split(['_', '-', '.']).filter(|part| !part.is_empty()).collect();
    if parts.last().is_none_or(|last| PLACES.contains(last)) {
        return false;
    }
    parts.iter().any(|part| PARTS.contains(part) || ENDINGS.iter().any(|it| part.ends_with(it)))
}

/// The values among these variables that must not be shown: of secret names the whole value, or its lines where it has
/// several (programs print keys line by line); of every other the password of an address in it.
pub fn secrets<'a>(variables: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for (name, value) in variables {
        if is_secret_name(name) {
            for line in value.split(|byte| matches!(byte, b'\n' | b'\r')) {
                let line = line.trim_ascii();
                // The frame of a key is in every key.
                if !line.starts_with(b"-----") {
                    add(&mut found, line);
                }
            }
        }
        if let Some(password) = password(value) {
            add(&mut found, password);
        }
    }
    found
}

fn add(found: &mut BTreeSet<Vec<u8>>, value: &[u8]) {
    // The beginning of one that is very long gives it away as well.
    let value = &value[..value.len().min(SECRET_BYTES_MAX)];
    if value.len() >= SECRET_BYTES_MIN && found.len() < SECRETS_MAX {
        found.insert(value.to_vec());
    }
}

/// What stands between the name and the host of `scheme://name:password@host`.
fn password(value: &[u8]) -> Option<&[u8]> {
    let at = value.windows(3).position(|part| part == b"://")?;
    let authority = value[at + 3..].split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()?;
    let user = &authority[..authority.iter().rposition(|byte| *byte == b'@')?];
    user.iter().position(|byte| *byte == b':').map(|colon| &user[colon + 1..])
}

/// What secrets are known by. Holds no secret; what it holds is for their owner alone all the same, as a short secret
/// can be guessed with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prints {
    salt: [u8; SUM],
    /// By their heads.
    prints: Vec<Print>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Print {
    /// 24 bits of the first eight bytes.
    head: u32,
    len: usize,
    sum: [u8; SUM],
}

impl Prints {
    /// Of these values. `salt`: drawn for each call, so that the same secret looks different in every file.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>, salt: [u8; SUM]) -> Prints {
        let mut prints = Prints { salt, prints: Vec::new() };
        prints.learn(values);
        prints
    }

    /// These values, too.
    pub fn learn<'a>(&mut self, values: impl IntoIterator<Item = &'a [u8]>) {
        for value in values {
            let value = &value[..value.len().min(SECRET_BYTES_MAX)];
            if let Some(head) = self.head(value) {
                let print = Print { head, len: value.len(), sum: self.sum(value) };
                self.prints.push(print);
            }
        }
        self.prints.sort_unstable();
        self.prints.dedup();
    }

    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        self.prints.is_empty()
    }

    /// The bytes of the longest: so much before and after a piece of a text decides what is in it.
    pub fn longest(&self) -> usize {
        self.prints.iter().map(|print| print.len).max().unwrap_or(0)
    }

    /// For an owner-only file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}\n{}\n", hex(&self.salt));
        for Print { head, len, sum } in &self.prints {
            let _ = writeln!(text, "{len} {head:x} {}", hex(sum));
        }
        text
    }

    /// From that file; none when it is damaged or of another release.
    pub fn from_text(text: &str) -> Option<Prints> {
        let mut lines = text.lines();
        (lines.next()? == TITLE).then_some(())?;
        let salt = unhex(lines.next()?)?;
        let print = |line: &str| {
            let mut words = line.split(' ');
            let len = words.next()?.parse().ok()?;
            let head = u32::from_str_radix(words.next()?, 16).ok()?;
            let sum = unhex(words.next()?)?;
            (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&len).then_some(Print { head, len, sum })
        };
        let mut prints = lines.take(SECRETS_MAX).map(print).collect::<Option<Vec<_>>>()?;
        prints.sort_unstable();
        Some(Prints { salt, prints })
    }

    /// Puts `*` over every byte of what is known; whether there was any. `goes_on`: the text is not over at its end, so
    /// that what begins like a secret there is taken for one.
    pub fn mask(&self, text: &mut [u8], goes_on: bool) -> bool {
        let mut found = Vec::new();
        // Whoever prints the beginning of a secret over and over shall not buy a second of work with it: past this,
        // what begins like one is taken for one.
        let mut work = 64 * text.len() + (1 << 20);
        for at in 0..(text.len() + 1).saturating_sub(HEAD) {
            let Some(head) = self.head(&text[at..]) else { break };
            let first = self.prints.partition_point(|print| print.head < head);
            for print in self.prints[first..].iter().take_while(|print| print.head == head) {
                let known = match text.get(at..at + print.len) {
                    Some(_) if work < print.len => true,
                    Some(piece) => {
                        work -= print.len;
                        self.sum(piece) == print.sum
                    }
                    None => goes_on,
                };
                if known {
                    found.push(at..text.len().min(at + print.len));
                }
            }
        }
        for range in &found {
            text[range.clone()].fill(b'*');
        }
        !found.is_empty()
    }

    /// The same for a text that is whole.
    pub fn masked(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        self.mask(&mut bytes, false);
        // A value that was no text may have been cut out of the middle of a character.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn head(&self, text: &[u8]) -> Option<u32> {
        let first: [u8; HEAD] = text.get(..HEAD)?.try_into().ok()?;
        let [a, b, c, d, e, f, g, h, ..] = self.salt;
        let mixed = u64::from_le_bytes(first) ^ u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        // Multiplicative hashing: the upper bits depend on all the lower ones.
        let mixed = mixed ^ (mixed >> 32);
        u32::try_from(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).ok()
    }

    fn sum(&self, value: &[u8]) -> [u8; SUM] {
        let whole = Sha256::new().chain_update(self.salt).chain_update(value).finalize();
        let mut sum = [0; SUM];
        sum.copy_from_slice(&whole[..SUM]);
        sum
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; SUM]> {
    let mut bytes = [0; SUM];
    (text.len() == 2 * SUM && text.is_ascii()).then_some(())?;
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-live-0123456789abcdef";

    fn prints(values: &[&str]) -> Prints {
        Prints::of(values.iter().map(|value| value.as_bytes()), [7; SUM])
    }

    #[test]
    fn names_of_secrets_are_known_and_places_and_directories_are_none() {
        for name in [
            "API_KEY",
            "ANTHROPIC_API_KEY",
            "github_token",
            "GH_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "PGPASSWORD",
            "MYSQL_PWD",
            "DB_PASS",
            "NPM_CONFIG__AUTH",
            "REDISCLI_AUTH",
            "SENTRY_DSN",
            "OPENAI_APIKEY",
            "A_COOKIE",
            "GITLAB_PAT",
            "CLIENT-SECRET",
            "MY_CREDENTIALS",
        ] {
            assert!(is_secret_name(name.as_bytes()), "{name}");
        }
        for name in [
            "PWD",
            "OLDPWD",
            "PATH",
            "HOME",
            "SSH_AUTH_SOCK",
            "API_KEY_FILE",
            "TOKEN_PATH",
            "KEYBOARD",
            "MONKEY",
            "SUDO_ASKPASS",
            "XAUTHORITY",
            "TOKENIZERS_PARALLELISM",
            "AUTHOR",
            "PATTERN",
            "AUTH_URL",
            "",
            "_",
        ] {
            assert!(!is_secret_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn values_are_taken_that_are_long_enough_to_be_told_from_words() {
        let pem = "-----BEGIN PRIVATE KEY-----\nAAAAbbbbCCCC\ndddd\n-----END PRIVATE KEY-----";
        let variables = [
            ("API_KEY", KEY),
            ("DB_PASS", "short"),
            ("TLS_KEY", pem),
            ("EDITOR", "a-harmless-editor"),
            ("DATABASE_URL", "postgres://me:p4ssw0rd!x@localhost/db"),
        ];
        let found =
            secrets(variables.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let found: Vec<String> =
            found.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        assert_eq!(found, ["AAAAbbbbCCCC", "p4ssw0rd!x", KEY]);
    }

    #[test]
    fn a_known_value_is_masked_wherever_it_stands_and_nothing_else_is() {
        let prints = prints(&[KEY, "sk-live-"]);
        let text = format!("a {KEY}{KEY} b sk-live+ sk-live- {}", &KEY[1..]);
        let shown = prints.masked(&text);
        assert_eq!(shown.len(), text.len(), "cursors stay true");
        let stars = "*".repeat(KEY.len());
        assert_eq!(shown, format!("a {stars}{stars} b sk-live+ ******** {}", &KEY[1..]));
        assert_eq!(prints.masked(""), "");
        assert_eq!(Prints::default().masked(&text), text);
    }

    #[test]
    fn what_begins_like_a_secret_where_a_text_goes_on_is_taken_for_one() {
        let prints = prints(&[KEY]);
        let mut text = format!("x {}", &KEY[..KEY.len() - 1]).into_bytes();
        assert!(!prints.mask(&mut text.clone(), false));
        assert!(prints.mask(&mut text, true));
        assert!(text.ends_with(b"x ***********************"), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn a_file_of_prints_knows_what_the_values_knew_and_holds_none() {
        let prints = prints(&[KEY, "another secret"]);
        let text = prints.to_text();
        assert!(!text.contains("sk-live") && !text.contains("another"), "{text}");
        assert_eq!(Prints::from_text(&text), Some(prints.clone()));
        assert_ne!(Prints::of([KEY.as_bytes()], [8; SUM]).to_text(), text);
        for bad in [
            "",
            "meanwhile secrets 2\n",
            TITLE,
            "meanwhile secrets 1\n00\n",
            &text.replace(' ', ""),
        ] {
            assert_eq!(Prints::from_text(bad), None, "{bad}");
        }
        let endless = format!("{}99999999999 1 {}\n", text, hex(&[0; SUM]));
        assert_eq!(Prints::from_text(&endless), None);
    }

    /// Each place is a candidate whose sum has to be looked at; without a bound this would be 64 GiB of them.
    #[test]
    fn a_beginning_that_is_printed_over_and_over_is_masked_without_being_looked_at_each_time() {
        let long = "a".repeat(SECRET_BYTES_MAX - 1) + "b";
        let prints = prints(&[&long]);
        let mut text = vec![b'a'; 64 << 10];
        prints.mask(&mut text, false);
        assert!(text.ends_with(b"*"), "the budget is spent long before the end");
    }
}
