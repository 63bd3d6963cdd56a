//! What nodes tell each other: every piece of news has a number, so that who listens knows when one was missed.
//!
//! What must stay true: after each piece of news that was announced, a listener hears it, or [`Heard::Lost`] in its place or later.
//! Lost is what comes after a connection was opened (whatever was said before, nobody heard), after a number that is not the next one
//! (messages were cut, or the counting began anew), when the number at Redis is not the last one heard (looked up every
//! [`LOOK`], so that a cut message is noticed without another after it), and when a listener is more than [`HEARD_MAX`] behind.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use kallglot_cluster::Heard;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::config::RedisConfig;
use crate::keys::{Key, Named};
use crate::links::OPEN_MAX;

/// How far a listener may be behind, in pieces of news. What is told meanwhile is lost to it, and it hears so.
const HEARD_MAX: usize = 256;
/// Messages between the connection and the task that looks at their numbers. When full, they are dropped: their numbers are missed.
const PUSHED_MAX: usize = 1024;
/// Between two looks at the number at Redis.
const LOOK: Duration = Duration::from_secs(1);
/// Pauses between attempts to open a connection.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What everybody who listens has heard.
pub(crate) type Teller = broadcast::Sender<Heard>;

pub(crate) fn teller() -> Teller {
    broadcast::Sender::new(HEARD_MAX)
}

/// What is told from now on.
pub(crate) fn heard(teller: &Teller) -> BoxStream<'static, Heard> {
    stream::unfold(teller.subscribe(), |mut receiver| async move {
        match receiver.recv().await {
            Ok(heard) => Some((heard, receiver)),
            Err(RecvError::Lagged(_)) => Some((Heard::Lost, receiver)),
            Err(RecvError::Closed) => None,
        }
    })
    .boxed()
}

/// Listens for ever. `ready` is told when the first connection was tried, with or without success.
pub(crate) async fn listen(client: Client, config: Arc<RedisConfig>, teller: Teller, ready: mpsc::Sender<()>) {
    let mut pause = PAUSE_MIN;
    loop {
        let (sender, mut pushed) = mpsc::channel(PUSHED_MAX);
        match Ear::open(&client, &config, sender).await {
            Ok(mut ear) => {
                pause = PAUSE_MIN;
                let _ = teller.send(Heard::Lost);
                let _ = ready.try_send(());
                let Err(error) = ear.listen(&mut pushed, &teller).await;
                tracing::debug!(%error, "the connection that listens was cut");
            }
            Err(error) => {
                let _ = ready.try_send(());
                tracing::debug!(%error, "no connection to listen");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// A message of the channel.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    number: u64,
    news: String,
}

impl Message {
    /// Redis tells the channel and the message. None for what is not of our making.
    fn read(push: PushInfo) -> Option<Self> {
        let Some(Value::BulkString(bytes)) = push.data.into_iter().nth(1) else { return None };
        let text = String::from_utf8(bytes).ok()?;
        let (number, news) = text.split_once(' ')?;
        Some(Self { number: number.parse().ok()?, news: news.to_owned() })
    }
}

/// Which numbers were heard.
#[derive(Debug)]
struct Numbers {
    last: u64,
}

impl Numbers {
    /// What a message is to those who listen.
    fn hear(&mut self, message: Message) -> Heard {
        let next = self.last.checked_add(1) == Some(message.number);
        self.last = message.number;
        if next { Heard::News(message.news) } else { Heard::Lost }
    }

    /// Compares with the number at Redis: all messages up to it have arrived, because they came over the same connection before the
    /// answer. `waiting` are those that were not looked at yet.
    fn compare(&mut self, at_redis: u64, waiting: &mut VecDeque<Message>) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some(message) = waiting.pop_front_if(|message| message.number <= at_redis) {
            heard.push(self.hear(message));
        }
        if self.last != at_redis {
            self.last = at_redis;
            heard.push(Heard::Lost);
        }
        heard.extend(waiting.drain(..).map(|message| self.hear(message)));
        heard
    }
}

struct Ear {
    connection: MultiplexedConnection,
    config: Arc<RedisConfig>,
    numbers: Numbers,
}

impl Ear {
    async fn open(
        client: &Client,
        config: &Arc<RedisConfig>,
        sender: mpsc::Sender<PushInfo>,
    ) -> Result<Self, RedisError> {
        // When there is no room, the message is dropped: the gap in the numbers tells. When the connection is cut, so is the channel,
        // since nothing else holds the sender.
        let pushed = move |info: PushInfo| {
            if matches!(info.kind, PushKind::Message | PushKind::Disconnection) {
                let _ = sender.try_send(info);
            }
            Ok::<_, Infallible>(())
        };
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(OPEN_MAX))
            .set_response_timeout(Some(OPEN_MAX))
            .set_push_sender(pushed);
        let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        connection.subscribe(Named(&config.namespace, Key::News)).await?;
        let mut ear = Self { connection, config: Arc::clone(config), numbers: Numbers { last: 0 } };
        ear.numbers.last = ear.number().await?;
        Ok(ear)
    }

    /// The number of the last news, at Redis.
    async fn number(&mut self) -> Result<u64, RedisError> {
        let mut get = redis::cmd("GET");
        get.arg(Named(&self.config.namespace, Key::News));
        Ok(get.query_async::<Option<u64>>(&mut self.connection).await?.unwrap_or(0))
    }

    async fn listen(
        &mut self,
        pushed: &mut mpsc::Receiver<PushInfo>,
        teller: &Teller,
    ) -> Result<Infallible, RedisError> {
        // Told between the subscription and the look at the number: the Lost that was just said stands for them.
        let known = self.numbers.last;
        let mut waiting = VecDeque::new();
        while let Ok(push) = pushed.try_recv() {
            waiting.extend(read(push)?.filter(|message| message.number > known));
        }
        for message in waiting.drain(..) {
            let _ = teller.send(self.numbers.hear(message));
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                push = pushed.recv() => {
                    let Some(push) = push else { return Err(cut()) };
                    if let Some(message) = read(push)? {
                        let _ = teller.send(self.numbers.hear(message));
                    }
                }
                _ = look.tick() => {
                    let at_redis = self.number().await?;
                    while let Ok(push) = pushed.try_recv() {
                        waiting.extend(read(push)?);
                    }
                    for heard in self.numbers.compare(at_redis, &mut waiting) {
                        let _ = teller.send(heard);
                    }
                }
            }
        }
    }
}

fn cut() -> RedisError {
    (ErrorKind::Io, "the connection was cut").into()
}

/// A push as a message; an error when it is the connection's end.
fn read(push: PushInfo) -> Result<Option<Message>, RedisError> {
    match push.kind {
        PushKind::Disconnection => Err(cut()),
        _ => Ok(Message::read(push)),
    }
}
