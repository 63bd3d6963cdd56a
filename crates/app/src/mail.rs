//! Mail to people: invitations, links to choose a new password, alerts.
//!
//! What must stay true: nobody waits for a mail server. [`App::send_mail`] puts a mail into a queue of at most [`MAILS_MAX`] and returns; when
//! the queue is full it says so, and the caller shows the person what the mail would have said, or tells them to try again. A mail that fails is
//! tried again ([`AGAIN_AFTER_S`]); one bad recipient holds up nobody else. The queue is in memory: what stands in it when a process is killed is
//! lost, so nothing may depend on a mail's arrival that can't be asked for again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::random;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::App;

/// Most mails that wait or are being sent in one process. One more is refused with [`NotSent::Full`].
pub const MAILS_MAX: usize = 1000;
/// Longest subject, in characters; what is more is cut off.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Longest text, in bytes; what is more is cut off.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// After how many seconds a mail that failed is tried again: five attempts in 13 minutes, as long as most links in mails are still good.
pub const AGAIN_AFTER_S: [i64; 4] = [5, 30, 120, 600];
/// Most mails that are being sent at once.
const AT_ONCE_MAX: usize = 4;
/// How long what waits may take when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A mail of plain text to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    to: String,
    subject: String,
    text: String,
    id: [u8; 16],
    at: Timestamp,
}

impl Mail {
    /// To whom: `local@domain`, of printable characters without spaces, commas or brackets.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// One line without control characters, of at most [`SUBJECT_CHARS_MAX`] characters.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// At most [`TEXT_BYTES_MAX`] bytes; lines end with `\n`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// For the message's id, the same at each attempt: a server that gets it twice can tell.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// When it was written.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// It may work later: the server is away, busy, or does not know us.
    #[error("{0}")]
    Later(String),
    /// It never will: the server refuses this mail.
    #[error("{0}")]
    Never(String),
}

/// What takes mails to their mail server.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Hands over one mail. It must end within half a minute.
    ///
    /// # Errors
    /// [`MailError`]: whether to try again.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}

/// Why a mail will not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// This server has no mail server.
    #[error("this server sends no mail: no mail server is set")]
    NotConfigured,
    /// Too many mails wait.
    #[error("too many mails wait to be sent")]
    Full,
    /// The address is none.
    #[error("the mail's address is none")]
    Address,
}

/// How mails fare in this process.
#[derive(Debug, Default)]
pub struct MailCounts {
    /// Handed over, since the start.
    pub sent: AtomicU64,
    /// Attempts that failed, since the start.
    pub failed: AtomicU64,
    /// Mails that were given up, since the start.
    pub given_up: AtomicU64,
    /// Mails that found the queue full, since the start.
    pub refused: AtomicU64,
}

/// The mails of this process.
pub struct Mails {
    /// How they fare.
    pub counts: MailCounts,
    mailer: Option<Arc<dyn Mailer>>,
    queue: Mutex<Queue>,
    hurry: Notify,
}

struct Waiting {
    mail: Mail,
    attempts: usize,
}

#[derive(Default)]
struct Queue {
    /// By when they are due, then in the order in which they came.
    waiting: BTreeMap<(Timestamp, u64), Waiting>,
    under_way: usize,
    count: u64,
}

impl Queue {
    fn put(&mut self, due: Timestamp, waiting: Waiting) {
        self.count += 1;
        self.waiting.insert((due, self.count), waiting);
    }
}

impl Mails {
    /// Mails that this takes away. None: there is no mail server.
    pub fn new(mailer: Option<Arc<dyn Mailer>>) -> Self {
        Self { counts: MailCounts::default(), mailer, queue: Mutex::default(), hurry: Notify::new() }
    }

    /// Whether there is a mail server. Without one, what a mail would say is shown to whoever asked for it.
    pub fn is_configured(&self) -> bool {
        self.mailer.is_some()
    }

    /// How many wait or are being sent.
    pub fn waiting(&self) -> usize {
        let queue = self.queue();
        queue.waiting.len() + queue.under_way
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, mail: Mail) -> Result<(), NotSent> {
        let mut queue = self.queue();
        if queue.waiting.len() + queue.under_way >= MAILS_MAX {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NotSent::Full);
        }
        queue.put(mail.at, Waiting { mail, attempts: 0 });
        drop(queue);
        self.hurry.notify_one();
        Ok(())
    }

    /// Takes what is due by `now`, at most `most`; and when the next is due if there is room for it.
    fn take_due(&self, now: Timestamp, most: usize) -> (Vec<Waiting>, Option<Timestamp>) {
        let mut queue = self.queue();
        let mut due = Vec::new();
        let mut next = None;
        while due.len() < most
            && let Some(first) = queue.waiting.first_entry()
        {
            if first.key().0 > now {
                next = Some(first.key().0);
                break;
            }
            due.push(first.remove());
        }
        queue.under_way += due.len();
        (due, next)
    }

    /// Keeps what came of an attempt.
    fn attempted(&self, mut waiting: Waiting, result: Result<(), MailError>, now: Timestamp) {
        let mut queue = self.queue();
        queue.under_way -= 1;
        waiting.attempts += 1;
        let error = match result {
            Ok(()) => {
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(error) => error,
        };
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        // The person's address is not the log's business; its domain says which server it is about.
        let domain = waiting.mail.to.rsplit('@').next().unwrap_or_default();
        let again_after_s = AGAIN_AFTER_S.get(waiting.attempts - 1).copied();
        match (&error, again_after_s) {
            (MailError::Later(_), Some(seconds)) => {
                tracing::warn!(%error, domain, attempt = waiting.attempts, "a mail was not taken; it is tried again");
                let due = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
                queue.put(due, waiting);
            }
            _ => {
                tracing::error!(%error, domain, attempts = waiting.attempts, "a mail could not be sent and is given up");
                self.counts.given_up.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl App {
    /// Puts a mail into the queue. The subject becomes one line; `to` must be an address.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn send_mail(&self, to: &str, subject: &str, text: &str) -> Result<(), NotSent> {
        if !self.mails.is_configured() {
            return Err(NotSent::NotConfigured);
        }
        if !is_address(to) {
            return Err(NotSent::Address);
        }
        let subject =
            subject.chars().take(SUBJECT_CHARS_MAX).map(|it| if it.is_control() { ' ' } else { it }).collect();
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mail = Mail {
            to: to.to_owned(),
            subject,
            text: text[..end].to_owned(),
            id: random::bytes(self.random.as_ref()),
            at: self.clock.now(),
        };
        self.mails.post(mail)
    }
}

/// Whether a text can be one person's address, and nothing but an address, in a header and in SMTP's command. RFC 5321 allows more (quoted
/// local parts, address literals), which nobody's mailbox has.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |part: &str| {
        !part.is_empty()
            && !part.chars().any(|it| it.is_control() || it.is_whitespace() || "<>()[],;:\\\"@".contains(it))
    };
    text.len() <= 254 && local.len() <= 64 && plain(local) && plain(domain)
}

/// Sends what waits until `stop`, then tries once more what is left, for at most five seconds.
pub(crate) async fn deliver(app: Arc<App>, stop: CancellationToken) {
    let Some(mailer) = app.mails.mailer.clone() else { return };
    let mails = &app.mails;
    let attempt = |waiting: Waiting| {
        let mailer = Arc::clone(&mailer);
        async move {
            let result = mailer.send(&waiting.mail).await;
            (waiting, result)
        }
    };
    let mut under_way = FuturesUnordered::new();
    loop {
        let (due, next) = mails.take_due(app.clock.now(), AT_ONCE_MAX - under_way.len());
        under_way.extend(due.into_iter().map(attempt));
        tokio::select! {
            Some((waiting, result)) = under_way.next() => mails.attempted(waiting, result, app.clock.now()),
            () = mails.hurry.notified() => {}
            () = app.clock.sleep_until(next.unwrap_or(Timestamp::MAX)), if next.is_some() => {}
            () = stop.cancelled() => break,
        }
    }
    let (rest, _) = mails.take_due(Timestamp::MAX, MAILS_MAX);
    let mut last = under_way.chain(futures_util::stream::iter(rest).map(attempt).buffer_unordered(AT_ONCE_MAX));
    let drain = async {
        while let Some((waiting, result)) = last.next().await {
            mails.attempted(waiting, result, app.clock.now());
        }
    };
    let _ = tokio::time::timeout(DRAIN_MAX, drain).await;
    let left = mails.waiting();
    if left > 0 {
        tracing::warn!(mails = left, "the server stops with mails that were not sent; they are lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_address_and_nothing_else() {
        for good in ["ann@example.com", "a.b+c@mail.example.org", "änn@exämple.de", "o'neil@example.com"] {
            assert!(is_address(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann@example.com\n",
            "ann@example.com,eve@example.com",
            "Ann <ann@example.com>",
            "ann@eve@example.com",
            "ann @example.com",
            "ann@[127.0.0.1]",
            "\"ann\"@example.com",
            &long,
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }
}
