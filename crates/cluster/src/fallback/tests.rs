//! What a node counts alone, with shared counters that can be switched off.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use kallglot_core::id::ApiKeyId;
use proptest::prelude::*;

use super::*;
use crate::conformance::{T, session, tenant};

/// How a node reaches what is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Up,
    /// Nothing arrives.
    Cut,
    /// What is asked arrives, the answer does not: it has been counted.
    Silent,
}

/// Shared counters as one node reaches them.
struct FakeShared {
    memory: Arc<Memory>,
    line: Mutex<Line>,
}

impl FakeShared {
    fn node(memory: &Arc<Memory>, nodes: u32) -> (Arc<Self>, Fallback) {
        let fake = Arc::new(Self { memory: Arc::clone(memory), line: Mutex::new(Line::Up) });
        let shared: Arc<dyn Cluster> = fake.clone();
        (fake, Fallback::new(shared, Arc::new(AtomicU32::new(nodes))))
    }

    fn put(&self, line: Line) {
        *self.line.lock().unwrap() = line;
    }

    /// Answers later, as over a network.
    fn pass<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a Memory) -> Answer<'a, Result<T>>,
    ) -> Answer<'a, Result<T>> {
        let line = *self.line.lock().unwrap();
        let away = Unavailable { cause: "switched off".into() };
        if line == Line::Cut {
            return Answer::Now(Err(away));
        }
        let answer = local(ask(&self.memory));
        let answer = if line == Line::Up { answer } else { Err(away) };
        Answer::Later(Box::pin(std::future::ready(answer)))
    }
}

impl Cluster for FakeShared {
    fn take(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        self.pass(|memory| memory.take(take, now_ms))
    }

    fn give_back(&self, take: &Take, rate: &Rate, now_ms: i64) -> Answer<'_, Result<Rate>> {
        self.pass(|memory| memory.give_back(take, rate, now_ms))
    }

    fn look(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        self.pass(|memory| memory.look(take, now_ms))
    }

    fn take_lease(
        &self,
        tenant: Tenant,
        session: SessionId,
        limit: u32,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Option<Lease>>> {
        self.pass(|memory| memory.take_lease(tenant, session, limit, until_ms, now_ms))
    }

    fn restore_leases(&self, tenant: Tenant, leases: &[(SessionId, i64)], now_ms: i64) -> Answer<'_, Result<()>> {
        self.pass(|memory| memory.restore_leases(tenant, leases, now_ms))
    }

    fn renew_leases(&self, sessions: &[(Tenant, SessionId)], until_ms: i64, now_ms: i64) -> Answer<'_, Result<()>> {
        self.pass(|memory| memory.renew_leases(sessions, until_ms, now_ms))
    }

    fn release_lease(&self, tenant: Tenant, session: SessionId) -> Answer<'_, Result<()>> {
        self.pass(|memory| memory.release_lease(tenant, session))
    }

    fn leases_in_use(&self, tenant: Tenant, now_ms: i64) -> Answer<'_, Result<Option<u32>>> {
        self.pass(|memory| memory.leases_in_use(tenant, now_ms))
    }

    fn claim(
        &self,
        tenant: Tenant,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        request: RequestId,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Claim>> {
        self.pass(|memory| memory.claim(tenant, key, fingerprint, request, until_ms, now_ms))
    }

    fn claimed_by(&self, tenant: Tenant, key: &IdempotencyKey, now_ms: i64) -> Answer<'_, Result<Option<RequestId>>> {
        self.pass(|memory| memory.claimed_by(tenant, key, now_ms))
    }

    fn release_claim(&self, tenant: Tenant, key: &IdempotencyKey, request: RequestId) -> Answer<'_, Result<()>> {
        self.pass(|memory| memory.release_claim(tenant, key, request))
    }

    fn count_failure(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        self.pass(|memory| memory.count_failure(address, limit, now_ms))
    }

    fn failures(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        self.pass(|memory| memory.failures(address, limit, now_ms))
    }

    fn announce(&self, news: &str) -> Answer<'_, Result<()>> {
        self.pass(|memory| memory.announce(news))
    }

    fn listen(&self) -> BoxStream<'static, Heard> {
        self.memory.listen()
    }

    fn check(&self) -> Answer<'_, Result<()>> {
        self.pass(Memory::check)
    }

    fn sweep(&self, now_ms: i64) {
        self.memory.sweep(now_ms);
    }
}

/// While it is there, a fallback is what it stands for.
mod whole {
    use super::*;

    async fn open() -> (Fallback, ()) {
        let (_, node) = FakeShared::node(&Arc::default(), 3);
        (node, ())
    }

    crate::conformance_suite!(open);
}

/// A node that is cut off, of one: its share is the whole limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_node_counts_alone_as_well_as_with_others() {
    use crate::conformance as case;

    let open = || {
        let (fake, node) = FakeShared::node(&Arc::default(), 1);
        fake.put(Line::Cut);
        Arc::new(node)
    };
    case::slots_are_exactly_as_many_as_the_limit(open()).await;
    case::slots_are_like_their_model(open()).await;
    case::an_idempotency_key_has_one_holder(open()).await;
    case::a_claim_lapses_and_is_released_by_its_holder_alone(open()).await;
    case::failures_are_counted_exactly_and_begin_anew(open()).await;
    case::a_bucket_lets_exactly_its_limit_through(open()).await;
    case::both_buckets_or_neither_whatever_the_concurrency(open()).await;
    case::what_is_given_back_can_be_taken_again_and_no_more(open()).await;
    case::a_bucket_is_like_its_model(open()).await;
}

fn wide(limit: u32) -> Take {
    Take { tenant: tenant(1), limit, own: None }
}

async fn passes(node: &Fallback, take: &Take, tries: usize) -> u32 {
    let mut passed = 0;
    for _ in 0..tries {
        passed += u32::from(node.take(take, T).get().await.unwrap().allowed);
    }
    passed
}

#[tokio::test]
async fn a_share_is_the_limit_divided_by_the_nodes_and_at_least_one() {
    let shares = [(600, 3, 200), (100, 3, 33), (2, 3, 1), (1, 1000, 1), (0, 3, 0), (5, 0, 5), (7, 1, 7)];
    for (limit, nodes, share) in shares {
        let (fake, node) = FakeShared::node(&Arc::default(), nodes);
        fake.put(Line::Cut);
        assert_eq!(passes(&node, &wide(limit), 700).await, share, "{limit} over {nodes}");
        let rate = node.look(&wide(limit), T).get().await.unwrap();
        assert_eq!((rate.tenant.limit, rate.by_share), (share, true), "a client is told what counts");
    }
}

#[tokio::test]
async fn a_key_with_its_own_limit_has_its_share_of_both() {
    let (fake, node) = FakeShared::node(&Arc::default(), 2);
    fake.put(Line::Silent);
    let narrow = Take { own: Some((ApiKeyId::from_bits(1), 6)), ..wide(10) };
    assert_eq!(passes(&node, &narrow, 9).await, 3);
    assert_eq!(passes(&node, &wide(10), 9).await, 2);
}

#[tokio::test]
async fn it_falls_back_and_comes_back_by_itself() {
    let (fake, node) = FakeShared::node(&Arc::default(), 3);
    assert_eq!(passes(&node, &wide(6), 1).await, 1);
    assert!(node.check().get().await.is_ok() && !node.is_away());
    fake.put(Line::Cut);
    assert_eq!(passes(&node, &wide(6), 9).await, 2);
    assert!(node.check().get().await.is_err(), "it works, and is not as it should be");
    node.sweep(T);
    assert!(node.is_away());
    fake.put(Line::Up);
    assert_eq!(passes(&node, &wide(6), 9).await, 5, "one of the six was taken before");
    assert!(node.is_away(), "it may go again at once");
    node.sweep(T);
    assert!(!node.is_away());
    assert_eq!(node.fallbacks(), 9);
    node.sweep(T);
    assert!(!node.is_away());
}

#[tokio::test]
async fn silence_is_not_taken_for_being_back() {
    let (fake, node) = FakeShared::node(&Arc::default(), 3);
    fake.put(Line::Cut);
    passes(&node, &wide(6), 1).await;
    for _ in 0..3 {
        node.sweep(T);
        assert!(node.is_away(), "nobody has answered since");
    }
}

#[tokio::test]
async fn what_was_counted_here_is_given_back_here() {
    let (fake, node) = FakeShared::node(&Arc::default(), 2);
    let there = node.take(&wide(4), T).get().await.unwrap();
    fake.put(Line::Cut);
    let here = node.take(&wide(4), T).get().await.unwrap();
    assert_eq!((there.by_share, here.by_share), (false, true));
    let kept = node.give_back(&wide(4), &there, T).get().await.unwrap();
    assert_eq!((kept.tenant.used, kept.allowed), (1, false), "it can't be given back now");
    assert_eq!(node.look(&wide(4), T).get().await.unwrap().tenant.used, 1);
    fake.put(Line::Up);
    node.give_back(&wide(4), &here, T).get().await.unwrap();
    assert_eq!(node.look(&wide(4), T).get().await.unwrap().tenant.used, 1, "the unit there stays");
    node.give_back(&wide(4), &there, T).get().await.unwrap();
    assert_eq!(node.look(&wide(4), T).get().await.unwrap().tenant.used, 0);
    fake.put(Line::Cut);
    assert_eq!(node.look(&wide(4), T).get().await.unwrap().tenant.used, 0);
}

async fn lease(node: &Fallback, id: u128, limit: u32) -> bool {
    node.take_lease(tenant(1), session(id), limit, T + 30_000, T).get().await.unwrap().unwrap().taken
}

#[tokio::test]
async fn the_share_knows_of_the_sessions_that_run_here() {
    let (fake, node) = FakeShared::node(&Arc::default(), 2);
    assert!(lease(&node, 1, 6).await);
    node.renew_leases(&[(tenant(1), session(2))], T + 30_000, T).get().await.unwrap();
    fake.put(Line::Cut);
    assert!(lease(&node, 1, 6).await, "it has its slot already");
    assert!(lease(&node, 3, 6).await);
    assert!(!lease(&node, 4, 6).await, "half of six are in use here");
    assert_eq!(node.leases_in_use(tenant(1), T).get().await.unwrap(), Some(3));
    node.release_lease(tenant(1), session(2)).get().await.unwrap();
    assert!(lease(&node, 4, 6).await);
    assert_eq!(node.restore_leases(tenant(1), &[(session(9), T + 30_000)], T).get().await, Ok(()));
    assert_eq!(node.leases_in_use(tenant(1), T).get().await.unwrap(), Some(3), "others' sessions are others' shares");
}

#[tokio::test]
async fn slots_that_were_taken_alone_are_told_before_another_is_taken() {
    let memory = Arc::default();
    let (fake, node) = FakeShared::node(&memory, 2);
    fake.put(Line::Cut);
    for id in 1..=3 {
        assert!(lease(&node, id, 6).await);
    }
    node.release_lease(tenant(1), session(3)).get().await.unwrap();
    fake.put(Line::Up);
    let in_use = || local(memory.leases_in_use(tenant(1), T)).unwrap().unwrap();
    assert_eq!(in_use(), 0);
    assert!(lease(&node, 4, 6).await);
    assert_eq!(in_use(), 3);
    fake.put(Line::Cut);
    assert!(lease(&node, 5, 6).await == (in_use() < 3), "three run here");
    // The next renewal tells, too, also of sessions that nobody has joined yet.
    node.release_lease(tenant(1), session(4)).get().await.unwrap();
    assert!(lease(&node, 6, 6).await);
    fake.put(Line::Up);
    node.renew_leases(&[(tenant(1), session(1))], T + 30_000, T).get().await.unwrap();
    assert_eq!(in_use(), 4, "1, 2, 6, and 4, which could not be given back there");
}

#[tokio::test]
async fn an_idempotency_key_stays_held_over_the_change() {
    let (fake, node) = FakeShared::node(&Arc::default(), 2);
    let (_, other) = FakeShared::node(&Arc::clone(&fake.memory), 2);
    let key = IdempotencyKey::parse("order-17").unwrap();
    let claim = async |node: &Fallback, request| {
        let request = RequestId::from_bits(request);
        node.claim(tenant(1), &key, Fingerprint([1; 32]), request, T + 60_000, T).get().await.unwrap()
    };
    let release = async |request| {
        node.release_claim(tenant(1), &key, RequestId::from_bits(request)).get().await.unwrap();
    };
    assert_eq!(claim(&node, 1).await, Claim::Taken);
    fake.put(Line::Cut);
    assert!(matches!(claim(&node, 2).await, Claim::Held { .. }));
    assert_eq!(node.claimed_by(tenant(1), &key, T).get().await.unwrap(), Some(RequestId::from_bits(1)));
    release(1).await;
    assert_eq!(claim(&node, 3).await, Claim::Taken);
    fake.put(Line::Up);
    assert!(matches!(claim(&node, 4).await, Claim::Held { .. }), "what was claimed alone is still held");
    release(3).await;
    // What could not be released there is held until it lapses, and holds nobody here back after that.
    assert!(matches!(claim(&node, 5).await, Claim::Held { .. }));
    assert!(matches!(claim(&other, 6).await, Claim::Held { .. }));
    release(1).await;
    assert_eq!(claim(&node, 7).await, Claim::Taken);
    assert!(matches!(claim(&other, 8).await, Claim::Held { .. }));
}

#[derive(Debug, Clone)]
enum Step {
    Put(Line),
    Take,
    GiveBack,
    TakeLease(u128),
    Renew,
    Release(u128),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop_oneof![Just(Line::Up), Just(Line::Cut), Just(Line::Silent)].prop_map(Step::Put),
        8 => Just(Step::Take),
        2 => Just(Step::GiveBack),
        6 => (0u128..24).prop_map(Step::TakeLease),
        1 => Just(Step::Renew),
        2 => (0u128..24).prop_map(Step::Release),
    ]
}

proptest! {
    /// Three nodes, each of which reaches what is shared, or does not, in any order: never more than the limit and the shares.
    #[test]
    fn never_more_than_the_limit_and_the_shares(
        limit in 1u32..12,
        steps in prop::collection::vec((0usize..3, step()), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory = Arc::default();
            let nodes: Vec<_> = (0..3).map(|_| FakeShared::node(&memory, 3)).collect();
            let most = limit + 3 * (limit / 3).max(1);
            let mut taken: [Vec<Rate>; 3] = Default::default();
            // Which sessions run, and on which node.
            let mut running: HashMap<u128, usize> = HashMap::new();
            for (index, step) in steps {
                let (fake, node) = &nodes[index];
                match step {
                    Step::Put(line) => fake.put(line),
                    Step::Take => {
                        let rate = node.take(&wide(limit), T).get().await.unwrap();
                        if rate.allowed {
                            taken[index].push(rate);
                        }
                    }
                    Step::GiveBack => {
                        if let Some(rate) = taken[index].pop() {
                            node.give_back(&wide(limit), &rate, T).get().await.unwrap();
                        }
                    }
                    Step::TakeLease(id) if !running.contains_key(&id) => {
                        if lease(node, id, limit).await {
                            running.insert(id, index);
                        }
                    }
                    Step::Release(id) if running.get(&id) == Some(&index) => {
                        node.release_lease(tenant(1), session(id)).get().await.unwrap();
                        running.remove(&id);
                    }
                    Step::TakeLease(_) | Step::Release(_) => {}
                    Step::Renew => {
                        let here = running.iter().filter(|(_, on)| **on == index);
                        let slots: Vec<_> = here.map(|(id, _)| (tenant(1), session(*id))).collect();
                        node.renew_leases(&slots, T + 30_000, T).get().await.unwrap();
                    }
                }
                let outstanding: usize = taken.iter().map(Vec::len).sum();
                prop_assert!(outstanding as u32 <= most, "{outstanding} requests of {limit}");
                prop_assert!(running.len() as u32 <= most, "{} sessions of {limit}", running.len());
            }
            // When everybody is back, everything that runs is known, and counted exactly.
            for (fake, node) in &nodes {
                fake.put(Line::Up);
                node.renew_leases(&[], T + 30_000, T).get().await.unwrap();
            }
            let known = local(memory.leases_in_use(tenant(1), T)).unwrap().unwrap() as usize;
            prop_assert!(known >= running.len(), "{known} of {}", running.len());
            let rate = nodes[0].1.take(&wide(limit), T).get().await.unwrap();
            prop_assert!(!rate.by_share);
            Ok(())
        })?;
    }
}
