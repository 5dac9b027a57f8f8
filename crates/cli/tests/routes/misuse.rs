//! Bad settings, bad secrets, and trials by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use meanwhile_testkit::TestHome;

use crate::home_with;
use crate::receiver::{Answer, Receiver};

#[test]
fn a_bad_setting_is_refused_with_its_key_and_a_hint_and_without_what_may_be_secret() {
    let home = TestHome::new();
    for (key, value, says) in [
        ("notify.webhook.urls", "http://example.com/SECRET", "http goes to this machine alone"),
        ("notify.webhook.urls", "https://me:SECRET@example.com/", "password"),
        ("notify.webhook.urls", "ftp://example.com/SECRET", "https://"),
        ("notify.webhook.secret_file", "SECRET", "path from the root"),
        ("notify.tell", "all", "policy, each, failures"),
        ("notify.desktop", "maybe", "true or false"),
    ] {
        let ran = home.cli(["config", "set", key, value]);
        ran.expect(2);
        let complaint = ran.complaint();
        assert!(complaint.contains(key) && complaint.contains(says), "{complaint}");
        assert!(complaint.contains("hint:") && !complaint.contains("SECRET"), "{complaint}");
    }
    let shown = home.json(["config", "get", "notify.webhook.urls"]);
    assert_eq!(shown["value"], serde_json::json!([]), "nothing was changed by halves");
}

#[test]
fn a_trial_says_what_the_receiver_answered_and_counts_as_nothing() {
    let receiver = Receiver::answering(&[Answer::Status(204), Answer::Status(404)]);
    let home = home_with(&receiver, "");
    let good = home.cli(["notify", "test"]);
    assert!(good.ok().contains("answered 204, not signed"), "{}", good.text());
    let arrived = receiver.next().json();
    assert_eq!(arrived["type"], "test");
    assert_eq!(arrived["notices"], serde_json::json!([]));
    let bad = home.cli(["--json", "notify", "test", "webhook"]);
    bad.expect(1);
    let told: serde_json::Value = serde_json::from_str(&bad.text()).unwrap();
    assert_eq!(told[0]["ok"], false);
    assert_eq!(told[0]["text"], "answered 404");
    let text = bad.text() + &bad.complaint();
    assert!(!text.contains("T0KEN"), "{text}");
    home.cli(["notify", "test", "bell"]).expect(1);
    assert_eq!(home.json(["notify"])[0]["waiting"], 0);
}

#[test]
fn without_a_route_there_is_nothing_to_try_and_nothing_is_kept() {
    let home = TestHome::new();
    let ran = home.cli(["notify", "test"]);
    ran.expect(1);
    assert!(ran.complaint().contains("config set notify."), "{}", ran.complaint());
    assert_eq!(home.json(["notify"]), serde_json::json!([]));
    let id = home.launch(["false"]);
    home.wait(&id);
    assert!(!home.state().join("routes").exists());
}

#[test]
fn a_secret_that_others_can_read_is_not_used_and_doctor_says_so() {
    let receiver = Receiver::new();
    let home = home_with(&receiver, "");
    let secret = home.path("secret");
    fs::write(&secret, "SECRET-0123456789abcdef\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    home.cli(["config", "set", "notify.webhook.secret_file", secret.to_str().unwrap()]).ok();
    let ran = home.cli(["notify", "test"]);
    ran.expect(1);
    assert!(ran.text().contains("can be read by others"), "{}", ran.text());
    assert!(receiver.rest().is_empty(), "it was sent unsigned");
    let doctor = home.cli(["doctor"]);
    doctor.expect(1);
    assert!(doctor.text().contains("chmod 600"), "{}", doctor.text());
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(home.cli(["notify", "test"]).ok().contains("signed"));
    for text in [ran.text(), doctor.text(), home.cli(["config"]).ok()] {
        assert!(!text.contains("SECRET-"), "{text}");
    }
}

#[test]
fn a_machine_of_a_private_network_is_refused_before_it_is_asked() {
    let home = TestHome::builder()
        .config("notify.webhook.urls = [\"https://192.168.77.77/hook\", \"https://169.254.169.254/latest/\"]\n")
        .build();
    let ran = home.cli(["--json", "notify", "test"]);
    ran.expect(1);
    let told: serde_json::Value = serde_json::from_str(&ran.text()).unwrap();
    let text = |n: usize| told[n]["text"].as_str().unwrap().to_owned();
    assert!(
        text(0).contains("192.168.77.77") && text(0).contains("notify.webhook.private"),
        "{told}"
    );
    assert!(text(1).contains("169.254.169.254") && !text(1).contains("private"), "{told}");
}
