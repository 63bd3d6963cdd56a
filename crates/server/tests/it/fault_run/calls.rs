//! Calls: two parties talk over a stream that reaches any node, connect again whenever it breaks, and end the session by API or by stream.
//! Afterwards every final text that a client was told is in the transcript exactly once, in an unbroken count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kallglot_core::session::Speaker;
use kallglot_testkit::client::{ConnectError, ServerMessage, Stream, TokenPlacement, Transcript, TranscriptMessage};
use kallglot_testkit::voice_mulaw;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::capability::{Capability, Stored};
use super::organization::Organization;
use super::requests::{Ask, Reply, Requests};
use crate::load::{Chance, text};

const MODE: &str = "bidirectional_translation";
/// From here on a stream that says nothing is given up. Each party says something every second.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// Longest that a stream's session.ended may take after it was asked for: the rest of an utterance has 3 s.
const END_MAX: Duration = Duration::from_secs(8);
/// Longest that one call may be without a stream: a dead node, and whatever fails meanwhile.
const AWAY_MAX: Duration = Duration::from_secs(45);
/// Longest that a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(12);
/// How a stream may be refused for a moment.
const CONNECT_LATER: &[(u16, &str)] = &[(503, "service_unavailable"), (429, "concurrent_session_limit_exceeded")];
/// How a stream may be closed whose call goes on: not at all but cut, because the server goes away, or because what had been held up in
/// the network came too fast.
const CLOSES: &[Option<u16>] = &[None, Some(1001), Some(4429)];

/// How a stretch of talking has ended.
enum Stretch {
    /// The client has talked long enough.
    Over,
    /// The stream has broken.
    Broken,
    /// The session was ended.
    Ended,
}

/// See above.
pub(super) struct Calls {
    clients: usize,
    organization: Arc<Organization>,
    requests: Arc<Requests>,
    /// What was said in a turn of each party: voice and silence, in frames of 20 ms.
    audio: Vec<u8>,
    /// The final texts of each session.
    told: Mutex<BTreeMap<String, Vec<TranscriptMessage>>>,
}

impl Calls {
    pub(super) fn new(clients: usize, organization: &Arc<Organization>, requests: &Arc<Requests>) -> Self {
        let (organization, requests) = (Arc::clone(organization), Arc::clone(requests));
        let audio = [voice_mulaw(500), vec![0xff; 450 * 8]].concat();
        Self { clients, organization, requests, audio, told: Mutex::default() }
    }

    fn tell(&self, id: &str, text: TranscriptMessage) {
        self.requests.report.count("acknowledged", "turns");
        self.told.lock().unwrap().entry(id.to_owned()).or_default().push(text);
    }

    /// Joins a session through any node. None: try again.
    async fn join(&self, id: &str, chance: &mut Chance) -> Option<Stream> {
        let Requests { cluster, report, .. } = &*self.requests;
        let session = self.organization.read(id, chance).await?.json();
        let token = session["stream"]["token"].as_str()?;
        let path = text(&session, "/stream/url").split_once("/v1/").expect("a stream's address").1;
        let node = self.requests.any_node(chance);
        let url = format!("ws://{}/v1/{path}", cluster.address(node));
        let (before, mut trouble) = (cluster.standing(node), cluster.trouble(node));
        let connecting = Stream::connect(&url, token, TokenPlacement::Bearer, None);
        let outcome = match timeout(CONNECT_MAX, connecting).await {
            Ok(Ok(stream)) => {
                report.count("requests", "open a stream: 101");
                return Some(stream);
            }
            Ok(Err(ConnectError::Refused(error))) => {
                let outcome = format!("{} {}", error.status, error.code);
                let documented = CONNECT_LATER.contains(&(error.status, error.code.as_str()));
                report
                    .must(documented, || format!("open a stream of {id} by node {node}: {outcome}: {}", error.message));
                outcome
            }
            other => {
                (0..cluster.len()).for_each(|node| trouble |= cluster.trouble(node));
                let excused = !before.is_up() || cluster.standing(node) != before || trouble.peers;
                let reason = other.map(|outcome| outcome.err().map(|error| error.to_string()));
                report.must(excused, || format!("open a stream of {id} by node {node}, which runs: {reason:?}"));
                "no answer".to_owned()
            }
        };
        report.count("requests", format!("open a stream: {outcome}"));
        None
    }

    /// Both parties talk until `until`, or until the stream breaks, while everything that comes is read.
    async fn talk(&self, id: &str, stream: &mut Stream, until: Instant) -> Stretch {
        let frame = |number: usize| self.audio.chunks_exact(160).nth(number % (self.audio.len() / 160)).unwrap();
        let mut clock = interval(Duration::from_millis(20));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut number = 0;
        while Instant::now() < until {
            tokio::select! {
                biased;
                message = stream.next() => {
                    heard = Instant::now();
                    match message {
                        Some(ServerMessage::Final(text)) => self.tell(id, text),
                        Some(ServerMessage::Ended { .. }) => return Stretch::Ended,
                        Some(_) => {}
                        None => {
                            self.broken(id, stream);
                            return Stretch::Broken;
                        }
                    }
                }
                _ = clock.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        self.requests.report.count("streams", "given up: nothing came");
                        return Stretch::Broken;
                    }
                    // The agent is half a turn behind, so that something is said and something is stored at any time.
                    for (speaker, behind) in [(Speaker::Customer, 0), (Speaker::Agent, 23)] {
                        // Whether it was taken shows when the stream is read. A connection that is stalled takes nothing.
                        let _ = timeout(SILENCE_MAX, stream.send_audio(speaker, frame(number + behind))).await;
                    }
                    number += 1;
                }
            }
        }
        Stretch::Over
    }

    /// A stream was closed or cut.
    fn broken(&self, id: &str, stream: &Stream) {
        let Requests { cluster, report, .. } = &*self.requests;
        let code = stream.closed().and_then(|close| close.code);
        let trouble = || (0..cluster.len()).any(|node| cluster.trouble(node).peers);
        report.count("streams", code.map_or("cut".to_owned(), |code| format!("closed with {code}")));
        report.must(CLOSES.contains(&code), || {
            format!("the stream of {id}: {:?}, peers in trouble: {}", stream.closed(), trouble())
        });
    }

    /// Ends a session by its stream. Whether it was acknowledged.
    async fn end_by_stream(&self, id: &str, stream: &mut Stream) -> bool {
        self.organization.end_is_asked_for(id);
        let ending = async {
            if stream.end().await.is_err() {
                return false;
            }
            loop {
                match stream.next().await {
                    Some(ServerMessage::Final(text)) => self.tell(id, text),
                    Some(ServerMessage::Ended { .. }) => return true,
                    Some(_) => {}
                    None => return false,
                }
            }
        };
        let ended = timeout(END_MAX, ending).await.unwrap_or(false);
        if ended {
            let close = timeout(END_MAX, stream.wait_closed()).await.ok().and_then(|close| close.code);
            // It may be cut in between.
            self.requests
                .report
                .must([None, Some(1000), Some(1001)].contains(&close), || format!("{id} has ended: {close:?}"));
            self.requests.report.count("acknowledged", "ends by stream");
        }
        ended
    }
}

#[async_trait]
impl Capability for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }

    fn clients(&self) -> usize {
        self.clients
    }

    /// One call.
    async fn act(&self, chance: &mut Chance) {
        let report = &self.requests.report;
        let created = self.organization.create(&self.organization.name("call"), MODE, false, chance).await;
        let Reply::Done(created) = created else {
            return sleep(Duration::from_millis(chance.below(500))).await;
        };
        let id = text(&created.json(), "/id").to_owned();
        let over = Instant::now() + Duration::from_millis(3_000 + chance.below(6_000));
        let mut without = Instant::now();
        let mut streams = 0;
        while Instant::now() < over {
            let Some(mut stream) = self.join(&id, chance).await else {
                if without.elapsed() > AWAY_MAX {
                    report.violation(format!("{id} can't be joined any more"));
                    break;
                }
                // A call that has begun is not given up, and its time to talk begins when it is there again.
                sleep(Duration::from_millis(50 + chance.below(200))).await;
                continue;
            };
            if streams > 0 {
                report.took("from a stream's break until the next", without.elapsed());
            }
            streams += 1;
            match self.talk(&id, &mut stream, over).await {
                Stretch::Broken => without = Instant::now(),
                Stretch::Ended => {
                    report.violation(format!("nobody has ended {id}"));
                    return;
                }
                Stretch::Over => {
                    if chance.below(2) == 0 && self.end_by_stream(&id, &mut stream).await {
                        return;
                    }
                }
            }
        }
        // What is not acknowledged now is ended when the run is over.
        for _ in 0..20 {
            if self.organization.end(&id, chance.below(2) == 0, chance).await {
                return;
            }
            sleep(Duration::from_millis(chance.below(500))).await;
        }
    }

    async fn settle(&self, chance: &mut Chance) {
        let ids: Vec<String> = self.told.lock().unwrap().keys().cloned().collect();
        for id in ids {
            self.organization.surely_end(&id, chance).await;
        }
    }

    async fn check(&self, _: &Stored, chance: &mut Chance) {
        let report = &self.requests.report;
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        for (id, finals) in told {
            let path = format!("/v1/sessions/{id}/transcript");
            let ask = Ask::get("read a transcript", &path, &self.organization.secret);
            let Some(answer) = self.requests.send(ask, chance).await.done() else { continue };
            let transcript: Transcript = serde_json::from_slice(&answer.body).unwrap();
            for told in &finals {
                let there: Vec<_> = transcript.turns.iter().filter(|turn| turn.id == told.id).collect();
                let as_told = |turn: &kallglot_testkit::client::Turn| {
                    (&turn.text, &turn.translation) == (&told.text, &told.translation)
                        && turn.speaker == told.speaker.as_str()
                };
                let right = there.len() == 1 && as_told(there[0]);
                report.must(right, || {
                    format!("{id}: {told:?} was told, and there is {there:?} of {}", transcript.turns.len())
                });
            }
            let sequences: Vec<u32> = transcript.turns.iter().map(|turn| turn.sequence).collect();
            let unbroken: Vec<u32> = (1..=transcript.turns.len() as u32).collect();
            report.must(sequences == unbroken, || format!("{id}: {sequences:?}"));
            let heard: BTreeSet<_> =
                transcript.turns.iter().map(|turn| (turn.speaker.as_str(), turn.start_ms)).collect();
            report.must(heard.len() == transcript.turns.len(), || {
                format!("{id}: something is there twice: {:?}", transcript.turns)
            });
            report.add("checked", "turns", transcript.turns.len() as u64);
            report.count("checked", "transcripts");
        }
    }
}
