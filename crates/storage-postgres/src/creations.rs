//! Sessions that one organization pays for are made in groups, since each waits for the organization's lock: while one transaction is
//! under way, who comes waits together for the next. Nobody is kept waiting for a group to fill.
//!
//! What must stay true: at most one group of a payer is under way in this process; nobody is answered before the commit; who can't be
//! made takes nobody else with it; of two under one idempotency key, the second finds the first one's answer.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kallglot_storage::{CreatePaid, StorageError};
use kallglot_storage_sql::session::{self, Prepared};
use tokio::sync::oneshot;

use crate::Shared;

/// Most sessions in one transaction.
const GROUP_MAX: usize = 64;
/// Most sessions of one payer that wait for the next group. Who comes then is told that the database is unavailable.
const WAITING_MAX: usize = 1024;

type Result<T> = std::result::Result<T, StorageError>;

/// A session and who waits for it.
struct Creation {
    session: Prepared,
    reply: oneshot::Sender<Result<CreatePaid>>,
}

/// Who waits, by payer. There is an entry for each payer of whom somebody makes groups.
#[derive(Default)]
pub(crate) struct Creations(Mutex<HashMap<String, VecDeque<Creation>>>);

impl Creations {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Creation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a session wait. Answers with where its answer comes, and whether nobody makes groups yet: then the caller must.
    pub(crate) fn join(&self, payer: &str, session: Prepared) -> Result<(oneshot::Receiver<Result<CreatePaid>>, bool)> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = self.waiting();
        let (queue, leads) = match waiting.get_mut(payer) {
            Some(queue) => (queue, false),
            None => (waiting.entry(payer.to_owned()).or_default(), true),
        };
        if queue.len() >= WAITING_MAX {
            return Err(StorageError::Unavailable { cause: format!("{WAITING_MAX} sessions of {payer} wait already") });
        }
        queue.push_back(Creation { session, reply });
        Ok((answer, leads))
    }

    /// The next group; empty when nobody waits, and then the payer has no leader any more.
    fn next(&self, payer: &str) -> Vec<Creation> {
        let mut waiting = self.waiting();
        let mut group: Vec<Creation> = Vec::new();
        let mut keys = BTreeSet::new();
        if let Some(queue) = waiting.get_mut(payer) {
            while group.len() < GROUP_MAX
                && let Some(first) = queue.front()
                && first
                    .session
                    .answer_key()
                    .is_none_or(|(environment, key)| keys.insert((environment, key.to_owned())))
            {
                group.extend(queue.pop_front());
            }
        }
        if group.is_empty() {
            waiting.remove(payer);
        }
        group
    }

    /// Everybody who waits.
    fn all(&self, payer: &str) -> VecDeque<Creation> {
        self.waiting().get_mut(payer).map(std::mem::take).unwrap_or_default()
    }
}

/// Gives the lead up, also when the leader panics: then those who wait are answered that they were lost.
struct Lead<'a>(&'a Creations, &'a str);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.waiting().remove(self.1);
        }
    }
}

/// Makes groups until nobody waits.
pub(crate) async fn lead(shared: &Arc<Shared>, payer: String) {
    let _lead = Lead(&shared.creations, &payer);
    loop {
        let group = shared.creations.next(&payer);
        if group.is_empty() {
            return;
        }
        let (sessions, replies): (Vec<Prepared>, Vec<_>) =
            group.into_iter().map(|creation| (creation.session, creation.reply)).unzip();
        let outcomes = make(shared, &sessions).await;
        if let Some(Err(error @ StorageError::Unavailable { .. })) = outcomes.first() {
            // Who is waiting now would wait as long for the same.
            for creation in shared.creations.all(&payer) {
                let _ = creation.reply.send(Err(error.clone()));
            }
        }
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Who has stopped waiting misses the answer, not the session.
            let _ = reply.send(outcome);
        }
    }
}

/// Makes these sessions, together if that can be; one outcome for each.
async fn make(shared: &Shared, sessions: &[Prepared]) -> Vec<Result<CreatePaid>> {
    let place = match shared.pool.place().await {
        Ok(place) => place,
        Err(error) => return vec![Err(error); sessions.len()],
    };
    if sessions.len() > 1 {
        match shared.run(&place, true, &sessions, |db, all| Box::pin(session::create_all(db, all))).await {
            Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
            Err(error @ StorageError::Unavailable { .. }) => return vec![Err(error); sessions.len()],
            // One of them has spoilt it for all.
            Err(_) => {}
        }
    }
    let mut outcomes = Vec::with_capacity(sessions.len());
    for session in sessions {
        outcomes.push(shared.run(&place, true, session, |db, session| Box::pin(session.create(db))).await);
    }
    outcomes
}
