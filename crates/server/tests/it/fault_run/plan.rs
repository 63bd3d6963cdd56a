//! Which faults happen when: decided by the seed alone before the run begins, so that a run can be replayed.

use std::time::Duration;

use crate::load::Chance;

/// Most faults at once; the next begins only after one of them has ended.
const AT_ONCE_MAX: usize = 3;
/// The first death is longer than it takes until a node is taken for dead (10 s), so that others take over its sessions.
const LONG_DEATH: Duration = Duration::from_secs(13);

/// From here on a run has time for faults that are longer than any time limit within a node.
const LONG_RUN: Duration = Duration::from_secs(60);

/// A connection that a proxy stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Of this node to PostgreSQL.
    Postgres(usize),
    /// Of this node to Redis.
    Redis(usize),
    /// Of the other nodes to this one.
    Peers(usize),
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is reset, and refused until the end.
    Cut,
    /// Nothing comes through until the end.
    Stalled,
    /// It is reset once.
    Reset,
    /// All comes late.
    Slow,
}

/// What happens; it begins, lasts, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Kill -9 of a node, and its restart at the end.
    NodeKilled(usize),
    /// An orderly stop of a node, and its restart at the end.
    NodeStopped(usize),
    /// Kill -9 of all of PostgreSQL's processes, and its restart at the end.
    PostgresKilled,
    /// A fast shutdown of PostgreSQL, and its restart at the end.
    PostgresStopped,
    /// PostgreSQL answers nothing until the end.
    PostgresPaused,
    /// Redis is killed, and started empty at the end.
    RedisKilled,
    /// Redis answers nothing until the end.
    RedisPaused,
    /// Redis can't be reached by any node until the end.
    RedisCutFromAll,
    /// Something happens to a connection.
    Network(Link, Damage),
}

/// What a fault is done to: two at once are never done to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Node(usize),
    Postgres,
    Redis,
    RedisLinks,
    Link(Link),
}

impl Fault {
    /// For the report.
    pub(super) fn name(self) -> String {
        match self {
            Self::NodeKilled(_) => "node killed".to_owned(),
            Self::NodeStopped(_) => "node stopped".to_owned(),
            Self::PostgresKilled => "PostgreSQL killed".to_owned(),
            Self::PostgresStopped => "PostgreSQL stopped".to_owned(),
            Self::PostgresPaused => "PostgreSQL paused".to_owned(),
            Self::RedisKilled => "Redis killed".to_owned(),
            Self::RedisPaused => "Redis paused".to_owned(),
            Self::RedisCutFromAll => "Redis cut from all".to_owned(),
            Self::Network(link, damage) => {
                let link = match link {
                    Link::Postgres(_) => "a node's link to PostgreSQL",
                    Link::Redis(_) => "a node's link to Redis",
                    Link::Peers(_) => "the others' link to a node",
                };
                format!("{link}: {damage:?}")
            }
        }
    }

    fn target(self) -> Target {
        match self {
            Self::NodeKilled(node) | Self::NodeStopped(node) => Target::Node(node),
            Self::PostgresKilled | Self::PostgresStopped | Self::PostgresPaused => Target::Postgres,
            Self::RedisKilled | Self::RedisPaused => Target::Redis,
            Self::RedisCutFromAll => Target::RedisLinks,
            Self::Network(link, _) => Target::Link(link),
        }
    }

    fn excludes(self, other: Self) -> bool {
        match (self.target(), other.target()) {
            (Target::RedisLinks, Target::Link(Link::Redis(_))) | (Target::Link(Link::Redis(_)), Target::RedisLinks) => {
                true
            }
            (one, other) => one == other,
        }
    }

    /// Every kind once, with a node for those that need one.
    fn every_kind(nodes: usize, shared: bool, chance: &mut Chance) -> Vec<Self> {
        let mut node = || chance.below(nodes as u64) as usize;
        // As often as everything that happens to one of PostgreSQL, Redis and the network.
        let mut all = vec![Self::NodeKilled(node()), Self::NodeStopped(node())];
        if shared {
            all.extend([Self::NodeKilled(node()), Self::NodeKilled(node())]);
            all.extend([Self::PostgresKilled, Self::PostgresStopped, Self::PostgresPaused]);
            all.extend([Self::RedisKilled, Self::RedisPaused, Self::RedisCutFromAll]);
            for damage in [Damage::Cut, Damage::Stalled, Damage::Reset, Damage::Slow] {
                all.push(Self::Network(Link::Postgres(node()), damage));
                all.push(Self::Network(Link::Redis(node()), damage));
                all.push(Self::Network(Link::Peers(node()), damage));
            }
        }
        all
    }
}

/// A fault and its time, counted from the beginning of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) begins: Duration,
    pub(super) lasts: Duration,
    pub(super) fault: Fault,
}

impl Planned {
    fn ends(&self) -> Duration {
        self.begins + self.lasts
    }
}

/// The faults of a run that lasts so long, in the order in which they begin. `shared` says that there are PostgreSQL and Redis.
pub(super) fn plan(seed: u64, duration: Duration, nodes: usize, shared: bool) -> Vec<Planned> {
    let mut chance = Chance::new([seed, 0, 0xFA17]);
    let mut plan: Vec<Planned> = Vec::new();
    let mut bag: Vec<Fault> = Vec::new();
    let mut now = Duration::from_millis(1_500);
    if shared && duration > now + LONG_DEATH {
        plan.push(Planned {
            begins: now,
            lasts: LONG_DEATH,
            fault: Fault::NodeKilled(chance.below(nodes as u64) as usize),
        });
    }
    loop {
        now += Duration::from_millis(100 + chance.below(1_000));
        if bag.is_empty() {
            bag = Fault::every_kind(nodes, shared, &mut chance);
        }
        let fault = bag.swap_remove(chance.below(bag.len() as u64) as usize);
        // Without the only node nothing is done at all.
        let lasts_ms = match chance.below(12) {
            _ if nodes == 1 => chance.below(400),
            0 if duration >= LONG_RUN => 8_000 + chance.below(8_000),
            _ if duration >= LONG_RUN => 100 + chance.below(3_500),
            _ => 100 + chance.below(1_900),
        };
        let lasts = Duration::from_millis(lasts_ms);
        // It waits until there is room for it, and nothing else is done to the same.
        loop {
            let others: Vec<&Planned> = plan.iter().filter(|other| other.ends() > now).collect();
            if others.len() < AT_ONCE_MAX && !others.iter().any(|other| fault.excludes(other.fault)) {
                break;
            }
            now = others.iter().map(|other| other.ends()).min().unwrap_or(now);
        }
        if now + lasts > duration {
            return plan;
        }
        plan.push(Planned { begins: now, lasts, fault });
    }
}

#[test]
fn a_plan_follows_from_its_seed_has_every_kind_and_ends_in_time() {
    let duration = Duration::from_secs(600);
    let one = plan(7, duration, 3, true);
    assert_eq!(one, plan(7, duration, 3, true));
    assert_ne!(one, plan(8, duration, 3, true));
    let kinds =
        |plan: &[Planned]| plan.iter().map(|planned| planned.fault.name()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(kinds(&one).len(), 20);
    assert_eq!(kinds(&plan(7, duration, 1, false)).len(), 2);
    for (number, planned) in one.iter().enumerate() {
        assert!(planned.ends() <= duration);
        let under_way: Vec<_> = one[..number].iter().filter(|other| other.ends() > planned.begins).collect();
        assert!(under_way.len() < AT_ONCE_MAX, "{planned:?} {under_way:?}");
        assert!(!under_way.iter().any(|other| other.fault.excludes(planned.fault)), "{planned:?} {under_way:?}");
    }
}
