//! Decides what is sent when.
//!
//! One task owns what is known of the endpoints that this node has claimed. Beside it run the attempts (a task each, bounded), and at most
//! one look into the database and one transaction that keeps what came of attempts: under load many attempts share one of each.
//!
//! What must stay true: a delivery that is in hand is not fetched again before it is stored what came of it; who waits for the database
//! keeps at most [`UNSTORED_MAX`] results, then nothing new is begun.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kallglot_app::App;
use kallglot_app::node::AWAY_AFTER;
use kallglot_core::Timestamp;
use kallglot_core::audit::{Change, Who};
use kallglot_core::delivery::{Attempt, AttemptError, next_attempt};
use kallglot_core::id::{AuditId, WebhookId};
use kallglot_core::random;
use kallglot_core::webhook::sign;
use kallglot_storage::{
    AttemptReport, ClaimedState, ClaimedWebhook, DeliveryBacklog, StorageError, Verdict, Want, WebhookReport,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::{ConnectConfig, Connector, SendError};
use crate::endpoint::{Endpoint, Endpoints, Ready, Rendered, Target};
use crate::send::{ATTEMPT_MAX, Answer, attempt};

/// How often there is a look for what is due: alone, and where nodes share a database; and while much is to be done.
const LOOK_EVERY_ALONE: Duration = Duration::from_millis(50);
const LOOK_EVERY_SHARED: Duration = Duration::from_millis(100);
const LOOK_EVERY_BUSY: Duration = Duration::from_millis(10);
/// How long to wait after the database did not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often it is looked for endpoints of nodes that are away, and for how much there is to deliver in all.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(2);
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Endpoints that one look claims where others may take their part, and that one node has at most.
const CLAIMED_AT_ONCE: u32 = 16;
const CLAIMED_MAX: usize = 2000;
/// How long an endpoint to which nothing is due stays claimed: alone, and where others may do its next deliveries.
const KEPT_ALONE: Duration = Duration::from_secs(60);
const KEPT_SHARED: Duration = Duration::from_secs(5);
/// Endpoints that are asked for deliveries in one look.
const WANTS_MAX: usize = 200;
/// Results that one transaction keeps, and that wait to be kept before nothing new is begun.
const STORED_AT_ONCE: usize = 256;
const UNSTORED_MAX: usize = 4096;
/// How long what is under way may take when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How much is delivered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Most attempts under way; half of them for endpoints that are slow or fail.
    pub in_flight_max: usize,
    /// Longest that an attempt may take, from resolving the name to the answer's status.
    pub attempt_max: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { in_flight_max: 256, attempt_max: ATTEMPT_MAX }
    }
}

/// Delivers until `stop`.
pub fn start(
    app: &Arc<App>,
    connect: ConnectConfig,
    config: WorkerConfig,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let (finished, results) = mpsc::channel(config.in_flight_max);
    let worker = Worker {
        app: Arc::clone(app),
        connector: Arc::new(Connector::new(connect)),
        config,
        attempts: TaskTracker::new(),
        cut: CancellationToken::new(),
        began_at: Timestamp::UNIX_EPOCH,
        finished,
        results,
        endpoints: Endpoints::new(),
        in_flight: 0,
        done: Vec::new(),
        turn: 0,
        stop: stop.clone(),
    };
    tasks.spawn(worker.run());
}

/// An attempt that is over, and what it was of.
struct Done {
    ready: Ready,
    url: String,
    at: Timestamp,
    took: Duration,
    answer: Answer,
}

/// What a look into the database found.
#[derive(Default)]
struct Look {
    claimed: Vec<ClaimedState>,
    /// Endpoints that are new here, or have changed.
    changed: Vec<ClaimedWebhook>,
    ready: Vec<Ready>,
    /// Of which endpoints deliveries were asked for, and how many.
    asked: HashMap<WebhookId, u32>,
    backlog: Option<DeliveryBacklog>,
    /// Whether there may be more at once.
    busy: bool,
}

/// What a look is to find.
struct Ask {
    now: Timestamp,
    known: HashMap<WebhookId, i64>,
    wants: Vec<Want>,
    claim: u32,
    take_over: bool,
    count: bool,
}

/// How a look or a transaction ended.
type Looked = (Result<Look, StorageError>, bool, bool);
type Stored = (Vec<WebhookReport>, Result<Vec<WebhookId>, StorageError>);

struct Worker {
    app: Arc<App>,
    connector: Arc<Connector>,
    config: WorkerConfig,
    attempts: TaskTracker,
    /// Ends what is under way when the server can't wait for it.
    cut: CancellationToken,
    /// When the last attempt began.
    began_at: Timestamp,
    finished: mpsc::Sender<Done>,
    results: mpsc::Receiver<Done>,
    endpoints: Endpoints,
    in_flight: usize,
    /// What is to be stored.
    done: Vec<(WebhookId, AttemptReport, bool)>,
    /// With which endpoint the next round begins.
    turn: usize,
    stop: CancellationToken,
}

/// Ready when there is a future and it is.
async fn maybe<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(running) => {
            let answer = running.await;
            *future = None;
            answer
        }
        None => std::future::pending().await,
    }
}

impl Worker {
    async fn run(mut self) {
        let mut looking: Option<BoxFuture<'static, Looked>> = None;
        let mut storing: Option<BoxFuture<'static, Stored>> = None;
        let (mut look_at, mut store_at) = (Instant::now(), Instant::now());
        let (mut take_over_at, mut count_at) = (Instant::now(), Instant::now());
        let every = if self.app.node.shared.is_some() { LOOK_EVERY_SHARED } else { LOOK_EVERY_ALONE };
        let stop = self.stop.clone();
        self.be_there().await;
        while !stop.is_cancelled() {
            let now = Instant::now();
            if looking.is_none() && now >= look_at {
                let ask = self.ask(now >= take_over_at, now >= count_at);
                looking = Some(look(Arc::clone(&self.app), ask).boxed());
            }
            if storing.is_none() && now >= store_at && !self.done.is_empty() {
                storing = Some(self.store());
            }
            self.begin_what_may(now);
            let pause = self.next_pause(now);
            let wake_at = pause.into_iter().chain(looking.is_none().then_some(look_at)).min();
            let (hurry, app) = (looking.is_none(), Arc::clone(&self.app));
            tokio::select! {
                () = stop.cancelled() => {}
                Some(done) = self.results.recv() => {
                    self.over(done);
                    while let Ok(done) = self.results.try_recv() {
                        self.over(done);
                    }
                }
                stored = maybe(&mut storing) => {
                    store_at = if self.stored(stored) { now } else { Instant::now() + AGAIN_AFTER };
                }
                (looked, took_over, counted) = maybe(&mut looking) => {
                    let now = Instant::now();
                    if took_over { take_over_at = now + TAKE_OVER_EVERY; }
                    if counted { count_at = now + COUNT_EVERY; }
                    look_at = now + match looked {
                        Ok(look) => {
                            let busy = look.busy;
                            let release = self.looked(look, now);
                            if !release.is_empty() {
                                self.release(&release).await;
                            }
                            if busy { LOOK_EVERY_BUSY } else { every }
                        }
                        Err(error) => {
                            tracing::warn!(%error, "what is to be delivered can't be looked for");
                            AGAIN_AFTER
                        }
                    };
                }
                () = app.webhooks.hurry.notified(), if hurry => look_at = Instant::now(),
                () = tokio::time::sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
            }
            // Who runs dry should not wait for the next round.
            if looking.is_none()
                && self.endpoints.values().any(|it| it.queue.is_empty() && it.wanted() > 0 && it.in_flight() > 0)
            {
                look_at = look_at.min(Instant::now() + LOOK_EVERY_BUSY);
            }
        }
        self.finish(storing).await;
    }

    /// A node that shares its database is known to be there before it claims anything.
    async fn be_there(&self) {
        let Some(node) = &self.app.node.shared else { return };
        while let Err(error) = self.app.storage.beat(node, AWAY_AFTER).await {
            tracing::warn!(%error, "webhooks wait for the database");
            tokio::select! {
                () = tokio::time::sleep(AGAIN_AFTER) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn ask(&self, take_over: bool, count: bool) -> Ask {
        let alone = self.app.node.nodes.load(Relaxed) <= 1;
        let room = CLAIMED_MAX.saturating_sub(self.endpoints.len()) as u32;
        let full = self.done.len() >= UNSTORED_MAX;
        let wants = self.endpoints.iter().filter(|_| !full).filter_map(|(id, endpoint)| {
            let limit = endpoint.wanted();
            (limit > 0).then(|| Want { webhook: *id, held: endpoint.held(), limit })
        });
        let mut wants: Vec<Want> = wants.collect();
        // Those first that have nothing in hand.
        wants.sort_by_key(|want| want.held.len());
        wants.truncate(WANTS_MAX);
        Ask {
            now: self.app.clock.now(),
            known: self.endpoints.iter().map(|(id, endpoint)| (*id, endpoint.version)).collect(),
            wants,
            claim: if alone { room } else { room.min(CLAIMED_AT_ONCE) },
            take_over,
            count,
        }
    }

    /// Takes over what a look found; answers with the endpoints to give back.
    fn looked(&mut self, look: Look, now: Instant) -> Vec<WebhookId> {
        if let Some(backlog) = look.backlog {
            self.count(&backlog);
        }
        let webhooks = &self.app.webhooks;
        for claimed in &look.changed {
            self.endpoints
                .entry(claimed.webhook.id)
                .and_modify(|endpoint| endpoint.change(webhooks, claimed))
                .or_insert_with(|| Endpoint::of(webhooks, claimed));
        }
        let states: HashMap<WebhookId, &ClaimedState> = look.claimed.iter().map(|state| (state.id, state)).collect();
        // What was disabled, deleted, or taken over by another node. What is under way ends all the same.
        self.endpoints.retain(|id, endpoint| {
            if !states.contains_key(id) {
                endpoint.queue.clear();
            }
            states.contains_key(id) || !endpoint.is_empty()
        });
        let mut got: HashMap<WebhookId, u32> = HashMap::new();
        for ready in look.ready {
            *got.entry(ready.due.webhook).or_default() += 1;
            if let Some(endpoint) = self.endpoints.get_mut(&ready.due.webhook) {
                endpoint.enqueue(ready);
            }
        }
        let clock_now = self.app.clock.now();
        let kept = if self.app.node.nodes.load(Relaxed) <= 1 { KEPT_ALONE } else { KEPT_SHARED };
        let mut release = Vec::new();
        for (id, endpoint) in &mut self.endpoints {
            let Some(state) = states.get(id) else { continue };
            let due = state.due_at.is_some_and(|due_at| due_at <= clock_now);
            let got = got.get(id).copied().unwrap_or(0);
            let exhausted = look.asked.get(id).is_some_and(|asked| got < *asked);
            endpoint.more = due && (endpoint.is_empty() || !exhausted);
            if due {
                endpoint.busy_at = now;
            }
            if endpoint.is_empty() && !due && now.duration_since(endpoint.busy_at) >= kept {
                release.push(*id);
            }
            endpoint.target.pool.sweep();
        }
        for id in &release {
            self.endpoints.remove(id);
        }
        release
    }

    async fn release(&self, webhooks: &[WebhookId]) {
        if let Err(error) = self.app.storage.release_webhooks(self.app.node.id, webhooks).await {
            tracing::warn!(%error, "endpoints can't be given back; they stay with this node until the next look");
        }
    }

    fn count(&self, backlog: &DeliveryBacklog) {
        let counts = &self.app.webhooks.counts;
        let now_ms = self.app.clock.now().as_millisecond();
        let oldest_ms = backlog.oldest_due_at.map_or(0, |at| now_ms - at.as_millisecond());
        counts.due.store(backlog.due, Relaxed);
        counts.pending.store(backlog.pending, Relaxed);
        counts.oldest_due_ms.store(oldest_ms.max(0).unsigned_abs(), Relaxed);
    }

    /// When the next endpoint's pause ends.
    fn next_pause(&self, now: Instant) -> Option<Instant> {
        self.endpoints.values().filter_map(Endpoint::pause_ends).filter(|until| *until > now).min()
    }

    /// Begins attempts in turn, one of each endpoint that has something to send, as long as there is room.
    fn begin_what_may(&mut self, now: Instant) {
        if self.done.len() >= UNSTORED_MAX || self.in_flight >= self.config.in_flight_max {
            return;
        }
        let mut laggards = 0;
        let mut free: Vec<(WebhookId, bool)> = Vec::new();
        for (id, endpoint) in &self.endpoints {
            let laggard = endpoint.is_laggard(now);
            laggards += if laggard { endpoint.in_flight() } else { 0 };
            if endpoint.is_free(now) {
                free.push((*id, laggard));
            }
        }
        free.sort_unstable();
        let mut turn = self.turn;
        while !free.is_empty() && self.in_flight < self.config.in_flight_max {
            turn %= free.len();
            let (id, laggard) = free[turn];
            let may = !laggard || laggards < self.config.in_flight_max / 2;
            let begun = may && self.begin(id, now);
            if begun {
                laggards += usize::from(laggard);
                turn += 1;
            } else {
                free.remove(turn);
            }
        }
        self.turn = turn;
    }

    /// Begins an attempt at this endpoint, if it may have another one.
    fn begin(&mut self, id: WebhookId, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(&id).filter(|it| it.is_free(now)) else { return false };
        let Some(ready) = endpoint.begin(now) else { return false };
        let (target, connector) = (Arc::clone(&endpoint.target), Arc::clone(&self.connector));
        // An attempt is known by its time, also when the clock stands still.
        let later = self.began_at.checked_add(Duration::from_micros(1)).unwrap_or(self.began_at);
        let at = self.app.clock.now().max(later);
        self.began_at = at;
        let attempt_max = self.config.attempt_max;
        let (finished, cut) = (self.finished.clone(), self.cut.clone());
        self.in_flight += 1;
        self.app.webhooks.counts.in_flight.store(self.in_flight as u64, Relaxed);
        self.attempts.spawn(async move {
            let began = Instant::now();
            let answer = tokio::select! {
                answer = deliver(&connector, &target, &ready, at, attempt_max) => answer,
                () = cut.cancelled() => return,
            };
            let done = Done { ready, url: target.text.clone(), at, took: began.elapsed(), answer };
            // Nobody takes it any more only when the server has stopped.
            let _ = finished.send(done).await;
        });
        true
    }

    /// An attempt is over.
    fn over(&mut self, done: Done) {
        let Done { ready, url, at, took, answer } = done;
        let (app, due) = (&self.app, &ready.due);
        self.in_flight = self.in_flight.saturating_sub(1);
        let counts = &app.webhooks.counts;
        counts.in_flight.store(self.in_flight as u64, Relaxed);
        let (now, gone) = (app.clock.now(), answer.is_gone());
        let error = answer.error;
        let verdict = match &error {
            None => Verdict::Succeeded,
            Some(SendError { kind: AttemptError::EventForgotten, .. }) => Verdict::GivenUp,
            Some(_) => {
                let chance = u32::from_be_bytes(random::bytes(app.random.as_ref()));
                let next = next_attempt(due.tries + 1, due.begun_at, now, answer.retry_after_s, chance);
                next.map_or(Verdict::GivenUp, Verdict::Retry)
            }
        };
        match &error {
            None => {
                counts.succeeded.fetch_add(1, Relaxed);
                if due.tries == 0
                    && let Some(event) = &ready.event
                {
                    counts.took(now.duration_since(event.at).as_millis().max(0) as u64);
                }
            }
            Some(error) => {
                tracing::debug!(webhook = %due.webhook, delivery = %due.id, %error, "a delivery failed");
                counts.failed_with(error.kind);
                counts.given_up.fetch_add(u64::from(verdict == Verdict::GivenUp), Relaxed);
            }
        }
        if let Some(endpoint) = self.endpoints.get_mut(&due.webhook) {
            endpoint.end(due.id, error.is_none(), took, Instant::now());
        }
        let attempt = Attempt {
            at,
            url,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status: answer.status,
            error: error.as_ref().map(|error| error.kind),
            error_detail: error.map(|error| error.detail).unwrap_or_default(),
            answer_headers: answer.headers,
            answer_body: answer.body,
        };
        self.done.push((due.webhook, AttemptReport { delivery: due.id, attempt, verdict }, gone));
    }

    /// Keeps the oldest results, all of one endpoint together.
    fn store(&mut self) -> BoxFuture<'static, Stored> {
        let count = self.done.len().min(STORED_AT_ONCE);
        let mut reports: HashMap<WebhookId, WebhookReport> = HashMap::new();
        let at = self.app.clock.now();
        for (webhook, attempt, gone) in self.done.drain(..count) {
            let report = reports.entry(webhook).or_insert_with(|| {
                let id = AuditId::new(at, self.app.random.as_ref());
                let change = Change { id, who: Who::Server, address: None, request: None, at };
                WebhookReport { webhook, attempts: Vec::new(), gone: false, change }
            });
            report.gone |= gone;
            report.attempts.push(attempt);
        }
        let (app, reports) = (Arc::clone(&self.app), reports.into_values().collect::<Vec<_>>());
        async move {
            let kept = app.storage.keep_attempts(&reports).await;
            (reports, kept)
        }
        .boxed()
    }

    /// What became of a transaction; says whether it succeeded.
    fn stored(&mut self, (reports, kept): Stored) -> bool {
        match kept {
            Ok(disabled) => {
                for id in &disabled {
                    tracing::warn!(webhook = %id, "an endpoint is disabled: it said that it is gone, or has failed for too long");
                }
                self.app.webhooks.counts.disabled.fetch_add(disabled.len() as u64, Relaxed);
                for report in &reports {
                    let Some(endpoint) = self.endpoints.get_mut(&report.webhook) else { continue };
                    for attempt in &report.attempts {
                        endpoint.stored(attempt.delivery);
                    }
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "what came of deliveries can't be stored; it waits");
                for report in reports {
                    let WebhookReport { webhook, attempts, gone, .. } = report;
                    self.done.extend(attempts.into_iter().map(|attempt| (webhook, attempt, gone)));
                }
                false
            }
        }
    }

    /// The server stops: what is under way may end, what came of it is stored, and what is claimed is given back.
    async fn finish(mut self, storing: Option<BoxFuture<'static, Stored>>) {
        self.attempts.close();
        let until = Instant::now() + DRAIN_MAX;
        while self.in_flight > 0 {
            match tokio::time::timeout_at(until, self.results.recv()).await {
                Ok(Some(done)) => self.over(done),
                Ok(None) | Err(_) => {
                    tracing::warn!(attempts = self.in_flight, "deliveries are cut off; they will be made again");
                    self.cut.cancel();
                    break;
                }
            }
        }
        if let Some(storing) = storing {
            let stored = storing.await;
            self.stored(stored);
        }
        while !self.done.is_empty() {
            let stored = self.store().await;
            if !self.stored(stored) {
                break;
            }
        }
        let claimed: Vec<WebhookId> = self.endpoints.keys().copied().collect();
        self.release(&claimed).await;
    }
}

/// Makes one attempt, or says why there can't be one.
async fn deliver(
    connector: &Connector,
    target: &Target,
    ready: &Ready,
    at: Timestamp,
    attempt_max: Duration,
) -> Answer {
    let Some(event) = &ready.event else {
        let detail = "the event is not stored any more";
        return Answer::failed(SendError::new(AttemptError::EventForgotten, detail));
    };
    let (url, secrets) = match (&target.url, &target.secrets) {
        (Ok(url), Ok(secrets)) => (url, secrets),
        (Err(error), _) | (_, Err(error)) => return Answer::failed(error.clone()),
    };
    let valid = secrets.iter().filter(|(_, until)| until.is_none_or(|until| at < until)).map(|(secret, _)| secret);
    let signed = sign(valid, &event.id.to_string(), at, &event.body);
    attempt(connector, &target.pool, url, &signed, &event.body, attempt_max).await
}

/// Looks into the database: fans out, claims, and fetches what is due.
async fn look(app: Arc<App>, ask: Ask) -> Looked {
    let (take_over, count) = (ask.take_over, ask.count);
    (look_for(&app, ask).await, take_over, count)
}

async fn look_for(app: &App, ask: Ask) -> Result<Look, StorageError> {
    let Ask { now, known, mut wants, claim, take_over, count } = ask;
    let (storage, node) = (app.storage.as_ref(), app.node.id);
    let mut look = Look::default();
    if take_over {
        let released = storage.release_webhooks_of_others(node, AWAY_AFTER).await?;
        if released > 0 {
            tracing::info!(endpoints = released, "endpoints of nodes that are away can be delivered to by others");
        }
    }
    if count {
        look.backlog = Some(storage.delivery_backlog(now).await?);
    }
    let mut work = storage.webhook_work(node, now).await?;
    let fanned_out = if work.events { storage.fan_out(now).await?.events > 0 } else { false };
    if (work.unclaimed || fanned_out) && claim > 0 {
        let claimed = storage.claim_webhooks(node, now, claim).await?;
        look.busy |= claimed.len() as u32 == claim;
        for claimed in claimed {
            // Twice what an endpoint begins with; the next look knows how much it is worth.
            wants.push(Want { webhook: claimed.webhook.id, held: Vec::new(), limit: 16 });
            look.changed.push(claimed);
        }
    }
    if fanned_out || !look.changed.is_empty() {
        work = storage.webhook_work(node, now).await?;
        look.busy = true;
    }
    for state in &work.claimed {
        let is_new = look.changed.iter().any(|changed| changed.webhook.id == state.id);
        if !is_new && known.get(&state.id) != Some(&state.version) {
            look.changed.extend(storage.claimed_webhook(node, state.id).await?);
            if !known.contains_key(&state.id) {
                wants.push(Want { webhook: state.id, held: Vec::new(), limit: 16 });
            }
        }
    }
    let due = |id: &WebhookId| work.claimed.iter().any(|it| it.id == *id && it.due_at.is_some_and(|at| at <= now));
    wants.retain(|want| due(&want.webhook));
    if !wants.is_empty() {
        let due = storage.due_deliveries(node, now, &wants).await?;
        let events: HashMap<i64, Arc<Rendered>> = due
            .events
            .into_iter()
            .map(|(place, event)| {
                (place, Arc::new(Rendered { id: event.id, at: event.at, body: Bytes::from(event.body()) }))
            })
            .collect();
        look.busy |= !due.deliveries.is_empty();
        look.ready =
            due.deliveries.into_iter().map(|due| Ready { event: events.get(&due.event_place).cloned(), due }).collect();
    }
    look.asked = wants.iter().map(|want| (want.webhook, want.limit)).collect();
    look.claimed = work.claimed;
    Ok(look)
}
