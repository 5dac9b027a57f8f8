//! `extend`: more time for a task.
//!
//! What it is for: a deadline that is near. What it owns: the answer. What it never does: more.

use meanwhile_api::change::ExtendRequest;
use serde_json::json;

use super::{Answer, Call};
use crate::arguments::{self, Arguments};
use crate::{answer, words};

pub(super) async fn extend(call: &Call<'_>, arguments: Arguments) -> Answer {
    let asked: arguments::Extend = arguments::read("extend", arguments)?;
    let task = call.client.extend(&asked.id, &ExtendRequest { by: asked.by }).await?;
    let deadline = task.deadline.map_or_else(|| "none".to_owned(), |at| at.to_string());
    let mut object = words::object(&task);
    object.insert("deadline".to_owned(), json!(task.deadline));
    Ok(answer::both(format!("{}; deadline {deadline}", words::line(&task)), object).into())
}
