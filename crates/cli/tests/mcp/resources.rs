//! Reports and logs as resources: whose they are, and how much of them.

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::client::{Client, LEGACY, MODERN};

fn read(client: &mut Client, uri: &str) -> Value {
    client.request("resources/read", json!({ "uri": uri }))
}

fn contents(answer: &Value) -> &str {
    answer["result"]["contents"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn a_session_lists_and_reads_its_own_tasks_and_no_others() {
    let home = TestHome::new();
    for speaks in [LEGACY, MODERN] {
        let mut mine = Client::start(&home, speaks);
        let mut other = Client::start(&home, speaks);
        let id = mine.launch("echo to be read; exit 3");
        home.wait(&id);
        let listed = mine.request("resources/list", json!({}));
        let uris: Vec<&str> = listed["result"]["resources"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|resource| resource["uri"].as_str())
            .collect();
        let (report, output) =
            (format!("meanwhile://task/{id}"), format!("meanwhile://task/{id}/output"));
        assert_eq!(uris, [&report, &output]);
        let shown = read(&mut mine, &report);
        let text = contents(&shown);
        assert!(text.contains("Status: Failure (exit 3)") && text.contains(&output), "{text}");
        assert!(text.contains("<output "), "what was printed is fenced: {text}");
        assert!(contents(&read(&mut mine, &output)).contains("to be read"));
        let listed = other.request("resources/list", json!({}));
        assert_eq!(listed["result"]["resources"], json!([]), "{listed}");
        for uri in [&report, &output] {
            let refused = read(&mut other, uri);
            let message = refused["error"]["message"].as_str().expect("an error");
            assert!(message.contains("another session"), "{refused}");
        }
    }
}

#[test]
fn a_long_log_is_read_a_page_at_a_time() {
    let home = TestHome::new();
    let mut client = Client::start(&home, MODERN);
    let id = client.launch("seq 1 5000");
    home.wait(&id);
    let uri = format!("meanwhile://task/{id}/output");
    let last = read(&mut client, &uri);
    assert!(
        contents(&last).contains("\n5000\n") && !contents(&last).contains("\n4000\n"),
        "{last}"
    );
    let (mut cursor, mut digits) = ("0".to_owned(), String::new());
    loop {
        let page = read(&mut client, &format!("{uri}?since={cursor}"));
        let text = contents(&page);
        assert!(text.len() < 9_000, "{}", text.len());
        // A page may end within a number: without line ends the halves are one again.
        digits.extend(text.lines().filter(|line| line.parse::<u32>().is_ok()));
        let Some((_, more)) = text.split_once(&format!("{uri}?since=")) else { break };
        cursor = more.split(' ').next().expect("a number").to_owned();
    }
    let whole: String = (1..=5000).map(|number: u32| number.to_string()).collect();
    assert_eq!(digits, whole, "nothing is lost, nothing comes twice");
}

#[test]
fn what_is_no_address_of_ours_is_refused_with_a_word_about_those_that_are() {
    let home = TestHome::new();
    let mut client = Client::start(&home, MODERN);
    client.launch("true");
    for bad in [
        "",
        "file:///etc/passwd",
        "meanwhile://task/",
        "meanwhile://task/../../etc/passwd",
        "meanwhile://task/%2e%2e/output",
        "meanwhile://task/0000000000",
        "meanwhile://task/\u{1b}[2J/output",
        "meanwhile://task/a\u{0}b",
    ] {
        let refused = read(&mut client, bad);
        let message = refused["error"]["message"].as_str().unwrap_or_else(|| panic!("{refused}"));
        assert!(!message.contains('\u{1b}'), "{refused}");
    }
    let templates = client.request("resources/templates/list", json!({}));
    let templates = templates["result"]["resourceTemplates"].as_array().expect("a list").len();
    assert_eq!(templates, 2);
}
