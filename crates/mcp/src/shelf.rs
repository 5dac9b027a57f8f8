//! Waits for more tasks than an id should name, put down by name.
//!
//! What it is for: such a wait must be answered for by every later process, so what it is for is on disk before its id
//! is sent. What it owns: the name, which is a hash of what is put down, so that the same wait has the same name and a
//! damaged note is no other wait. What it never does: read or write a file itself (whoever starts the server does), or
//! keep what a task says: only ids are put down.

use meanwhile_api::{ApiError, TaskId};
use sha2::{Digest as _, Sha256};

/// Bytes of a name: enough that no two waits share it.
const NAME: usize = 16;

/// Puts a text down under a name, so that it is there after a crash. One of that name is replaced.
pub type Put = Box<dyn Fn(&str, &str) -> Result<(), ApiError> + Send + Sync>;
/// What was put down under a name; none when it is not there (any more).
pub type Get = Box<dyn Fn(&str) -> Result<Option<String>, ApiError> + Send + Sync>;

/// Where waits are put down.
pub struct Shelf {
    /// The way there.
    pub put: Put,
    /// The way back.
    pub get: Get,
}

impl Shelf {
    /// Puts the ids down; the name for them.
    pub(crate) fn keep(&self, ids: &[TaskId]) -> Result<String, ApiError> {
        let text = ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join("\n");
        let name = name_of(&text);
        (self.put)(&name, &text)?;
        Ok(name)
    }

    /// The ids of a name; none when they are not there any more.
    pub(crate) fn ids(&self, name: &str) -> Result<Option<Vec<TaskId>>, ApiError> {
        let text = (self.get)(name)?.filter(|text| name_of(text) == name);
        Ok(text.map(|text| text.lines().map(TaskId::from).collect()))
    }
}

fn name_of(text: &str) -> String {
    Sha256::digest(text)[..NAME].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text can be such a name; it is part of a path.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() == 2 * NAME && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_was_put_down_comes_back_and_what_was_changed_does_not() {
        let notes: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let (to, from) = (Arc::clone(&notes), Arc::clone(&notes));
        let shelf = Shelf {
            put: Box::new(move |name, text| {
                to.lock().unwrap().insert(name.to_owned(), text.to_owned());
                Ok(())
            }),
            get: Box::new(move |name| Ok(from.lock().unwrap().get(name).cloned())),
        };
        let ids = vec![TaskId::from("0123456789"), TaskId::from("abcdefghjk")];
        let name = shelf.keep(&ids).unwrap();
        assert!(is_name(&name) && !is_name("../../etc") && !is_name(&name.to_uppercase()));
        assert_eq!(shelf.keep(&ids).unwrap(), name, "the same wait");
        assert_eq!(shelf.ids(&name).unwrap(), Some(ids));
        notes.lock().unwrap().insert(name.clone(), "0123456789".to_owned());
        assert_eq!(shelf.ids(&name).unwrap(), None, "another wait");
        assert_eq!(shelf.ids(&"0".repeat(32)).unwrap(), None);
    }
}
