//! What nodes promise that share a database, and on which of them a session lives.
//!
//! A time after which nodes are away that is zero makes every node away at once; a long one makes none.

use std::time::Duration;

use futures_util::future::{join, join_all};
use kallglot_core::event::EventType;
use kallglot_core::id::{ApiKeyId, NodeId, SessionId};
use kallglot_core::session::{EndReason, Session, SessionState, Tenant};

use super::example::{STRANGERS, TENANT, at, begin, change, event, key, new_session, secret};
use crate::{GateChange, Home, NewSession, Node, Storage};

const SESSION: SessionId = SessionId::from_bits(1);
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

fn node(number: u128) -> Node {
    Node { id: NodeId::from_bits(number), url: format!("http://10.0.0.{number}:8080"), version: "0.1.0".into() }
}

fn id(number: u128) -> NodeId {
    NodeId::from_bits(number)
}

pub async fn nodes_are_there_while_they_say_so(storage: &impl Storage) {
    let beat = async |number, away_after| {
        let beat = storage.beat(&node(number), away_after).await.unwrap();
        (beat.nodes, beat.was_away)
    };
    assert_eq!(beat(2, LONG).await, (vec![node(2)], true), "a new one");
    assert_eq!(beat(2, LONG).await, (vec![node(2)], false));
    assert_eq!(beat(1, LONG).await, (vec![node(1), node(2)], true));
    assert_eq!(beat(2, Duration::ZERO).await, (vec![node(2)], true), "all had been away, and one has just come back");
    assert_eq!(beat(1, LONG).await, (vec![node(1), node(2)], false));

    storage.leave(id(2)).await.unwrap();
    storage.leave(id(9)).await.unwrap();
    assert_eq!(beat(1, LONG).await, (vec![node(1)], false));
    assert_eq!(beat(2, LONG).await, (vec![node(1), node(2)], true));
}

pub async fn a_node_with_the_url_of_another_is_its_next_life(storage: &impl Storage) {
    storage.beat(&node(1), LONG).await.unwrap();
    let next = Node { id: id(3), ..node(1) };
    let beat = storage.beat(&next, LONG).await.unwrap();
    assert_eq!((beat.nodes, beat.was_away), (vec![next], true));
    assert!(storage.beat(&node(1), LONG).await.unwrap().was_away, "it has been replaced meanwhile");
}

pub async fn a_session_lives_where_its_first_stream_came(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    let settle = async |number, second, away_after| {
        let settled = storage.settle_session(SESSION, id(number), at(second), away_after).await.unwrap();
        let (session, home) = settled.unwrap();
        assert_eq!(session.state, SessionState::Active { started_at: None });
        assert_eq!(storage.session(TENANT, SESSION).await.unwrap(), Some(session));
        home
    };
    assert_eq!(storage.session_home(SESSION, LONG).await.unwrap(), None);
    storage.beat(&node(1), LONG).await.unwrap();
    storage.beat(&node(2), LONG).await.unwrap();
    assert_eq!(settle(1, 20, LONG).await, Home::Here);
    assert_eq!(settle(1, 21, LONG).await, Home::Here);
    assert_eq!(storage.session_home(SESSION, LONG).await.unwrap(), Some(node(1)));
    assert_eq!(settle(2, 22, LONG).await, Home::There(node(1)));
    assert_eq!(
        storage.session(TENANT, SESSION).await.unwrap().unwrap().last_activity_at,
        at(21),
        "it is not its stream"
    );
    assert_eq!(storage.sessions_moved(id(1), &[SESSION]).await.unwrap(), []);

    assert_eq!(storage.session_home(SESSION, Duration::ZERO).await.unwrap(), None);
    assert_eq!(settle(2, 23, Duration::ZERO).await, Home::Here, "node 1 is away");
    assert_eq!(storage.session_home(SESSION, LONG).await.unwrap(), Some(node(2)));
    assert_eq!(settle(1, 24, LONG).await, Home::There(node(2)), "it comes back too late");
    let all = [SESSION, SessionId::from_bits(2)];
    assert_eq!(storage.sessions_moved(id(1), &all).await.unwrap(), [SESSION]);
    assert_eq!(storage.sessions_moved(id(2), &all).await.unwrap(), []);

    storage.leave(id(2)).await.unwrap();
    assert_eq!(settle(1, 25, LONG).await, Home::Here);
    assert_eq!(storage.settle_session(SessionId::from_bits(9), id(1), at(26), LONG).await.unwrap(), None);
}

pub async fn an_ended_session_moves_nowhere(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    storage.beat(&node(1), LONG).await.unwrap();
    storage.settle_session(SESSION, id(1), at(20), LONG).await.unwrap();
    let ended = event(EventType::SessionEnded, &SESSION.to_string());
    let ended = storage.end_session(TENANT, SESSION, at(30), EndReason::Completed, &ended).await.unwrap().unwrap();
    let settled = storage.settle_session(SESSION, id(2), at(40), Duration::ZERO).await.unwrap();
    assert_eq!(settled, Some((ended.session, Home::Here)));
    assert_eq!(storage.session_home(SESSION, LONG).await.unwrap(), Some(node(1)));
}

pub async fn two_nodes_that_settle_a_session_at_once_agree(storage: &impl Storage) {
    begin(storage).await;
    for number in [1, 2] {
        storage.beat(&node(number), LONG).await.unwrap();
    }
    for number in 1..=10 {
        storage.create_session(&new_session(number)).await.unwrap();
        let session = SessionId::from_bits(number);
        let settle = |number| storage.settle_session(session, id(number), at(20), LONG);
        let (one, two) = join(settle(1), settle(2)).await;
        match (one.unwrap().unwrap().1, two.unwrap().unwrap().1) {
            (Home::Here, Home::There(there)) => assert_eq!(there, node(1)),
            (Home::There(there), Home::Here) => assert_eq!(there, node(2)),
            both => panic!("{both:?}"),
        }
    }
}

pub async fn an_end_is_asked_of_the_node_that_has_the_session(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    let marker = storage.gate_changes_since(None).await.unwrap().marker;
    for stranger in STRANGERS {
        storage.ask_to_end_session(stranger, SESSION, EndReason::Error).await.unwrap();
    }
    storage.ask_to_end_session(TENANT, SessionId::from_bits(9), EndReason::Error).await.unwrap();
    storage.ask_to_end_session(TENANT, SESSION, EndReason::ExplicitEnd).await.unwrap();
    let told = storage.gate_changes_since(Some(marker)).await.unwrap();
    assert_eq!(told.changes, [GateChange::EndSession(SESSION, EndReason::ExplicitEnd)]);
    let session = storage.session(TENANT, SESSION).await.unwrap().unwrap();
    assert_eq!(session.state, SessionState::Created, "the node does the rest");
}

pub async fn idle_sessions_of_other_nodes_are_left_to_them(storage: &impl Storage) {
    begin(storage).await;
    for number in 1..=3 {
        storage.create_session(&new_session(number)).await.unwrap();
    }
    storage.beat(&node(1), LONG).await.unwrap();
    for number in [1, 2] {
        storage.settle_session(SessionId::from_bits(number), id(number), at(20), LONG).await.unwrap();
    }
    let idle = async |node, away_after| {
        let idle = storage.idle_sessions(at(100), 10, id(node), away_after).await.unwrap();
        idle.iter().map(|session| session.id.to_bits()).collect::<Vec<_>>()
    };
    // Session 3 lives nowhere, and node 2 has never said that it is there.
    assert_eq!(idle(1, LONG).await, [3, 1, 2]);
    assert_eq!(idle(2, LONG).await, [3, 2]);
    assert_eq!(idle(2, Duration::ZERO).await, [3, 1, 2]);
}

pub async fn a_keys_open_sessions_are_found(storage: &impl Storage) {
    begin(storage).await;
    storage.create_key(&key(2), &secret(2), None, &change(10, 3)).await.unwrap();
    for number in 1..=4 {
        let new = new_session(number);
        let created_by = ApiKeyId::from_bits(if number == 3 { 2 } else { 1 });
        let session = Session { created_by, ..new.session };
        storage.create_session(&NewSession { session, ..new }).await.unwrap();
    }
    let ended = SessionId::from_bits(4);
    let event = event(EventType::SessionEnded, "sess");
    storage.end_session(TENANT, ended, at(20), EndReason::Completed, &event).await.unwrap();
    let open = async |tenant, key, limit| {
        let open = storage.open_sessions_by(tenant, ApiKeyId::from_bits(key), limit).await.unwrap();
        open.iter().map(|session| session.id.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(open(TENANT, 1, 10).await, [2, 1], "newest first, without the ended one");
    assert_eq!(open(TENANT, 1, 1).await, [2]);
    assert_eq!(open(TENANT, 2, 10).await, [3]);
    for stranger in STRANGERS {
        assert_eq!(open(stranger, 1, 10).await, [0; 0]);
    }
}

pub async fn a_tenants_open_sessions_are_found_in_pages(storage: &impl Storage) {
    begin(storage).await;
    for number in [3, 1, 4, 2] {
        storage.create_session(&new_session(number)).await.unwrap();
    }
    let ended = event(EventType::SessionEnded, "");
    storage.end_session(TENANT, SessionId::from_bits(2), at(20), EndReason::Completed, &ended).await.unwrap();
    let open = async |tenant: Tenant, after: Option<u128>, limit| {
        let open = storage.open_sessions_of(tenant, after.map(SessionId::from_bits), limit).await.unwrap();
        open.iter().map(|session| session.id.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(open(TENANT, None, 2).await, [1, 3]);
    assert_eq!(open(TENANT, Some(3), 2).await, [4]);
    for stranger in STRANGERS {
        assert_eq!(open(stranger, None, 9).await, []);
    }
}

pub async fn the_first_mark_is_kept(storage: &impl Storage) {
    let marks = ["a", "b", "c", "d"];
    let kept = join_all(marks.iter().map(|mark| storage.keep_mark("pepper", mark))).await;
    let first = kept[0].clone().unwrap();
    assert!(marks.contains(&first.as_str()));
    assert!(kept.iter().all(|kept| kept.as_ref() == Ok(&first)), "{kept:?}");
    assert_eq!(storage.keep_mark("pepper", "e").await, Ok(first));
    assert_eq!(storage.keep_mark("other", "e").await, Ok("e".into()));
}
