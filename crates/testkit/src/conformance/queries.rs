//! Promises about what readers find.

use meanwhile_core::spec::{Placement, TaskSpec};
use meanwhile_core::{Fact, GroupName, LaneName, SessionId, State, TaskId};
use meanwhile_store::{EventFilter, Filter, Reader, Store};

use super::Harness;
use super::samples::{
    at, commit, event, id, life, place, plain, retried, submit, submit_as, with_everything,
};

fn listed(reader: &mut (impl Reader + ?Sized), filter: &Filter, limit: usize) -> Vec<TaskId> {
    let ids: Vec<_> = reader.ids(filter, limit).unwrap();
    let tasks = reader.list(filter, limit).unwrap();
    let of_tasks: Vec<_> = tasks.iter().map(|t| (t.id, t.state)).collect();
    assert_eq!(ids, of_tasks, "ids and tasks are the same list: {filter:?}");
    ids.into_iter().map(|(id, _)| id).collect()
}

fn ids<const N: usize>(numbers: [u64; N]) -> [TaskId; N] {
    numbers.map(id)
}

pub(super) fn the_newest_tasks_come_first_and_no_more_than_asked_for(harness: &dyn Harness) {
    let mut store = harness.open();
    let all = Filter::default();
    assert_eq!(listed(&mut *store, &all, 10), []);
    // The wall clock was set back in between: order is that of submission all the same.
    for n in 1..=300 {
        commit(&mut *store, &[submit(id(n), at(if n > 200 { -5000 } else { 0 }))]);
    }
    commit(&mut *store, &[event(id(300), 0, at(1), Fact::Forgotten)]);
    let newest: Vec<_> = (1..300).rev().map(id).collect();
    assert_eq!(listed(&mut *store, &all, 1000), newest);
    assert_eq!(listed(&mut *store, &all, 200), newest[..200]);
    assert_eq!(listed(&mut *store, &all, 1), newest[..1]);
    assert_eq!(listed(&mut *store, &all, 0), []);
}

/// Ten tasks of which several differ in each way that a filter can ask for.
fn ten_tasks(store: &mut dyn Store) {
    for n in 1..=10 {
        let labels =
            [(n % 2 == 0, ("even", "1")), (n % 3 == 0, ("third", "x")), (true, ("t", "t"))];
        let labels =
            labels.into_iter().filter(|(on, _)| *on).map(|(_, (k, v))| (k.into(), v.into()));
        let spec = TaskSpec {
            name: (n % 5 == 0).then(|| "fifth".into()),
            labels: labels.collect(),
            ..plain()
        };
        let placement = Placement {
            session: SessionId::new(if n < 5 { "s1" } else { "s2" }),
            group: (n > 7).then(|| GroupName::new("g")),
            lane: LaneName::new(if n == 6 { "slow" } else { "commands" }),
            ancestors: if n % 4 == 0 { vec![id(1), id(77)] } else { vec![] },
            ..place()
        };
        let n_s = i64::try_from(n).unwrap();
        commit(store, &[submit_as(id(n), at(n_s), spec, placement)]);
        // 1, 4, 7, 10 stay queued; 2, 5, 8 fail; 3, 6, 9 complete.
        let code = i32::try_from(n % 3).unwrap();
        match code {
            1 => {}
            2 => drop(commit(store, &life(id(n), n_s, 2)[1..])),
            _ => drop(commit(store, &life(id(n), n_s, 0)[1..])),
        }
    }
}

pub(super) fn each_filter_finds_exactly_its_tasks(harness: &dyn Harness) {
    let mut store = harness.open();
    ten_tasks(&mut *store);
    let label = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let any = Filter::default;
    let mut check = |filter: Filter, expected: &[u64]| {
        let expected: Vec<_> = expected.iter().map(|n| id(*n)).collect();
        assert_eq!(listed(&mut *store, &filter, 99), expected, "{filter:?}");
    };
    check(Filter { states: vec![State::Queued], ..any() }, &[10, 7, 4, 1]);
    check(Filter { states: vec![State::Running], ..any() }, &[]);
    let ended = vec![State::Failed, State::Completed, State::Failed];
    check(Filter { states: ended, ..any() }, &[9, 8, 6, 5, 3, 2]);
    check(Filter { states: State::ALL.to_vec(), ..any() }, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    check(Filter { session: Some(SessionId::new("s1")), ..any() }, &[4, 3, 2, 1]);
    check(Filter { session: Some(SessionId::new("s")), ..any() }, &[]);
    check(Filter { group: Some(GroupName::new("g")), ..any() }, &[10, 9, 8]);
    check(Filter { lane: Some(LaneName::new("slow")), ..any() }, &[6]);
    check(Filter { name: Some("fifth".into()), ..any() }, &[10, 5]);
    check(Filter { parent: Some(id(1)), ..any() }, &[8, 4]);
    check(Filter { parent: Some(id(77)), ..any() }, &[]);
    check(Filter { since: Some(at(9)), ..any() }, &[10, 9]);
    check(Filter { labels: vec![label("even", "1")], ..any() }, &[10, 8, 6, 4, 2]);
    check(Filter { labels: vec![label("even", "2")], ..any() }, &[]);
    check(Filter { labels: vec![label("even", "1"), label("third", "x")], ..any() }, &[6]);
}

pub(super) fn filters_together_narrow_each_other(harness: &dyn Harness) {
    let mut store = harness.open();
    ten_tasks(&mut *store);
    let session = Some(SessionId::new("s2"));
    let filter = Filter { session, states: vec![State::Queued], ..Filter::default() };
    assert_eq!(listed(&mut *store, &filter, 99), ids([10, 7]));
    assert_eq!(listed(&mut *store, &filter, 1), ids([10]));
    let filter = Filter { group: Some(GroupName::new("g")), ..filter };
    assert_eq!(listed(&mut *store, &filter, 99), ids([10]));
    let filter = Filter { name: Some("fifth".into()), since: Some(at(10)), ..filter };
    let labels = vec![("even".to_owned(), "1".to_owned()), ("t".to_owned(), "t".to_owned())];
    let filter = Filter { labels, lane: Some(LaneName::new("commands")), ..filter };
    assert_eq!(listed(&mut *store, &filter, 99), ids([10]));
    let filter = Filter { parent: Some(id(1)), ..filter };
    assert_eq!(listed(&mut *store, &filter, 99), []);
    let states = vec![State::Completed, State::Failed];
    let lane = Some(LaneName::new("commands"));
    let filter = Filter { states, lane, ..Filter::default() };
    assert_eq!(listed(&mut *store, &filter, 3), ids([9, 8, 5]));
}

pub(super) fn a_summary_counts_what_a_list_would_show(harness: &dyn Harness) {
    let mut store = harness.open();
    ten_tasks(&mut *store);
    let filters = [
        Filter::default(),
        Filter { session: Some(SessionId::new("s1")), ..Filter::default() },
        Filter { states: vec![State::Failed, State::Running], ..Filter::default() },
        Filter { labels: vec![("even".into(), "1".into())], ..Filter::default() },
        Filter {
            states: vec![State::Queued],
            group: Some(GroupName::new("g")),
            ..Filter::default()
        },
    ];
    for filter in filters {
        let counts = store.summary(&filter).unwrap();
        let counted: u64 = counts.iter().map(|(_, tasks)| tasks).sum();
        assert_eq!(store.count(&filter).unwrap(), counted, "{filter:?}");
        let listed = store.ids(&filter, 99).unwrap();
        for (state, count) in counts.iter() {
            let expected = listed.iter().filter(|(_, s)| *s == state).count() as u64;
            assert_eq!(count, expected, "{state:?} of {filter:?}");
        }
    }
    let counts = store.summary(&Filter::default()).unwrap();
    assert_eq!((counts.of(State::Queued), counts.of(State::Failed)), (4, 3));
}

pub(super) fn prefixes_and_names_find_kept_tasks(harness: &dyn Harness) {
    let mut store = harness.open();
    let whole = |text: &str| text.parse::<TaskId>().unwrap();
    let texts = ["7z3k000000", "7z3kzzzzzz", "7z3m000000", "0000000000", "zzzzzzzzzz"];
    for text in texts {
        let spec = TaskSpec { name: Some(text[..4].to_owned()), ..plain() };
        commit(&mut *store, &[submit_as(whole(text), at(0), spec, place())]);
    }
    let mut check = |prefix: &str, n: usize, expected: &[&str]| {
        let range = TaskId::prefix_range(prefix).unwrap();
        let expected: Vec<_> = expected.iter().map(|t| whole(t)).collect();
        assert_eq!(store.find(range, n), Ok(expected), "{prefix}");
    };
    check("7z3k", 9, &["7z3k000000", "7z3kzzzzzz"]);
    check("7z3k", 1, &["7z3k000000"]);
    check("7z3kz", 9, &["7z3kzzzzzz"]);
    check("7z3m000000", 9, &["7z3m000000"]);
    check("0000", 9, &["0000000000"]);
    check("zzzz", 9, &["zzzzzzzzzz"]);
    check("7z3n", 9, &[]);
    assert_eq!(store.by_name("7z3k", 9), Ok(vec![whole("7z3kzzzzzz"), whole("7z3k000000")]));
    assert_eq!(store.by_name("7z3k", 1), Ok(vec![whole("7z3kzzzzzz")]));
    assert_eq!(store.by_name("7Z3K", 9), Ok(vec![]));
    commit(&mut *store, &[event(whole("7z3kzzzzzz"), 0, at(1), Fact::Forgotten)]);
    assert_eq!(store.by_name("7z3k", 9), Ok(vec![whole("7z3k000000")]));
    assert_eq!(store.find(TaskId::prefix_range("7z3kz").unwrap(), 9), Ok(vec![]));
}

pub(super) fn tasks_and_states_answer_in_the_order_asked(harness: &dyn Harness) {
    let mut store = harness.open();
    ten_tasks(&mut *store);
    let asked = ids([3, 404, 1, 2, 3]);
    let tasks = store.tasks(&asked).unwrap();
    let found: Vec<_> = tasks.iter().map(|t| t.as_ref().map(|t| t.id)).collect();
    assert_eq!(found, [Some(id(3)), None, Some(id(1)), Some(id(2)), Some(id(3))]);
    let states = [State::Completed, State::Queued, State::Failed].map(Some);
    let expected = vec![states[0], None, states[1], states[2], states[0]];
    assert_eq!(store.states(&asked), Ok(expected));
}

pub(super) fn children_are_listed_with_their_parent(harness: &dyn Harness) {
    let mut store = harness.open();
    ten_tasks(&mut *store);
    let children = |store: &mut dyn Store| store.task(id(1)).unwrap().unwrap().children;
    assert_eq!(children(&mut *store), ids([4, 8]));
    assert_eq!(store.task(id(4)).unwrap().unwrap().children, []);
    commit(&mut *store, &[event(id(4), 0, at(99), Fact::Forgotten)]);
    assert_eq!(children(&mut *store), ids([8]));
}

pub(super) fn events_are_numbered_without_gaps_and_follow_a_cursor(harness: &dyn Harness) {
    let mut store = harness.open();
    let all = EventFilter::default();
    assert_eq!((store.last_seq(), store.events_since(0, 9, &all)), (Ok(0), Ok(vec![])));
    let spec = TaskSpec { after: vec![], ..with_everything() };
    let mut facts = vec![submit_as(id(7), at(0), spec, place())];
    for n in 1..=5 {
        facts.extend(life(id(n), 0, 1));
        facts.push(retried(id(n), 2, at(5), None));
    }
    for events in facts.chunks(4) {
        let committed = commit(&mut *store, events);
        assert_eq!(store.last_seq(), Ok(committed.last_seq));
        let first = committed.first_seq(events.len()).unwrap();
        assert_eq!(first + events.len() as u64, committed.last_seq + 1);
    }
    let committed = commit(&mut *store, &[]);
    assert_eq!((committed.last_seq, committed.first_seq(0)), (26, None));
    let mut read = Vec::new();
    let mut cursor = 0;
    loop {
        let page = store.events_since(cursor, 4, &all).unwrap();
        let Some(last) = page.last() else { break };
        cursor = last.seq;
        read.extend(page);
    }
    assert_eq!(read.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=26).collect::<Vec<_>>());
    for (entry, fact) in read.iter().zip(&facts) {
        assert_eq!((entry.at, entry.task, entry.attempt), (fact.at, fact.task, fact.attempt));
        assert_eq!(entry.what.name(), fact.fact.name());
    }
    assert_eq!(store.events_since(26, 4, &all), Ok(vec![]));
    assert_eq!(store.events_since(u64::MAX / 2, 4, &all), Ok(vec![]));
}

pub(super) fn events_can_be_those_of_one_task_or_session(harness: &dyn Harness) {
    let mut store = harness.open();
    ten_tasks(&mut *store);
    let mut check = |filter: EventFilter, limit, expected: &[u64]| {
        let found = store.events_since(2, limit, &filter).unwrap();
        let expected: Vec<_> = expected.iter().map(|n| id(*n)).collect();
        assert_eq!(found.iter().map(|e| e.task).collect::<Vec<_>>(), expected, "{filter:?}");
    };
    let s1 = Some(SessionId::new("s1"));
    check(EventFilter { task: Some(id(2)), session: None }, 9, &[2, 2, 2]);
    check(EventFilter { task: Some(id(2)), session: None }, 2, &[2, 2]);
    check(EventFilter { task: None, session: s1.clone() }, 99, &[2, 2, 2, 3, 3, 3, 3, 4]);
    check(EventFilter { task: Some(id(9)), session: s1 }, 99, &[]);
}
