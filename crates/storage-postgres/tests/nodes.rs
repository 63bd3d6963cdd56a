//! Several nodes on one database: each with its own connections, all at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use kallglot_core::event::EventType;
use kallglot_core::id::{ApiKeyId, SessionId};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_storage::conformance::example::{
    TENANT, answer, at, begin, begin_with_credits, change, key, new_session, secret, turn,
};
use kallglot_storage::{
    CreatePaid, GateChange, KeyRepository as _, KeyUpdate, KeyUse, LogRepository as _, NewSession,
    OrganizationRepository as _, SessionRepository as _, Storage as _, StorageError, TurnRepository as _,
};
use kallglot_storage_postgres::{Config, PostgresStorage, migrate};
use kallglot_throwaway::Postgres;

const NODES: usize = 3;

/// Three nodes on a new database of their own server, and its URL.
async fn nodes(server: &Postgres, connections_max: u32) -> (Vec<Arc<PostgresStorage>>, String) {
    let url = server.create_database("calls").await;
    migrate(&url).await.expect("a new schema");
    let config = Config { url: url.clone(), connections_max };
    let opened = join_all((0..NODES).map(|_| PostgresStorage::open(&config))).await;
    (opened.into_iter().map(|node| Arc::new(node.expect("the database"))).collect(), url)
}

/// A connection that is none of ours.
async fn stranger(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

fn paid(number: u128) -> NewSession {
    NewSession {
        credits: 1,
        idempotency: Some(answer(&format!("order {number}"), number, at(10))),
        ..new_session(number)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_creations_of_three_nodes_spend_exactly_what_there_is() {
    const CREDITS: u32 = 37;
    let server = Postgres::start().await;
    let (nodes, _) = nodes(&server, 8).await;
    begin_with_credits(&*nodes[0], CREDITS).await;
    let created = join_all((1..=200).map(|number| {
        let node = Arc::clone(&nodes[number as usize % NODES]);
        tokio::spawn(async move { node.create_session(&paid(number)).await })
    }))
    .await;
    let made = created.into_iter().filter(|created| match created.as_ref().expect("no panic") {
        Ok(CreatePaid::Created(Some(_))) => true,
        Ok(CreatePaid::NoCredits(balance)) => {
            assert_eq!((balance.remaining, balance.used), (0, CREDITS.into()));
            false
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(made.count(), CREDITS as usize);
    let mut sum = 0;
    for entry in nodes[1].ledger(TENANT.organization, 0, 1000).await.unwrap() {
        sum += entry.amount;
        assert_eq!(entry.balance_after, sum);
    }
    assert_eq!(sum, 0);
    assert_eq!(nodes[2].open_sessions(None, 1000).await.unwrap().len(), CREDITS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_makes_one_session_whichever_nodes_are_asked() {
    let server = Postgres::start().await;
    let (nodes, _) = nodes(&server, 8).await;
    begin_with_credits(&*nodes[0], 1000).await;
    // Where it costs nothing, no lock brings the requests into an order before one of them has its answer kept.
    for (round, credits) in [0, 1, 0, 1, 0, 0].into_iter().enumerate() {
        let first = round as u128 * 100 + 1;
        let created = join_all((first..first + 24).map(|number| {
            let node = Arc::clone(&nodes[number as usize % NODES]);
            let idempotency = Some(answer(&format!("round {round}"), number, at(10)));
            let new = NewSession { credits, idempotency, ..new_session(number) };
            tokio::spawn(async move { (number, node.create_session(&new).await) })
        }))
        .await;
        let mut made = BTreeSet::new();
        for created in created {
            made.insert(match created.expect("no panic") {
                (number, Ok(CreatePaid::Created(_))) => number,
                (_, Ok(CreatePaid::Known(answer))) => answer.request.to_bits(),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!(nodes[0].open_sessions(None, 1000).await.unwrap().len(), round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_of_three_nodes_have_places_without_holes() {
    let server = Postgres::start().await;
    let (nodes, _) = nodes(&server, 8).await;
    begin(&*nodes[0]).await;
    nodes[0].create_session(&new_session(1)).await.unwrap();
    let session = SessionId::from_bits(1);
    // Each twice, as a node does that does not know whether it was heard.
    let stored = join_all((0..120u32).map(|number| {
        let node = Arc::clone(&nodes[number as usize % NODES]);
        tokio::spawn(async move { node.append_turn(TENANT, session, &turn(number / 2)).await })
    }))
    .await;
    assert!(stored.iter().all(|stored| matches!(stored, Ok(Ok(Some(_))))), "{stored:?}");
    let turns = nodes[1].turns(TENANT, session, 0, 1000).await.unwrap().unwrap();
    assert_eq!(turns.iter().map(|turn| turn.sequence).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
    assert_eq!(turns.iter().map(|turn| turn.id).collect::<BTreeSet<_>>().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_get_into_each_others_way_all_succeed() {
    let server = Postgres::start().await;
    let (nodes, _) = nodes(&server, 8).await;
    begin(&*nodes[0]).await;
    for number in 2..=20 {
        nodes[0].create_key(&key(number), &secret(number as u8), None, &change(number + 10, 5)).await.unwrap();
        nodes[0].create_session(&new_session(number)).await.unwrap();
    }
    let all = join_all((0..60).map(|round: i64| {
        let node = Arc::clone(&nodes[round as usize % NODES]);
        tokio::spawn(async move {
            let mut numbers: Vec<u128> = (2..=20).collect();
            numbers.rotate_left(round as usize % 19);
            if round % 2 == 0 {
                numbers.reverse();
            }
            let permissions = PermissionSet::of(&[Permission::SessionsRead]);
            let key_use = |number: &u128| KeyUse {
                key: ApiKeyId::from_bits(*number),
                at: at(100 + round),
                permissions,
                old_secret_at: None,
            };
            let uses: Vec<KeyUse> = numbers.iter().map(key_use).collect();
            let touched: Vec<_> =
                numbers.iter().map(|number| (SessionId::from_bits(*number), at(100 + round))).collect();
            node.note_key_uses(&uses).await?;
            node.touch_sessions(&touched).await?;
            let update = KeyUpdate { requests_per_minute_max: Some(Some(round as u32 + 1)), ..KeyUpdate::default() };
            node.update_key(TENANT, ApiKeyId::from_bits(2), &update, &change(1000 + round as u128, 50)).await.map(drop)
        })
    }))
    .await;
    for done in all {
        assert_eq!(done.expect("no panic"), Ok(()));
    }
    assert_eq!(nodes[0].key(TENANT, ApiKeyId::from_bits(7)).await.unwrap().unwrap().last_used_at, Some(at(159)));
    assert_eq!(nodes[0].session(TENANT, SessionId::from_bits(7)).await.unwrap().unwrap().last_activity_at, at(159));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_commits_late_is_told() {
    let server = Postgres::start_with(&[("autovacuum", "off")]).await;
    let (nodes, url) = nodes(&server, 4).await;
    begin(&*nodes[0]).await;
    let rename = async |name: &str, number| {
        let update = KeyUpdate { name: Some(name.into()), ..KeyUpdate::default() };
        nodes[0].update_key(TENANT, ApiKeyId::from_bits(1), &update, &change(number, 5)).await.unwrap();
    };
    let told = async |marker| {
        let told = nodes[1].gate_changes_since(Some(marker)).await.unwrap();
        assert!(!told.lost);
        (told.changes, told.marker)
    };
    let start = nodes[1].gate_changes_since(None).await.unwrap().marker;

    let late = stranger(&url).await;
    late.batch_execute("BEGIN; UPDATE organizations SET leak_policy = 'notify'").await.unwrap();
    rename("one", 10).await;
    let about_key = GateChange::Key(ApiKeyId::from_bits(1));
    let (changes, marker) = told(start).await;
    assert_eq!(changes, [about_key]);
    assert_eq!(told(marker).await.0, [about_key], "told again as long as something before it may come");
    rename("two", 11).await;
    assert_eq!(told(marker).await.0, [about_key; 2]);

    late.batch_execute("COMMIT").await.unwrap();
    let (changes, marker) = told(marker).await;
    let organization = |number| GateChange::Organization(kallglot_core::id::OrganizationId::from_bits(number));
    assert_eq!(changes, [organization(1), organization(2), about_key, about_key]);
    assert_eq!(told(marker).await.0, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_changes_than_an_answer_holds_are_told_though_one_is_late() {
    let server = Postgres::start_with(&[("autovacuum", "off")]).await;
    let (nodes, url) = nodes(&server, 4).await;
    begin(&*nodes[0]).await;
    let start = nodes[1].gate_changes_since(None).await.unwrap().marker;
    let late = stranger(&url).await;
    late.batch_execute("BEGIN; UPDATE organizations SET leak_policy = 'notify'").await.unwrap();
    // In one transaction, which can't be told in parts.
    let many =
        "INSERT INTO gate_changes (kind, id) SELECT 'key', 'key_0000000000000000000001' FROM generate_series(1, 2500)";
    stranger(&url).await.batch_execute(many).await.unwrap();
    let close = GateChange::CloseStreams(ApiKeyId::from_bits(1));
    nodes[0].revoke_key(TENANT, ApiKeyId::from_bits(1), true, &change(10, 5)).await.unwrap();

    let told = nodes[1].gate_changes_since(Some(start)).await.unwrap();
    assert_eq!((told.changes.len(), told.lost), (1000, true), "there was more than could be told");
    assert_eq!(told.changes.last(), Some(&close), "the newest are among what was");
    late.batch_execute("COMMIT").await.unwrap();
    let (mut marker, mut all, mut answers) = (told.marker, Vec::new(), 0);
    loop {
        let told = nodes[1].gate_changes_since(Some(marker)).await.unwrap();
        answers += 1;
        assert!(answers < 10, "it comes to an end");
        if told.changes.is_empty() {
            break;
        }
        marker = told.marker;
        all.extend(told.changes);
    }
    assert!(all.contains(&close));
    let organization = GateChange::Organization(TENANT.organization);
    assert!(all.contains(&organization), "what came late");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_is_noticed_and_ones_own_is_not() {
    let server = Postgres::start_with(&[("autovacuum", "off")]).await;
    let (nodes, url) = nodes(&server, 4).await;
    let before = nodes[0].changes().await.unwrap();
    begin(&*nodes[0]).await;
    let rename = KeyUpdate { name: Some("renamed".into()), ..KeyUpdate::default() };
    nodes[0].update_key(TENANT, ApiKeyId::from_bits(1), &rename, &change(10, 5)).await.unwrap();
    assert_eq!(nodes[0].changes().await.unwrap(), before);
    let limit = KeyUpdate { requests_per_minute_max: Some(Some(7)), ..KeyUpdate::default() };
    nodes[1].update_key(TENANT, ApiKeyId::from_bits(1), &limit, &change(11, 5)).await.unwrap();
    let after = nodes[0].changes().await.unwrap();
    assert_ne!(after, before);
    assert_eq!(nodes[0].changes().await.unwrap(), after);
    stranger(&url).await.batch_execute("UPDATE organizations SET active = 1").await.unwrap();
    assert_ne!(nodes[0].changes().await.unwrap(), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_commits_late_is_not_passed_over() {
    let server = Postgres::start_with(&[("autovacuum", "off")]).await;
    let (nodes, url) = nodes(&server, 4).await;
    begin(&*nodes[0]).await;
    let begun = nodes[0].events(0, 10).await.unwrap().last().unwrap().0;
    let late = stranger(&url).await;
    late.batch_execute(
        "BEGIN; INSERT INTO outbox (id, organization_id, environment, type, object, detail, at_us) \
         SELECT id, organization_id, environment, type, 'late', detail, at_us FROM outbox",
    )
    .await
    .unwrap();
    nodes[1].create_session(&new_session(1)).await.unwrap();
    assert_eq!(nodes[2].events(begun, 10).await.unwrap(), [], "something may come before it");
    late.batch_execute("COMMIT").await.unwrap();
    let events = nodes[2].events(begun, 10).await.unwrap();
    assert_eq!(events[0].1.object, "late");
    assert_eq!(events[1].1.event_type, EventType::SessionCreated);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_is_told_that_the_database_is_unavailable() {
    let server = Postgres::start().await;
    let (nodes, url) = nodes(&server, 1).await;
    begin_with_credits(&*nodes[0], 10).await;
    let holder = stranger(&url).await;
    holder.batch_execute("BEGIN; SELECT 1 FROM organizations FOR NO KEY UPDATE").await.unwrap();
    // The first waits for the lock, the second for the connection.
    let [one, two] = [1, 2].map(paid);
    let (first, second) = tokio::join!(nodes[0].create_session(&one), nodes[0].create_session(&two));
    for waited in [first, second] {
        assert!(matches!(waited, Err(StorageError::Unavailable { .. })), "{waited:?}");
    }
    holder.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(nodes[0].create_session(&paid(1)).await, Ok(CreatePaid::Created(Some(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_when_nobody_waits_for_it() {
    let server = Postgres::start().await;
    let (nodes, url) = nodes(&server, 2).await;
    begin_with_credits(&*nodes[0], 10).await;
    let holder = stranger(&url).await;
    holder.batch_execute("BEGIN; SELECT 1 FROM organizations FOR NO KEY UPDATE").await.unwrap();
    let (node, waiting) =
        (Arc::clone(&nodes[0]), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    let creation = tokio::spawn(async move { node.create_session(&paid(1)).await });
    while holder.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    creation.abort();
    holder.batch_execute("COMMIT").await.unwrap();
    nodes[0].close().await.unwrap();
    assert!(nodes[1].session(TENANT, SessionId::from_bits(1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_append_only() {
    let server = Postgres::start().await;
    let (nodes, url) = nodes(&server, 2).await;
    begin_with_credits(&*nodes[0], 10).await;
    let someone = stranger(&url).await;
    for sql in ["UPDATE credit_ledger SET amount = 1000", "DELETE FROM credit_ledger", "TRUNCATE credit_ledger"] {
        let refused = someone.batch_execute(sql).await.unwrap_err();
        assert!(refused.as_db_error().unwrap().message().contains("append-only"), "{refused:?}");
    }
}
