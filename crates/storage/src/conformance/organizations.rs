//! What organizations promise.

use std::num::NonZeroU32;

use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::vocabulary::Vocabulary;

use super::example::{begin, organization, vocabulary};
use crate::{Cursor, PageRequest, Storage, StorageError};

pub async fn an_organization_is_kept_as_it_was_made(storage: &impl Storage) {
    let organization = organization(1);
    storage.create_organization(&organization, 0).await.unwrap();
    assert_eq!(storage.organization(organization.id).await.unwrap(), Some(organization.clone()));
    let again = storage.create_organization(&organization, 0).await;
    assert!(matches!(again, Err(StorageError::Conflict { .. })), "{again:?}");
}

pub async fn organizations_are_changed_one_property_at_a_time(storage: &impl Storage) {
    begin(storage).await;
    let mut expected = organization(1);
    let id = expected.id;

    (expected.plan, expected.overrides) = (Plan::Pro, LimitOverrides::default());
    assert_eq!(storage.set_plan(id, Plan::Pro, &expected.overrides).await.unwrap(), Some(expected.clone()));
    expected.active = true;
    assert_eq!(storage.set_active(id, true).await.unwrap(), Some(expected.clone()));
    expected.edition = Edition::Two;
    assert_eq!(storage.set_edition(id, Edition::Two).await.unwrap(), Some(expected.clone()));
    expected.vocabulary = Vocabulary::default();
    assert_eq!(storage.set_vocabulary(id, &Vocabulary::default()).await.unwrap(), Some(expected.clone()));
    expected.engine = None;
    assert_eq!(storage.set_engine(id, None).await.unwrap(), Some(expected.clone()));
    expected.engine = Some("openai".into());
    assert_eq!(storage.set_engine(id, Some("openai")).await.unwrap(), Some(expected.clone()));

    assert_eq!(storage.organization(id).await.unwrap(), Some(expected));
    assert_eq!(storage.organization(OrganizationId::from_bits(2)).await.unwrap(), Some(organization(2)));
}

pub async fn organizations_are_listed_newest_first(storage: &impl Storage) {
    for number in [2, 1, 3] {
        storage.create_organization(&organization(number), 0).await.unwrap();
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
    assert_eq!(storage.set_plan(id, Plan::Pro, &LimitOverrides::default()).await.unwrap(), None);
    assert_eq!(storage.set_active(id, true).await.unwrap(), None);
    assert_eq!(storage.set_edition(id, Edition::One).await.unwrap(), None);
    assert_eq!(storage.set_vocabulary(id, &vocabulary()).await.unwrap(), None);
    assert_eq!(storage.set_engine(id, None).await.unwrap(), None);
}

pub async fn credits_are_the_sum_of_what_was_granted(storage: &impl Storage) {
    let organization = organization(1);
    let (id, at) = (organization.id, organization.created_at);
    storage.create_organization(&organization, 100).await.unwrap();
    assert_eq!(storage.credit_balance(id).await.unwrap(), Some(100));
    // A creation that is refused grants nothing.
    storage.create_organization(&organization, 100).await.unwrap_err();
    let granted = storage.grant_credits(id, NonZeroU32::new(37).unwrap(), at).await.unwrap();
    assert_eq!((granted, storage.credit_balance(id).await.unwrap()), (Some(137), Some(137)));
    let unknown = OrganizationId::from_bits(99);
    assert_eq!(storage.grant_credits(unknown, NonZeroU32::MIN, at).await.unwrap(), None);
    assert_eq!(storage.credit_balance(unknown).await.unwrap(), None);
}
