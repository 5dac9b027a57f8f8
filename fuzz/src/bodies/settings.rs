//! `config.toml`: read, and one key of it changed in place.
//!
//! The input is a key, a value and the text of a file. A file that was accepted stays accepted after
//! an accepted change, the change is in force, and taking it back leaves the key's default.

use meanwhile_daemon::settings::{self, Key, Settings};

use crate::feed::Feed;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    let key = String::from_utf8_lossy(feed.piece()).into_owned();
    let value = String::from_utf8_lossy(feed.piece()).into_owned();
    if let Ok(found) = Key::find(&key) {
        let same = Key::find(&found.name()).expect("a key is found by its own name");
        assert_eq!(same.name(), found.name());
        let _words = (found.about(), found.get(&Settings::default()));
    }
    let Ok(text) = std::str::from_utf8(feed.rest()) else { return };
    let before = Settings::parse(text);
    let path = &super::scratch_directory().join("config.toml");
    std::fs::write(path, text).expect("the scratch file can be written");
    assert_eq!(settings::load(path).is_ok(), before.is_ok());
    let _names = settings::written_keys(path);
    if let Ok(edited) = settings::set(path, &key, &value) {
        assert!(before.is_ok(), "a broken file is not edited");
        assert_eq!(settings::load(path).as_ref(), Ok(&edited.settings));
        let key = Key::find(&edited.key).expect("the edited key exists");
        assert_eq!(key.get(&edited.settings), edited.after);
    }
    if let Ok(edited) = settings::unset(path, &key) {
        let key = Key::find(&edited.key).expect("the edited key exists");
        assert_eq!(settings::load(path).as_ref(), Ok(&edited.settings));
        let names = settings::written_keys(path).expect("the file is read");
        assert!(!names.contains(&key.name()), "{} is still written", key.name());
    }
}
