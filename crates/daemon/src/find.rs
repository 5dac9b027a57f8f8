//! From what people type to task ids: whole ids, prefixes, names; and list filters.
//!
//! Owns the order in which a text is read and the messages when it fits nothing or too much. Reads
//! the store, never anything else; who may see what it finds is the caller's concern.

use meanwhile_api::list::ListQuery;
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::id::{ID_LEN, MIN_PREFIX_LEN};
use meanwhile_core::{GroupName, LaneName, SessionId, State, TaskId, Wall};
use meanwhile_store::{Filter, Reader, StateCounts, StoreError, TaskRecord};

use crate::engine::refusals::store_error;
use crate::view::core_state;

/// Candidates that a message names.
const CANDIDATES: usize = 6;
/// Most tasks a list answers with.
const LIST_MAX: usize = 10_000;
/// Records looked through at once where the store cannot filter by itself.
const PAGE: usize = 500;

/// The task that `text` means: a whole id, else a name, else a prefix.
///
/// # Errors
/// 2 for what is no id, prefix or name; 3 for what is well formed and unknown; 4 for what fits
/// several.
pub fn task(reader: &mut dyn Reader, text: &str) -> Result<TaskId, ApiError> {
    let failed = |error: StoreError| store_error(&error);
    if let Ok(id) = text.parse::<TaskId>()
        && reader.states(&[id]).map_err(failed)?[0].is_some()
    {
        return Ok(id);
    }
    let named = reader.by_name(text, CANDIDATES).map_err(failed)?;
    match named[..] {
        [id] => return Ok(id),
        [] => {}
        _ => return Err(ambiguous(text, "name", &named)),
    }
    let Ok(range) = TaskId::prefix_range(text) else { return Err(malformed(text)) };
    let found = reader.find(range, CANDIDATES).map_err(failed)?;
    match found[..] {
        [id] => Ok(id),
        [] => Err(unknown(text)),
        _ => Err(ambiguous(text, "prefix", &found)),
    }
}

fn malformed(text: &str) -> ApiError {
    // A text that is long or has control characters is quoted in part, so that the message stays one.
    let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    ApiError::new(
        ErrorCode::Usage,
        format!(
            "`{shown}` is no task: an id has {ID_LEN} characters (0-9, a-z without i, l, o, u), \
             a prefix at least {MIN_PREFIX_LEN}, and no task has that name"
        ),
    )
    .hint("meanwhile list shows ids and names")
}

fn unknown(text: &str) -> ApiError {
    ApiError::new(ErrorCode::NoSuchTask, format!("no task {text}"))
        .hint("meanwhile list shows the kept ones")
        .detail("task", text)
}

fn ambiguous(text: &str, what: &str, found: &[TaskId]) -> ApiError {
    let names: Vec<String> = found.iter().take(CANDIDATES - 1).map(ToString::to_string).collect();
    let more = if found.len() >= CANDIDATES { " and more" } else { "" };
    ApiError::new(
        ErrorCode::Ambiguous,
        format!("{what} `{text}` fits several tasks: {}{more}", names.join(", ")),
    )
    .hint(if what == "name" { "use an id" } else { "use more characters of the id" })
    .detail("candidates", names)
}

/// A list's filter in the words of the store, with what the store cannot say.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    filter: Filter,
    /// Labels of any value.
    label_keys: Vec<String>,
    /// Only these; none is any.
    ids: Option<Vec<TaskId>>,
    /// Nothing can match (agents are not kept yet).
    nothing: bool,
    limit: usize,
}

impl Wanted {
    /// What a query asks for, of all sessions or of one.
    ///
    /// # Errors
    /// A malformed label or id.
    pub fn new(
        reader: &mut dyn Reader,
        query: &ListQuery,
        only: Option<SessionId>,
    ) -> Result<Self, ApiError> {
        let ListQuery {
            state,
            kind,
            lane,
            group,
            session,
            label,
            name,
            id,
            since,
            limit: _,
            any_session: _,
        } = query;
        let claimed = session.as_deref().map(|name| match name {
            "main" => SessionId::user(),
            name => SessionId::new(name),
        });
        let (labels, label_keys) = read_labels(label)?;
        let ids = match id[..] {
            [] => None,
            _ => Some(known_ids(reader, id)?),
        };
        Ok(Self {
            nothing: matches!(kind, Some(meanwhile_api::task::TaskKind::Agent))
                || (claimed.is_some() && only.is_some() && claimed != only),
            filter: Filter {
                states: state.iter().copied().map(core_state).collect(),
                lane: lane.as_deref().map(LaneName::new),
                group: group.as_deref().map(GroupName::new),
                session: only.or(claimed),
                name: name.clone(),
                parent: None,
                labels,
                since: since.map(|at| Wall(at.unix_ms())),
            },
            label_keys,
            ids,
            limit: usize::try_from(query.limit()).unwrap_or(LIST_MAX).min(LIST_MAX),
        })
    }

    /// The newest that match, and how many match in all.
    ///
    /// # Errors
    /// What the store says.
    pub fn list(&self, reader: &mut dyn Reader) -> Result<(Vec<TaskRecord>, u64), StoreError> {
        if self.nothing {
            return Ok((Vec::new(), 0));
        }
        if !self.needs_looking() {
            let records = reader.list(&self.filter, self.limit)?;
            return Ok((records, reader.count(&self.filter)?));
        }
        let (mut records, mut total) = (Vec::new(), 0);
        self.each(reader, |record| {
            total += 1;
            if records.len() < self.limit {
                records.push(record);
            }
        })?;
        Ok((records, total))
    }

    /// The ids of the newest that match, and how many match in all.
    ///
    /// # Errors
    /// What the store says.
    pub fn list_ids(&self, reader: &mut dyn Reader) -> Result<(Vec<TaskId>, u64), StoreError> {
        if self.nothing {
            return Ok((Vec::new(), 0));
        }
        if !self.needs_looking() {
            let found = reader.ids(&self.filter, self.limit)?;
            let total = reader.count(&self.filter)?;
            return Ok((found.into_iter().map(|(id, _)| id).collect(), total));
        }
        let (mut ids, mut total) = (Vec::new(), 0);
        self.each(reader, |record| {
            total += 1;
            if ids.len() < self.limit {
                ids.push(record.id);
            }
        })?;
        Ok((ids, total))
    }

    /// How many match, by state.
    ///
    /// # Errors
    /// What the store says.
    pub fn summary(&self, reader: &mut dyn Reader) -> Result<StateCounts, StoreError> {
        let mut counts = StateCounts::default();
        if self.nothing {
            return Ok(counts);
        }
        if !self.needs_looking() {
            return reader.summary(&self.filter);
        }
        self.each(reader, |record| counts.add(record.state, 1))?;
        Ok(counts)
    }

    const fn needs_looking(&self) -> bool {
        !self.label_keys.is_empty() || self.ids.is_some()
    }

    /// Looks through the tasks that the store's filter leaves, a page at a time.
    fn each(
        &self,
        reader: &mut dyn Reader,
        mut take: impl FnMut(TaskRecord),
    ) -> Result<(), StoreError> {
        let ids: Vec<TaskId> = match &self.ids {
            Some(ids) => ids.clone(),
            None => {
                let found = reader.ids(&self.filter, meanwhile_store::limits::LIST)?;
                found.into_iter().map(|(id, _)| id).collect()
            }
        };
        for page in ids.chunks(PAGE) {
            for record in reader.tasks(page)?.into_iter().flatten() {
                if self.matches(&record) {
                    take(record);
                }
            }
        }
        Ok(())
    }

    fn matches(&self, record: &TaskRecord) -> bool {
        let Filter { states, lane, group, session, name, parent, labels, since } = &self.filter;
        (states.is_empty() || states.contains(&record.state))
            && lane.as_ref().is_none_or(|lane| *lane == record.placement.lane)
            && group.as_ref().is_none_or(|g| record.placement.group.as_ref() == Some(g))
            && session.as_ref().is_none_or(|s| *s == record.placement.session)
            && name.as_ref().is_none_or(|n| record.spec.name.as_ref() == Some(n))
            && parent.as_ref().is_none_or(|p| record.placement.ancestors.first() == Some(p))
            && labels.iter().all(|label| record.spec.labels.contains(label))
            && since.is_none_or(|since| record.created_at >= since)
            && self.label_keys.iter().all(|key| record.spec.labels.iter().any(|(k, _)| k == key))
    }
}

type Labels = (Vec<(String, String)>, Vec<String>);

fn read_labels(texts: &[String]) -> Result<Labels, ApiError> {
    let (mut pairs, mut keys) = (Vec::new(), Vec::new());
    for text in texts {
        match text.split_once('=') {
            Some(("", _)) => {
                return Err(ApiError::new(ErrorCode::Usage, format!("`{text}` is not a label"))
                    .hint("labels are KEY=VALUE, or KEY for any value"));
            }
            Some((key, value)) => pairs.push((key.to_owned(), value.to_owned())),
            None => keys.push(text.clone()),
        }
    }
    Ok((pairs, keys))
}

/// The kept ones of these; unknown ones are left out, malformed ones are errors.
fn known_ids(
    reader: &mut dyn Reader,
    texts: &[meanwhile_api::TaskId],
) -> Result<Vec<TaskId>, ApiError> {
    let mut ids = Vec::with_capacity(texts.len());
    for text in texts {
        match task(reader, text.as_str()) {
            Ok(id) => ids.push(id),
            Err(error) if error.code == ErrorCode::NoSuchTask => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ids)
}

/// The states in which a task has not ended.
#[must_use]
pub fn unfinished_states() -> Vec<State> {
    State::ALL.into_iter().filter(|state| !state.is_terminal()).collect()
}

#[cfg(test)]
mod tests {
    use meanwhile_core::{Event, Fact};
    use meanwhile_store::{Batch, Identity, MemoryStore, Store};

    use super::*;

    type Sketch<'a> = (u64, Option<&'a str>, &'a [(&'a str, &'a str)]);

    /// Tasks of these ids, names and labels, in this order.
    fn store(tasks: &[Sketch<'_>]) -> MemoryStore {
        let identity = Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() };
        let mut store = MemoryStore::new(identity);
        for (order, (bits, name, labels)) in tasks.iter().enumerate() {
            let mut record = crate::view::tests::record(*bits);
            record.spec.name = name.map(str::to_owned);
            record.spec.labels =
                labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let fact = Fact::Submitted {
                spec: Box::new(record.spec),
                placement: Box::new(record.placement),
                order: order as u64 + 1,
                not_before: None,
            };
            let at = Wall(1_000 + i64::try_from(order).unwrap());
            let events = [Event { at, task: record.id, attempt: 1, fact }];
            store.commit(&Batch { events: &events, ..Batch::default() }).unwrap();
        }
        store
    }

    /// The id that begins with these characters and has these lowest bits.
    fn bits(prefix: &str, low: u64) -> u64 {
        TaskId::prefix_range(prefix).unwrap().0.to_bits() | low
    }

    #[test]
    fn an_id_wins_over_a_name_and_a_name_over_a_prefix() {
        let (first, second) = (bits("test", 1), bits("abcd", 2));
        let whole = TaskId::from_random(second).to_string();
        let mut store =
            store(&[(first, Some(&whole), &[]), (second, Some("test"), &[]), (3, None, &[])]);
        let mut find = |text: &str| task(&mut store, text).map(TaskId::to_bits);
        assert_eq!(find(&whole), Ok(second), "somebody else's name is not an id");
        assert_eq!(find("test"), Ok(second), "a name is meant as it was given");
        assert_eq!(find("test0"), Ok(first));
    }

    #[test]
    fn what_fits_several_tasks_is_refused_and_they_are_named() {
        let twins = [(bits("abcd", 1), None, &[][..]), (bits("abcd", 2), None, &[][..])];
        let error = task(&mut store(&twins), "abcd").unwrap_err();
        assert_eq!((error.code, error.exit.code()), (ErrorCode::Ambiguous, 4));
        assert_eq!(error.details["candidates"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn what_is_malformed_is_2_and_what_is_unknown_is_3() {
        let mut store = store(&[]);
        let mut exit = |text: &str| task(&mut store, text).unwrap_err().exit.code();
        assert_eq!((exit("zzzzzzzzzz"), exit("zzzz")), (3, 3));
        for malformed in ["", "abc", "ZZZZ", "../../etc", "%2e%2e", "a\0b", "zzzzzzzzzzz", "ilou"] {
            assert_eq!(exit(malformed), 2, "{malformed:?}");
        }
    }

    #[test]
    fn a_list_is_what_fits_all_filters_the_newest_first() {
        let (a, b) = (&[("area", "web")][..], &[("area", "db"), ("slow", "1")][..]);
        let mut store = store(&[(1, None, a), (2, None, b), (3, Some("x"), b), (4, None, &[])]);
        let mut check = |query: ListQuery, expected: &[u64], total: u64| {
            let wanted = Wanted::new(&mut store, &query, None).unwrap();
            let (records, found) = wanted.list(&mut store).unwrap();
            let ids: Vec<u64> = records.iter().map(|r| r.id.to_bits()).collect();
            assert_eq!((ids.as_slice(), found), (expected, total), "{query:?}");
            let (ids, found) = wanted.list_ids(&mut store).unwrap();
            let ids: Vec<u64> = ids.into_iter().map(TaskId::to_bits).collect();
            assert_eq!((ids.as_slice(), found), (expected, total), "{query:?}");
            let summary = wanted.summary(&mut store).unwrap();
            assert_eq!(summary.of(State::Queued), total, "{query:?}");
        };
        let query = ListQuery::default;
        let labels = |labels: &[&str]| labels.iter().map(|l| (*l).to_owned()).collect();
        check(query(), &[4, 3, 2, 1], 4);
        check(ListQuery { limit: Some(2), ..query() }, &[4, 3], 4);
        check(ListQuery { label: labels(&["area=db"]), ..query() }, &[3, 2], 2);
        check(ListQuery { label: labels(&["area"]), limit: Some(1), ..query() }, &[3], 3);
        check(ListQuery { label: labels(&["area", "slow=2"]), ..query() }, &[], 0);
        check(ListQuery { name: Some("x".into()), ..query() }, &[3], 1);
        check(ListQuery { session: Some("main".into()), ..query() }, &[4, 3, 2, 1], 4);
        check(ListQuery { session: Some("other".into()), ..query() }, &[], 0);
        let agent = Some(meanwhile_api::task::TaskKind::Agent);
        check(ListQuery { kind: agent, ..query() }, &[], 0);
        let id = vec![TaskId::from_random(2).to_string().as_str().into(), "zzzzzzzzzz".into()];
        check(ListQuery { id, ..query() }, &[2], 1);
    }
}
