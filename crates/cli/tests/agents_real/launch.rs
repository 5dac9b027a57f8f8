//! An agent launches, waits and reads by the tools it was given, and needs no permission for what only looks.

use meanwhile_testkit::TestHome;
use meanwhile_testkit::model::Model;
use serde_json::Value;

use super::clis::Cli;

/// A home in which an agent was given our tools.
fn prepared(cli: Cli, model: &Model, options: &[&str]) -> TestHome {
    let home = TestHome::new();
    cli.set_up(&home, model);
    let mut words = vec!["install", cli.name()];
    words.extend(options);
    home.cli(words).expect(0);
    home
}

#[test]
fn an_agent_launches_by_its_tool_and_is_told_the_id() {
    for cli in Cli::ALL {
        let model = Model::new();
        let home = prepared(cli, &model, &["--allow-launch"]);
        let tool = cli.tool("run");
        let prompt =
            format!("build it [[call:{tool} {{\"shell\":\"echo built\",\"name\":\"build\"}}]]");
        let ran = cli.ask(&home, &model, &prompt);
        ran.expect(0);
        let tasks = home.json(["list", "--any-session"]);
        let task = &tasks.as_array().expect("a list")[0];
        assert_eq!(task["name"], "build", "{cli:?}: {tasks}\n{}", ran.text());
        let id = task["id"].as_str().expect("text");
        let told = model.asked().iter().any(|asked| asked.after_tools && asked.mentions(id));
        assert!(told, "{cli:?}: the model never heard of {id}: {:#?}", model.asked().last());
        let session = task["session"].as_str().expect("text");
        assert_ne!(session, "user", "{cli:?}: an agent is not the person");
        assert_eq!(home.wait(id)["state"], "completed");
        home.finish();
    }
}

#[test]
fn looking_and_waiting_need_no_permission_and_launching_does() {
    for cli in [Cli::Claude, Cli::Codex] {
        let model = Model::new();
        let home = prepared(cli, &model, &[]);
        let prompt =
            format!("look [[call:{} {{}}]] [[call:{} {{}}]]", cli.tool("list"), cli.tool("wait"));
        cli.ask(&home, &model, &prompt).expect(0);
        let answers = answers_of_tools(&model.asked().last().expect("it asked").body);
        assert!(answers.len() >= 2, "{cli:?}: {answers:?}");
        for answer in &answers {
            let refused =
                ["permission", "requires approval", "denied", "No such tool", "unsupported call"];
            assert!(!refused.iter().any(|word| answer.contains(word)), "{cli:?}: {answer}");
        }
        let prompt = format!("launch [[call:{} {{\"shell\":\"true\"}}]]", cli.tool("run"));
        cli.ask(&home, &model, &prompt);
        let tasks = home.json(["list", "--any-session"]);
        assert_eq!(tasks.as_array().map(Vec::len), Some(0), "{cli:?} launched without being asked");
        home.finish();
    }
}

/// What tools answered, in either interface.
fn answers_of_tools(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().into_iter().flatten();
    let blocks = messages.flat_map(|message| message["content"].as_array().into_iter().flatten());
    let anthropic = blocks
        .filter(|block| block["type"] == "tool_result")
        .map(|block| block["content"].to_string());
    let items = body["input"].as_array().into_iter().flatten();
    let openai = items
        .filter(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("_call_output")))
        .map(|item| item["output"].to_string());
    anthropic.chain(openai).collect()
}

#[test]
fn an_agent_without_a_person_is_told_before_it_ends_and_once() {
    for cli in [Cli::Claude, Cli::Codex, Cli::Copilot] {
        let model = Model::new();
        let home = prepared(cli, &model, &["--allow-launch"]);
        let mut gate = home.gate("gate");
        let shell = format!("{}; echo the-very-end", gate.shell());
        let call = serde_json::json!({ "shell": shell, "name": "build" });
        let prompt = format!("build it [[call:{} {call}]]", cli.tool("run"));
        // The task ends when the turn is over for the model: only then is there nobody left to be told but by the hook.
        let opener = std::thread::scope(|scope| {
            let asking = scope.spawn(|| cli.ask(&home, &model, &prompt));
            model.until("the answer of the tool", |asked| {
                asked.iter().any(|one| one.after_tools).then_some(())
            });
            gate.open();
            asking.join().expect("it was asked")
        });
        opener.expect(0);
        let told: Vec<String> = model
            .asked()
            .iter()
            .filter(|asked| asked.mentions("1 background task has ended"))
            .map(|asked| asked.last_user.clone())
            .collect();
        assert_eq!(told.len(), 1, "{cli:?} was told {} times: {told:#?}", told.len());
        assert!(told[0].contains("the-very-end"), "{cli:?}: {told:?}");
        let unread = home.json(["inbox", "--peek", "--any-session"]);
        assert_eq!(unread.as_array().map(Vec::len), Some(0), "what was told is read: {unread}");
        home.finish();
    }
}
