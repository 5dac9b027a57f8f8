//! Promises of the ledger, the moments and the words.

use std::time::Duration;

use meanwhile_host::dir::Dir;

use super::body::{self, Kind};
use super::ledger::{self, Book, Ledger};
use super::way::{Way, longest_wait, wait_after};
use crate::settings::Settings;

fn ids() -> impl FnMut() -> String {
    let mut count = 0;
    move || {
        count += 1;
        format!("msg_{count}")
    }
}

#[test]
fn what_ends_together_goes_together_until_it_was_tried() {
    let (mut ledger, mut fresh) = (Ledger::default(), ids());
    for n in 0..250 {
        ledger.add("command", &format!("{n}.1.done"), 5, 5, &mut fresh);
    }
    ledger.add("command", "7.1.done", 6, 6, &mut fresh);
    let sizes = |ledger: &Ledger| ledger.due.iter().map(|d| d.notices.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&ledger), [100, 100, 50], "one that waits already is not added again");
    ledger.due[2].tries = 1;
    ledger.add("command", "x.1.done", 7, 7, &mut fresh);
    ledger.add("bell", "x.1.done", 7, 7, &mut fresh);
    assert_eq!(sizes(&ledger), [100, 100, 50, 1, 1], "a receiver may have got the third");
    assert_eq!(ledger.head("bell"), Some(4));
}

#[test]
fn a_receiver_that_is_gone_fills_no_disk() {
    let (mut ledger, mut fresh) = (Ledger::default(), ids());
    for n in 0..20_000 {
        ledger.add("command", &format!("{n}.1.done"), n, n, &mut fresh);
        ledger.store(format!("{n}.1.done"));
    }
    let waiting: usize = ledger.due.iter().map(|d| d.notices.len()).sum();
    assert!(waiting <= 1_000 && ledger.stored.len() <= 10_000, "{waiting}");
    assert!(ledger.given_up.len() <= 50, "{}", ledger.given_up.len());
    let last = ledger.given_up.back().expect("what did not fit is on record");
    assert!(last.problem.contains("too many"), "{last:?}");
    assert!(
        ledger.due.iter().any(|d| d.notices.contains(&"19999.1.done".into())),
        "the newest stay"
    );
}

#[test]
fn a_ledger_is_begun_once_kept_and_put_aside_when_it_is_damaged() {
    let base = tempfile::tempdir().unwrap();
    let state = Dir::open(base.path(), &[]).unwrap();
    assert_eq!(ledger::peek(&state).unwrap(), None);
    ledger::begin(&state, 7).unwrap();
    ledger::begin(&state, 9).unwrap();
    assert_eq!(ledger::peek(&state).unwrap().map(|l| l.cursor), Some(7), "the first is kept");
    let book = Book::open(&state).unwrap();
    let mut written = book.read().unwrap().unwrap();
    written.store("a.1.done".into());
    book.write(&written).unwrap();
    assert_eq!(book.read().unwrap(), Some(written));
    std::fs::write(base.path().join("routes/ledger.json"), "{").unwrap();
    assert_eq!(book.read().unwrap(), None);
    assert!(base.path().join("routes/ledger.damaged").exists());
    drop(book);
    ledger::begin(&state, 1).unwrap();
    ledger::forget(&state).unwrap();
    assert_eq!(ledger::peek(&state).unwrap(), None);
}

#[test]
fn tries_come_ever_later_and_not_all_at_once() {
    let first = Duration::from_secs(5);
    let mut before = Duration::ZERO;
    for tries in 1..=5 {
        let expected = first * 4_u32.pow(tries - 1);
        let (least, most) = (expected * 4 / 5, expected * 6 / 5);
        for dice in [0, 1, 77_777, u64::MAX] {
            let wait = wait_after(tries, first, dice);
            assert!(least <= wait && wait <= most, "{tries} {dice}: {wait:?}");
        }
        assert!(least > before, "{tries}");
        before = most;
    }
    for dice in [0, u64::MAX] {
        assert!(wait_after(40, first, dice) <= longest_wait());
    }
    assert_ne!(wait_after(1, first, 1), wait_after(1, first, 1_000));
}

#[test]
fn the_ledger_and_the_log_have_no_address_that_may_be_a_secret() {
    let text = r#"
[notify]
webhook.urls = ["https://example.com/T0/SECRET", "https://example.com/T0/SECRET", "https://example.com/other"]
command = ["/bin/tell", "SECRET"]
bell = true
"#;
    let ways = Way::all(&Settings::parse(text).unwrap().routes);
    let keys: Vec<String> = ways.iter().map(Way::key).collect();
    assert_eq!(keys.len(), 4, "the same address is one way: {keys:?}");
    assert_ne!(keys[0], keys[1]);
    for way in &ways {
        assert!(!way.key().contains("SECRET") && !way.label().contains("SECRET"), "{way:?}");
        assert!(!format!("{:?}", Way::all(&Settings::default().routes)).contains("SECRET"));
    }
    assert_eq!(ways[0].label(), "webhook https://example.com");
}

#[test]
fn a_trial_is_marked_as_one() {
    let document = body::document(Kind::Test, "msg_1", 1, &[]);
    assert_eq!(document["type"], "test");
    assert_eq!(document["notices"], serde_json::json!([]));
    assert!(document["text"].as_str().is_some_and(|text| text.contains("test")));
}
