//! Everything fails that can, and nothing that was acknowledged is lost or doubled.
//!
//! Three nodes on one PostgreSQL and one Redis, each behind proxies, have clients that create, join, end and read sessions, talk, make and
//! take back keys, and grant credits, each through any node. Meanwhile faults happen by a plan that follows from a seed: nodes are killed and
//! stopped, PostgreSQL is killed, stopped and paused, Redis is emptied and paused, connections are cut, stalled, reset and slowed down. When
//! all that is over, what clients were told is compared with what there is. One node that runs alone goes through the same, with the faults
//! that it can have.
//!
//! What must stay true of a run:
//! - Clients stop at nothing: every answer must be one that the documents name, and no answer at all is excused only while a node is down.
//! - What is random follows from the seed; only moments within the programs are never the same twice.
//! - What takes part is a [`Capability`](capability::Capability); its module says how another one joins.
//!
//! A long run, beyond what nextest lets a test take:
//!
//!     KALLGLOT_FAULT_S=600 KALLGLOT_FAULT_SEED=7 cargo test -p kallglot-server --test it fault_run -- --nocapture

#![allow(clippy::print_stdout, reason = "who starts a long run reads what happens")]

mod calls;
mod capability;
mod cluster;
mod credits;
mod events;
mod keys;
mod organization;
mod plan;
mod report;
mod requests;
mod sessions;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::load::{self, Chance, text, variable};
use calls::Calls;
use capability::{Capability, Stored};
use cluster::Cluster;
use credits::Credits;
use events::Events;
use keys::Keys;
use organization::Organization;
use report::Report;
use requests::{Ask, Requests};
use sessions::Sessions;
use webhooks::Webhooks;

/// Longest that clients may take to finish what they are at: a call, and its end with everything that still fails.
const FINISH_MAX: Duration = Duration::from_secs(90);
/// Events that are read at once.
const EVENTS_MAX: u32 = 10_000;

/// All sessions of an organization, by id.
async fn all_sessions(requests: &Requests, organization: &Organization) -> BTreeMap<String, Value> {
    let get = |path: String| async move {
        let ask = Ask::get("list all sessions", &path, &organization.secret);
        requests.send_to(0, ask).await.done().expect("a page")
    };
    let listed = load::list(get, "/v1/sessions", None).await;
    listed.into_iter().map(|session| (text(&session, "/id").to_owned(), session)).collect()
}

async fn stored(requests: &Requests, organizations: &[&Organization]) -> Stored {
    let mut sessions = BTreeMap::new();
    for organization in organizations {
        sessions.insert(organization.id.clone(), all_sessions(requests, organization).await);
    }
    let storage = requests.cluster.storage().await;
    let (mut events, mut last) = (Vec::new(), 0);
    loop {
        let more = storage.events(last, EVENTS_MAX).await.unwrap();
        let Some((newest, _)) = more.last() else { break };
        last = *newest;
        events.extend(more.into_iter().map(|(_, event)| event));
    }
    Stored { sessions, events }
}

/// One client of a capability: acts until the run is over.
async fn work(capability: Arc<dyn Capability>, mut chance: Chance, over: Arc<AtomicBool>) {
    while !over.load(Ordering::SeqCst) {
        capability.act(&mut chance).await;
    }
}

async fn run(nodes: usize, shared: bool, seconds: u64) {
    let (seconds, seed) = (variable("KALLGLOT_FAULT_S", seconds), variable("KALLGLOT_FAULT_SEED", 1));
    println!("KALLGLOT_FAULT_S={seconds} KALLGLOT_FAULT_SEED={seed}");
    let report = Arc::new(Report::new());
    let cluster = Arc::new(Cluster::new(nodes, shared, &report).await);
    let receiver = webhooks::receiver(&cluster).await;
    cluster.start().await;
    let requests = Arc::new(Requests::new(&cluster, &report));
    let rich = Arc::new(Organization::new(&requests, 900_000, 60).await);
    let talking = Arc::new(Organization::new(&requests, 900_000, 20).await);
    let poor = Arc::new(Organization::new(&requests, 5, 5).await);
    // In the order in which they are brought to rest: calls before the sessions that they are, credits before what they are for.
    let capabilities: Vec<Arc<dyn Capability>> = vec![
        Arc::new(Calls::new(6, &talking, &requests)),
        Arc::new(Keys::new(2, &rich, &requests)),
        Arc::new(Credits::new("credits", &rich, &requests)),
        Arc::new(Credits::new("credits of calls", &talking, &requests)),
        Arc::new(Credits::new("credits that are scarce", &poor, &requests)),
        Arc::new(Sessions::new("sessions", 4, &rich, &requests)),
        Arc::new(Sessions::new("sessions beside calls", 1, &talking, &requests)),
        Arc::new(Sessions::new("sessions that can't be paid for", 1, &poor, &requests)),
        Arc::new(Events { report: Arc::clone(&report) }),
        Arc::new(Webhooks::new(receiver, &[&rich, &talking, &poor], &cluster, &report).await),
    ];

    let (began, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    println!("{} clients begin", report.now());
    let mut clients = JoinSet::new();
    for (kind, capability) in capabilities.iter().enumerate() {
        for client in 0..capability.clients() {
            let chance = Chance::new([seed, kind as u64 + 1, client as u64]);
            clients.spawn(work(Arc::clone(capability), chance, Arc::clone(&over)));
        }
    }
    let duration = Duration::from_secs(seconds);
    let mut faults = JoinSet::new();
    for planned in plan::plan(seed, duration, nodes, shared) {
        sleep_until(began + planned.begins).await;
        let cluster = Arc::clone(&cluster);
        faults.spawn(async move { cluster.suffer(planned).await });
    }
    sleep_until(began + duration).await;
    while let Some(done) = faults.join_next().await {
        done.unwrap();
    }
    println!("{} nothing fails any more", report.now());
    over.store(true, Ordering::SeqCst);
    let finished = timeout(FINISH_MAX, async {
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    });
    report.must(finished.await.is_ok(), || format!("{} clients do not finish", clients.len()));
    cluster.all_ready().await;
    requests.all_is_well();

    println!("{} all nodes are ready", report.now());
    let mut chance = Chance::new([seed, 0, 0]);
    for capability in &capabilities {
        println!("{} settling: {}", report.now(), capability.name());
        capability.settle(&mut chance).await;
    }
    let stored = stored(&requests, &[&rich, &talking, &poor]).await;
    report.add("checked", "sessions", stored.sessions.values().map(BTreeMap::len).sum::<usize>() as u64);
    for capability in &capabilities {
        println!("{} checking: {}", report.now(), capability.name());
        capability.check(&stored, &mut chance).await;
    }
    cluster.stop().await;
    cluster.read_logs();
    println!("\n{report}");
    if report.violations() > 0 {
        cluster.keep_logs(seed);
    }
    assert_eq!(report.violations(), 0, "KALLGLOT_FAULT_S={seconds} KALLGLOT_FAULT_SEED={seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_loses_and_doubles_nothing_when_it_is_killed_and_stopped_under_load() {
    run(1, false, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_lose_and_double_nothing_whatever_fails_under_load() {
    run(3, true, 20).await;
}
