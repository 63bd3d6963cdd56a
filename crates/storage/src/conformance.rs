//! The suite that every backend passes: what the repositories promise, as examples of their use.
//!
//! A backend's test crate says `kallglot_storage::conformance_suite!(open)`, where `open` is an `async fn() -> (impl Storage, impl
//! Sized)` that gives a new, empty storage and whatever must live as long as it; each case becomes one `#[tokio::test]`.

// Test code, in a library only so that every backend can run it.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

pub mod example;
mod keys;
mod organizations;
mod sessions;
mod turns;

pub use keys::*;
pub use organizations::*;
pub use sessions::*;
pub use turns::*;

/// Makes one test of each case of the suite.
#[macro_export]
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::conformance_suite! { @cases $open,
            an_organization_is_kept_as_it_was_made,
            organizations_are_changed_one_property_at_a_time,
            organizations_are_listed_newest_first,
            an_unknown_organization_is_none,
            credits_are_the_sum_of_what_was_granted,
            a_key_is_found_by_its_secret_with_its_organization,
            a_key_is_a_stranger_to_other_tenants,
            a_key_needs_its_organization_and_its_own_hash,
            keys_are_updated_field_by_field,
            a_rotated_key_has_two_secrets,
            a_second_rotation_never_prolongs_an_older_secret,
            a_revoked_key_stays_revoked,
            closed_streams_are_told_once_and_in_order,
            last_use_only_moves_forward,
            a_session_is_kept_as_it_was_made,
            a_session_is_a_stranger_to_other_tenants,
            a_session_needs_its_key,
            a_session_goes_through_its_states,
            a_session_ends_once,
            two_ends_at_once_have_one_winner,
            sessions_are_listed_in_pages,
            idle_sessions_are_found_longest_idle_first,
            turns_get_their_places_without_holes,
            a_turn_is_appended_once,
            turns_appended_at_once_have_no_holes,
            turns_are_read_in_pages_and_after_the_end,
            turns_are_strangers_to_other_tenants,
            lags_are_kept_and_replaced,
            stream_statistics_are_replaced,
            own_changes_are_not_another_process,
            after_closing_nothing_is_answered,
        }
    };
    (@cases $open:path, $($case:ident,)*) => {$(
        #[tokio::test]
        async fn $case() {
            let (storage, _alive) = $open().await;
            $crate::conformance::$case(&storage).await;
        }
    )*};
}
