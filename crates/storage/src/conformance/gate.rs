//! What is told to servers that cache keys and organizations, and what happens to leaked keys.

use std::num::NonZeroU32;

use kallglot_core::Timestamp;
use kallglot_core::api_key::ApiKey;
use kallglot_core::audit::AuditAction;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::ApiKeyId;
use kallglot_core::organization::LeakPolicy;
use kallglot_core::permission::{Permission, PermissionSet};

use super::example::{TENANT, at, begin, begin_with_credits, change, hash, key, new_session, organization, secret};
use crate::{
    AuditFilter, GateChange, KeyUpdate, KeyUse, LeakedKey, NewSession, OrganizationUpdate, PageRequest, Storage,
};

const KEY: ApiKeyId = ApiKeyId::from_bits(1);
const ABOUT_KEY: GateChange = GateChange::Key(KEY);
const ABOUT_ORGANIZATION: GateChange = GateChange::Organization(TENANT.organization);

/// A server that asks for changes.
struct Asking {
    marker: i64,
}

impl Asking {
    async fn start(storage: &impl Storage) -> Self {
        let start = storage.gate_changes_since(None).await.unwrap();
        assert_eq!((start.changes, start.lost), (vec![], false), "what was before the start is not told");
        Self { marker: start.marker }
    }

    /// What is new, each change once.
    async fn ask(&mut self, storage: &impl Storage) -> Vec<GateChange> {
        let told = storage.gate_changes_since(Some(self.marker)).await.unwrap();
        assert!(!told.lost);
        assert!(told.marker >= self.marker);
        self.marker = told.marker;
        let mut changes = told.changes;
        changes.dedup();
        changes
    }
}

pub async fn each_change_of_a_key_is_told(storage: &impl Storage) {
    begin(storage).await;
    let mut server = Asking::start(storage).await;
    storage.create_key(&key(2), &secret(2), None, &change(10, 5)).await.unwrap();
    assert_eq!(server.ask(storage).await, [], "nobody has asked for a new key before");

    let nothing = KeyUpdate::default();
    storage.update_key(TENANT, KEY, &nothing, &change(11, 5)).await.unwrap();
    assert_eq!(server.ask(storage).await, [], "nothing was changed");
    let updates = [
        KeyUpdate { name: Some("n".into()), ..nothing.clone() },
        KeyUpdate { permissions: Some(PermissionSet::NONE), ..nothing.clone() },
        KeyUpdate { expires_at: Some(None), ..nothing.clone() },
        KeyUpdate { allowed_networks: Some(vec![]), ..nothing.clone() },
        KeyUpdate { requests_per_minute_max: Some(Some(7)), ..nothing.clone() },
        KeyUpdate { edition: Some(None), ..nothing.clone() },
    ];
    for (update, number) in updates.into_iter().zip(20..) {
        storage.update_key(TENANT, KEY, &update, &change(number, 5)).await.unwrap();
        assert_eq!(server.ask(storage).await, [ABOUT_KEY], "{update:?}");
    }
    storage.rotate_key(TENANT, KEY, &secret(3), at(9), &change(30, 6)).await.unwrap();
    assert_eq!(server.ask(storage).await, [ABOUT_KEY]);
    storage.rehash_secret(&hash(3), &hash(13), 2).await.unwrap();
    assert_eq!(server.ask(storage).await, [ABOUT_KEY]);
    storage.revoke_key(TENANT, KEY, false, &change(31, 7)).await.unwrap();
    assert_eq!(server.ask(storage).await, [ABOUT_KEY]);
    storage.revoke_key(TENANT, KEY, true, &change(32, 8)).await.unwrap();
    assert_eq!(server.ask(storage).await, [GateChange::CloseStreams(KEY)], "it was revoked before");
    storage.revoke_key(TENANT, ApiKeyId::from_bits(2), true, &change(33, 8)).await.unwrap();
    let other = ApiKeyId::from_bits(2);
    assert_eq!(server.ask(storage).await, [GateChange::Key(other), GateChange::CloseStreams(other)]);
}

pub async fn each_change_of_an_organization_is_told(storage: &impl Storage) {
    begin(storage).await;
    let mut server = Asking::start(storage).await;
    let nothing = OrganizationUpdate::default();
    storage.update_organization(TENANT.organization, &nothing, &change(10, 5)).await.unwrap();
    assert_eq!(server.ask(storage).await, []);
    let updates = [
        OrganizationUpdate { active: Some(true), ..nothing.clone() },
        OrganizationUpdate { overrides: Some(Default::default()), ..nothing.clone() },
        OrganizationUpdate { leak_policy: Some(LeakPolicy::Notify), ..nothing.clone() },
    ];
    for (update, number) in updates.into_iter().zip(20..) {
        storage.update_organization(TENANT.organization, &update, &change(number, 5)).await.unwrap();
        assert_eq!(server.ask(storage).await, [ABOUT_ORGANIZATION], "{update:?}");
    }
    storage.grant_credits(TENANT.organization, NonZeroU32::MIN, &change(30, 5)).await.unwrap();
    assert_eq!(server.ask(storage).await, [ABOUT_ORGANIZATION]);
}

pub async fn spends_and_uses_are_not_told(storage: &impl Storage) {
    begin_with_credits(storage, 5).await;
    storage.rotate_key(TENANT, KEY, &secret(2), at(900), &change(10, 5)).await.unwrap();
    let mut server = Asking::start(storage).await;
    storage.create_session(&NewSession { credits: 1, ..new_session(1) }).await.unwrap();
    let permissions = PermissionSet::of(&[Permission::SessionsRead]);
    storage.note_key_uses(&[KeyUse { key: KEY, at: at(20), permissions, old_secret_at: Some(at(19)) }]).await.unwrap();
    assert_eq!(server.ask(storage).await, []);
}

pub async fn changes_are_told_in_order_and_in_parts(storage: &impl Storage) {
    begin(storage).await;
    let mut marker = storage.gate_changes_since(None).await.unwrap().marker;
    for number in 0..1001u32 {
        let update = KeyUpdate { requests_per_minute_max: Some(Some(number + 100)), ..KeyUpdate::default() };
        storage.update_key(TENANT, KEY, &update, &change(u128::from(number) + 10, 5)).await.unwrap();
    }
    storage.revoke_key(TENANT, KEY, true, &change(9, 6)).await.unwrap();
    let mut all = Vec::new();
    for expected in [1000, 3, 0] {
        let told = storage.gate_changes_since(Some(marker)).await.unwrap();
        assert_eq!((told.changes.len(), told.lost), (expected, false));
        all.extend(told.changes);
        marker = told.marker;
    }
    assert_eq!(all.pop(), Some(GateChange::CloseStreams(KEY)));
    assert_eq!(all, [ABOUT_KEY; 1002]);
}

pub async fn forgotten_changes_are_told_as_lost(storage: &impl Storage) {
    begin(storage).await;
    let start = storage.gate_changes_since(None).await.unwrap().marker;
    let rename = async |name: &str, number| {
        let update = KeyUpdate { name: Some(name.into()), ..KeyUpdate::default() };
        storage.update_key(TENANT, KEY, &update, &change(number, 5)).await.unwrap();
    };
    rename("one", 10).await;
    rename("two", 11).await;
    storage.forget(at(0), 1000).await.unwrap();
    let told = storage.gate_changes_since(Some(start)).await.unwrap();
    assert_eq!((told.changes, told.lost), (vec![ABOUT_KEY; 2], false), "they are not old yet");

    let far_away: Timestamp = "2150-01-01T00:00:00Z".parse().unwrap();
    storage.forget(far_away, 1000).await.unwrap();
    let behind = storage.gate_changes_since(Some(start)).await.unwrap();
    assert!(behind.lost && behind.marker >= told.marker);
    let after = storage.gate_changes_since(Some(told.marker)).await.unwrap();
    assert_eq!((after.changes, after.lost), (vec![], false), "who has heard of them has lost nothing");
    assert!(storage.gate_changes_since(None).await.unwrap().marker >= told.marker);

    rename("three", 12).await;
    let after = storage.gate_changes_since(Some(told.marker)).await.unwrap();
    assert_eq!((after.changes, after.lost), (vec![ABOUT_KEY], false));
    let behind = storage.gate_changes_since(Some(start)).await.unwrap();
    assert_eq!((behind.lost, behind.marker), (true, after.marker));
    let from_elsewhere = storage.gate_changes_since(Some(after.marker + 1000)).await.unwrap();
    let expected = (vec![], true, after.marker);
    assert_eq!((from_elsewhere.changes, from_elsewhere.lost, from_elsewhere.marker), expected, "of a newer database");
}

async fn begin_with_policy(storage: &impl Storage, leak_policy: LeakPolicy) {
    begin(storage).await;
    set_policy(storage, leak_policy, 5).await;
}

async fn set_policy(storage: &impl Storage, leak_policy: LeakPolicy, number: u128) {
    let update = OrganizationUpdate { leak_policy: Some(leak_policy), ..OrganizationUpdate::default() };
    storage.update_organization(TENANT.organization, &update, &change(number, 5)).await.unwrap();
}

/// The leaks that were told as events and that are in the audit log: the policy of each.
async fn told_leaks(storage: &impl Storage) -> (Vec<String>, Vec<String>) {
    let events = storage.events(0, 1000).await.unwrap();
    let leaks = events.iter().map(|(_, event)| event).filter(|event| event.event_type == EventType::KeyLeaked);
    let told = leaks.map(|event: &Event| event.detail["policy"].as_str().unwrap().to_owned()).collect();
    let log = storage.audit_log(TENANT.organization, &AuditFilter::default(), &PageRequest::newest(100)).await.unwrap();
    let entries = log.items.iter().rev().filter(|entry| entry.action == AuditAction::KeyLeaked);
    (told, entries.map(|entry| entry.changes["leak_policy"].1.clone()).collect())
}

fn both(policies: &[&str]) -> (Vec<String>, Vec<String>) {
    let policies: Vec<String> = policies.iter().map(|policy| (*policy).to_owned()).collect();
    (policies.clone(), policies)
}

pub async fn a_leaked_key_is_revoked(storage: &impl Storage) {
    begin_with_policy(storage, LeakPolicy::Revoke).await;
    let mut server = Asking::start(storage).await;
    assert_eq!(storage.report_leak(&hash(9), &change(10, 50)).await.unwrap(), None, "an unknown secret");
    let expected = LeakedKey { key: ApiKey { revoked_at: Some(at(50)), ..key(1) }, policy: LeakPolicy::Revoke };
    for (number, second) in [(11, 50), (12, 60)] {
        let reported = storage.report_leak(&hash(1), &change(number, second)).await.unwrap();
        assert_eq!(reported, Some(expected.clone()));
    }
    assert_eq!(storage.key(TENANT, KEY).await.unwrap(), Some(expected.key));
    assert_eq!(server.ask(storage).await, [ABOUT_KEY, GateChange::CloseStreams(KEY)]);
    assert_eq!(told_leaks(storage).await, both(&["revoke"]));
}

pub async fn a_leaked_key_is_quarantined_until_that_is_lifted(storage: &impl Storage) {
    begin_with_policy(storage, LeakPolicy::Quarantine).await;
    let mut server = Asking::start(storage).await;
    let quarantined = ApiKey { quarantined_at: Some(at(50)), ..key(1) };
    for (number, second) in [(10, 50), (11, 60)] {
        let reported = storage.report_leak(&hash(1), &change(number, second)).await.unwrap();
        let expected = LeakedKey { key: quarantined.clone(), policy: LeakPolicy::Quarantine };
        assert_eq!(reported, Some(expected));
    }
    assert_eq!(storage.key_of_secret(&hash(1)).await.unwrap().unwrap().key, quarantined);
    assert_eq!(server.ask(storage).await, [ABOUT_KEY]);
    assert_eq!(told_leaks(storage).await, both(&["quarantine"]));

    let lift = KeyUpdate { lift_quarantine: true, ..KeyUpdate::default() };
    assert_eq!(storage.update_key(TENANT, KEY, &lift, &change(12, 70)).await.unwrap(), Some(key(1)));
    assert_eq!(server.ask(storage).await, [ABOUT_KEY]);
    let again = storage.report_leak(&hash(1), &change(13, 80)).await.unwrap().unwrap();
    assert_eq!(again.key, key(1), "its owner has decided about this secret");
    storage.rotate_key(TENANT, KEY, &secret(2), at(900), &change(14, 90)).await.unwrap();
    let reported = storage.report_leak(&hash(2), &change(15, 100)).await.unwrap().unwrap();
    assert_eq!(reported.key.quarantined_at, Some(at(100)), "another secret is another leak");
    assert_eq!(told_leaks(storage).await, both(&["quarantine", "quarantine"]));
}

pub async fn a_leaked_key_can_be_left_alone(storage: &impl Storage) {
    begin_with_policy(storage, LeakPolicy::Notify).await;
    for (number, second) in [(10, 50), (11, 60)] {
        let reported = storage.report_leak(&hash(1), &change(number, second)).await.unwrap();
        assert_eq!(reported, Some(LeakedKey { key: key(1), policy: LeakPolicy::Notify }));
    }
    assert_eq!(told_leaks(storage).await, both(&["notify"]));

    // With another policy it is another matter.
    set_policy(storage, LeakPolicy::Revoke, 12).await;
    let reported = storage.report_leak(&hash(1), &change(13, 70)).await.unwrap().unwrap();
    assert_eq!((reported.key.revoked_at, reported.policy), (Some(at(70)), LeakPolicy::Revoke));
    set_policy(storage, LeakPolicy::Quarantine, 14).await;
    let reported = storage.report_leak(&hash(1), &change(15, 80)).await.unwrap().unwrap();
    assert_eq!((reported.key.revoked_at, reported.key.quarantined_at), (Some(at(70)), None), "revoked stays revoked");
    assert_eq!(told_leaks(storage).await, both(&["notify", "revoke", "quarantine"]));
}

pub async fn a_secret_that_was_replaced_cannot_kill_its_key(storage: &impl Storage) {
    begin_with_policy(storage, LeakPolicy::Revoke).await;
    storage.rotate_key(TENANT, KEY, &secret(2), at(100), &change(10, 50)).await.unwrap();
    let reported = storage.report_leak(&hash(1), &change(11, 100)).await.unwrap().unwrap();
    assert_eq!((reported.key.revoked_at, reported.policy), (None, LeakPolicy::Notify));
    assert_eq!(told_leaks(storage).await, both(&["notify"]));
    let reported = storage.report_leak(&hash(1), &change(12, 99)).await.unwrap().unwrap();
    assert_eq!((reported.key.revoked_at, reported.policy), (Some(at(99)), LeakPolicy::Revoke), "in its grace period");
    assert_eq!(organization(1).id, reported.key.organization);
}
