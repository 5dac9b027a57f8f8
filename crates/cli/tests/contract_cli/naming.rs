//! How a task is named: ids, prefixes and names, and what is told when none or several fit.

use std::collections::BTreeSet;

use meanwhile_testkit::TestHome;
use serde_json::json;

use crate::{check_refusal, error_of};

/// Well formed and, with a probability of all but one in 2^50, unknown.
const UNKNOWN: &str = "0123456789";

/// Every command that takes an id, with the exit code it has for one that is unknown.
const TAKERS: &[(&[&str], &[&str], i32)] = &[
    (&["status"], &[], 3),
    (&["output"], &[], 3),
    (&["output", "--follow"], &[], 3),
    (&["wait"], &[], 3),
    (&["cancel"], &[], 3),
    (&["retry"], &[], 3),
    (&["complete"], &[], 3),
    (&["extend"], &["5m"], 3),
    (&["run", "--after"], &["--", "true"], 3),
    // The codes of `follow` are the task's: ours is 125.
    (&["follow"], &[], 125),
];

fn line<'a>(taker: &(&[&'a str], &[&'a str], i32), id: &'a str) -> Vec<&'a str> {
    [taker.0, &[id], taker.1].concat()
}

#[test]
fn ids_are_ten_characters_that_cannot_be_misread_and_never_come_twice() {
    let home = TestHome::new();
    let entries = "{\"command\":[\"true\"]}\n".repeat(100);
    let ids = home.invoke(["run", "--from", "-"]).stdin(entries).run().ok();
    let unique: BTreeSet<&str> = ids.lines().collect();
    assert_eq!(unique.len(), 100);
    for id in unique {
        assert_eq!(id.len(), 10, "{id}");
        assert!(id.chars().all(|c| "0123456789abcdefghjkmnpqrstvwxyz".contains(c)), "{id}");
    }
}

#[test]
fn an_unknown_id_exits_3_in_every_command() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    for taker in TAKERS {
        check_refusal(&home.cli(line(taker, UNKNOWN)), taker.2, UNKNOWN);
        check_refusal(&home.cli(line(taker, "zzzz")), taker.2, "zzzz");
    }
}

#[test]
fn a_malformed_id_exits_2_in_every_command() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    // Too short, no letter of ids, punctuation, too long.
    for id in ["abc", "illl", "ab;d", "0123456789a"] {
        for taker in TAKERS {
            check_refusal(&home.cli(line(taker, id)), 2, id);
        }
    }
}

#[test]
fn one_unknown_id_among_several_is_refused_and_nothing_is_done() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    check_refusal(&home.cli(["status", &id, UNKNOWN]), 3, UNKNOWN);
    check_refusal(&home.cli(["cancel", &id, UNKNOWN]), 3, UNKNOWN);
    check_refusal(&home.cli(["wait", &id, UNKNOWN]), 3, UNKNOWN);
    gate.open();
    assert_eq!(home.wait(&id)["state"], "completed");
}

#[test]
fn any_unique_prefix_of_four_characters_or_more_is_an_id() {
    let home = TestHome::new();
    let id = home.launch(["echo", "hello"]);
    home.wait(&id);
    for length in 4..=10 {
        assert_eq!(home.status(&id[..length])["id"], id.as_str());
        assert_eq!(home.output(&id[..length]), "hello");
        home.cli(["wait", &id[..length]]).ok();
    }
    check_refusal(&home.cli(["status", &id[..3]]), 2, &id[..3]);
}

#[test]
fn a_name_that_is_unique_among_kept_tasks_is_an_id() {
    let home = TestHome::new();
    let id = home.launch_with(["--name", "the build, again"], ["echo", "hello"]);
    home.cli(["wait", "the build, again"]).ok();
    assert_eq!(home.status("the build, again")["id"], id.as_str());
    assert_eq!(home.output("the build, again"), "hello");
    home.cli(["retry", "the build, again"]).ok();
    assert_eq!(home.wait("the build, again")["attempt"], 2);
}

#[test]
fn a_name_that_several_tasks_have_is_ambiguous_and_the_candidates_are_told() {
    let home = TestHome::new();
    let ids = [(); 2].map(|()| home.launch_with(["--name", "twin"], ["true"]));
    for id in &ids {
        home.wait(id);
    }
    for taker in TAKERS.iter().filter(|taker| taker.2 == 3) {
        let ran = home.cli(line(taker, "twin"));
        check_refusal(&ran, 4, "twin");
        assert!(ids.iter().all(|id| ran.complaint().contains(id.as_str())), "{}", ran.complaint());
    }
    let error = error_of(&home.cli(["--json", "status", "twin"]));
    assert_eq!(error["code"], "ambiguous");
    let candidates = error["details"]["candidates"].as_array().expect("they are listed");
    assert!(ids.iter().all(|id| candidates.contains(&json!(id))), "{error:#}");
    home.cli(["follow", "twin"]).expect(125);
}

/// Four characters are 20 bits: two thousand ids hold about two such pairs. Ids are asked for until there is one.
#[test]
fn a_prefix_that_several_ids_have_is_ambiguous() {
    let home = TestHome::builder().config("lanes.held.limit = 1").build();
    let gate = home.gate("gate");
    home.launch_shell_with(["--lane", "held"], &gate.shell());
    let entries = "{\"command\":[\"true\"],\"lane\":\"held\"}\n".repeat(2_000);
    let mut seen = BTreeSet::new();
    let prefix = loop {
        let ids = home.invoke(["run", "--from", "-"]).stdin(entries.as_str()).run().ok();
        let twice =
            ids.lines().map(|id| id[..4].to_owned()).find(|prefix| !seen.insert(prefix.clone()));
        if let Some(prefix) = twice {
            break prefix;
        }
    };
    let ran = home.cli(["status", &prefix]);
    check_refusal(&ran, 4, &prefix);
    assert_eq!(error_of(&home.cli(["--json", "status", &prefix]))["code"], "ambiguous");
}

#[test]
fn a_whole_id_wins_over_a_name_that_looks_like_it() {
    let home = TestHome::new();
    let id = home.launch(["echo", "the task"]);
    home.wait(&id);
    let other = home.launch_with(["--name", &id], ["echo", "the impostor"]);
    home.wait(&other);
    assert_eq!(home.output(&id), "the task");
}

#[test]
fn path_like_ids_reach_no_file() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    for id in ["../../etc/passwd", "..%2f..%2fetc", "./daemon.lock", "%2e%2e/%2e%2e/x"] {
        for words in [&["output", id][..], &["status", id], &["cancel", id]] {
            let ran = home.cli(words);
            assert!(matches!(ran.code(), 2 | 3), "{id}: {}", ran.code());
            assert_eq!(ran.text(), "");
        }
    }
}

#[test]
fn aliases_people_guess_do_the_same() {
    let home = TestHome::new();
    let id = home.launch(["echo", "hello"]);
    home.wait(&id);
    let listed = home.json(["list"]);
    for alias in ["ls", "ps"] {
        assert_eq!(home.json([alias]), listed, "{alias}");
    }
    for alias in ["logs", "tail"] {
        assert_eq!(home.cli([alias, &id]).ok(), "hello", "{alias}");
    }
    for alias in ["kill", "stop"] {
        let gate = home.gate(alias);
        let id = home.launch_shell(&gate.shell());
        home.cli([alias, &id]).ok();
        assert_eq!(home.status(&id)["state"], "cancelled", "{alias}");
    }
}
