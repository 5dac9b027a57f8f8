//! Query strings: `state=running&state=queued&limit=50`.
//!
//! What it is for: the few GET requests with parameters. What it owns: percent encoding, repeated keys, and errors that
//! name the key and the value. What it never does: ignore a key it does not know.

use std::fmt::Display;
use std::str::FromStr;

use crate::error::{ApiError, ErrorCode};

/// Parameters that travel in the query string.
pub trait Query: Sized {
    /// Appends every parameter that differs from its default.
    fn write(&self, to: &mut QueryWriter);

    /// Takes the parameters it knows.
    fn read(from: &mut QueryReader) -> Result<Self, ApiError>;

    /// The query string, without `?`.
    fn to_query(&self) -> String {
        let mut writer = QueryWriter::default();
        self.write(&mut writer);
        writer.text
    }

    /// Reads a query string without its `?`; a key that is not known is an error that names it.
    fn from_query(query: &str) -> Result<Self, ApiError> {
        let mut reader = QueryReader::new(query)?;
        let value = Self::read(&mut reader)?;
        match reader.pairs.first() {
            None => Ok(value),
            Some((key, _)) => Err(bad(format!("read query: unknown parameter `{key}`"))),
        }
    }
}

/// For routes that take no parameters.
impl Query for () {
    fn write(&self, _: &mut QueryWriter) {}

    fn read(_: &mut QueryReader) -> Result<(), ApiError> {
        Ok(())
    }
}

fn bad(message: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
}

/// Writes parameters.
#[derive(Debug, Default)]
pub struct QueryWriter {
    text: String,
}

impl QueryWriter {
    /// One parameter, when there is a value.
    pub fn opt(&mut self, key: &str, value: Option<impl Display>) {
        self.all(key, value);
    }

    /// A parameter once per value.
    pub fn all(&mut self, key: &str, values: impl IntoIterator<Item = impl Display>) {
        for value in values {
            if !self.text.is_empty() {
                self.text.push('&');
            }
            self.text.push_str(key);
            self.text.push('=');
            self.text.push_str(&percent_encode(&value.to_string()));
        }
    }

    /// `key=1`, when set.
    pub fn flag(&mut self, key: &str, set: bool) {
        self.opt(key, set.then_some(1));
    }
}

/// Hands out parameters; what is left in the end was not known.
#[derive(Debug)]
pub struct QueryReader {
    pairs: Vec<(String, String)>,
}

impl QueryReader {
    fn new(query: &str) -> Result<QueryReader, ApiError> {
        let decode = |text: &str| {
            percent_decode(&text.replace('+', " ")).ok_or_else(|| {
                bad(format!("read query parameter `{text}`: not percent-encoded UTF-8"))
            })
        };
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            Ok((decode(key)?, decode(value)?))
        };
        let pairs = query.split('&').filter(|text| !text.is_empty()).map(pair);
        Ok(QueryReader { pairs: pairs.collect::<Result<_, ApiError>>()? })
    }

    /// All values of a key, in order.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        self.pairs.extract_if(.., |(name, _)| name == key).map(|(_, value)| value).collect()
    }

    /// The value of a key that may be given once.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, ApiError> {
        let mut values = self.texts(key);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(bad(format!("read query parameter `{key}`: given more than once"))),
        }
    }

    /// The value of a key, read by its type's parser.
    pub fn parsed<T: FromStr>(&mut self, key: &str, example: &str) -> Result<Option<T>, ApiError> {
        self.one_with(key, &format!("for example {example}"), |text| text.parse().ok())
    }

    /// The value of a key, read by a function; `allowed` says what is accepted.
    pub fn one_with<T>(
        &mut self,
        key: &str,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        read_value(key, allowed, &text, read).map(Some)
    }

    /// All values of a key, each read by a function.
    pub fn all_with<T>(
        &mut self,
        key: &str,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ApiError> {
        self.texts(key).iter().map(|text| read_value(key, allowed, text, &read)).collect()
    }

    /// `1`/`true` or `0`/`false`; absent means false.
    pub fn flag(&mut self, key: &str) -> Result<bool, ApiError> {
        let value = self.one_with(key, "1, true, 0, false", |text| match text {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        })?;
        Ok(value.unwrap_or(false))
    }
}

fn read_value<T>(
    key: &str,
    allowed: &str,
    text: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, ApiError> {
    read(text)
        .ok_or_else(|| bad(format!("read query parameter `{key}`: cannot be `{text}` ({allowed})")))
}

/// Everything but letters, digits, `-`, `.`, `_` and `~` as `%XX` (RFC 3986, section 2.3).
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The inverse of [`percent_encode`]; `None` when it is not valid or not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::ListQuery;

    #[test]
    fn percent_encoding_goes_both_ways() {
        for text in ["", "plain-1.2_3~", "a b&c=d/e?f", "größe %41 +"] {
            assert_eq!(percent_decode(&percent_encode(text)).as_deref(), Some(text));
        }
        for bad in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (query, named) in [
            ("colour=red", "colour"),
            ("state=done", "`done`"),
            ("limit=1&limit=2", "more than once"),
            ("limit=x", "`x`"),
            ("any_session=maybe", "`maybe`"),
            ("name=%ff", "%ff"),
        ] {
            let error = ListQuery::from_query(query).unwrap_err();
            assert!(error.message.contains(named), "{}", error.message);
            assert_eq!(error.code, ErrorCode::BadRequest);
        }
    }
}
