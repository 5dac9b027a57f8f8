//! Kills in between: nothing is lost, and what comes twice comes under the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meanwhile_testkit::{DEADLINE, Dice, TestHome, until};

use crate::receiver::{Answer, Receiver};
use crate::{home_with, standing};

/// Rounds of a kill at a random moment.
const ROUNDS: u32 = 12;
/// Longer than from a launch to its post.
const LATEST_KILL_US: u64 = 2_500_000;

fn command_line(pid: u32) -> String {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ")
}

#[test]
fn a_daemon_that_is_killed_before_the_post_posts_after_its_restart() {
    let receiver = Receiver::answering(&[Answer::Status(503), Answer::Status(503)]);
    let home = home_with(&receiver, "");
    let id = home.launch(["false"]);
    home.wait(&id);
    let first = receiver.next();
    home.kill_daemon();
    // Any client brings the next daemon, which looks at what was left.
    home.status(&id);
    home.cli(["daemon", "start"]).ok();
    let again = receiver.next();
    assert_eq!(again.notices(), [format!("{id}.1.done")]);
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    receiver.next();
    standing(&home, |one| one["waiting"] == 0);
}

#[test]
fn whatever_is_killed_whenever_every_end_arrives() {
    let mut dice = Dice::new();
    let receiver = Receiver::new();
    let home = home_with(&receiver, "notify.tell = \"each\"\n");
    let mut expected = BTreeSet::new();
    let mut arrived: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        expected.insert(format!("{}.1.done", home.launch(["true"])));
        // sleep: the moment of the kill is what the dice decide.
        std::thread::sleep(Duration::from_micros(dice.number(0..LATEST_KILL_US)));
        // Daemon and courier, in either order, or one of them alone.
        let mut victims = home.processes();
        if dice.number(0..2) == 0 {
            victims.reverse();
        }
        for pid in victims {
            let line = command_line(pid);
            if (line.contains("notify deliver") || line.contains("daemon run"))
                && dice.number(0..3) > 0
            {
                meanwhile_testkit::Process::of(pid).into_iter().for_each(|process| process.kill());
            }
        }
    }
    home.cli(["daemon", "start"]).ok();
    for id in &expected {
        home.wait(id.split('.').next().unwrap_or_default());
    }
    until("every end to arrive", DEADLINE, || {
        for post in receiver.rest() {
            let delivery = post.header("webhook-id").expect("an id").to_owned();
            for notice in post.notices() {
                arrived.entry(notice).or_default().insert(delivery.clone());
            }
        }
        (arrived.len() == expected.len()).then_some(())
    });
    let ids: BTreeSet<String> = arrived.keys().cloned().collect();
    assert_eq!(ids, expected);
    for (notice, deliveries) in arrived {
        assert_eq!(deliveries.len(), 1, "{notice} came under several ids: {deliveries:?}");
    }
}

#[test]
fn a_dead_receiver_leaves_the_daemon_idle() {
    let home = TestHome::builder()
        // Nobody listens there: port 1 of loopback is nobody's who is not root.
        .config("notify.webhook.urls = [\"http://127.0.0.1:1/\"]\nnotify.backoff = \"1h\"\n")
        .build();
    let id = home.launch(["false"]);
    home.wait(&id);
    let one = standing(&home, |one| one["problem"].is_string());
    assert_eq!((&one["waiting"], &one["tries"]), (&1.into(), &1.into()), "{one}");
    assert!(one["problem"].as_str().unwrap().contains("connection"), "{one}");
    until("the courier to end", DEADLINE, || {
        let mut lines = home.processes().into_iter().map(command_line);
        (!lines.any(|line| line.contains("notify deliver"))).then_some(())
    });
    home.finish();
}
