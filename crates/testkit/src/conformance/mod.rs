//! What every store promises, as tests that take any store.
//!
//! A backend's own test file makes a [`Harness`] and calls [`run_all`]. Each promise runs on a fresh
//! store and names what was broken.

#![expect(clippy::unwrap_used, reason = "this is test code: a panic is how it reports")]

mod durability;
mod folding;
mod notices;
mod queries;
mod samples;
mod upkeep;

use meanwhile_store::{Identity, Reader, Store, StoreError};

/// A store under test: what is kept, and ways to get at it.
pub trait Harness {
    /// The writer's handle, as a start of the daemon gets it on the machine that made the store.
    /// The one before it has been dropped.
    fn open(&self) -> Box<dyn Store>;

    /// The same, at another place.
    fn open_at(&self, here: &Identity) -> Result<Box<dyn Store>, StoreError>;

    /// The same as [`Harness::open`], on a disk that has room for some 64 KiB more.
    fn open_nearly_full(&self) -> Box<dyn Store>;

    /// A reader, beside whatever else is open.
    fn reader(&self) -> Box<dyn Reader>;
}

/// One promise, to be kept by a fresh store.
type Promise = fn(&dyn Harness);

macro_rules! promises {
    ($($module:ident::$name:ident,)*) => {
        /// Every promise, with its name.
        const PROMISES: &[(&str, Promise)] = &[$((stringify!($name), $module::$name)),*];
    };
}

promises! {
    folding::every_part_of_a_launch_reads_back_as_it_was_given,
    folding::what_is_queued_next_is_told_in_the_order_of_submission,
    folding::bytes_that_are_no_text_and_megabytes_of_arguments_survive,
    folding::a_life_reads_back_step_by_step,
    folding::a_requeued_attempt_keeps_its_number_and_its_extension,
    folding::a_retry_starts_anew_and_leaves_the_old_attempt_readable,
    folding::a_kept_seat_is_remembered_until_it_is_emptied,
    folding::an_extension_counts_for_its_attempt_alone,
    folding::refused_facts_are_logged_and_change_nothing,
    folding::every_cause_reads_back_as_it_was,
    folding::a_forgotten_task_leaves_only_its_entries_in_the_log,
    folding::what_is_loaded_says_the_same_as_what_is_read,
    folding::only_unfinished_tasks_and_kept_seats_are_loaded_oldest_first,
    folding::loaded_tasks_know_how_their_dependencies_ended,
    folding::only_an_ended_task_can_be_reopened,
    durability::everything_committed_is_there_after_a_new_start,
    durability::a_reader_sees_a_commit_as_soon_as_it_returned,
    durability::a_batch_that_fails_in_its_middle_leaves_nothing,
    durability::facts_about_another_attempt_than_the_current_are_refused,
    durability::an_id_is_never_given_to_two_tasks,
    durability::a_full_disk_keeps_nothing_of_the_batch_and_the_store_goes_on,
    durability::a_resent_request_finds_its_reply_for_a_day,
    durability::a_request_is_answered_only_once,
    durability::what_is_known_of_sessions_is_kept_with_its_batch_or_not_at_all,
    durability::an_idempotency_key_finds_its_task_until_it_is_forgotten,
    durability::a_lane_that_moved_on_refuses_the_batch_whole,
    durability::the_machine_is_followed_through_restarts_and_another_is_refused,
    durability::delays_are_moved_to_the_clock_of_a_new_boot_once,
    queries::the_newest_tasks_come_first_and_no_more_than_asked_for,
    queries::each_filter_finds_exactly_its_tasks,
    queries::filters_together_narrow_each_other,
    queries::a_summary_counts_what_a_list_would_show,
    queries::prefixes_and_names_find_kept_tasks,
    queries::tasks_and_states_answer_in_the_order_asked,
    queries::children_are_listed_with_their_parent,
    queries::events_are_numbered_without_gaps_and_follow_a_cursor,
    queries::events_can_be_those_of_one_task_or_session,
    notices::an_end_and_its_notice_are_there_together_and_say_what_was_said,
    notices::an_end_without_a_notice_is_told_to_nobody,
    notices::each_session_has_its_own_notices_the_oldest_first,
    notices::a_notice_is_leased_and_acknowledged_and_then_its_way_is_over,
    notices::what_had_arrived_at_somebody_who_is_gone_is_unread_again,
    notices::a_fact_and_the_mark_of_its_notice_fit_into_one_batch,
    notices::a_batch_that_fails_leaves_notices_as_they_were,
    notices::what_is_tried_again_supersedes_what_was_told,
    notices::a_deadline_is_told_once_and_superseded_by_more_time_or_the_end,
    notices::a_task_and_what_its_session_has_not_heard_follow_to_another,
    notices::notices_go_with_their_task,
    notices::a_session_that_nobody_reads_keeps_its_newest_notices,
    upkeep::history_holds_the_latest_successes_of_the_same_command,
    upkeep::the_longest_ended_expire_first_by_age_and_by_bytes,
    upkeep::what_keeps_a_seat_or_is_waited_for_never_expires,
    upkeep::old_entries_of_forgotten_tasks_can_be_trimmed_but_no_number_is_used_twice,
    upkeep::a_sound_store_has_no_contradictions,
}

/// Checks every promise, each on a store of its own that `make` gives.
///
/// # Panics
/// With the name of the promise on standard output, when one is broken.
pub fn run_all(make: impl Fn() -> Box<dyn Harness>) {
    for (name, promise) in PROMISES {
        println!("{name}");
        promise(&*make());
    }
}

pub use samples::plain;

/// The place that harnesses make their stores for.
#[must_use]
pub fn home_identity() -> Identity {
    Identity { machine: "machine-1".into(), pid_namespace: 4_026_531_836, boot: "boot-1".into() }
}
