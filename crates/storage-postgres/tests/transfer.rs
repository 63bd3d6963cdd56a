//! A SQLite installation is carried over to PostgreSQL and back, and nothing differs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::io::BufReader;
use std::num::NonZeroU32;

use kallglot_core::id::{ApiKeyId, NodeId, SegmentId, SessionId};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::{EndReason, Speaker, UtteranceLag};
use kallglot_core::stream_statistics::{PartyStatistics, StreamStatistics};
use kallglot_storage::conformance::example::{
    TENANT, answer, at, batch, begin, begin_with_credits, change, event, hash, new_session, secret, turn,
};
use kallglot_storage::conformance::fill_after_calls;
use kallglot_storage::{
    CreatePaid, KeyRepository as _, KeyUse, LogRepository as _, NewSession, OrganizationRepository as _, RequestBlock,
    SessionRepository as _, Storage, TurnRepository as _,
};
use kallglot_storage_postgres::{Config, PostgresStorage, migrate};
use kallglot_storage_sql::transfer::{Digest, TABLES, Transfer, TransferError, export, import, verify};
use kallglot_storage_sqlite::SqliteStorage;
use kallglot_throwaway::Postgres;
use tempfile::TempDir;

fn paid(number: u128) -> NewSession {
    NewSession { credits: 1, idempotency: Some(answer(&format!("k{number}"), number, at(10))), ..new_session(number) }
}

/// Something in every table, in some more than is carried over at once.
async fn fill(storage: &impl Storage) {
    begin_with_credits(storage, 1000).await;
    storage.rotate_key(TENANT, ApiKeyId::from_bits(1), &secret(2), at(900), &change(10, 5)).await.unwrap();
    let permissions = PermissionSet::of(&[Permission::SessionsRead, Permission::SessionsWrite]);
    let used = KeyUse { key: ApiKeyId::from_bits(1), at: at(6), permissions, old_secret_at: Some(at(6)) };
    storage.note_key_uses(&[used]).await.unwrap();
    for number in 1..=130 {
        storage.create_session(&paid(number)).await.unwrap();
    }
    let id = SessionId::from_bits;
    storage.settle_session(id(1), NodeId::from_bits(1), at(20), std::time::Duration::ZERO).await.unwrap();
    let ended = event(kallglot_core::event::EventType::SessionEnded, "");
    storage.end_session(TENANT, id(2), at(30), EndReason::CustomerHangup, &ended).await.unwrap();
    for number in 0..250 {
        let mut said = turn(number);
        said.text = format!("¿Nº {number}?\n\"\\ \u{1F600}");
        said.confidence = number as f32 / 251.0;
        storage.append_turn(TENANT, id(1 + u128::from(number % 2)), &said).await.unwrap();
    }
    let segment = SegmentId::from_bits(3);
    let lag = UtteranceLag {
        id: segment,
        speaker: Speaker::Agent,
        first_partial_ms: None,
        final_ms: 7,
        first_audio_ms: Some(9),
    };
    storage.save_lags(TENANT, id(1), &[lag]).await.unwrap();
    let party = PartyStatistics { frames_in: 5, ..PartyStatistics::default() };
    let statistics = StreamStatistics { parties: [party, PartyStatistics::default()] };
    storage.save_stream_statistics(TENANT, id(1), &statistics).await.unwrap();
    let block = RequestBlock { tenant: TENANT, first_at: at(1), last_at: at(2), packed: vec![0, 255, 10, 13] };
    storage.append_requests(&batch(1, vec![block])).await.unwrap();
    storage.keep_mark("pepper", "abc").await.unwrap();
    fill_after_calls(storage).await;
}

async fn sqlite() -> (SqliteStorage, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStorage::open(folder.path()).unwrap(), folder)
}

async fn postgres(server: &Postgres, name: &str) -> PostgresStorage {
    let url = server.create_database(name).await;
    migrate(&url).await.unwrap();
    PostgresStorage::open(&Config { url, connections_max: 2 }).await.unwrap()
}

async fn exported(storage: &impl Transfer) -> (Vec<u8>, Vec<Digest>) {
    let mut file = Vec::new();
    let digests = export(storage, &mut file, &mut |_| {}).await.unwrap();
    (file, digests)
}

async fn imported(storage: &impl Transfer, file: &[u8]) -> Result<Vec<Digest>, TransferError> {
    import(storage, &mut BufReader::new(file), &mut |_| {}).await
}

#[tokio::test]
async fn everything_is_carried_over_and_back() {
    let (source, _folder) = sqlite().await;
    fill(&source).await;
    let mut told = Vec::new();
    let mut file = Vec::new();
    let digests = export(&source, &mut file, &mut |progress| told.push((progress.table, progress.rows))).await.unwrap();
    assert!(digests.iter().all(|digest| digest.rows > 0), "{digests:?}");
    assert_eq!(digests.len(), TABLES.len());
    assert!(told.contains(&("turns", 100)) && told.contains(&("turns", 250)), "{told:?}");

    let server = Postgres::start().await;
    let target = postgres(&server, "calls").await;
    assert_eq!(imported(&target, &file).await.unwrap(), digests);
    verify(&target, &digests, &mut |_| {}).await.unwrap();
    assert!(exported(&target).await.0 == file, "the same text, to the last byte");
    let (again, _folder) = sqlite().await;
    imported(&again, &file).await.unwrap();
    assert!(exported(&again).await.0 == file);

    // It goes on as if nothing had been.
    let balance = source.credit_balance(TENANT.organization).await.unwrap().unwrap();
    assert_eq!(target.credit_balance(TENANT.organization).await.unwrap(), Some(balance));
    assert_eq!(target.key_of_secret(&hash(2)).await.unwrap(), source.key_of_secret(&hash(2)).await.unwrap());
    assert!(matches!(target.create_session(&paid(7)).await.unwrap(), CreatePaid::Known(_)));
    let last_event = source.events(0, 1000).await.unwrap().last().unwrap().0;
    let CreatePaid::Created(Some(spent)) = target.create_session(&paid(200)).await.unwrap() else { panic!("unpaid") };
    assert!(spent.sequence > balance.sequence);
    assert_eq!(target.events(last_event, 10).await.unwrap().len(), 1);
    let stored = target.append_turn(TENANT, SessionId::from_bits(1), &turn(1000)).await.unwrap().unwrap();
    assert_eq!(stored.sequence, 126);
}

#[tokio::test]
async fn a_difference_is_found() {
    let (source, _folder) = sqlite().await;
    fill(&source).await;
    let (file, digests) = exported(&source).await;
    let server = Postgres::start().await;
    let target = postgres(&server, "calls").await;
    imported(&target, &file).await.unwrap();
    let one = NonZeroU32::MIN;
    target.grant_credits(TENANT.organization, one, &change(99, 50)).await.unwrap();
    let differs = verify(&target, &digests, &mut |_| {}).await.unwrap_err();
    assert!(matches!(differs, TransferError::Differs { table: "credit_ledger", .. }), "{differs}");
}

#[tokio::test]
async fn what_is_not_empty_is_left_alone() {
    let (source, _folder) = sqlite().await;
    fill(&source).await;
    let (file, _) = exported(&source).await;
    let server = Postgres::start().await;
    let target = postgres(&server, "calls").await;
    begin(&target).await;
    let before = exported(&target).await.0;
    let refused = imported(&target, &file).await.unwrap_err();
    assert!(matches!(refused, TransferError::NotEmpty { table: "organizations" }), "{refused}");
    assert!(exported(&target).await.0 == before);
}

#[tokio::test]
async fn a_file_that_was_cut_or_changed_is_refused() {
    let (source, _folder) = sqlite().await;
    fill(&source).await;
    let text = String::from_utf8(exported(&source).await.0).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |index: usize| [&lines[..index], &lines[index + 1..]].concat().concat();
    let row = lines.iter().position(|line| line.contains("sentence") || line.contains("Nº 17?")).unwrap();
    for (damage, damaged) in [
        ("nothing", String::new()),
        ("cut in a line", text[..text.len() / 2].to_owned()),
        ("cut after a line", lines[..row].concat()),
        ("without its last line", without(lines.len() - 1)),
        ("a row is gone", without(row)),
        ("a row is twice", [&lines[..=row], &lines[row..]].concat().concat()),
        ("a row is changed", text.replace("Nº 17?", "Nº 18?")),
        ("rows are exchanged", [&lines[..row], &[lines[row + 1], lines[row]], &lines[row + 2..]].concat().concat()),
        ("another format", text.replacen("\"format\":1", "\"format\":2", 1)),
        ("other columns", text.replacen("\"plan\"", "\"colour\"", 1)),
    ] {
        let (target, _folder) = sqlite().await;
        let refused = imported(&target, damaged.as_bytes()).await.unwrap_err();
        let of_line = matches!(refused, TransferError::Line { .. });
        assert!(of_line || damage == "a row is twice", "{damage}: {refused}");
    }
}
