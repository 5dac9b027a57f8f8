//! Promises of `output`.

use std::fs;
use std::path::Path;

use super::*;

fn facts(ended: bool) -> AttemptFacts {
    let state = if ended { WireState::Completed } else { WireState::Running };
    AttemptFacts { attempt: 1, state, ended, figures: None }
}

fn page(dir: &Path, ended: bool, query: &OutputQuery) -> OutputReply {
    let directory = fs::File::open(dir).unwrap();
    let mut pager = Pager::open(&directory, PageRequest::new(query).unwrap(), ended).unwrap();
    pager.run().unwrap();
    pager.reply(facts(ended))
}

fn text(reply: &OutputReply) -> &str {
    reply.text.as_str().expect("text is UTF-8")
}

/// A log of which the middle is gone: 0..12 and 20..30.
fn with_gap() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("output.log"), "one\ntwo\nthr").unwrap();
    fs::write(dir.path().join("output.20"), "ee\nfour\nfi").unwrap();
    dir
}

fn with(bytes: impl AsRef<[u8]>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("output.log"), bytes).unwrap();
    dir
}

fn query() -> OutputQuery {
    OutputQuery::default()
}

#[test]
fn a_log_that_was_never_written_is_an_empty_page() {
    let dir = tempfile::tempdir().unwrap();
    let reply = page(dir.path(), true, &query());
    assert_eq!((text(&reply), reply.next_cursor, reply.ended), ("", 0, true));
    assert!(!page(dir.path(), false, &query()).ended);
}

#[test]
fn pages_follow_each_other_without_loss_or_repetition() {
    let words: String =
        (0..300).map(|n| format!("line {n} gr\u{f6}\u{df}e \u{1b}[1mx\u{1b}[0m\r\n")).collect();
    let dir = with(&words);
    let whole = text::clean(words.as_bytes());
    for max in [1, 7, 4_096, 100_000] {
        let (mut read, mut cursor) = (String::new(), 0);
        for pages in 0.. {
            let query = OutputQuery { since: Some(cursor), max_bytes: Some(max), ..query() };
            let reply = page(dir.path(), true, &query);
            assert!(reply.text.len() as u64 <= max);
            assert_eq!(reply.truncated, !reply.ended, "{reply:?}");
            read += text(&reply);
            cursor = reply.next_cursor;
            // One byte has no room for two-byte characters: such a page is refused elsewhere.
            if reply.ended || (max == 1 && pages > 20) {
                break;
            }
        }
        assert!(max == 1 || read == whole, "max {max}");
    }
}

#[test]
fn head_and_tail_are_lines() {
    let dir = with("1\n2\n3\n4\n5");
    let check = |query: OutputQuery, expected: &str| {
        assert_eq!(text(&page(dir.path(), true, &query)), expected, "{query:?}");
    };
    check(OutputQuery { head: Some(2), ..query() }, "1\n2\n");
    check(OutputQuery { head: Some(0), ..query() }, "");
    check(OutputQuery { tail: Some(2), ..query() }, "4\n5");
    check(OutputQuery { tail: Some(0), ..query() }, "");
    check(OutputQuery { tail: Some(99), ..query() }, "1\n2\n3\n4\n5");
    check(OutputQuery { since: Some(2), head: Some(1), ..query() }, "2\n");
    check(OutputQuery { since: Some(8), tail: Some(3), ..query() }, "5");
    check(OutputQuery { since: Some(99), ..query() }, "");
    let reply = page(dir.path(), true, &OutputQuery { head: Some(2), ..query() });
    assert_eq!((reply.next_cursor, reply.ended, reply.truncated), (4, false, false));
}

#[test]
fn grep_finds_lines_in_the_text_that_is_shown() {
    let dir = with("a error 1\n\u{1b}[31merr\u{1b}[0mor 2\nfine\nlast error");
    let grep = |more: OutputQuery| OutputQuery { grep: Some("error".into()), ..more };
    let check = |ended, query: OutputQuery, expected: &str| {
        assert_eq!(text(&page(dir.path(), ended, &query)), expected, "{query:?}");
    };
    check(true, grep(query()), "a error 1\nerror 2\nlast error");
    check(false, grep(query()), "a error 1\nerror 2\n");
    check(true, grep(OutputQuery { head: Some(1), ..query() }), "a error 1\n");
    check(true, grep(OutputQuery { tail: Some(2), ..query() }), "error 2\nlast error");
    let running = page(dir.path(), false, &grep(query()));
    let rest = OutputQuery { since: Some(running.next_cursor), ..query() };
    assert_eq!(text(&page(dir.path(), true, &grep(rest))), "last error");
}

#[test]
fn matches_beyond_max_bytes_are_on_the_next_page() {
    let lines: String = (0..100).map(|n| format!("match {n:03}\nother\n")).collect();
    let dir = with(&lines);
    let (mut read, mut cursor) = (String::new(), 0);
    loop {
        let query = OutputQuery {
            grep: Some("^match".into()),
            since: Some(cursor),
            max_bytes: Some(35),
            ..query()
        };
        let reply = page(dir.path(), true, &query);
        read += text(&reply);
        cursor = reply.next_cursor;
        if reply.ended {
            break;
        }
    }
    assert_eq!(read, (0..100).map(|n| format!("match {n:03}\n")).collect::<String>());
}

#[test]
fn a_gap_is_marked_where_it_is() {
    let dir = with_gap();
    let reply = page(dir.path(), true, &query());
    assert_eq!(text(&reply), "one\ntwo\nthree\nfour\nfi");
    assert_eq!(reply.gaps, [Gap { at: 11, from: 11, to: 20 }]);
    assert_eq!((reply.bytes, reply.dropped_bytes, reply.next_cursor), (30, 9, 30));
    let grep = OutputQuery { grep: Some("^thr$".into()), ..query() };
    assert_eq!(text(&page(dir.path(), true, &grep)), "thr", "a line ends where the gap begins");
    let within = OutputQuery { since: Some(15), ..query() };
    let reply = page(dir.path(), true, &within);
    assert_eq!((text(&reply), reply.gaps[0].from), ("ee\nfour\nfi", 15));
}

#[test]
fn raw_is_the_bytes_and_text_is_not() {
    let bytes = b"\x1b[31mred\xff\x00\r\n";
    let dir = with(bytes);
    let raw = OutputQuery { raw: true, ..query() };
    assert_eq!(page(dir.path(), true, &raw).text.as_bytes(), bytes);
    assert_eq!(text(&page(dir.path(), true, &query())), "red\u{fffd}\n");
    let raw = OutputQuery { raw: true, max_bytes: Some(3), ..query() };
    let reply = page(dir.path(), true, &raw);
    assert_eq!((reply.text.as_bytes(), reply.next_cursor, reply.truncated), (&bytes[..3], 3, true));
}

#[test]
fn what_a_running_task_has_not_finished_writing_is_left_to_the_next_page() {
    let dir = with("ok \u{1b}[3");
    let reply = page(dir.path(), false, &query());
    assert_eq!((text(&reply), reply.next_cursor), ("ok ", 3));
    fs::write(dir.path().join("output.log"), "ok \u{1b}[31mred\u{20ac}").unwrap();
    let next = OutputQuery { since: Some(reply.next_cursor), ..query() };
    assert_eq!(text(&page(dir.path(), true, &next)), "red\u{20ac}");
    let dir = with(&"ok \u{20ac}".as_bytes()[..4]);
    let reply = page(dir.path(), false, &query());
    assert_eq!((text(&reply), reply.next_cursor), ("ok ", 3));
    assert_eq!(text(&page(dir.path(), true, &query())), "ok \u{fffd}");
}

#[test]
fn the_last_of_very_many_matches_are_found_in_one_pass() {
    // Each line that leaves the full page once moved all of the others.
    let line = "a".repeat(63) + "\n";
    let dir = with(line.repeat(1 << 17));
    let tail = OutputQuery {
        grep: Some("a".into()),
        tail: Some(u64::MAX),
        max_bytes: Some(4 << 20),
        ..query()
    };
    let begun = std::time::Instant::now();
    let reply = page(dir.path(), true, &tail);
    assert_eq!(reply.text.len(), 4 << 20);
    assert!(reply.truncated && text(&reply).starts_with(&line));
    assert!(begun.elapsed().as_secs() < 100, "{:?}", begun.elapsed());
}

#[test]
fn the_last_match_is_cut_where_the_page_ends() {
    let dir = with("ab\nab\u{fc}\u{fc}\u{fc}\n");
    let tail = |max_bytes, lines| OutputQuery {
        grep: Some("ab".into()),
        tail: Some(lines),
        max_bytes: Some(max_bytes),
        ..query()
    };
    let shown = |query: &OutputQuery| {
        let reply = page(dir.path(), true, query);
        (text(&reply).to_owned(), reply.truncated)
    };
    assert_eq!(shown(&tail(5, 1)), ("ab\u{fc}".into(), true));
    assert_eq!(shown(&tail(0, 1)), (String::new(), true));
    assert_eq!(shown(&tail(9, 1)), ("ab\u{fc}\u{fc}\u{fc}\n".into(), false));
    assert_eq!(shown(&tail(9, 2)), ("ab\u{fc}\u{fc}\u{fc}\n".into(), true));
}

#[test]
fn a_gap_before_matches_that_left_the_page_is_still_on_the_page() {
    let dir = with("a 1\na 2\n");
    fs::write(dir.path().join("output.100"), "a 3\na 4\na 5\n").unwrap();
    let tail = OutputQuery { grep: Some("a".into()), tail: Some(2), ..query() };
    let reply = page(dir.path(), true, &tail);
    assert_eq!((text(&reply), reply.gaps.len()), ("a 4\na 5\n", 1));
    assert_eq!((reply.gaps[0].at, reply.gaps[0].from, reply.gaps[0].to), (0, 8, 100));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let check = |query: OutputQuery, code, part: &str| {
        let error = PageRequest::new(&query).unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(part) && !error.hint.is_empty(), "{error:?}");
    };
    check(OutputQuery { grep: Some("(".into()), ..query() }, ErrorCode::Usage, "unclosed group");
    let long = "\\pL".repeat(100_000);
    check(OutputQuery { grep: Some(long), ..query() }, ErrorCode::Usage, "300000 bytes");
    check(OutputQuery { head: Some(1), tail: Some(1), ..query() }, ErrorCode::Usage, "both");
    check(OutputQuery { stream: Some("x".into()), ..query() }, ErrorCode::Usage, "`x`");
    check(
        OutputQuery { stream: Some("stdout".into()), ..query() },
        ErrorCode::Unsupported,
        "stdout",
    );
}

#[test]
fn pages_of_any_size_of_any_log_join_to_the_text_of_the_whole() {
    // Everything that means something to the filter, and what is cut in the middle by small pages.
    let pieces: [&[u8]; 14] = [
        b"word",
        b"\n",
        b"\r",
        b"\r\n",
        b"\t",
        b"\x1b[31m",
        b"\x1b]0;t\x07",
        b"\x1b",
        b"\x1bP",
        "\u{20ac}".as_bytes(),
        "\u{1f600}".as_bytes(),
        b"\xe2\x82",
        b"\xff",
        b"\x00",
    ];
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..500 {
        let log: Vec<u8> = (0..random(60))
            .flat_map(|_| pieces[usize::try_from(random(14)).unwrap()].to_vec())
            .collect();
        let dir = with(&log);
        let (mut read, mut cursor) = (String::new(), 0);
        loop {
            let most = 4 + random(20);
            let query = OutputQuery { since: Some(cursor), max_bytes: Some(most), ..query() };
            let reply = page(dir.path(), true, &query);
            assert!(reply.text.len() as u64 <= most);
            read += text(&reply);
            assert!(reply.ended || reply.next_cursor > cursor, "no progress: {log:?} {reply:?}");
            cursor = reply.next_cursor;
            if reply.ended {
                break;
            }
        }
        assert_eq!(read, text::clean(&log), "{log:?}");
    }
}

/// Whatever page a reader asks for, and wherever it ends: no part of a secret is on it, and cursors are as ever.
#[test]
fn a_secret_is_masked_on_every_page_also_where_pages_cut_it() {
    let secret = "sk-0123456789-abcdef";
    let hidden = Prints::of([secret.as_bytes()], [3; 16]);
    let hiding = |dir: &Path, ended: bool, query: &OutputQuery| {
        let directory = fs::File::open(dir).unwrap();
        let request = PageRequest::new(query).unwrap().hiding(hidden.clone());
        let mut pager = Pager::open(&directory, request, ended).unwrap();
        pager.run().unwrap();
        pager.reply(facts(ended))
    };
    let log = format!("first\nkey={secret};{secret}\nlast {}", &secret[..12]);
    let masked = format!("first\nkey={0};{0}\nlast {1}", "*".repeat(secret.len()), &secret[..12]);
    let dir = with(&log);
    for raw in [false, true] {
        for since in 0..=log.len() as u64 {
            for max_bytes in [1, 5, 1_000] {
                let asked =
                    OutputQuery { since: Some(since), max_bytes: Some(max_bytes), raw, ..query() };
                let (shown, plain) =
                    (hiding(dir.path(), true, &asked), page(dir.path(), true, &asked));
                let from = usize::try_from(since).unwrap();
                let expected = &masked[from..from + plain.text.len()];
                assert_eq!(text(&shown), expected, "{since} {max_bytes}");
                assert_eq!(shown.next_cursor, plain.next_cursor);
            }
        }
    }
    let last = OutputQuery { tail: Some(1), ..query() };
    assert_eq!(text(&hiding(dir.path(), true, &last)), format!("last {}", &secret[..12]));
    assert_eq!(
        text(&hiding(dir.path(), false, &last)),
        "last ************",
        "its rest may come yet"
    );
    let found = OutputQuery { grep: Some("sk-".to_owned()), ..query() };
    assert_eq!(text(&hiding(dir.path(), true, &found)), format!("last {}", &secret[..12]));
}

#[test]
fn half_a_secret_beside_a_gap_is_not_taken_for_one() {
    let dir = with_gap();
    let hidden = Prints::of([b"two\nthree\nfour".as_slice(), b"e\nfour\nfi"], [3; 16]);
    let directory = fs::File::open(dir.path()).unwrap();
    let request = PageRequest::new(&query()).unwrap().hiding(hidden);
    let mut pager = Pager::open(&directory, request, true).unwrap();
    pager.run().unwrap();
    assert_eq!(text(&pager.reply(facts(true))), "one\ntwo\nthre*********");
}
