//! What is known of sessions, as it is kept in the store and as the daemon's threads see it.
//!
//! Owns the written form: JSON, whole, with the boot that process numbers are of. Never keeps an environment there: only
//! the name of its file. What it cannot read it leaves out: agents say again where they are with their next prompt.

use std::sync::Arc;

use meanwhile_api::OsText;
use meanwhile_core::SessionId;
use meanwhile_core::sessions::{AgentProcess, Registration, Sessions, Stay, Surroundings};
use meanwhile_host::env_store::EnvHash;
use meanwhile_host::proc::Identity;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The loop's end: it alone changes what is known.
pub type Publisher = watch::Sender<Arc<Sessions>>;
/// Everybody else's end.
pub type Known = watch::Receiver<Arc<Sessions>>;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Numbers of processes mean nothing in another one.
    boot: String,
    registered: Vec<KeptRegistration>,
    /// From a name to the one it goes on under, the latest last.
    successors: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct KeptRegistration {
    pid: u32,
    start_time: u64,
    session: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    left: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    surroundings: Option<KeptSurroundings>,
}

#[derive(Serialize, Deserialize)]
struct KeptSurroundings {
    environment: String,
    cwd: OsText,
}

/// What is written of it.
pub(crate) fn to_text(sessions: &Sessions, boot: &str) -> String {
    let registered = sessions.registered().map(|one| {
        let Registration { process, session, stay } = one;
        let AgentProcess { pid, start_time } = *process;
        let (left, surroundings) = match stay {
            Stay::Left => (true, None),
            Stay::In(surroundings) => (false, surroundings.as_ref()),
        };
        let surroundings = surroundings.map(|Surroundings { environment, cwd }| KeptSurroundings {
            environment: environment.clone(),
            cwd: OsText::from(cwd.clone()),
        });
        let session = session.as_str().to_owned();
        KeptRegistration { pid, start_time, session, left, surroundings }
    });
    let successors = sessions
        .successors()
        .map(|(from, to)| (from.as_str().to_owned(), to.as_str().to_owned()))
        .collect();
    let kept = Kept { boot: boot.to_owned(), registered: registered.collect(), successors };
    serde_json::to_string(&kept).expect("names and numbers are JSON")
}

/// What was written, as far as it holds in this boot.
pub(crate) fn from_text(text: Option<&str>, boot: &str) -> Sessions {
    let kept: Kept = match text.map(serde_json::from_str).transpose() {
        Ok(Some(kept)) => kept,
        Ok(None) => return Sessions::default(),
        Err(error) => {
            tracing::warn!(%error, "what was known of sessions cannot be read; agents will say it again");
            return Sessions::default();
        }
    };
    let same_boot = kept.boot == boot;
    let registered = kept.registered.into_iter().filter(|_| same_boot).map(|one| {
        let KeptRegistration { pid, start_time, session, left, surroundings } = one;
        let surroundings = surroundings.map(|KeptSurroundings { environment, cwd }| Surroundings {
            environment,
            cwd: cwd.as_bytes().to_vec(),
        });
        Registration {
            process: AgentProcess { pid, start_time },
            session: SessionId::new(session),
            stay: if left { Stay::Left } else { Stay::In(surroundings) },
        }
    });
    let successors =
        kept.successors.into_iter().map(|(from, to)| (SessionId::new(from), SessionId::new(to)));
    Sessions::from_parts(registered, successors)
}

/// Whether the environment of this name is one that a session would be given.
pub(crate) fn needs(sessions: &Sessions, environment: EnvHash) -> bool {
    let name = environment.to_string();
    sessions.registered().any(|one| match &one.stay {
        Stay::In(Some(surroundings)) => surroundings.environment == name,
        Stay::In(None) | Stay::Left => false,
    })
}

/// The same process in the core's words.
pub(crate) const fn agent_process(identity: Identity) -> AgentProcess {
    AgentProcess { pid: identity.pid, start_time: identity.start_time }
}

/// Whether a process is there still.
pub(crate) fn is_there(process: AgentProcess) -> bool {
    let AgentProcess { pid, start_time } = process;
    meanwhile_supervisor::process::is_alive(Identity { pid, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meanwhile_core::sessions::Begins;

    fn some() -> Sessions {
        let mut sessions = Sessions::default();
        let process = |pid| AgentProcess { pid, start_time: 9 };
        let surroundings = Surroundings { environment: "e".into(), cwd: b"/w\xff".to_vec() };
        sessions.begin(process(1), &SessionId::new("s1"), Begins::Instead, None);
        sessions.begin(process(1), &SessionId::new("s2"), Begins::Instead, Some(surroundings));
        sessions.begin(process(2), &SessionId::new("t"), Begins::Beside, None);
        sessions
    }

    #[test]
    fn what_is_known_reads_back_in_the_same_boot() {
        let text = to_text(&some(), "b");
        assert_eq!(from_text(Some(&text), "b"), some());
    }

    #[test]
    fn after_a_restart_of_the_machine_names_lead_on_and_processes_are_gone() {
        let text = to_text(&some(), "b");
        let later = from_text(Some(&text), "c");
        assert_eq!(later.registered().count(), 0);
        assert_eq!(later.current(&SessionId::new("s1")), SessionId::new("s2"));
    }

    #[test]
    fn what_cannot_be_read_is_as_if_nothing_had_been_said() {
        for text in [None, Some(""), Some("[]"), Some("{\"boot\":3}")] {
            assert_eq!(from_text(text, "b"), Sessions::default(), "{text:?}");
        }
        let more = to_text(&some(), "b").replacen('{', "{\"of a later release\":1,", 1);
        assert_eq!(from_text(Some(&more), "b"), some(), "a field of a later release");
    }
}
