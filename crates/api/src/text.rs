//! `OsText`: bytes of the operating system (arguments, paths, environment) in JSON.
//!
//! What it is for: such strings need not be UTF-8, and JSON strings must be. What it owns: the one rule for it:
//! a plain JSON string when the bytes are valid UTF-8 without NUL, else `{"base64": "..."}`.
//! What it never does: lose or replace a byte.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are usually text. On the wire a string, or `{"base64": "..."}` when they are not UTF-8 (or hold NUL).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OsText(Vec<u8>);

impl OsText {
    /// The bytes, exactly.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, exactly, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The text when it is valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// For people: invalid bytes are shown as U+FFFD. Never feed this back to the system.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// As an operating system string.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// As a path.
    pub fn as_path(&self) -> &Path {
        Path::new(self.as_os_str())
    }

    /// True when there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Vec<u8>> for OsText {
    fn from(bytes: Vec<u8>) -> OsText {
        OsText(bytes)
    }
}

impl From<&[u8]> for OsText {
    fn from(bytes: &[u8]) -> OsText {
        OsText(bytes.to_vec())
    }
}

impl From<&str> for OsText {
    fn from(text: &str) -> OsText {
        OsText(text.as_bytes().to_vec())
    }
}

impl From<String> for OsText {
    fn from(text: String) -> OsText {
        OsText(text.into_bytes())
    }
}

impl From<OsString> for OsText {
    fn from(text: OsString) -> OsText {
        OsText(text.into_vec())
    }
}

impl From<&OsStr> for OsText {
    fn from(text: &OsStr) -> OsText {
        OsText(text.as_bytes().to_vec())
    }
}

impl From<&Path> for OsText {
    fn from(path: &Path) -> OsText {
        OsText::from(path.as_os_str())
    }
}

impl From<PathBuf> for OsText {
    fn from(path: PathBuf) -> OsText {
        OsText::from(path.into_os_string())
    }
}

impl From<OsText> for OsString {
    fn from(text: OsText) -> OsString {
        OsString::from_vec(text.0)
    }
}

impl From<OsText> for PathBuf {
    fn from(text: OsText) -> PathBuf {
        PathBuf::from(OsString::from(text))
    }
}

impl fmt::Debug for OsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string_lossy(), f)
    }
}

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !self.0.contains(&0) => serializer.serialize_str(text),
            _ => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OsText, D::Error> {
        deserializer.deserialize_any(OsTextVisitor)
    }
}

struct OsTextVisitor;

impl<'de> Visitor<'de> for OsTextVisitor {
    type Value = OsText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or {\"base64\": \"...\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OsText, E> {
        Ok(OsText::from(text))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<OsText, E> {
        Ok(OsText::from(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OsText, A::Error> {
        let Some((key, value)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::missing_field("base64"));
        };
        if key != "base64" {
            return Err(de::Error::unknown_field(&key, &["base64"]));
        }
        let bytes = STANDARD
            .decode(value.as_bytes())
            .map_err(|error| de::Error::custom(format_args!("invalid base64: {error}")))?;
        if map.next_key::<String>()?.is_some() {
            return Err(de::Error::custom("expected nothing beside the key `base64`"));
        }
        Ok(OsText(bytes))
    }
}

impl JsonSchema for OsText {
    fn schema_name() -> Cow<'static, str> {
        "OsText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes of the operating system: a string, or base64 where they are not UTF-8.",
            "oneOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "base64": { "type": "string", "contentEncoding": "base64" } },
                    "required": ["base64"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], json: &str) {
        let text = OsText::from(bytes);
        assert_eq!(serde_json::to_string(&text).unwrap(), json);
        assert_eq!(serde_json::from_str::<OsText>(json).unwrap(), text);
    }

    #[test]
    fn every_byte_string_survives_json() {
        check(b"", "\"\"");
        check(b"plain", "\"plain\"");
        check("größe\n".as_bytes(), "\"größe\\n\"");
        check(b"\xff\xfe", r#"{"base64":"//4="}"#);
        check(b"a\0b", r#"{"base64":"YQBi"}"#);
        let all: Vec<u8> = (0..=255).collect();
        let json = serde_json::to_string(&OsText::from(all.clone())).unwrap();
        assert_eq!(serde_json::from_str::<OsText>(&json).unwrap().as_bytes(), all);
    }

    #[test]
    fn other_objects_are_refused_by_name() {
        for bad in [r#"{"bytes":"x"}"#, "{}", r#"{"base64":"?"}"#, r#"{"base64":"","x":""}"#, "3"] {
            serde_json::from_str::<OsText>(bad).unwrap_err();
        }
    }
}
