//! `kallglot listen`: brings the organization's test events to a developer's own machine, where no server could reach them.
//!
//! It asks the server for events, as they happen, and posts each to a local address as the server would post it to an endpoint: same body, same
//! headers, both signatures, with a secret of its own. What must stay true: events are forwarded one by one, in order; after the connection
//! was lost it goes on behind the last event that was forwarded.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kallglot_client::{Client, ClientError, EventMessage, EventStream, Forwarder};
use kallglot_core::clock::Clock as _;
use kallglot_core::webhook::{WebhookSecret, sign};
use serde_json::json;

use crate::platform::{SystemClock, SystemRandom};

/// First and longest wait before connecting again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(15);

/// What to listen to, and where to with it.
#[derive(Args)]
#[command(after_help = "Examples:
  kallglot listen --key sk_test_… --forward-to http://localhost:3000/webhooks
  kallglot listen --forward-to localhost:3000/webhooks --events session.ended,transcript.ready
  kallglot listen --print-json                       only show the events
  kallglot listen --forward-to localhost:3000 --api https://api.example.com

The signing secret is made anew each time; give --secret (or KALLGLOT_WEBHOOK_SECRET) to keep one.")]
pub(crate) struct ListenArgs {
    /// Where to post events: an address of your own machine; `http://` can be left out
    #[arg(long, value_name = "URL", required_unless_present = "print_json")]
    forward_to: Option<String>,
    /// Only these types of events, separated by commas
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    events: Vec<String>,
    /// The server's address
    #[arg(long, value_name = "URL", env = "KALLGLOT_API", default_value = "http://127.0.0.1:8080")]
    api: String,
    /// A test key with the permission webhooks:manage
    #[arg(long, value_name = "KEY", env = "KALLGLOT_API_KEY", hide_env_values = true)]
    key: String,
    /// Sign with this secret (`whsec_…`) and not with a new one
    #[arg(long, value_name = "SECRET", env = "KALLGLOT_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Print each event's JSON, one on a line
    #[arg(long)]
    print_json: bool,
}

/// Why it could not go on: with which code it exits, and what to say.
struct Failure(u8, String);

impl Failure {
    fn usage(text: impl Into<String>) -> Self {
        Self(2, text.into())
    }
}

/// Runs the command until Ctrl-C: 0, 1 when the server refuses, 2 when it can't be run.
pub(crate) async fn run(args: ListenArgs, json: bool) -> ExitCode {
    let interrupted = async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        let terminated = async {
            match &mut term {
                Some(term) => drop(term.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminated => {}
        }
    };
    let listening = async {
        let mut listener = Listener::new(args, json)?;
        listener.listen().await
    };
    let failed: Result<std::convert::Infallible, Failure> = tokio::select! {
        failed = listening => failed,
        () = interrupted => return ExitCode::SUCCESS,
    };
    match failed {
        Ok(never) => match never {},
        Err(Failure(code, text)) => {
            let text =
                if json { json!({ "error": { "message": text } }).to_string() } else { format!("error: {text}") };
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(code)
        }
    }
}

struct Listener {
    client: Client,
    path: String,
    forward_to: Option<String>,
    forwarder: Forwarder,
    secret: WebhookSecret,
    print_json: bool,
    json: bool,
    /// Behind which event to go on.
    last: Option<String>,
    greeted: bool,
}

impl Listener {
    fn new(args: ListenArgs, json: bool) -> Result<Self, Failure> {
        let unusable = |error: ClientError| Failure::usage(error.to_string());
        let secret = match &args.secret {
            Some(text) => WebhookSecret::parse(text).map_err(|error| Failure::usage(format!("--secret: {error}")))?,
            None => WebhookSecret::new(&SystemRandom),
        };
        let forward_to = args.forward_to.map(|url| if url.contains("://") { url } else { format!("http://{url}") });
        let forwarder = Forwarder::new(forward_to.as_deref()).map_err(unusable)?;
        let mut path = "/v1/webhooks/listen".to_owned();
        if !args.events.is_empty() {
            path.push_str("?types=");
            path.push_str(&args.events.join(","));
        }
        Ok(Self {
            client: Client::new(&args.api, Some(&args.key)).map_err(unusable)?,
            path,
            forward_to,
            forwarder,
            secret,
            print_json: args.print_json,
            json,
            last: None,
            greeted: false,
        })
    }

    /// Connects again and again.
    async fn listen(&mut self) -> Result<std::convert::Infallible, Failure> {
        let mut wait = AGAIN_AFTER;
        loop {
            match self.client.event_stream(&self.path, self.last.as_deref()).await {
                Ok(Some(stream)) => {
                    wait = AGAIN_AFTER;
                    self.greet();
                    let ended = self.forward_all(stream).await;
                    let why =
                        ended.err().map_or_else(|| "the server ended the stream".to_owned(), |error| error.to_string());
                    self.note("disconnected", &format!("{why}; connecting again"));
                }
                Ok(None) => {}
                Err(ClientError::Refused(error)) if error.status == 422 && self.last.is_some() => {
                    self.note(
                        "lost",
                        "the server does not know any more where this was; going on with what happens now",
                    );
                    self.last = None;
                }
                Err(ClientError::Refused(error)) if !matches!(error.status, 429 | 500..) => {
                    return Err(Failure(1, error.to_string()));
                }
                Err(error) if !self.greeted && !matches!(error, ClientError::Refused(_)) => {
                    return Err(Failure(1, format!("{error}. Is the server running? --api says where it is.")));
                }
                Err(error) => self.note("waiting", &error.to_string()),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_AFTER_MAX);
        }
    }

    async fn forward_all(&mut self, mut stream: EventStream) -> Result<(), ClientError> {
        while let Some(message) = stream.next().await? {
            // The server's first word is only where to go on from.
            if !message.data.is_empty() {
                self.forward(&message).await;
            }
            self.last = message.id.or(self.last.take());
        }
        Ok(())
    }

    /// Posts one event, as the server posts it to an endpoint.
    async fn forward(&self, message: &EventMessage) {
        if self.print_json {
            self.print(&message.data);
        }
        if self.forward_to.is_none() {
            return;
        }
        let id = message.id.clone().unwrap_or_default();
        let now = SystemClock.now();
        let signed = sign([&self.secret], &id, now, message.data.as_bytes());
        let answer = self.forwarder.post(&signed.headers(), &message.data).await;
        let took_ms = SystemClock.now().as_millisecond() - now.as_millisecond();
        if self.json {
            let (status, error) = match &answer {
                Ok(status) => (Some(*status), None),
                Err(error) => (None, Some(error.as_str())),
            };
            let line = json!({
                "event": "forwarded", "id": id, "type": message.event, "status": status, "error": error, "took_ms": took_ms,
            });
            self.print(&line.to_string());
        } else {
            let became = match answer {
                Ok(status) => format!("[{status}]"),
                Err(error) => format!("[{error}]"),
            };
            self.print(&format!("{}  {:<28} {id}  {became} {took_ms} ms", clock_text(now), message.event));
        }
    }

    fn greet(&mut self) {
        let first = !std::mem::replace(&mut self.greeted, true);
        match (first, self.json) {
            (true, true) => {
                let line =
                    json!({ "event": "listening", "forward_to": self.forward_to, "secret": self.secret.expose() });
                self.print(&line.to_string());
            }
            (true, false) if self.forward_to.is_some() => self.print(&format!(
                "Listening to test events; they go to {}.\nSigning secret: {}\nPress Ctrl-C to stop.",
                self.forward_to.as_deref().unwrap_or_default(),
                self.secret.expose(),
            )),
            (true, false) => self.tell("Listening to test events. Press Ctrl-C to stop."),
            (false, _) => self.note("connected", "connected again"),
        }
    }

    /// Something that is not an event.
    fn note(&self, what: &str, text: &str) {
        if self.json {
            self.print(&json!({ "event": what, "message": text }).to_string());
        } else {
            self.tell(text);
        }
    }

    /// For people, where the events themselves may be for a program.
    fn tell(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn print(&self, line: &str) {
        // Who reads has gone: the next Ctrl-C ends it, and forwarding goes on until then.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// A time of day, in UTC.
fn clock_text(at: kallglot_core::Timestamp) -> String {
    kallglot_core::event::time(at).chars().skip(11).take(8).collect()
}
