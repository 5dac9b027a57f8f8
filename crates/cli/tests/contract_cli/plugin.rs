//! OpenCode's plugin by itself: with an OpenCode that answers as it likes, and without our program. With the real one it is
//! tested in `agents_real`.

use std::fs;

use meanwhile_testkit::TestHome;
use serde_json::Value;

/// The part of OpenCode. Sessions: `root`, and `child`, which a subagent of it has.
const DRIVER: &str = r#"
import { Meanwhile } from "./meanwhile.mjs"

const prompts = []
let prompted
const once = new Promise((done) => (prompted = done))
const client = {
  session: {
    get: async ({ path }) => {
      if (path.id === "lost") throw new Error("no such session")
      return { data: { id: path.id, parentID: path.id === "child" ? "root" : undefined } }
    },
    promptAsync: async (request) => {
      prompts.push(request)
      prompted()
      return { error: { name: "busy" } }
    },
  },
  tui: { showToast: async () => { throw new Error("no screen") } },
}
const hooks = await Meanwhile({ client })
const seen = { hooks: Object.keys(hooks).length }

const before = async (tool, sessionID) => {
  const output = { args: { shell: "true" } }
  await hooks["tool.execute.before"]?.({ tool, sessionID, callID: "1" }, output)
  return output.args
}
seen.ours = await before("meanwhile_run", "child")
seen.others = await before("bash", "child")
seen.lost = await before("meanwhile_run", "lost")

const shell = { env: {} }
await hooks["shell.env"]?.({ cwd: "/", sessionID: "child" }, shell)
seen.shell = shell.env

const after = { title: "", output: "as it was", metadata: {} }
await hooks["tool.execute.after"]?.({ tool: "bash", sessionID: "root", args: {} }, after)
seen.after = after.output

const parts = [{ id: "prt_1", sessionID: "root", messageID: "msg_1", type: "text", text: "typed" }]
const model = { providerID: "p", modelID: "m" }
await hooks["chat.message"]?.({ sessionID: "root" }, { message: { agent: "plan", model }, parts })
seen.parts = parts

if (process.argv[2] === "idle") {
  await hooks.event({ event: { type: "session.idle", properties: { sessionID: "root" } } })
  await once
  seen.prompts = prompts
}
console.log(JSON.stringify(seen))
process.exit(0)
"#;

/// The plugin as `install` writes it, changed if need be, and what came of the part of OpenCode.
fn drive(home: &TestHome, change: impl Fn(String) -> String, word: &str, task: bool) -> Value {
    home.cli(["install", "opencode"]).expect(0);
    let plugin = home.root().join("user/.config/opencode/plugin/meanwhile.js");
    let text = fs::read_to_string(plugin).expect("it was made");
    fs::write(home.path("meanwhile.mjs"), change(text)).expect("it is ours");
    let driver = home.path("driver.mjs");
    fs::write(&driver, DRIVER).expect("it is ours");
    let words = [driver.as_os_str(), std::ffi::OsStr::new(word)];
    let call = home.invoke(words).program("node");
    let call = if task { call.env("MEANWHILE_TASK", "x") } else { call };
    call.run().json()
}

#[test]
fn launches_of_subagents_belong_to_the_session_that_a_person_talks_to() {
    let home = TestHome::new();
    let seen = drive(&home, |text| text, "", false);
    assert_eq!(seen["ours"]["meanwhile_session"], "root", "{seen}");
    assert_eq!(seen["ours"]["shell"], "true");
    assert_eq!(seen["shell"]["MEANWHILE_SESSION"], "root");
    assert_eq!(seen["others"].as_object().map(serde_json::Map::len), Some(1), "{seen}");
    assert_eq!(seen["lost"]["meanwhile_session"], "lost", "better than nobody's: {seen}");
    assert_eq!(seen["after"], "as it was");
    assert_eq!(seen["parts"].as_array().map(Vec::len), Some(1), "there is nothing to tell");
}

#[test]
fn what_opencode_does_not_take_is_unread_still() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let line = format!("{}; exit 3", gate.shell());
    let call = home.invoke(["run", "--shell", &line]).env("MEANWHILE_SESSION", "root");
    let id = call.run().ok();
    let seen = std::thread::scope(|scope| {
        let driving = scope.spawn(|| drive(&home, |text| text, "idle", false));
        meanwhile_testkit::until("the waiter", meanwhile_testkit::DEADLINE, || {
            (home.json(["daemon", "status"])["waiters"] == 1).then_some(())
        });
        gate.open();
        driving.join().expect("it was driven")
    });
    let prompt = &seen["prompts"][0];
    assert_eq!(prompt["path"]["id"], "root", "{seen}");
    assert_eq!(prompt["body"]["agent"], "plan", "as it was: {seen}");
    assert_eq!(prompt["body"]["model"]["modelID"], "m");
    let text = prompt["body"]["parts"][0]["text"].as_str().expect("text");
    assert!(text.contains(&id), "{text}");
    let unread = home.json(["--session", "root", "inbox", "--peek"]);
    assert_eq!(unread.as_array().map(Vec::len), Some(1), "{unread}");
}

#[test]
fn without_our_program_opencode_goes_on_and_a_task_has_no_plugin() {
    let home = TestHome::new();
    let gone = |text: String| {
        let line = text.lines().find(|line| line.starts_with("const PROGRAM = "));
        text.replace(line.expect("it names it"), "const PROGRAM = \"/nowhere/meanwhile\"")
    };
    let seen = drive(&home, gone, "", false);
    assert_eq!(seen["after"], "as it was", "{seen}");
    assert_eq!(seen["parts"][0]["text"], "typed");
    let seen = drive(&home, |text| text, "", true);
    assert_eq!(seen["hooks"], 0, "{seen}");
    assert_eq!(seen["ours"].as_object().map(serde_json::Map::len), Some(1), "{seen}");
}
