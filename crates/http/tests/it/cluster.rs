//! Several nodes on one PostgreSQL and one Redis: limits hold over all of them, changes reach all of them, a session is reached from all
//! of them, and the loss of one part stops no more than it must (contract sections 3 to 8, 11 and 14).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kallglot_core::api_key::{Pepper, Peppers};
use kallglot_core::permission::Permission;
use kallglot_core::session::{Environment, Mode, Speaker, Tenant};
use kallglot_testkit::backing::{Cables, Servers};
use kallglot_testkit::client::{Body, Client, EventStream, NewSession, ServerMessage, Session, Stream, TokenPlacement};
use kallglot_testkit::{Call, FakeClock, ServerBuilder, TestServer, next_matching, soon};

use crate::limits::{at_once, new_session, outcome, with_limits};
use crate::observers::observe;

/// Nodes on one database and one Redis, each through cables of its own.
struct Nodes {
    servers: Arc<Servers>,
    nodes: Vec<TestServer>,
    cables: Vec<Cables>,
}

impl Nodes {
    async fn start(count: u64) -> Self {
        let servers = Servers::start().await;
        let clock = Arc::new(FakeClock::default());
        let (mut nodes, mut cables) = (Vec::new(), Vec::new());
        for seed in 1..=count {
            let (backing, own) = servers.backing_through().await;
            nodes.push(ServerBuilder::default().start_on(backing, Arc::clone(&clock), seed).await);
            cables.push(own);
        }
        let all = Self { servers, nodes, cables };
        for node in &all.nodes {
            soon("all nodes are known", async {
                let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
                while node.app.node.nodes.load(std::sync::atomic::Ordering::Relaxed) < count as u32 {
                    look.tick().await;
                }
            })
            .await;
        }
        all
    }

    /// The same key at every node.
    fn clients(&self, secret: &str) -> Vec<Client> {
        self.nodes.iter().map(|node| node.client_with(secret)).collect()
    }

    async fn finish(self) {
        for node in self.nodes {
            node.finish().await;
        }
    }
}

/// A stream on a session by way of this node, whatever the session's own address.
async fn join_at(node: &TestServer, session: &Session, speaker: Option<Speaker>) -> Stream {
    let stream = session.stream.as_ref().unwrap();
    let path = &stream.url[stream.url.find("/v1/").unwrap()..];
    let url = format!("ws://{}{path}", node.address);
    let token = stream.token.as_ref().unwrap().reveal();
    let mut stream = Stream::connect(&url, token, TokenPlacement::Bearer, speaker).await.unwrap();
    next_matching(&mut stream, "session.ready", |message| matches!(message, ServerMessage::Ready { .. })).await;
    stream
}

/// Asks until the answer is as wanted.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    soon(what, async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        while !is_so().await {
            look.tick().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_let_exactly_one_limit_through() {
    let nodes = Nodes::start(3).await;
    let organization = with_limits(&nodes.nodes[0], 1000, 600, 50).await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let clients = nodes.clients(&secret);
    let outcomes = at_once(64, |index| {
        let client = clients[index % 3].clone();
        async move {
            let mut outcomes = Vec::new();
            for _ in 0..15 {
                outcomes.push(outcome(&client.get("/v1/whoami").await.unwrap()));
            }
            outcomes
        }
    })
    .await;
    let expected = BTreeMap::from([("200 ".into(), 600), ("429 rate_limit_exceeded".into(), 64 * 15 - 600)]);
    assert_eq!(outcomes, expected);
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_share_fifty_slots_and_37_credits() {
    let nodes = Nodes::start(3).await;
    for (credits, slots, made, refusal) in
        [(1000, 50, 50, "429 concurrent_session_limit_exceeded"), (37, 500, 37, "402 insufficient_api_credits")]
    {
        let organization = with_limits(&nodes.nodes[0], credits, 1000, slots).await;
        let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
        let clients = nodes.clients(&secret);
        let outcomes = at_once(200, |index| {
            let client = clients[index % 3].clone();
            async move { vec![outcome(&client.post("/v1/sessions", new_session()).await.unwrap())] }
        })
        .await;
        assert_eq!(outcomes, BTreeMap::from([("201 ".into(), made), (refusal.into(), 200 - made)]));
        let storage = &nodes.nodes[1].app.storage;
        let left = storage.credit_balance(organization.id).await.unwrap().unwrap().remaining;
        assert_eq!(left, i64::from(credits) - made as i64);
    }
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_over_three_nodes_makes_one_session() {
    let nodes = Nodes::start(3).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let clients = nodes.clients(&secret);
    let tasks: Vec<_> = (0..60)
        .map(|index| {
            let client = clients[index % 3].clone();
            tokio::spawn(async move {
                let headers = [("idempotency-key", "order-17")];
                client.request("POST", "/v1/sessions", &headers, Body::Json(new_session())).await.unwrap()
            })
        })
        .collect();
    let mut made = BTreeSet::new();
    for task in tasks {
        let answer = soon("an answer", task).await.unwrap();
        match answer.status {
            201 => drop(made.insert(answer.json()["id"].as_str().unwrap().to_owned())),
            409 => {}
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(made.len(), 1);
    let left = nodes.nodes[2].app.storage.credit_balance(organization.id).await.unwrap().unwrap().remaining;
    assert_eq!(left, 999, "it was paid for once");
    // Whoever asks later, wherever, gets the same answer, as soon as the last of the requests has let go of the key.
    for client in &clients {
        until("the answer is given again", async || {
            let headers = [("idempotency-key", "order-17")];
            let answer = client.request("POST", "/v1/sessions", &headers, Body::Json(new_session())).await.unwrap();
            if answer.status == 409 {
                return false;
            }
            assert_eq!(answer.json()["id"].as_str(), made.first().map(String::as_str), "{}", answer.text());
            assert_eq!(answer.header("idempotent-replayed"), Some("true"));
            true
        })
        .await;
    }
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_everywhere_also_without_the_message() {
    let nodes = Nodes::start(3).await;
    let organization = nodes.nodes[0].organization().await;
    for cut in [false, true] {
        let (key, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
        let clients = nodes.clients(&secret);
        for client in &clients {
            assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
        }
        if cut {
            nodes.cables[2].redis.cut().await;
        }
        let admin = nodes.nodes[0].client_that_may(&organization, &[Permission::ApiKeysManage]).await;
        let revoked = admin.post(&format!("/v1/api_keys/{key}/revoke"), serde_json::json!({})).await.unwrap();
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        assert_eq!(clients[0].get("/v1/whoami").await.unwrap().status, 401, "at once where it was revoked");
        for client in &clients[1..] {
            until("it is refused", async || client.get("/v1/whoami").await.unwrap().status == 401).await;
        }
    }
    nodes.cables[2].redis.mend().await;
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_watched_at_any_node_and_the_watcher_goes_on_at_another() {
    let nodes = Nodes::start(2).await;
    let organization = nodes.nodes[0].organization().await;
    let (key, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let [first, second] = <[Client; 2]>::try_from(nodes.clients(&secret)).unwrap();
    let new = NewSession::new(Mode::BidirectionalTranslation, "en", "es");
    let session = first.create_session(&new).await.unwrap();
    let next = async |stream: &mut EventStream| soon("an event", stream.next()).await.unwrap();
    let mut stream = second.session_events(&session.id, None).await.unwrap().unwrap();
    let created = next(&mut stream).await.unwrap();
    assert_eq!((created.id.as_deref(), created.event.as_str()), (Some("1"), "session.created"));
    // Its audio and its end come in at the other node.
    let mut call = Call { stream: join_at(&nodes.nodes[0], &session, None).await, session };
    call.play(Speaker::Customer, &[0xff; 160]).await;
    let started = next(&mut stream).await.unwrap();
    assert_eq!(started.event, "session.started");
    drop(stream);
    let mut stream = first.session_events(&call.session.id, started.id.as_deref()).await.unwrap().unwrap();
    second.end_session(&call.session.id, None).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap().event, "session.ended");
    assert_eq!(next(&mut stream).await, None);

    // A key that is revoked at one node is not let watch on at another.
    let session = first.create_session(&new).await.unwrap();
    let mut stream = second.session_events(&session.id, Some("1")).await.unwrap().unwrap();
    let admin = nodes.nodes[0].client_that_may(&organization, &[Permission::ApiKeysManage]).await;
    let revoked = admin.post(&format!("/v1/api_keys/{key}/revoke"), serde_json::json!({})).await.unwrap();
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(next(&mut stream).await, None, "it has ended");
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parties_at_two_nodes_hear_each_other() {
    let nodes = Nodes::start(2).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let [first, second] = <[Client; 2]>::try_from(nodes.clients(&secret)).unwrap();
    let session = first.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let mut customer =
        Call { stream: join_at(&nodes.nodes[0], &session, Some(Speaker::Customer)).await, session: session.clone() };
    let mut agent =
        Call { stream: join_at(&nodes.nodes[1], &session, Some(Speaker::Agent)).await, session: session.clone() };
    assert!(nodes.nodes[0].app.hub.is_live(session.id.parse().unwrap()));
    assert!(!nodes.nodes[1].app.hub.is_live(session.id.parse().unwrap()), "it lives on one node");

    customer.say(Speaker::Customer, 600).await;
    let heard = |message: &ServerMessage| matches!(message, ServerMessage::Audio(_));
    next_matching(&mut agent.stream, "the translation", heard).await;
    agent.say(Speaker::Agent, 600).await;
    next_matching(&mut customer.stream, "the translation", heard).await;
    assert_eq!(second.transcript(&session.id).await.unwrap().turns.len(), 2, "it can be read from any node");

    // It can be ended from any node, too.
    let ended = second.end_session(&session.id, None).await.unwrap();
    assert_eq!(ended.status, "ended");
    for stream in [&mut customer.stream, &mut agent.stream] {
        assert_eq!(soon("a close", stream.wait_closed()).await.code, Some(1000));
    }
    let again = first.get_session(&session.id).await.unwrap();
    assert_eq!(again.status, "ended");
    let tenant = Tenant { organization: organization.id, environment: Environment::Live };
    assert_eq!(nodes.nodes[1].app.slots_in_use(tenant).await.unwrap(), 0);
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_observed_by_way_of_any_node() {
    let nodes = Nodes::start(2).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let api = nodes.nodes[0].client_with(&secret);
    let session = api.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let mut call = Call { stream: join_at(&nodes.nodes[0], &session, None).await, session: session.clone() };
    // A token that one node has signed is shown to the other.
    let token = nodes.nodes[0].app.observer_token(session.id.parse().unwrap(), Environment::Live).token;
    let mut observer = observe(&nodes.nodes[1], &session, &token).await.unwrap();
    next_matching(&mut observer, "ready", |message| matches!(message, ServerMessage::Ready { .. })).await;
    call.say(Speaker::Customer, 600).await;
    let said = call.next_final().await;
    let seen = next_matching(&mut observer, "the text", |message| matches!(message, ServerMessage::Final(_))).await;
    assert_eq!(seen, ServerMessage::Final(said));
    assert!(!nodes.nodes[1].app.hub.is_live(session.id.parse().unwrap()), "it lives where it lived");
    api.end_session(&session.id, None).await.unwrap();
    assert_eq!(soon("a close", observer.wait_closed()).await.code, Some(1000));
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_stops_its_calls_go_on_at_another_at_once() {
    let mut nodes = Nodes::start(2).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let clients = nodes.clients(&secret);
    let new = NewSession::new(Mode::BidirectionalTranslation, "en", "es");
    let session = clients[0].create_session(&new).await.unwrap();
    let mut call = Call { stream: join_at(&nodes.nodes[0], &session, None).await, session: session.clone() };
    // Another call lives on the second node and comes by way of the first.
    let other = clients[1].create_session(&new).await.unwrap();
    let kept = join_at(&nodes.nodes[1], &other, Some(Speaker::Agent)).await;
    let mut bridged = join_at(&nodes.nodes[0], &other, Some(Speaker::Customer)).await;
    call.say(Speaker::Customer, 600).await;
    let said = call.next_final().await;

    let stopping = tokio::spawn(nodes.nodes.remove(0).finish());
    for stream in [&mut call.stream, &mut bridged] {
        assert_eq!(soon("a close", stream.wait_closed()).await.code, Some(1001));
    }
    soon("the node stops", stopping).await.unwrap();

    // A fresh token from the node that is left, and the call goes on.
    let session = clients[1].get_session(&session.id).await.unwrap();
    let mut call = Call { stream: join_at(&nodes.nodes[0], &session, None).await, session };
    call.say(Speaker::Agent, 600).await;
    call.next_final().await;
    let transcript = clients[1].transcript(&call.session.id).await.unwrap();
    let turns: Vec<_> = transcript.turns.iter().map(|turn| (turn.sequence, turn.speaker.as_str())).collect();
    assert_eq!(turns, [(1, "customer"), (2, "agent")]);
    assert_eq!(transcript.turns[0].id, said.id);
    drop(kept);
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_node_counts_its_share_and_says_so() {
    let nodes = Nodes::start(2).await;
    let organization = with_limits(&nodes.nodes[0], 1000, 20, 4).await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let clients = nodes.clients(&secret);
    for client in &clients {
        assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
    }
    nodes.servers.redis.lock().await.kill().await;
    let ready = async |client: &Client| client.get("/readyz").await.unwrap();
    for client in &clients {
        until("it is seen", async || ready(client).await.text().contains("Redis does not answer")).await;
        assert_eq!(ready(client).await.status, 200, "no reason to send clients away");
    }
    for client in &clients {
        let outcomes = at_once(1, |_| {
            let client = client.clone();
            async move {
                let mut outcomes = Vec::new();
                for _ in 0..25 {
                    outcomes.push(outcome(&client.get("/v1/whoami").await.unwrap()));
                }
                outcomes
            }
        })
        .await;
        assert_eq!(outcomes["200 "], 10, "half of 20: {outcomes:?}");
    }
    nodes.servers.redis.lock().await.start_again().await;
    for client in &clients {
        until("it recovers", async || ready(client).await.text() == "ready\n").await;
    }
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_calls_go_on_and_nothing_said_is_lost() {
    let nodes = Nodes::start(1).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let api = nodes.nodes[0].client_with(&secret);
    let session = api.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let mut call = Call { stream: join_at(&nodes.nodes[0], &session, None).await, session: session.clone() };
    let mut to_end = Call::start(&api).await;
    call.say(Speaker::Customer, 600).await;
    let mut said = vec![call.next_final().await.id];
    to_end.say(Speaker::Customer, 600).await;
    to_end.next_final().await;

    nodes.cables[0].postgres.cut().await;
    let refused = api.post("/v1/sessions", new_session()).await.unwrap();
    assert_eq!(outcome(&refused), "503 service_unavailable");
    assert!(refused.header("retry-after").is_some());
    until("it is not ready", async || api.get("/readyz").await.unwrap().status == 503).await;
    for _ in 0..2 {
        call.say(Speaker::Agent, 600).await;
        said.push(call.next_final().await.id);
    }
    // Who loses the connection comes back to the call as long as it is live.
    call.stream = join_at(&nodes.nodes[0], &session, None).await;
    call.say(Speaker::Customer, 600).await;
    said.push(call.next_final().await.id);
    let ended = api.end_session(&to_end.session.id, None).await.unwrap();
    assert_eq!(ended.status, "ended");

    nodes.cables[0].postgres.mend().await;
    until("what was said is stored", async || {
        api.transcript(&session.id).await.is_ok_and(|transcript| transcript.turns.len() == said.len())
    })
    .await;
    let transcript = api.transcript(&session.id).await.unwrap();
    let turns: Vec<_> = transcript.turns.iter().map(|turn| turn.id.clone()).collect();
    assert_eq!(turns, said);
    until("the end is stored", async || {
        api.get_session(&to_end.session.id).await.is_ok_and(|session| session.status == "ended")
    })
    .await;
    assert_eq!(nodes.nodes[0].app.spool.bytes(), 0);
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_lets_go_of_what_others_took_over() {
    let nodes = Nodes::start(2).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let clients = nodes.clients(&secret);
    let session =
        clients[0].create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let mut call = Call { stream: join_at(&nodes.nodes[0], &session, None).await, session: session.clone() };
    call.say(Speaker::Customer, 600).await;
    let mut said = BTreeSet::from([call.next_final().await.id]);

    nodes.cables[0].postgres.cut().await;
    call.say(Speaker::Customer, 600).await;
    said.insert(call.next_final().await.id);
    // The other node takes the session over once the first has been silent for long enough.
    let id = session.id.parse().unwrap();
    until("nobody else has it", async || {
        let home = nodes.nodes[1].app.storage.session_home(id, kallglot_app::node::AWAY_AFTER).await.unwrap();
        home.is_none()
    })
    .await;
    let mut moved = Call { stream: join_at(&nodes.nodes[1], &session, None).await, session: session.clone() };
    moved.say(Speaker::Agent, 600).await;
    said.insert(moved.next_final().await.id);

    nodes.cables[0].postgres.mend().await;
    assert_eq!(soon("the old stream is closed", call.stream.wait_closed()).await.code, Some(1001));
    until("all that was said is in the transcript", async || {
        let transcript = clients[1].transcript(&session.id).await.unwrap();
        transcript.turns.iter().map(|turn| turn.id.clone()).collect::<BTreeSet<_>>() == said
    })
    .await;
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pepper_that_reaches_the_nodes_one_after_the_other_locks_nobody_out() {
    let nodes = Nodes::start(2).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let clients = nodes.clients(&secret);
    let rotated = || Peppers::new(Pepper::new(2, [2; 32]), vec![Pepper::new(1, [7; 32])]);
    let by_pepper = async || {
        let now = kallglot_core::clock::Clock::now(nodes.nodes[0].clock.as_ref());
        nodes.nodes[0].app.storage.secrets_by_pepper(now).await.unwrap()
    };

    nodes.nodes[0].app.set_peppers(rotated());
    for client in &clients {
        assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
    }
    let admin = nodes.nodes[0].client_that_may(&organization, &[Permission::ApiKeysManage]).await;
    let made = admin.post("/v1/api_keys", serde_json::json!({ "name": "new" })).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json()["secret"].as_str().unwrap().to_owned();
    for client in nodes.clients(&made) {
        assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200, "also where the new pepper is not there yet");
    }
    assert_eq!(
        by_pepper().await.iter().filter(|(number, _)| *number == 2).count(),
        1,
        "only what the test made itself"
    );

    // Once it must have reached all, secrets move to it when they are used.
    nodes.nodes[1].app.set_peppers(rotated());
    nodes.nodes[0].clock.advance(jiff::SignedDuration::from_mins(5));
    nodes.nodes[0].app.keys.forget_all();
    for client in &clients {
        assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
    }
    assert!(by_pepper().await.contains(&(2, 2)), "{:?}", by_pepper().await);
    nodes.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_of_several_nodes_adds_up_though_the_database_goes_away() {
    let nodes = Nodes::start(2).await;
    let organization = nodes.nodes[0].organization().await;
    let (_, secret) = nodes.nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
    let clients = nodes.clients(&secret);
    for round in 0..6 {
        for client in &clients {
            assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
        }
        // What was under way when the connection broke may have been stored or not.
        let (stored, ()) = tokio::join!(nodes.nodes[0].app.store_what_waits(), async {
            if round % 2 == 0 {
                nodes.cables[0].postgres.cut_connections().await;
            }
        });
        let _ = stored;
    }
    for node in &nodes.nodes {
        until("what waited is stored", async || node.app.store_what_waits().await.is_ok()).await;
    }
    let tenant = Tenant { organization: organization.id, environment: Environment::Live };
    let expected = crate::request_log::counted(&nodes.nodes[1], tenant).await;
    assert_eq!(expected.all().requests, 12);
    for node in &nodes.nodes {
        let report = node.app.usage(tenant, None, None, kallglot_app::usage::Period::Hour).await.unwrap();
        assert_eq!(report.all, expected);
    }
    nodes.finish().await;
}
