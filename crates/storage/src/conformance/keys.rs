//! What keys promise.

use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::permission::PermissionSet;

use super::example::{STRANGERS, TENANT, at, begin, hash, key, organization};
use crate::{KeyUpdate, KnownKey, NewSecret, PageRequest, RotateKey, Storage, StorageError};

const KEY: ApiKeyId = ApiKeyId::from_bits(1);

fn new_secret(number: u8) -> NewSecret {
    NewSecret { hash: hash(number), last4: format!("new{number}") }
}

pub async fn a_key_is_found_by_its_secret_with_its_organization(storage: &impl Storage) {
    begin(storage).await;
    let known = KnownKey { key: key(1), secret_valid_until: None, organization: organization(1) };
    assert_eq!(storage.key_of_secret(&hash(1)).await.unwrap(), Some(known));
    assert_eq!(storage.key_of_secret(&hash(2)).await.unwrap(), None);
    assert_eq!(storage.key_for_operator(KEY).await.unwrap(), Some(key(1)));

    let mut plain = key(2);
    (plain.expires_at, plain.requests_per_minute_max, plain.edition) = (None, None, None);
    plain.allowed_networks.clear();
    plain.permissions = PermissionSet::NONE;
    storage.create_key(&plain, &hash(2)).await.unwrap();
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
        assert_eq!(storage.update_key(stranger, KEY, &update).await.unwrap(), None);
        assert_eq!(storage.revoke_key(stranger, KEY, at(5), true).await.unwrap(), None);
        let rotated = storage.rotate_key(stranger, KEY, &new_secret(2), at(5), at(6)).await.unwrap();
        assert_eq!(rotated, RotateKey::NotFound);
    }
    assert_eq!(storage.key(TENANT, KEY).await.unwrap(), Some(key(1)));
    assert_eq!(storage.closed_streams_since(Some(0)).await.unwrap().keys, []);
}

pub async fn a_key_needs_its_organization_and_its_own_hash(storage: &impl Storage) {
    begin(storage).await;
    let mut homeless = key(2);
    homeless.organization = OrganizationId::from_bits(9);
    for (key, hash) in [(homeless, hash(2)), (key(2), hash(1)), (key(1), hash(2))] {
        let created = storage.create_key(&key, &hash).await;
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
    assert_eq!(storage.update_key(TENANT, KEY, &KeyUpdate::default()).await.unwrap(), Some(expected.clone()));

    expected.name = "frontend".into();
    let update = KeyUpdate { name: Some("frontend".into()), ..KeyUpdate::default() };
    assert_eq!(storage.update_key(TENANT, KEY, &update).await.unwrap(), Some(expected.clone()));

    (expected.expires_at, expected.requests_per_minute_max, expected.edition) = (None, None, Some(Edition::One));
    expected.permissions = PermissionSet::all();
    expected.allowed_networks = vec!["198.51.100.7/32".parse().unwrap()];
    let update = KeyUpdate {
        name: None,
        permissions: Some(expected.permissions),
        expires_at: Some(None),
        allowed_networks: Some(expected.allowed_networks.clone()),
        requests_per_minute_max: Some(None),
        edition: Some(Some(Edition::One)),
    };
    assert_eq!(storage.update_key(TENANT, KEY, &update).await.unwrap(), Some(expected.clone()));
    assert_eq!(storage.key(TENANT, KEY).await.unwrap(), Some(expected));
    assert_eq!(storage.update_key(TENANT, ApiKeyId::from_bits(9), &update).await.unwrap(), None);
}

pub async fn a_rotated_key_has_two_secrets(storage: &impl Storage) {
    begin(storage).await;
    let rotated = storage.rotate_key(TENANT, KEY, &new_secret(2), at(100), at(200)).await.unwrap();
    let mut expected = key(1);
    expected.last4 = "new2".into();
    expected.old_secret_valid_until = Some(at(200));
    assert_eq!(rotated, RotateKey::Rotated(Box::new(expected.clone())));

    let old = storage.key_of_secret(&hash(1)).await.unwrap().unwrap();
    assert_eq!((old.key, old.secret_valid_until), (expected.clone(), Some(at(200))));
    let new = storage.key_of_secret(&hash(2)).await.unwrap().unwrap();
    assert_eq!((new.key, new.secret_valid_until), (expected, None));

    let taken = storage.rotate_key(TENANT, KEY, &new_secret(1), at(300), at(400)).await;
    assert!(matches!(taken, Err(StorageError::Conflict { .. })), "{taken:?}");
    let current = storage.key_of_secret(&hash(2)).await.unwrap().unwrap();
    assert_eq!(current.secret_valid_until, None, "a refused rotation leaves the current secret");
}

pub async fn a_second_rotation_never_prolongs_an_older_secret(storage: &impl Storage) {
    begin(storage).await;
    for (number, now, until) in [(2, at(100), at(200)), (3, at(110), at(900)), (4, at(120), at(150))] {
        storage.rotate_key(TENANT, KEY, &new_secret(number), now, until).await.unwrap();
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
    assert_eq!(storage.revoke_key(TENANT, KEY, at(50), false).await.unwrap(), Some(expected.clone()));
    assert_eq!(storage.revoke_key(TENANT, KEY, at(60), false).await.unwrap(), Some(expected.clone()));
    let rotated = storage.rotate_key(TENANT, KEY, &new_secret(2), at(70), at(80)).await.unwrap();
    assert_eq!(rotated, RotateKey::Revoked);
    assert_eq!(storage.key_of_secret(&hash(1)).await.unwrap().unwrap().key, expected);
    assert_eq!(storage.key_of_secret(&hash(2)).await.unwrap(), None);
    assert_eq!(storage.revoke_key(TENANT, ApiKeyId::from_bits(9), at(60), true).await.unwrap(), None);
}

pub async fn closed_streams_are_told_once_and_in_order(storage: &impl Storage) {
    begin(storage).await;
    for number in 2..=3 {
        storage.create_key(&key(number), &hash(number as u8)).await.unwrap();
    }
    let id = ApiKeyId::from_bits;
    storage.revoke_key(TENANT, id(3), at(50), true).await.unwrap();
    let start = storage.closed_streams_since(None).await.unwrap();
    assert_eq!(start.keys, [], "what was before the start is not told");

    storage.revoke_key(TENANT, id(2), at(51), false).await.unwrap();
    storage.revoke_key(TENANT, id(2), at(52), true).await.unwrap();
    storage.revoke_key(TENANT, id(1), at(53), true).await.unwrap();
    let told = storage.closed_streams_since(Some(start.marker)).await.unwrap();
    assert_eq!(told.keys, [id(2), id(1)]);
    let nothing = storage.closed_streams_since(Some(told.marker)).await.unwrap();
    assert_eq!((nothing.keys, nothing.marker), (vec![], told.marker));
}

pub async fn last_use_only_moves_forward(storage: &impl Storage) {
    begin(storage).await;
    storage.touch_keys(&[(KEY, at(70)), (ApiKeyId::from_bits(9), at(70))]).await.unwrap();
    storage.touch_keys(&[(KEY, at(60))]).await.unwrap();
    assert_eq!(storage.key(TENANT, KEY).await.unwrap().unwrap().last_used_at, Some(at(70)));
    storage.touch_keys(&[]).await.unwrap();
    let update = KeyUpdate { name: Some("n".into()), ..KeyUpdate::default() };
    let updated = storage.update_key(TENANT, KEY, &update).await.unwrap().unwrap();
    assert_eq!(updated.last_used_at, Some(at(70)), "an update does not forget it");
}
