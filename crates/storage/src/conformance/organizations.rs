//! What organizations promise.

use std::num::NonZeroU32;

use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::vocabulary::Vocabulary;

use super::example::{begin, change, organization};
use crate::{AuditFilter, Cursor, OrganizationUpdate, PageRequest, Storage, StorageError};

pub async fn an_organization_is_kept_as_it_was_made(storage: &impl Storage) {
    let organization = organization(1);
    storage.create_organization(&organization, 0, &change(1, 1)).await.unwrap();
    assert_eq!(storage.organization(organization.id).await.unwrap(), Some(organization.clone()));
    let again = storage.create_organization(&organization, 0, &change(1, 1)).await;
    assert!(matches!(again, Err(StorageError::Conflict { .. })), "{again:?}");
}

pub async fn organizations_are_changed_one_property_at_a_time(storage: &impl Storage) {
    begin(storage).await;
    let mut expected = organization(1);
    let id = expected.id;
    let nothing = OrganizationUpdate::default();
    assert_eq!(storage.update_organization(id, &nothing, &change(10, 5)).await.unwrap(), Some(expected.clone()));

    let mut number = 10;
    let mut update = async |update: OrganizationUpdate, expected: &Organization| {
        number += 1;
        let updated = storage.update_organization(id, &update, &change(number, 5)).await.unwrap();
        assert_eq!(updated.as_ref(), Some(expected));
        assert_eq!(storage.organization(id).await.unwrap().as_ref(), Some(expected));
    };
    expected.name = "Ärzte & Co".into();
    update(OrganizationUpdate { name: Some(expected.name.clone()), ..nothing.clone() }, &expected).await;
    expected.plan = Plan::Pro;
    update(OrganizationUpdate { plan: Some(Plan::Pro), ..nothing.clone() }, &expected).await;
    expected.overrides = LimitOverrides::default();
    update(OrganizationUpdate { overrides: Some(expected.overrides), ..nothing.clone() }, &expected).await;
    expected.active = true;
    update(OrganizationUpdate { active: Some(true), ..nothing.clone() }, &expected).await;
    expected.edition = Edition::Two;
    update(OrganizationUpdate { edition: Some(Edition::Two), ..nothing.clone() }, &expected).await;
    expected.vocabulary = Vocabulary::default();
    update(OrganizationUpdate { vocabulary: Some(Vocabulary::default()), ..nothing.clone() }, &expected).await;
    expected.engine = None;
    update(OrganizationUpdate { engine: Some(None), ..nothing.clone() }, &expected).await;
    expected.engine = Some("openai".into());
    update(OrganizationUpdate { engine: Some(expected.engine.clone()), ..nothing.clone() }, &expected).await;
    expected.leak_policy = LeakPolicy::Notify;
    update(OrganizationUpdate { leak_policy: Some(LeakPolicy::Notify), ..nothing.clone() }, &expected).await;
    expected.low_credits_threshold = u32::MAX;
    update(OrganizationUpdate { low_credits_threshold: Some(u32::MAX), ..nothing.clone() }, &expected).await;
    expected.recording = false;
    update(OrganizationUpdate { recording: Some(false), ..nothing.clone() }, &expected).await;
    expected.recordings_kept_days = 3650;
    update(OrganizationUpdate { recordings_kept_days: Some(3650), ..nothing.clone() }, &expected).await;

    assert_eq!(storage.organization(OrganizationId::from_bits(2)).await.unwrap(), Some(organization(2)));
}

pub async fn organizations_are_listed_newest_first(storage: &impl Storage) {
    for number in [2, 1, 3] {
        storage.create_organization(&organization(number), 0, &change(number, 1)).await.unwrap();
    }
    let page = storage.organizations_for_operator(&PageRequest::newest(2)).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![organization(3), organization(2)], true));
    let next = PageRequest { limit: 2, cursor: Some(Cursor::StartingAfter(OrganizationId::from_bits(2))) };
    let page = storage.organizations_for_operator(&next).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![organization(1)], false));
}

pub async fn an_unknown_organization_is_none(storage: &impl Storage) {
    let id = OrganizationId::from_bits(9);
    assert_eq!(storage.organization(id).await.unwrap(), None);
    let update = OrganizationUpdate { active: Some(true), ..OrganizationUpdate::default() };
    assert_eq!(storage.update_organization(id, &update, &change(1, 5)).await.unwrap(), None);
    assert_eq!(storage.grant_credits(id, NonZeroU32::MIN, &change(2, 5)).await.unwrap(), None);
    assert_eq!(storage.credit_balance(id).await.unwrap(), None);
    assert_eq!(storage.ledger(id, 0, 10).await.unwrap(), []);
    assert_eq!(storage.audit_log(id, &AuditFilter::default(), &PageRequest::newest(10)).await.unwrap().items, []);
}
