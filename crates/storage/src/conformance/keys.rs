//! What keys promise.

use std::num::NonZeroU32;

use kallglot_core::api_key::StoredSecret;
use kallglot_core::credit::CreditBalance;
use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::permission::{Permission, PermissionSet};

use super::example::{STRANGERS, TENANT, at, begin, change, hash, key, organization, secret};
use crate::{KeyUpdate, KeyUse, KnownKey, PageRequest, RotateKey, Storage, StorageError};

const KEY: ApiKeyId = ApiKeyId::from_bits(1);

pub async fn a_key_is_found_by_its_secret_with_its_organization(storage: &impl Storage) {
    begin(storage).await;
    let known = KnownKey {
        key: key(1),
        secret_valid_until: None,
        organization: organization(1),
        credits: CreditBalance::default(),
    };
    assert_eq!(storage.key_of_secret(&hash(1)).await.unwrap(), Some(known));
    assert_eq!(storage.key_of_secret(&hash(2)).await.unwrap(), None);
    assert_eq!(storage.key_for_operator(KEY).await.unwrap(), Some(key(1)));

    let granted = storage.grant_credits(TENANT.organization, NonZeroU32::MIN, &change(11, 5)).await.unwrap();
    assert_eq!(granted, storage.key_of_secret(&hash(1)).await.unwrap().map(|known| known.credits));

    let mut plain = key(2);
    (plain.expires_at, plain.requests_per_minute_max, plain.edition) = (None, None, None);
    plain.allowed_networks.clear();
    plain.permissions = PermissionSet::NONE;
    storage.create_key(&plain, &secret(2), None, &change(10, 5)).await.unwrap();
    assert_eq!(storage.key_of_secret(&hash(2)).await.unwrap().unwrap().key, plain);
}

pub async fn a_key_is_a_stranger_to_other_tenants(storage: &impl Storage) {
    begin(storage).await;
    assert_eq!(storage.key(TENANT, KEY).await.unwrap(), Some(key(1)));
    assert_eq!(storage.keys(TENANT, &PageRequest::newest(10)).await.unwrap().items, [key(1)]);
    for stranger in STRANGERS {
        assert_eq!(storage.key(stranger, KEY).await.unwrap(), None);
        assert_eq!(storage.keys(stranger, &PageRequest::newest(10)).await.unwrap().items, []);
        let update = KeyUpdate { name: Some("mine now".into()), ..KeyUpdate::default() };
        assert_eq!(storage.update_key(stranger, KEY, &update, &change(10, 5)).await.unwrap(), None);
        assert_eq!(storage.revoke_key(stranger, KEY, true, &change(10, 5)).await.unwrap(), None);
        let rotated = storage.rotate_key(stranger, KEY, &secret(2), at(6), &change(10, 5)).await.unwrap();
        assert_eq!(rotated, RotateKey::NotFound);
    }
    assert_eq!(storage.key(TENANT, KEY).await.unwrap(), Some(key(1)));
    assert_eq!(storage.gate_changes_since(Some(0)).await.unwrap().changes, []);
}

pub async fn a_key_needs_its_organization_and_its_own_hash(storage: &impl Storage) {
    begin(storage).await;
    let mut homeless = key(2);
    homeless.organization = OrganizationId::from_bits(9);
    for (key, secret) in [(homeless, secret(2)), (key(2), secret(1)), (key(1), secret(2))] {
        let created = storage.create_key(&key, &secret, None, &change(10, 5)).await;
        assert!(matches!(created, Err(StorageError::Conflict { .. })), "{created:?}");
    }
    assert_eq!(
        storage.key_for_operator(ApiKeyId::from_bits(2)).await.unwrap(),
        None,
        "nothing is left of a refused key"
    );
    assert_eq!(storage.key_of_secret(&hash(2)).await.unwrap(), None);
}

pub async fn keys_are_updated_field_by_field(storage: &impl Storage) {
    begin(storage).await;
    let mut expected = key(1);
    let update =
        async |number, update: &KeyUpdate| storage.update_key(TENANT, KEY, update, &change(number, 5)).await.unwrap();
    assert_eq!(update(10, &KeyUpdate::default()).await, Some(expected.clone()));

    expected.name = "frontend".into();
    let name = KeyUpdate { name: Some("frontend".into()), ..KeyUpdate::default() };
    assert_eq!(update(11, &name).await, Some(expected.clone()));

    (expected.expires_at, expected.requests_per_minute_max, expected.edition) = (None, None, Some(Edition::One));
    expected.permissions = PermissionSet::all();
    expected.allowed_networks = vec!["198.51.100.7/32".parse().unwrap()];
    let others = KeyUpdate {
        name: None,
        permissions: Some(expected.permissions),
        expires_at: Some(None),
        allowed_networks: Some(expected.allowed_networks.clone()),
        requests_per_minute_max: Some(None),
        edition: Some(Some(Edition::One)),
        lift_quarantine: true,
    };
    assert_eq!(update(12, &others).await, Some(expected.clone()));
    assert_eq!(storage.key(TENANT, KEY).await.unwrap(), Some(expected));
    let unknown = storage.update_key(TENANT, ApiKeyId::from_bits(9), &others, &change(13, 5)).await;
    assert_eq!(unknown, Ok(None));
}

pub async fn a_rotated_key_has_two_secrets(storage: &impl Storage) {
    begin(storage).await;
    let rotated = storage.rotate_key(TENANT, KEY, &secret(2), at(200), &change(10, 100)).await.unwrap();
    let mut expected = key(1);
    expected.last4 = "0002".into();
    expected.old_secret_valid_until = Some(at(200));
    assert_eq!(rotated, RotateKey::Rotated(Box::new(expected.clone())));

    let old = storage.key_of_secret(&hash(1)).await.unwrap().unwrap();
    assert_eq!((old.key, old.secret_valid_until), (expected.clone(), Some(at(200))));
    let new = storage.key_of_secret(&hash(2)).await.unwrap().unwrap();
    assert_eq!((new.key, new.secret_valid_until), (expected, None));

    let taken = storage.rotate_key(TENANT, KEY, &secret(1), at(400), &change(11, 300)).await;
    assert!(matches!(taken, Err(StorageError::Conflict { .. })), "{taken:?}");
    let current = storage.key_of_secret(&hash(2)).await.unwrap().unwrap();
    assert_eq!(current.secret_valid_until, None, "a refused rotation leaves the current secret");
}

pub async fn a_second_rotation_never_prolongs_an_older_secret(storage: &impl Storage) {
    begin(storage).await;
    for (number, now, until) in [(2u8, 100, at(200)), (3, 110, at(900)), (4, 120, at(150))] {
        storage.rotate_key(TENANT, KEY, &secret(number), until, &change(10 + u128::from(number), now)).await.unwrap();
    }
    let mut ends = Vec::new();
    for number in 1..=4 {
        ends.push(storage.key_of_secret(&hash(number)).await.unwrap().unwrap().secret_valid_until);
    }
    assert_eq!(ends, [Some(at(150)), Some(at(150)), Some(at(150)), None]);
}

pub async fn a_revoked_key_stays_revoked(storage: &impl Storage) {
    begin(storage).await;
    let mut expected = key(1);
    expected.revoked_at = Some(at(50));
    assert_eq!(storage.revoke_key(TENANT, KEY, false, &change(10, 50)).await.unwrap(), Some(expected.clone()));
    assert_eq!(storage.revoke_key(TENANT, KEY, false, &change(11, 60)).await.unwrap(), Some(expected.clone()));
    let rotated = storage.rotate_key(TENANT, KEY, &secret(2), at(80), &change(12, 70)).await.unwrap();
    assert_eq!(rotated, RotateKey::Revoked);
    assert_eq!(storage.key_of_secret(&hash(1)).await.unwrap().unwrap().key, expected);
    assert_eq!(storage.key_of_secret(&hash(2)).await.unwrap(), None);
    assert_eq!(storage.revoke_key(TENANT, ApiKeyId::from_bits(9), true, &change(13, 60)).await.unwrap(), None);
}

pub async fn last_use_only_moves_forward(storage: &impl Storage) {
    begin(storage).await;
    let used = |key, second| KeyUse { key, at: at(second), permissions: PermissionSet::NONE, old_secret_at: None };
    storage.note_key_uses(&[used(KEY, 70), used(ApiKeyId::from_bits(9), 70)]).await.unwrap();
    storage.note_key_uses(&[used(KEY, 60)]).await.unwrap();
    let key = storage.key(TENANT, KEY).await.unwrap().unwrap();
    assert_eq!((key.last_used_at, key.old_secret_last_used_at), (Some(at(70)), None));

    storage.note_key_uses(&[]).await.unwrap();
    let update = KeyUpdate { name: Some("n".into()), ..KeyUpdate::default() };
    let updated = storage.update_key(TENANT, KEY, &update, &change(10, 80)).await.unwrap().unwrap();
    assert_eq!(updated.last_used_at, Some(at(70)), "an update does not forget it");
}

pub async fn who_still_uses_the_old_secret_is_seen(storage: &impl Storage) {
    begin(storage).await;
    storage.rotate_key(TENANT, KEY, &secret(2), at(900), &change(10, 100)).await.unwrap();
    let used = |second, old| KeyUse {
        key: KEY,
        at: at(second),
        permissions: PermissionSet::NONE,
        old_secret_at: Some(at(old)),
    };
    storage.note_key_uses(&[used(110, 110), used(130, 120), used(140, 115)]).await.unwrap();
    let key = storage.key(TENANT, KEY).await.unwrap().unwrap();
    assert_eq!((key.last_used_at, key.old_secret_last_used_at), (Some(at(140)), Some(at(120))));

    storage.rotate_key(TENANT, KEY, &secret(3), at(900), &change(11, 200)).await.unwrap();
    let key = storage.key(TENANT, KEY).await.unwrap().unwrap();
    assert_eq!(key.old_secret_last_used_at, None, "nobody has used the secret that is the old one now");
}

pub async fn uses_of_permissions_are_noted(storage: &impl Storage) {
    begin(storage).await;
    storage.create_key(&key(2), &secret(2), None, &change(10, 5)).await.unwrap();
    let (read, write) = (Permission::SessionsRead, Permission::AgentsWrite);
    let used = |key, second, permissions: &[Permission]| KeyUse {
        key: ApiKeyId::from_bits(key),
        at: at(second),
        permissions: PermissionSet::of(permissions),
        old_secret_at: None,
    };
    let uses = [used(1, 20, &[read, write]), used(1, 30, &[read]), used(2, 25, &[write]), used(9, 25, &[write])];
    storage.note_key_uses(&uses).await.unwrap();
    storage.note_key_uses(&[used(1, 15, &[read])]).await.unwrap();

    let keys = [1, 2, 9].map(ApiKeyId::from_bits);
    let mut found = storage.permissions_used(TENANT, &keys).await.unwrap();
    found.sort();
    assert_eq!(found, [(keys[0], read, at(30)), (keys[0], write, at(20)), (keys[1], write, at(25))]);
    assert_eq!(storage.permissions_used(TENANT, &keys[1..2]).await.unwrap(), [(keys[1], write, at(25))]);
    for stranger in STRANGERS {
        assert_eq!(storage.permissions_used(stranger, &keys).await.unwrap(), []);
    }
}

pub async fn a_secret_can_be_hashed_anew(storage: &impl Storage) {
    begin(storage).await;
    storage.rotate_key(TENANT, KEY, &secret(2), at(900), &change(10, 100)).await.unwrap();
    let before = storage.key_of_secret(&hash(1)).await.unwrap();
    storage.rehash_secret(&hash(1), &hash(11), 2).await.unwrap();
    assert_eq!(storage.key_of_secret(&hash(1)).await.unwrap(), None);
    assert_eq!(storage.key_of_secret(&hash(11)).await.unwrap(), before, "the same secret, valid as long");
    assert_eq!(storage.secrets_by_pepper(at(101)).await.unwrap(), [(1, 1), (2, 1)]);

    storage.rehash_secret(&hash(1), &hash(12), 3).await.unwrap();
    assert_eq!(storage.key_of_secret(&hash(12)).await.unwrap(), None, "there was nothing under the old hash");
    let taken = storage.rehash_secret(&hash(2), &hash(11), 2).await;
    assert!(matches!(taken, Err(StorageError::Conflict { .. })), "{taken:?}");
    assert!(storage.key_of_secret(&hash(2)).await.unwrap().is_some());
}

pub async fn only_secrets_that_let_somebody_in_count_for_their_pepper(storage: &impl Storage) {
    begin(storage).await;
    let mut short_lived = key(2);
    short_lived.expires_at = Some(at(50));
    let mut endless = key(3);
    endless.expires_at = None;
    for (key, number, pepper) in [(short_lived, 2, 7), (endless, 3, 7), (key(4), 4, 3)] {
        let secret = StoredSecret { pepper, ..secret(number) };
        storage.create_key(&key, &secret, None, &change(10 + u128::from(number), 5)).await.unwrap();
    }
    assert_eq!(storage.secrets_by_pepper(at(49)).await.unwrap(), [(1, 1), (3, 1), (7, 2)]);
    assert_eq!(storage.secrets_by_pepper(at(50)).await.unwrap(), [(1, 1), (3, 1), (7, 1)], "one key has expired");
    storage.revoke_key(TENANT, ApiKeyId::from_bits(4), false, &change(20, 51)).await.unwrap();
    assert_eq!(storage.secrets_by_pepper(at(51)).await.unwrap(), [(1, 1), (7, 1)], "another is revoked");
    storage.rotate_key(TENANT, KEY, &secret(9), at(60), &change(21, 52)).await.unwrap();
    assert_eq!(storage.secrets_by_pepper(at(59)).await.unwrap(), [(1, 2), (7, 1)]);
    assert_eq!(storage.secrets_by_pepper(at(60)).await.unwrap(), [(1, 1), (7, 1)], "the old secret's time is over");
}
