//! Copilot CLI with what `install` wrote: its hooks tell it, and its shell launches for its own session.

use meanwhile_testkit::TestHome;
use meanwhile_testkit::model::Model;

use super::clis::{Cli, launches_and_stays};

#[test]
fn what_its_shell_launched_is_told_beside_the_next_tool() {
    let model = Model::new();
    let home = TestHome::new();
    home.cli(["install", "copilot"]).expect(0);
    let script = launches_and_stays(&home, "shelled", "COPILOT_AGENT_SESSION_ID");
    let prompt = format!("build it [[scn:tool:sh {}]]", script.display());
    Cli::Copilot.ask(&home, &model, &prompt).expect(0);
    let task = &home.json(["list", "--any-session"])[0];
    let session = task["session"].as_str().expect("text");
    assert_eq!(session.len(), 36, "a session of its own, by its own name: {session}");
    let told = model.asked().into_iter().filter(|asked| asked.mentions("the-last-line"));
    let told: Vec<_> = told.filter(|asked| asked.mentions("1 background task has ended")).collect();
    assert!(!told.is_empty(), "it was never told: {:#?}", model.asked().last());
    assert!(told[0].after_tools, "beside the answer of the tool: {:#?}", told[0].body);
    let unread = home.json(["inbox", "--peek", "--any-session"]);
    assert_eq!(unread.as_array().map(Vec::len), Some(0), "what was told is read: {unread}");
    home.finish();
}
