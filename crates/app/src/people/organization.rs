//! Organizations that people make.

use kallglot_core::Timestamp;
use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::organization::{LOW_CREDITS_THRESHOLD, LeakPolicy, Organization, valid_name};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::random::RandomSource;
use kallglot_core::recording::KEPT_DAYS;
use kallglot_core::vocabulary::Vocabulary;

use super::{SignedIn, Visit};
use crate::{App, Error};

/// The credits that a new organization begins with, as at the command line.
pub const FIRST_CREDITS: u32 = 100;

/// An organization with nothing set.
pub fn new_organization(name: &str, now: Timestamp, random: &dyn RandomSource) -> Organization {
    Organization {
        id: OrganizationId::new(now, random),
        name: name.to_owned(),
        plan: Plan::Starter,
        overrides: LimitOverrides::default(),
        active: true,
        edition: Edition::Two,
        engine: None,
        vocabulary: Vocabulary::default(),
        leak_policy: LeakPolicy::default(),
        low_credits_threshold: LOW_CREDITS_THRESHOLD,
        recording: false,
        recordings_kept_days: KEPT_DAYS,
        created_at: now,
    }
}

impl App {
    /// Makes an organization of which the person is the owner. That they may, the caller has judged.
    ///
    /// # Errors
    /// `validation_failed` for a name that is none, and when they belong to as many as there can be; storage's.
    pub async fn make_organization(
        &self,
        who: &SignedIn,
        name: &str,
        visit: &Visit<'_>,
    ) -> Result<OrganizationId, Error> {
        if !valid_name(name) {
            return Err(Error::invalid("name", "A name has 1 to 100 characters."));
        }
        let change = self.change_of(who.person.id, visit);
        let organization = new_organization(name, change.at, self.random.as_ref());
        let made = self.storage.create_organization_of(who.person.id, &organization, FIRST_CREDITS, &change).await?;
        match made {
            true => Ok(organization.id),
            false => Err(Error::invalid("name", "You belong to as many organizations as one person can.")),
        }
    }
}
