//! The suite that every backend passes: what the repositories promise, as examples of their use.
//!
//! A backend's test crate says `kallglot_storage::conformance_suite!(open)`, where `open` is an `async fn() -> (impl Storage, impl
//! Sized)` that gives a new, empty storage and whatever must live as long as it; each case becomes one `#[tokio::test]`. With
//! `conformance_suite!(one_test open)` they are one test, where `open` takes the case's name: for a server that is too slow to be
//! started for each. They run one after another, since a feed that all databases of a server share may tell a thing again while
//! somebody else writes, which the cases don't expect.

// Test code, in a library only so that every backend can run it.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

mod alerts;
mod analysis;
mod credits;
mod deliveries;
mod events;
pub mod example;
mod factors;
mod gate;
mod idempotency;
mod keys;
mod log;
mod nodes;
mod organizations;
mod people;
mod recordings;
mod sessions;
mod turns;
mod usage;
mod webhooks;

/// Puts something into every table of what there is after a call (recordings, analyses, webhooks) and of people. For a storage in which session 1 of
/// [`example::TENANT`] is.
pub async fn fill_after_calls(storage: &impl crate::Storage) {
    analysis::fill(storage).await;
    recordings::fill(storage).await;
    webhooks::fill(storage).await;
    people::fill(storage).await;
    factors::fill(storage).await;
    alerts::fill(storage).await;
}

use futures_util::FutureExt as _;

pub use alerts::*;
pub use analysis::*;
pub use credits::*;
pub use deliveries::*;
pub use events::*;
pub use factors::*;
pub use gate::*;
pub use idempotency::*;
pub use keys::*;
pub use log::*;
pub use nodes::*;
pub use organizations::*;
pub use people::*;
pub use recordings::*;
pub use sessions::*;
pub use turns::*;
pub use usage::*;
pub use webhooks::*;

/// Makes one test of each case of the suite.
#[macro_export]
macro_rules! conformance_suite {
    (one_test $open:path) => {
        $crate::conformance_cases! { conformance_suite, @one_test $open, }
    };
    (@one_test $open:path, $($case:ident,)*) => {
        #[tokio::test]
        async fn every_case_of_the_suite_passes() {
            let mut failed = Vec::new();
            $(
                let case = async {
                    let (storage, _alive) = $open(stringify!($case)).await;
                    $crate::conformance::$case(&storage).await;
                };
                if !$crate::conformance::passes(Box::pin(case)).await {
                    failed.push(stringify!($case));
                }
            )*
            assert!(failed.is_empty(), "these cases failed: {failed:#?}");
        }
    };
    (@each $open:path, $($case:ident,)*) => {$(
        #[tokio::test]
        async fn $case() {
            let (storage, _alive) = $open().await;
            $crate::conformance::$case(&storage).await;
        }
    )*};
    ($open:path) => {
        $crate::conformance_cases! { conformance_suite, @each $open, }
    };
}

/// Gives the names of all cases to another macro of this crate, after what that is given otherwise.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($with:ident, $($given:tt)*) => {
        $crate::$with! { $($given)*
            an_organization_is_kept_as_it_was_made,
            organizations_are_changed_one_property_at_a_time,
            organizations_are_listed_newest_first,
            an_unknown_organization_is_none,
            a_key_is_found_by_its_secret_with_its_organization,
            a_key_is_a_stranger_to_other_tenants,
            a_key_needs_its_organization_and_its_own_hash,
            keys_are_updated_field_by_field,
            a_rotated_key_has_two_secrets,
            a_second_rotation_never_prolongs_an_older_secret,
            a_revoked_key_stays_revoked,
            last_use_only_moves_forward,
            who_still_uses_the_old_secret_is_seen,
            uses_of_permissions_are_noted,
            a_secret_can_be_hashed_anew,
            only_secrets_that_let_somebody_in_count_for_their_pepper,
            each_change_of_a_key_is_told,
            each_change_of_an_organization_is_told,
            spends_and_uses_are_not_told,
            changes_are_told_in_order_and_in_parts,
            forgotten_changes_are_told_as_lost,
            a_leaked_key_is_revoked,
            a_leaked_key_is_quarantined_until_that_is_lifted,
            a_leaked_key_can_be_left_alone,
            a_secret_that_was_replaced_cannot_kill_its_key,
            credits_are_granted_and_spent_in_a_ledger,
            exactly_as_many_sessions_as_credits,
            what_costs_nothing_is_not_in_the_ledger,
            low_credits_are_told_once_per_crossing,
            what_was_used_is_counted_by_month,
            the_same_request_is_done_once,
            an_answer_comes_before_the_lack_of_credits,
            many_requests_under_one_key_make_one_session,
            tenants_have_their_own_idempotency_keys,
            an_idempotency_key_is_new_after_a_day,
            an_answer_is_kept_once,
            a_key_is_made_once,
            a_session_is_kept_as_it_was_made,
            a_session_is_a_stranger_to_other_tenants,
            a_session_needs_its_key,
            a_session_goes_through_its_states,
            a_session_ends_once,
            what_happens_to_a_session_is_told_once,
            what_is_said_is_told_in_its_order,
            a_creation_that_fails_takes_nothing_with_it,
            two_ends_at_once_have_one_winner,
            sessions_are_listed_in_pages,
            sessions_are_found_by_status_and_time,
            idle_sessions_are_found_longest_idle_first,
            open_sessions_are_found_in_pages,
            own_changes_are_not_another_process,
            after_closing_nothing_is_answered,
            turns_get_their_places_without_holes,
            a_turn_is_appended_once,
            turns_appended_at_once_have_no_holes,
            turns_are_read_in_pages_and_after_the_end,
            turns_are_strangers_to_other_tenants,
            lags_are_kept_and_replaced,
            stream_statistics_are_replaced,
            an_analysis_is_kept_as_it_was_asked_for,
            an_analysis_is_paid_for_once,
            an_analysis_is_done_by_one_node_and_told,
            an_analysis_is_taken_over_from_a_node_that_died,
            an_analysis_is_tried_again_after_its_delay,
            an_analysis_that_fails_gives_its_credit_back_once,
            compliance_profiles_are_kept_by_name,
            a_tenant_has_only_so_many_compliance_profiles,
            what_is_done_to_an_organization_is_in_its_audit_log,
            what_is_done_to_a_key_is_in_its_audit_log,
            what_is_done_to_a_key_is_told_as_events,
            the_audit_log_is_read_in_pages,
            the_audit_log_is_searched,
            events_are_read_in_parts,
            a_sessions_events_are_read_in_their_order,
            a_tenants_events_are_listed_newest_first,
            who_waits_for_events_sees_each_from_where_it_was,
            alert_rules_are_kept_and_changed,
            a_tenant_has_only_so_many_alert_rules,
            a_rule_is_looked_at_by_one_node,
            an_alert_begins_and_ends_once,
            a_changed_rule_ends_its_alert,
            who_has_not_seen_an_alert_is_known,
            request_blocks_are_found_by_time,
            usage_adds_up_and_is_found_by_key_and_time,
            a_batch_of_requests_is_counted_once,
            nodes_count_side_by_side,
            usage_is_forgotten_minutes_first,
            sessions_that_were_there_are_found_by_their_time,
            where_credits_went_is_told_by_time,
            what_has_had_its_time_is_forgotten,
            nodes_are_there_while_they_say_so,
            a_node_with_the_url_of_another_is_its_next_life,
            a_session_lives_where_its_first_stream_came,
            an_ended_session_moves_nowhere,
            two_nodes_that_settle_a_session_at_once_agree,
            an_end_is_asked_of_the_node_that_has_the_session,
            idle_sessions_of_other_nodes_are_left_to_them,
            a_keys_open_sessions_are_found,
            a_tenants_open_sessions_are_found_in_pages,
            the_first_mark_is_kept,
            a_webhook_is_kept_as_it_was_made,
            a_webhook_is_made_once,
            a_tenant_has_a_bounded_number_of_webhooks,
            webhooks_are_listed_in_pages,
            what_is_done_to_a_webhook_is_in_the_audit_log,
            a_secret_is_replaced_with_an_overlap,
            an_endpoint_that_says_that_it_is_gone_is_disabled,
            an_endpoint_that_fails_for_five_days_is_disabled,
            a_test_event_goes_to_the_tested_endpoint_alone,
            endpoints_are_claimed_by_one_node_each,
            an_event_is_fanned_out_once_to_those_that_want_it,
            many_events_are_fanned_out_in_parts,
            due_deliveries_come_oldest_first_without_those_in_hand,
            attempts_are_kept_once_and_decide_what_follows,
            a_delivery_is_begun_anew_when_asked,
            deliveries_are_listed_in_pages_and_by_how_they_stand,
            deliveries_are_forgotten_with_their_events,
            a_recorded_session_has_three_recordings_from_its_end_on,
            what_was_not_recorded_has_no_recordings,
            recordings_are_made_once,
            what_cannot_be_recorded_says_why,
            work_is_taken_over_from_a_node_that_is_gone,
            parts_of_several_nodes_come_together,
            a_track_lives_as_long_as_a_recording_needs_it,
            what_is_deleted_while_it_is_made_is_never_heard,
            recordings_expire,
            recording_is_paused_where_the_session_lives,
            the_first_account_is_made_once,
            a_person_is_kept_as_they_were_made,
            a_session_is_found_by_its_cookie_until_it_ends,
            a_person_has_a_bounded_number_of_sessions,
            a_second_factor_replaces_what_waits_for_it_once,
            a_new_password_ends_what_the_old_one_opened,
            a_password_is_reset_by_a_link_once,
            an_invitation_makes_a_member_once,
            who_has_an_account_joins_with_it,
            who_may_invite_whom,
            an_organization_has_a_bounded_number_of_invitations,
            an_organization_keeps_an_owner,
            who_may_change_whom,
            who_may_not_invite_any_more_has_invited_nobody,
            attempts_to_sign_in_are_counted_before_they_are_made,
            signing_in_forgets_attempts,
            what_concerns_a_person_is_told_to_each_organization,
            sessions_links_and_attempts_are_forgotten_in_their_time,
            a_passkey_is_kept_as_it_was_made_and_used,
            a_challenge_is_spent_once,
            a_passkey_whose_count_does_not_grow_is_a_copy,
            a_person_has_a_bounded_number_of_passkeys,
            a_persons_passkeys_are_nobody_elses,
            a_code_of_an_app_is_used_once,
            a_recovery_code_is_used_once,
            an_account_at_the_provider_lets_one_person_in,
            who_was_invited_joins_with_their_account_at_the_provider,
            who_was_not_invited_joins_where_the_settings_say,
        }
    };
}

/// Whether this ends without a panic, which is reported by the process's panic hook.
pub async fn passes(case: impl Future<Output = ()>) -> bool {
    std::panic::AssertUnwindSafe(case).catch_unwind().await.is_ok()
}
