//! What the audit log, the outbox, the request log and forgetting promise.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use kallglot_core::audit::{AuditAction, AuditEntry, Change, Who};
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{ApiKeyId, AuditId, EventId, OrganizationId, PersonId};
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::permission::PermissionSet;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::session::{Environment, Tenant};
use kallglot_core::vocabulary::Vocabulary;

use super::example::{
    STRANGERS, TENANT, answer, at, batch, begin, change, hash, key, new_session, organization, secret,
};
use crate::{AuditFilter, Cursor, KeyUpdate, NewSession, OrganizationUpdate, PageRequest, RequestBlock, Storage};

const KEY: ApiKeyId = ApiKeyId::from_bits(1);
const DAY_S: i64 = 24 * 60 * 60;

type Texts<'a> = [(&'a str, &'a str, &'a str)];

fn changes(texts: &Texts<'_>) -> BTreeMap<String, (String, String)> {
    texts.iter().map(|(name, before, after)| ((*name).into(), ((*before).into(), (*after).into()))).collect()
}

async fn newest_entry(storage: &impl Storage) -> AuditEntry {
    storage
        .audit_log(TENANT.organization, &AuditFilter::default(), &PageRequest::newest(1))
        .await
        .unwrap()
        .items
        .remove(0)
}

pub async fn what_is_done_to_an_organization_is_in_its_audit_log(storage: &impl Storage) {
    let plain = Organization {
        plan: Plan::Starter,
        overrides: LimitOverrides { requests_per_minute_max: Some(600), ..LimitOverrides::default() },
        engine: None,
        vocabulary: Vocabulary::default(),
        ..organization(1)
    };
    let operator =
        |number, second| Change { who: Who::Operator, address: None, request: None, ..change(number, second) };
    storage.create_organization(&plain, 100, &operator(1, 1)).await.unwrap();
    let entry = |change, action, texts: &Texts<'_>| AuditEntry {
        change,
        organization: plain.id,
        environment: None,
        action,
        object: plain.id.to_string(),
        changes: changes(texts),
    };
    let created = entry(
        operator(1, 1),
        AuditAction::OrganizationCreated,
        &[
            ("name", "", "Åsa & Söner 1"),
            ("plan", "", "starter"),
            ("requests_per_minute_max", "", "600"),
            ("active", "", "false"),
            ("edition", "", "1"),
            ("leak_policy", "", "quarantine"),
            ("low_credits_threshold", "", "3"),
            ("recording", "", "true"),
            ("recordings_kept_days", "", "7"),
            ("credits", "", "100"),
        ],
    );
    assert_eq!(newest_entry(storage).await, created);

    storage.grant_credits(plain.id, NonZeroU32::new(37).unwrap(), &operator(2, 2)).await.unwrap();
    let granted = entry(operator(2, 2), AuditAction::CreditsGranted, &[("credits", "100", "137")]);
    assert_eq!(newest_entry(storage).await, granted);

    let update = OrganizationUpdate {
        plan: Some(Plan::Pro),
        overrides: Some(LimitOverrides { concurrent_sessions_max: Some(7), ..LimitOverrides::default() }),
        active: Some(true),
        edition: Some(plain.edition),
        engine: Some(Some("classic".into())),
        vocabulary: Some(super::example::vocabulary()),
        leak_policy: Some(LeakPolicy::Notify),
        low_credits_threshold: Some(0),
        recording: Some(false),
        recordings_kept_days: Some(8),
        name: Some("Acme".into()),
    };
    for number in [3, 4] {
        storage.update_organization(plain.id, &update, &change(number, 3)).await.unwrap();
    }
    let updated = entry(
        change(3, 3),
        AuditAction::OrganizationUpdated,
        &[
            ("name", &plain.name, "Acme"),
            ("plan", "starter", "pro"),
            ("requests_per_minute_max", "600", ""),
            ("concurrent_sessions_max", "", "7"),
            ("active", "false", "true"),
            ("engine", "", "classic"),
            ("vocabulary", "", "es-MX (phrases: 1 and no others, words: 1)"),
            ("leak_policy", "quarantine", "notify"),
            ("low_credits_threshold", "3", "0"),
            ("recording", "true", "false"),
            ("recordings_kept_days", "7", "8"),
        ],
    );
    let all = storage.audit_log(plain.id, &AuditFilter::default(), &PageRequest::newest(10)).await.unwrap();
    assert_eq!(all.items, [updated, granted, created], "the second time nothing was different");
}

pub async fn what_is_done_to_a_key_is_in_its_audit_log(storage: &impl Storage) {
    begin(storage).await;
    let entry = |change, action, texts: &Texts<'_>| AuditEntry {
        change,
        organization: TENANT.organization,
        environment: Some(Environment::Test),
        action,
        object: KEY.to_string(),
        changes: changes(texts),
    };
    let created = entry(
        change(3, 2),
        AuditAction::KeyCreated,
        &[
            ("name", "", "backend 1"),
            ("permissions", "", "sessions:read agents:write"),
            ("expires_at", "", &at(1_000_000).to_string()),
            ("allowed_networks", "", "192.0.2.0/24 2001:db8::/32"),
            ("requests_per_minute_max", "", "30"),
            ("edition", "", "2"),
            ("last4", "", "aB3z"),
        ],
    );
    assert_eq!(newest_entry(storage).await, created);

    let update = KeyUpdate {
        name: Some("frontend".into()),
        permissions: Some(PermissionSet::NONE),
        expires_at: Some(None),
        allowed_networks: Some(vec![]),
        requests_per_minute_max: Some(Some(30)),
        edition: Some(None),
        lift_quarantine: true,
    };
    for number in [10, 11] {
        storage.update_key(TENANT, KEY, &update, &change(number, 20)).await.unwrap();
    }
    let updated = entry(
        change(10, 20),
        AuditAction::KeyUpdated,
        &[
            ("name", "backend 1", "frontend"),
            ("permissions", "sessions:read agents:write", ""),
            ("expires_at", &at(1_000_000).to_string(), ""),
            ("allowed_networks", "192.0.2.0/24 2001:db8::/32", ""),
            ("edition", "2", ""),
        ],
    );
    assert_eq!(newest_entry(storage).await, updated, "the second time nothing was different");

    storage.rotate_key(TENANT, KEY, &secret(2), at(40), &change(12, 30)).await.unwrap();
    let until = at(40).to_string();
    let texts = [("last4", "aB3z", "0002"), ("old_secret_valid_until", "", until.as_str())];
    assert_eq!(newest_entry(storage).await, entry(change(12, 30), AuditAction::KeyRotated, &texts));

    let reporter = Change { who: Who::LeakReporter, request: None, ..change(13, 50) };
    storage.report_leak(&hash(2), &reporter).await.unwrap();
    let since = at(50).to_string();
    let texts = [("leak_policy", "", "quarantine"), ("quarantined_at", "", since.as_str())];
    assert_eq!(newest_entry(storage).await, entry(reporter, AuditAction::KeyLeaked, &texts));

    let person = |number| Change { who: Who::Person(PersonId::from_bits(7)), ..change(number, 60) };
    for number in [14, 15] {
        storage.revoke_key(TENANT, KEY, true, &person(number)).await.unwrap();
    }
    let since = at(60).to_string();
    let texts = [("revoked_at", "", since.as_str())];
    assert_eq!(newest_entry(storage).await, entry(person(14), AuditAction::KeyRevoked, &texts));
}

pub async fn what_is_done_to_a_key_is_told_as_events(storage: &impl Storage) {
    begin(storage).await;
    storage.rotate_key(TENANT, KEY, &secret(2), at(40), &change(10, 30)).await.unwrap();
    storage.report_leak(&hash(2), &change(11, 50)).await.unwrap();
    for number in [12, 13] {
        storage.revoke_key(TENANT, KEY, false, &change(number, 60)).await.unwrap();
    }
    storage.rotate_key(TENANT, KEY, &secret(3), at(80), &change(14, 70)).await.unwrap();
    let expected = [
        (3, EventType::KeyCreated, "aB3z", None, 2),
        (10, EventType::KeyRotated, "0002", None, 30),
        (11, EventType::KeyLeaked, "0002", Some(("policy", "quarantine")), 50),
        (12, EventType::KeyRevoked, "0002", None, 60),
    ]
    .map(|(number, event_type, last4, more, second)| Event {
        id: EventId::from_bits(number),
        organization: TENANT.organization,
        environment: TENANT.environment,
        event_type,
        object: KEY.to_string(),
        session: None,
        session_sequence: None,
        detail: [("name", "backend 1"), ("last4", last4)]
            .into_iter()
            .chain(more)
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect(),
        at: at(second),
    });
    let events: Vec<Event> = storage.events(0, 100).await.unwrap().into_iter().map(|(_, event)| event).collect();
    assert_eq!(events, expected);
}

pub async fn the_audit_log_is_read_in_pages(storage: &impl Storage) {
    begin(storage).await;
    for number in 10..14u32 {
        let update = KeyUpdate { requests_per_minute_max: Some(Some(number)), ..KeyUpdate::default() };
        storage.update_key(TENANT, KEY, &update, &change(number.into(), 20)).await.unwrap();
    }
    let page = async |organization, cursor| {
        let request = PageRequest { limit: 3, cursor };
        let page = storage.audit_log(organization, &AuditFilter::default(), &request).await.unwrap();
        (page.items.iter().map(|entry| entry.change.id.to_bits()).collect::<Vec<_>>(), page.has_more)
    };
    let id = AuditId::from_bits;
    assert_eq!(page(TENANT.organization, None).await, (vec![13, 12, 11], true));
    assert_eq!(page(TENANT.organization, Some(Cursor::StartingAfter(id(11)))).await, (vec![10, 3, 1], false));
    assert_eq!(page(TENANT.organization, Some(Cursor::EndingBefore(id(3)))).await, (vec![12, 11, 10], true));
    assert_eq!(page(OrganizationId::from_bits(2), None).await, (vec![2], false), "each organization has its own");
}

pub async fn the_audit_log_is_searched(storage: &impl Storage) {
    begin(storage).await;
    let person = Change { who: Who::Person(PersonId::from_bits(5)), ..change(10, 20) };
    let update = KeyUpdate { name: Some("new".into()), ..KeyUpdate::default() };
    storage.update_key(TENANT, KEY, &update, &person).await.unwrap();
    let operator = Change { who: Who::Operator, address: None, request: None, ..change(11, 21) };
    storage.grant_credits(TENANT.organization, NonZeroU32::MIN, &operator).await.unwrap();
    let find = async |filter: AuditFilter| {
        let page = storage.audit_log(TENANT.organization, &filter, &PageRequest::newest(1)).await.unwrap();
        (page.items.iter().map(|entry| entry.change.id.to_bits()).collect::<Vec<_>>(), page.has_more)
    };
    let all = AuditFilter::default();
    let of = |who| AuditFilter { who: Some(who), ..AuditFilter::default() };
    assert_eq!(find(of(person.who)).await, (vec![10], false));
    assert_eq!(find(of(Who::Person(PersonId::from_bits(6)))).await, (vec![], false));
    assert_eq!(find(of(Who::Operator)).await, (vec![11], false));
    assert_eq!(find(of(Who::Key(KEY))).await, (vec![3], true), "the key and its organization were made");
    let action = Some(AuditAction::KeyUpdated);
    assert_eq!(find(AuditFilter { action, ..all.clone() }).await, (vec![10], false));
    let object = Some(KEY.to_string());
    assert_eq!(find(AuditFilter { object, ..all.clone() }).await, (vec![10], true));
    let environment = Some(TENANT.environment);
    assert_eq!(find(AuditFilter { environment, ..all.clone() }).await, (vec![10], true));
    let environment = Some(TENANT.environment.other());
    assert_eq!(find(AuditFilter { environment, ..all }).await, (vec![], false));
}

pub async fn events_are_read_in_parts(storage: &impl Storage) {
    begin(storage).await;
    for number in 1..=3 {
        storage.create_session(&new_session(number)).await.unwrap();
    }
    let all = storage.events(0, 100).await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0), "places grow");
    assert_eq!(all[1].1, Event { session_sequence: Some(1), ..new_session(1).event });
    assert_eq!(storage.events(all[0].0, 2).await.unwrap(), all[1..3]);
    assert_eq!(storage.events(all[3].0, 2).await.unwrap(), []);
}

fn block(tenant: Tenant, first: i64, last: i64) -> RequestBlock {
    let packed = format!("{first} to {last}").into_bytes();
    RequestBlock { tenant, first_at: at(first), last_at: at(last), packed }
}

pub async fn request_blocks_are_found_by_time(storage: &impl Storage) {
    begin(storage).await;
    let blocks = [(0, 9), (10, 20), (15, 30), (31, 31), (40, 50)].map(|(first, last)| block(TENANT, first, last));
    storage.append_requests(&batch(1, blocks[..3].to_vec())).await.unwrap();
    storage.append_requests(&batch(2, vec![block(STRANGERS[0], 12, 18), block(STRANGERS[1], 13, 19)])).await.unwrap();
    storage.append_requests(&batch(3, blocks[3..].to_vec())).await.unwrap();

    let found = async |tenant, from, to, before, limit| {
        let found = storage.request_blocks(tenant, at(from), at(to), before, limit).await.unwrap();
        let (places, blocks): (Vec<i64>, Vec<RequestBlock>) = found.into_iter().unzip();
        (places, blocks)
    };
    let newest_first: Vec<RequestBlock> = blocks.iter().rev().cloned().collect();
    let (places, all) = found(TENANT, 0, 100, None, 100).await;
    assert_eq!(all, newest_first);
    for (from, to, expected) in
        [(16, 16, &newest_first[2..4]), (20, 31, &newest_first[1..4]), (32, 39, &[]), (51, 99, &[]), (-9, -1, &[])]
    {
        assert_eq!(found(TENANT, from, to, None, 100).await.1, expected, "{from} to {to}");
    }
    assert_eq!(found(TENANT, 0, 100, None, 2).await.1, newest_first[..2]);
    assert_eq!(found(TENANT, 0, 100, Some(places[1]), 2).await.1, newest_first[2..4]);
    assert_eq!(found(TENANT, 0, 100, Some(places[4]), 2).await.1, []);
    assert_eq!(found(STRANGERS[0], 0, 100, None, 100).await.1, [block(STRANGERS[0], 12, 18)]);
    assert_eq!(found(STRANGERS[1], 0, 100, None, 100).await.1, [block(STRANGERS[1], 13, 19)]);

    // Blocks that end at one time have an order too.
    let twins = [block(TENANT, 200, 210), block(TENANT, 201, 210)];
    storage.append_requests(&batch(4, twins.to_vec())).await.unwrap();
    let (places, both) = found(TENANT, 200, 300, None, 100).await;
    assert_eq!(both, [twins[1].clone(), twins[0].clone()]);
    assert_eq!(found(TENANT, 200, 300, Some(places[0]), 100).await.1, twins[..1]);
}

pub async fn what_has_had_its_time_is_forgotten(storage: &impl Storage) {
    begin(storage).await;
    let named = |number: u128, second| NewSession {
        idempotency: Some(answer(&format!("k{number}"), number, at(second))),
        event: Event { at: at(second), ..new_session(number).event },
        ..new_session(number)
    };
    for (number, second) in [(1, 0), (2, 100), (3, 200)] {
        storage.create_session(&named(number, second)).await.unwrap();
        storage.append_requests(&batch(second + 1, vec![block(TENANT, second, second + 10)])).await.unwrap();
    }
    let state = async |second| {
        let mut answers = 0;
        for number in 1..=3 {
            let key = answer(&format!("k{number}"), number, at(0)).key;
            answers += usize::from(storage.answer(TENANT, &key, at(200)).await.unwrap().is_some());
        }
        let blocks = storage.request_blocks(TENANT, at(0), at(1000), None, 100).await.unwrap().len();
        let events = storage.events(0, 100).await.unwrap();
        let sessions = events.iter().filter(|(_, event)| event.event_type == EventType::SessionCreated).count();
        (second, answers, blocks, sessions)
    };
    // Answers are asked for as they are at 200 s: what is missing then has been deleted, it is not only passed over.
    storage.forget(at(200), 100).await.unwrap();
    assert_eq!(state(200).await, (200, 3, 3, 3), "nothing is old yet");
    assert_eq!(storage.forget(at(DAY_S + 99), 100).await.unwrap(), 1);
    assert_eq!(state(1).await, (1, 2, 3, 3), "an answer is kept for a day");
    let before = storage.events(0, 100).await.unwrap();

    let month = 30 * DAY_S;
    storage.forget(at(month + 109), 1).await.unwrap();
    assert_eq!(state(2).await, (2, 1, 2, 3), "one of each at most");
    assert_eq!(storage.events(0, 100).await.unwrap(), before[1..], "the event of the key's creation came first");
    storage.forget(at(month + 109), 100).await.unwrap();
    assert_eq!(state(3).await, (3, 0, 2, 1), "a month for blocks and events");

    let last = storage.events(0, 100).await.unwrap()[0].0;
    storage.forget(at(10 * month), 100).await.unwrap();
    assert_eq!(storage.request_blocks(TENANT, at(0), at(1000), None, 100).await.unwrap(), []);
    storage.create_session(&new_session(4)).await.unwrap();
    let next = storage.events(last, 100).await.unwrap();
    assert_eq!(next.len(), 1, "who has read on to there misses nothing that comes");
    let key = key(1);
    assert_eq!(storage.key(TENANT, KEY).await.unwrap(), Some(key), "nothing else is forgotten");
    assert_eq!(storage.sessions(TENANT, &PageRequest::newest(10)).await.unwrap().items.len(), 4);
}
