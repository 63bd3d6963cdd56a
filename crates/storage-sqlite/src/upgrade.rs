//! Tests: a database made by an older version is brought forward and reads back whole.

use kallglot_core::api_key::{ApiKey, KeyHash};
use kallglot_core::audit::{Change, Who};
use kallglot_core::credit::{BillingPeriod, CreditBalance, LedgerKind};
use kallglot_core::id::{ApiKeyId, OrganizationId, SessionId};
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::session::{EndReason, Session, SessionState, Speaker};
use kallglot_storage::conformance::example::{
    STRANGERS, TENANT, at, change, hash, key, organization, secret, session, turn,
};
use kallglot_storage::{
    GateChange, KeyRepository as _, LogRepository as _, OrganizationRepository as _, PageRequest,
    SessionRepository as _, Storage as _, TurnRepository as _,
};
use kallglot_storage_sql::us;
use rusqlite::{Connection, params};

use crate::migration::{MIGRATIONS, migrate};
use crate::{FILE_NAME, SqliteStorage};

/// Rows in every table of version 2, written as version 2 wrote them.
const ROWS_OF_VERSION_2: &str = r#"
INSERT INTO organizations VALUES
  ('org_0000000000000000000001', 'Åsa & Söner 1', 'enterprise', 1, 2, 3, 4, 0, 1, 'classic', '{}', :at1),
  ('org_0000000000000000000002', 'Åsa & Söner 2', 'starter', NULL, NULL, NULL, NULL, 1, 2, NULL, '{}', :at1);
INSERT INTO api_keys VALUES
  ('key_0000000000000000000001', 'org_0000000000000000000001', 'test', 'backend 1', 'sessions:read agents:write', :at1000000,
   '192.0.2.0/24 2001:db8::/32', 30, 2, :at2, :at70, NULL, '0002', :at200),
  ('key_0000000000000000000002', 'org_0000000000000000000001', 'test', 'backend 2', '', NULL, '', NULL, NULL, :at2, NULL, :at50,
   'aB3z', NULL);
INSERT INTO api_key_secrets VALUES
  (x'0101010101010101010101010101010101010101010101010101010101010101', 'key_0000000000000000000001', :at200),
  (x'0202020202020202020202020202020202020202020202020202020202020202', 'key_0000000000000000000001', NULL),
  (x'0303030303030303030303030303030303030303030303030303030303030303', 'key_0000000000000000000002', NULL);
INSERT INTO stream_closures (key_id, at_us) VALUES ('key_0000000000000000000002', :at50), ('key_0000000000000000000002', :at60);
INSERT INTO sessions VALUES
  ('sess_0000000000000000000001', 'org_0000000000000000000001', 'test', 'key_0000000000000000000001', 'assistive_translation', 'en',
   NULL, 'calm', '{}', '{"order":"7"}', :at10, :at10, 'created', NULL, NULL, NULL),
  ('sess_0000000000000000000002', 'org_0000000000000000000001', 'test', 'key_0000000000000000000001', 'assistive_translation', 'en',
   NULL, 'calm', '{}', '{"order":"7"}', :at10, :at40, 'ended', :at20, :at40, 'completed');
INSERT INTO turns VALUES
  ('sess_0000000000000000000001', 1, 'seg_0000000000000000000001', 'agent', 'en-GB', 'sentence 1', NULL, NULL, :at20, 1000,
   4294967302, 0.8);
INSERT INTO utterance_lags VALUES
  ('sess_0000000000000000000001', 'seg_0000000000000000000001', 'agent', 450, 300, NULL);
INSERT INTO stream_statistics VALUES ('sess_0000000000000000000001', 'customer', 7, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO credit_ledger (organization_id, kind, amount, request_id, at_us) VALUES
  ('org_0000000000000000000001', 'grant', 100, NULL, 1764547199000000),
  ('org_0000000000000000000002', 'grant', 5, NULL, 1764547199000000),
  ('org_0000000000000000000001', 'spend', -3, 'req_0000000000000000000001', 1764547199000000),
  ('org_0000000000000000000001', 'refund', 1, 'req_0000000000000000000001', 1764547199999999),
  ('org_0000000000000000000001', 'spend', -2, 'req_0000000000000000000002', 1764547200000000),
  ('org_0000000000000000000001', 'expiry', -10, NULL, 1764547200000000);
"#;

/// Puts each `:at<n>` in its place: the microseconds of `at(n)`.
fn with_times(sql: &str) -> String {
    let mut parts = sql.split(":at");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (second, rest) = part.split_at(digits);
        all.push_str(&us(at(second.parse().unwrap())).to_string());
        all.push_str(rest);
    }
    all
}

fn version_2(folder: &std::path::Path) {
    let mut connection = Connection::open(folder.join(FILE_NAME)).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    migrate(&mut connection, &MIGRATIONS[..2]).unwrap();
    connection.execute_batch(&with_times(ROWS_OF_VERSION_2)).unwrap();
}

#[tokio::test]
async fn a_database_of_version_2_reads_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    version_2(folder.path());
    let storage = SqliteStorage::open(folder.path()).unwrap();
    let id = OrganizationId::from_bits;

    let expected = Organization {
        vocabulary: Default::default(),
        leak_policy: LeakPolicy::Revoke,
        low_credits_threshold: 10,
        recording: false,
        recordings_kept_days: 30,
        ..organization(1)
    };
    assert_eq!(storage.organization(id(1)).await.unwrap(), Some(expected.clone()));

    let rotated =
        ApiKey { last_used_at: Some(at(70)), last4: "0002".into(), old_secret_valid_until: Some(at(200)), ..key(1) };
    for (hash, valid_until) in [(hash(1), Some(at(200))), (hash(2), None)] {
        let known = storage.key_of_secret(&hash).await.unwrap().unwrap();
        assert_eq!((known.key, known.secret_valid_until), (rotated.clone(), valid_until));
        assert_eq!((known.organization, known.credits.remaining), (expected.clone(), 86));
    }
    let revoked = storage.key_of_secret(&hash(3)).await.unwrap().unwrap().key;
    assert_eq!((revoked.revoked_at, revoked.quarantined_at), (Some(at(50)), None));
    assert_eq!(storage.secrets_by_pepper(at(100)).await.unwrap(), [(1, 2)]);

    let at_start = Session {
        vocabulary: Default::default(),
        recording: Default::default(),
        metadata: [("order".to_owned(), "7".to_owned())].into(),
        joinable_until: at(10 + 3600),
        ..session(1)
    };
    assert_eq!(storage.session(TENANT, SessionId::from_bits(1)).await.unwrap(), Some(at_start.clone()));
    let ended = Session {
        id: SessionId::from_bits(2),
        last_activity_at: at(40),
        state: SessionState::Ended { started_at: Some(at(20)), ended_at: at(40), reason: EndReason::Completed },
        ..at_start.clone()
    };
    assert_eq!(storage.sessions(TENANT, &PageRequest::newest(10)).await.unwrap().items, [ended, at_start.clone()]);
    assert_eq!(storage.open_sessions(None, 10).await.unwrap(), std::slice::from_ref(&at_start));
    let turns = storage.turns(TENANT, at_start.id, 0, 10).await.unwrap().unwrap();
    assert_eq!(turns, [turn(1).at(1)]);
    assert_eq!(storage.lags(TENANT, at_start.id).await.unwrap().unwrap()[0].first_partial_ms, Some(450));
    let statistics = storage.stream_statistics(TENANT, at_start.id).await.unwrap().unwrap();
    assert_eq!(statistics.parties[Speaker::Customer.index()].frames_in, 7);

    let closed = GateChange::CloseStreams(ApiKeyId::from_bits(2));
    assert_eq!(storage.gate_changes_since(Some(0)).await.unwrap().changes, [closed; 2]);
    storage.close().await.unwrap();
    let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let broken: i64 = file.query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| row.get(0)).unwrap();
    assert_eq!(broken, 0);
}

#[tokio::test]
async fn a_ledger_of_version_2_has_its_balances_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    version_2(folder.path());
    let storage = SqliteStorage::open(folder.path()).unwrap();
    let [one, two] = [1, 2].map(OrganizationId::from_bits);
    let amounts = |ledger: Vec<kallglot_core::credit::LedgerEntry>| {
        ledger.iter().map(|entry| (entry.sequence, entry.kind, entry.amount, entry.balance_after)).collect::<Vec<_>>()
    };
    let ledger = storage.ledger(one, 0, 100).await.unwrap();
    assert!(ledger[0].request.is_none() && ledger[1].request.is_some());
    let expected = [
        (1, LedgerKind::Grant, 100, 100),
        (3, LedgerKind::Spend, -3, 97),
        (4, LedgerKind::Refund, 1, 98),
        (5, LedgerKind::Spend, -2, 96),
        (6, LedgerKind::Expiry, -10, 86),
    ];
    assert_eq!(amounts(ledger), expected);
    assert_eq!(amounts(storage.ledger(two, 0, 100).await.unwrap()), [(2, LedgerKind::Grant, 5, 5)]);

    // 2 were spent in December 2025; what happened in November's last second is not in it.
    let december = BillingPeriod::of("2025-12-01T00:00:00Z".parse().unwrap());
    let expected = CreditBalance { sequence: 6, remaining: 86, used: 2, period: december };
    assert_eq!(storage.credit_balance(one).await.unwrap(), Some(expected));
    let later = Change { who: Who::Operator, at: "2025-12-02T00:00:00Z".parse().unwrap(), ..change(1, 0) };
    let granted = storage.grant_credits(one, std::num::NonZeroU32::MIN, &later).await.unwrap();
    assert_eq!(granted, Some(CreditBalance { sequence: 7, remaining: 87, ..expected }));

    // What else is new can be used.
    assert_eq!(storage.events(0, 10).await.unwrap(), []);
    let rotated = storage.rotate_key(TENANT, ApiKeyId::from_bits(1), &secret(9), at(300), &change(2, 250)).await;
    assert!(rotated.is_ok(), "{rotated:?}");
    assert_eq!(storage.events(0, 10).await.unwrap().len(), 1);
    assert!(storage.key_of_secret(&KeyHash::from_bytes([9; 32])).await.unwrap().is_some());
    assert_eq!(storage.sessions(STRANGERS[0], &PageRequest::newest(10)).await.unwrap().items, []);
    storage.close().await.unwrap();

    let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    for sql in
        ["UPDATE credit_ledger SET amount = 1000 WHERE sequence = ?1", "DELETE FROM credit_ledger WHERE sequence = ?1"]
    {
        let refused = file.execute(sql, params![1]).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
}
