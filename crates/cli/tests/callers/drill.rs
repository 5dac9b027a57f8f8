//! `kill -9` of the daemon, of the MCP server and of the agent between the end of a task and the moment its session has
//! read of it, in every order: nothing is lost, and what is told twice is told under the same id.
//!
//! Owns the count of what was told: what the agent has said that it read. `MEANWHILE_DRILL_ROUNDS` says how many rounds
//! are played; the figure is 200.

use std::collections::BTreeMap;
use std::time::Duration;

use meanwhile_testkit::{Dice, TestHome};

use crate::agent::Agent;

/// Each choice of victims in each order: none, 3 of one, 6 of two, 6 of three. More rounds play them again.
const ROUNDS: usize = 16;
/// Longer than a delivery takes: kills fall before, into and after it.
const LATEST_KILL_US: u64 = 25_000;
/// Answers after which nothing is left to be told. Each takes what there is.
const INBOXES: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Daemon,
    Server,
    Agent,
}

/// Every choice of victims in every order.
fn orders() -> Vec<Vec<Victim>> {
    let mut orders = vec![Vec::new()];
    let mut at = 0;
    while let Some(order) = orders.get(at).cloned() {
        let left = [Victim::Daemon, Victim::Server, Victim::Agent];
        let left = left.into_iter().filter(|victim| !order.contains(victim));
        orders.extend(left.map(|victim| [order.as_slice(), &[victim]].concat()));
        at += 1;
    }
    orders
}

/// How many rounds are played.
fn rounds() -> usize {
    let asked = std::env::var("MEANWHILE_DRILL_ROUNDS").ok();
    asked.map_or(ROUNDS, |asked| asked.parse().expect("MEANWHILE_DRILL_ROUNDS is a number"))
}

#[test]
fn every_order_of_victims_is_played() {
    let orders = orders();
    assert_eq!(orders.len(), ROUNDS);
    assert_eq!(orders.iter().filter(|order| order.len() == 3).count(), 6);
}

#[test]
fn whoever_is_killed_between_an_end_and_its_reading_nothing_is_lost_and_hardly_anything_told_twice()
{
    let home = TestHome::new();
    let (orders, rounds) = (orders(), rounds());
    let mut dice = Dice::new();
    let (mut told, mut killed) = (BTreeMap::new(), BTreeMap::new());
    let mut agent = begin(&home);
    for round in 0..rounds {
        let order = &orders[round % orders.len()];
        let id = agent.launch("mcp", "true");
        told.insert(id.clone(), 0_u32);
        home.wait(&id);
        agent.ask_inbox("mcp");
        for victim in order {
            // sleep: the moment of the kill is what the dice decide.
            std::thread::sleep(Duration::from_micros(dice.number(0..LATEST_KILL_US)));
            *killed.entry(format!("{victim:?}")).or_insert(0_u32) += 1;
            match victim {
                Victim::Daemon => drop(home.daemon().inspect(|daemon| daemon.kill())),
                Victim::Server => agent.kill_server("mcp"),
                Victim::Agent => agent.kill(),
            }
        }
        tally(&mut told, &agent.heard());
        if order.contains(&Victim::Agent) {
            drop(agent);
            agent = begin(&home);
        } else if order.contains(&Victim::Server) {
            serve(&mut agent);
        }
        let mut silent = false;
        for _ in 0..INBOXES {
            let said = agent.inbox("mcp");
            tally(&mut told, &said);
            silent = said == "Nothing unread.";
            if silent {
                break;
            }
        }
        assert!(silent, "round {round}: it is told without end");
        let times = told[&id];
        assert!((1..=2).contains(&times), "round {round}, {order:?}: {id} was told {times} times");
    }
    let twice = told.values().filter(|times| **times == 2).count();
    println!("{rounds} rounds, killed {killed:?}: 0 lost, {twice} told twice under the same id");
}

/// The agent, or its next one, in the conversation that goes on.
fn begin(home: &TestHome) -> Agent<'_> {
    let mut agent = Agent::start(home, "claude");
    serve(&mut agent);
    agent
}

fn serve(agent: &mut Agent<'_>) {
    agent.serve("mcp", &[("CLAUDE_CODE_SESSION_ID", "s1")]);
}

fn tally(told: &mut BTreeMap<String, u32>, said: &str) {
    for (_, times) in told.iter_mut().filter(|(id, _)| said.contains(id.as_str())) {
        *times += 1;
    }
}
