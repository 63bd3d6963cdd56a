//! This process among those that share its database: that it is there, who else is, and what they tell each other.
//!
//! What must stay true: a node that could not say for [`AWAY_AFTER`] that it is there lets go of the sessions that others have taken over
//! meanwhile; changes take effect on every node within a second, told or not: each looks for them in the database as well.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kallglot_cluster::Heard;
use kallglot_core::id::NodeId;
use kallglot_storage::{GateChange, Node, StorageError};
use tokio_util::sync::CancellationToken;

use crate::App;

/// How often a node says that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// After how long without a word a node is taken for dead, and its sessions for anybody's.
pub const AWAY_AFTER: Duration = Duration::from_secs(10);
/// How often changes by other processes are looked for. The contract allows 1 s (section 14).
const CHANGES_EVERY: Duration = Duration::from_millis(250);

/// Which process this is.
pub struct ThisNode {
    /// Its id, from its start to its end.
    pub id: NodeId,
    /// It among others; none for one that runs alone.
    pub shared: Option<Node>,
    /// How many nodes there are, this one among them, as far as is known.
    pub nodes: Arc<AtomicU32>,
    /// Whether the database answered when it was last asked, which it is several times a second.
    pub database_up: AtomicBool,
    /// Whether it is about to stop, and wants no new clients.
    draining: AtomicBool,
}

impl ThisNode {
    /// A process that runs alone.
    pub fn alone(id: NodeId) -> Self {
        Self {
            id,
            shared: None,
            nodes: Arc::new(AtomicU32::new(1)),
            database_up: AtomicBool::new(true),
            draining: AtomicBool::new(false),
        }
    }

    /// One of several, which others reach at `url`. `nodes` is kept up to date with how many there are.
    pub fn shared(id: NodeId, url: String, version: String, nodes: Arc<AtomicU32>) -> Self {
        Self { shared: Some(Node { id, url, version }), nodes, ..Self::alone(id) }
    }

    /// From now on it is not ready: load balancers are to send nobody any more.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Says again and again that this node is there; ends with `stop`. For one that runs alone it does nothing.
pub(crate) async fn beat(app: Arc<App>, stop: CancellationToken) {
    let Some(node) = app.node.shared.clone() else { return };
    let mut away = false;
    loop {
        match app.storage.beat(&node, AWAY_AFTER).await {
            Ok(beat) => {
                if away {
                    tracing::info!("the database knows again that this node is there");
                }
                away = false;
                app.node.nodes.store(u32::try_from(beat.nodes.len()).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
                if beat.was_away {
                    let live: Vec<_> = app.hub.live_sessions().into_iter().map(|(_, id)| id).collect();
                    match app.storage.sessions_moved(node.id, &live).await {
                        Ok(moved) => app.hub.let_go(&moved).await,
                        Err(error) => tracing::error!(%error, "whether sessions were taken over could not be asked"),
                    }
                }
            }
            Err(error) if !away => {
                away = true;
                tracing::warn!(%error, "this node can't tell the database that it is there; others may take over its sessions");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Makes changes by other processes take effect: what another node announces at once, all others when the database tells. Neither waits for
/// the other, since either may be slow to fail.
pub(crate) async fn hear_changes(app: Arc<App>, stop: CancellationToken) {
    let mut news = app.cluster.listen();
    let mut known = Known::default();
    loop {
        let mut lost = false;
        let mut looking = pin!(look(&app, known));
        let looked = loop {
            tokio::select! {
                looked = &mut looking => break looked,
                heard = news.next() => lost |= app.hear(heard, &mut news).await,
                () = stop.cancelled() => return,
            }
        };
        let was_up = app.node.database_up.swap(looked.is_ok(), Ordering::Relaxed);
        match looked {
            Ok(found) => {
                known = found;
                if !was_up {
                    tracing::info!("the database answers again");
                }
            }
            Err(error) => {
                // What can be neither asked nor heard of may have changed.
                if app.node.shared.is_none() || app.cluster.check().get().await.is_err() {
                    app.anything_changed();
                }
                if was_up {
                    tracing::error!(%error, "the database does not answer; calls go on, new ones can't begin");
                }
            }
        }
        let mut next = pin!(tokio::time::sleep(CHANGES_EVERY));
        while !lost {
            tokio::select! {
                () = &mut next => break,
                heard = news.next() => lost |= app.hear(heard, &mut news).await,
                () = stop.cancelled() => return,
            }
        }
        if lost {
            known.seen = None;
        }
    }
}

/// What is known of the list of changes.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Up to where it was read.
    marker: Option<i64>,
    /// What the database said last when it was asked whether there is anything new.
    seen: Option<u64>,
}

async fn look(app: &App, mut known: Known) -> Result<Known, StorageError> {
    let changes = app.storage.changes().await?;
    if known.seen == Some(changes) {
        return Ok(known);
    }
    loop {
        let found = app.storage.gate_changes_since(known.marker).await?;
        if found.lost || known.marker.is_none() {
            app.anything_changed();
        }
        app.take_effect(&found.changes).await;
        // Without progress the rest comes with the next look: some changes may be told again for as long as others are being made.
        let done = found.changes.is_empty() || known.marker == Some(found.marker);
        known.marker = Some(found.marker);
        if done {
            known.seen = Some(changes);
            return Ok(known);
        }
    }
}

impl App {
    /// Takes in what was heard; true when something may have been missed.
    async fn hear(&self, heard: Option<Heard>, news: &mut BoxStream<'static, Heard>) -> bool {
        match heard {
            Some(Heard::News(text)) => {
                if !self.hear_credit_news(&text)
                    && let Some(change) = GateChange::parse(&text)
                {
                    self.take_effect(&[change]).await;
                }
                false
            }
            Some(Heard::Lost) => {
                self.anything_changed();
                true
            }
            None => {
                *news = self.cluster.listen();
                true
            }
        }
    }

    /// Something has changed, and it is not known what.
    fn anything_changed(&self) {
        self.keys.forget_all();
        self.feed.hear_anything();
    }

    /// Makes changes by other processes take effect in this one.
    async fn take_effect(&self, changes: &[GateChange]) {
        self.keys.forget(changes);
        self.feed.hear(changes);
        for change in changes {
            match change {
                GateChange::CloseStreams(key) => self.hub.close_streams_of(*key).await,
                GateChange::EndSession(id, reason) => self.hub.end_if_live(*id, *reason),
                GateChange::Record(id, mode) => self.record_as_asked(*id, *mode).await,
                GateChange::Key(_) | GateChange::Organization(_) => {}
            }
        }
    }

    /// Makes a change that this process made take effect: here at once, on other nodes as soon as they are told.
    pub async fn changed(&self, changes: &[GateChange]) {
        self.take_effect(changes).await;
        for change in changes {
            if let Err(error) = self.cluster.announce(&change.to_string()).get().await {
                tracing::debug!(%error, "other nodes were not told of a change; they will see it in the database");
            }
        }
    }

    /// Stops being one of the nodes: others can take over what was live here.
    ///
    /// # Errors
    /// Storage's: others notice after [`AWAY_AFTER`].
    pub async fn leave(&self) -> Result<(), StorageError> {
        if self.node.shared.is_some() { self.storage.leave(self.node.id).await } else { Ok(()) }
    }
}
