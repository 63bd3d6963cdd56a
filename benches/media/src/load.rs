//! The load: every party of every session sends a frame each 20 ms, on an absolute schedule spread evenly over the 20 ms, from one
//! thread that does nothing else but send, receive and count.
//!
//! What must stay true: a frame's delay counts from the moment at which it was given to the kernel to the moment at which its answer
//! was taken from it, so that a slow generator does not flatter the server: what it sends too late is counted apart.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use kallglot_core::session::Speaker;
use rustix::event::epoll;

use crate::measure::Delays;
use crate::wire::{self, Heard, Template};

/// From one frame of a party to its next.
const TICK: Duration = Duration::from_millis(20);
/// Frames of one session whose time of sending is remembered: 10 s.
const SENT_MAX: usize = 512;
/// Sends between two looks at what has come.
const SENDS_MAX: usize = 32;
/// A send this late is the generator's fault and counted.
const SEND_LATE: Duration = Duration::from_millis(5);

/// Where one session is.
#[derive(Clone)]
pub(crate) struct Door {
    /// Paths with query of its sockets and the party whose frames go there; none: both parties'.
    pub(crate) sockets: Vec<(String, Option<Speaker>)>,
    /// Its stream token, where there is one.
    pub(crate) token: Option<String>,
}

/// What was seen.
pub(crate) struct Seen {
    pub(crate) delays: Delays,
    /// Frames of customers that should have come back.
    pub(crate) expected: u64,
    /// Frames that were sent, of both parties.
    pub(crate) sent: u64,
    /// Sends that were late by the generator's own fault.
    pub(crate) sent_late: u64,
    /// Messages that came, of all kinds.
    pub(crate) received: u64,
    pub(crate) speech: u64,
    pub(crate) finals: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) closed: u64,
}

/// What others may see while it runs.
#[derive(Default)]
pub(crate) struct Progress {
    /// Sockets that are connected.
    pub(crate) connected: AtomicU64,
    /// The measurement is over; the sockets stay until `leave`.
    pub(crate) done: AtomicBool,
    /// Close everything.
    pub(crate) leave: AtomicBool,
}

struct Socket {
    tcp: TcpStream,
    /// Sent late because the other side does not read.
    unsent: Vec<u8>,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
    session: usize,
    open: bool,
}

struct Session {
    /// Sockets of customer and agent.
    socket: [usize; 2],
    frame: u32,
    sent_at: Box<[Option<Instant>; SENT_MAX]>,
}

struct Load {
    sockets: Vec<Socket>,
    sessions: Vec<Session>,
    epoll: std::os::fd::OwnedFd,
    templates: [Template; 2],
    audio: Vec<Vec<u8>>,
    measuring: bool,
    seen: Seen,
}

/// Connects everything, lets it run for `warm`, then measures for `measured`.
pub(crate) fn run(
    address: SocketAddr,
    doors: &[Door],
    warm: Duration,
    measured: Duration,
    progress: &Arc<Progress>,
) -> std::io::Result<Seen> {
    let mut load = Load::connect(address, doors, progress)?;
    let sessions = doors.len();
    // Customers first, each agent half a tick after its customer.
    let slots = 2 * sessions;
    let begin = Instant::now() + Duration::from_millis(50);
    let at = |turn: u64| begin + TICK.mul_f64(turn as f64 / slots as f64);
    let (measure_from, measure_to) = (begin + warm, begin + warm + measured);
    // What is sent in the last moment may still come back.
    let grace = Duration::from_millis(500);
    let mut turn = 0u64;
    let mut events = Vec::with_capacity(1_024);
    let mut scratch = vec![0u8; 64 * 1024];
    loop {
        let now = Instant::now();
        let sending = now < measure_to;
        load.measuring = now >= measure_from && sending;
        if now >= measure_to + grace {
            progress.done.store(true, Ordering::SeqCst);
            // The sockets are read on, so that the server is measured as it is with everybody there.
            if progress.leave.load(Ordering::SeqCst) {
                return Ok(load.seen);
            }
        }
        let mut sends = 0;
        while sending && sends < SENDS_MAX && at(turn) <= now {
            let slot = (turn % slots as u64) as usize;
            let (session, speaker) =
                if slot < sessions { (slot, Speaker::Customer) } else { (slot - sessions, Speaker::Agent) };
            load.send(session, speaker, at(turn));
            turn += 1;
            sends += 1;
        }
        let wait = if sending { at(turn).saturating_duration_since(Instant::now()) } else { Duration::from_millis(10) };
        let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(wait.min(TICK).subsec_nanos()) };
        events.clear();
        match epoll::wait(&load.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            load.receive(event.data.u64() as usize, &mut scratch);
        }
    }
}

impl Load {
    fn connect(address: SocketAddr, doors: &[Door], progress: &Progress) -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (mut sockets, mut sessions) = (Vec::new(), Vec::new());
        for (session, door) in doors.iter().enumerate() {
            let mut socket = [0; 2];
            for (path, speaker) in &door.sockets {
                let (tcp, rest) = upgrade(address, path, door.token.as_deref())?;
                tcp.set_nonblocking(true)?;
                let data = epoll::EventData::new_u64(sockets.len() as u64);
                epoll::add(&epoll, &tcp, data, epoll::EventFlags::IN)?;
                match speaker {
                    Some(speaker) => socket[speaker.index()] = sockets.len(),
                    None => socket = [sockets.len(); 2],
                }
                sockets.push(Socket { tcp, unsent: Vec::new(), rest, session, open: true });
                progress.connected.fetch_add(1, Ordering::Relaxed);
            }
            sessions.push(Session { socket, frame: 0, sent_at: Box::new([None; SENT_MAX]) });
        }
        let seen = Seen {
            delays: Delays::new(),
            expected: 0,
            sent: 0,
            sent_late: 0,
            received: 0,
            speech: 0,
            finals: 0,
            errors: BTreeMap::new(),
            closed: 0,
        };
        Ok(Self {
            sockets,
            sessions,
            epoll,
            templates: [Template::new(Speaker::Customer), Template::new(Speaker::Agent)],
            // Half of it is voice, in turns of different length.
            audio: wire::speech(&[(2_400, 1_600), (1_100, 1_900), (4_000, 2_500), (700, 1_200), (3_000, 3_600)]),
            measuring: false,
            seen,
        })
    }

    fn send(&mut self, session: usize, speaker: Speaker, scheduled: Instant) {
        let number = session;
        let session = &mut self.sessions[number];
        let frame = session.frame;
        // Every party is elsewhere in the recording; the two of a session talk past each other.
        let offset = number * 37 + speaker.index() * self.audio.len() / 2;
        let audio = &self.audio[(frame as usize + offset) % self.audio.len()];
        let message = self.templates[speaker.index()].message(frame, audio);
        let socket = &mut self.sockets[session.socket[speaker.index()]];
        let now = Instant::now();
        if speaker == Speaker::Customer {
            session.sent_at[frame as usize % SENT_MAX] = self.measuring.then_some(now);
            self.seen.expected += u64::from(self.measuring);
        } else {
            session.frame += 1;
        }
        if self.measuring {
            self.seen.sent += 1;
            self.seen.sent_late += u64::from(now.saturating_duration_since(scheduled) > SEND_LATE);
        }
        socket.send(message);
    }

    fn receive(&mut self, index: usize, scratch: &mut [u8]) {
        let Self { sockets, sessions, seen, measuring, .. } = self;
        let socket = &mut sockets[index];
        let length = match socket.tcp.read(scratch) {
            Ok(length) if length > 0 => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            _ => return socket.close(&self.epoll, seen),
        };
        let now = Instant::now();
        let joined;
        let mut bytes = if socket.rest.is_empty() {
            &scratch[..length]
        } else {
            socket.rest.extend_from_slice(&scratch[..length]);
            joined = std::mem::take(&mut socket.rest);
            &joined
        };
        let mut closed = false;
        while let Some(frame) = wire::frame(bytes) {
            bytes = &bytes[frame.length..];
            match frame.opcode {
                8 => closed = true,
                9 => {
                    let length = frame.payload.len().min(125) as u8;
                    let mut pong = vec![0x8a, 0x80 | length, 0, 0, 0, 0];
                    pong.extend_from_slice(&frame.payload[..usize::from(length)]);
                    socket.send(&pong);
                }
                1 => {
                    seen.received += u64::from(*measuring);
                    match wire::heard(frame.payload) {
                        Heard::Own(number) => {
                            let sent_at = &mut sessions[socket.session].sent_at[number as usize % SENT_MAX];
                            if let Some(sent_at) = sent_at.take() {
                                let delay = now.saturating_duration_since(sent_at);
                                seen.delays.add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
                            }
                        }
                        Heard::Speech => seen.speech += u64::from(*measuring),
                        Heard::Final => seen.finals += u64::from(*measuring),
                        Heard::Error(code) => *seen.errors.entry(code).or_default() += 1,
                        Heard::Other => {}
                    }
                }
                _ => {}
            }
        }
        socket.rest = bytes.to_vec();
        if closed {
            socket.close(&self.epoll, seen);
        }
    }
}

impl Socket {
    fn send(&mut self, message: &[u8]) {
        if !self.open {
            return;
        }
        if !self.unsent.is_empty() {
            // In order: what waited first.
            let waiting = std::mem::take(&mut self.unsent);
            self.write(&waiting);
        }
        if self.unsent.is_empty() {
            self.write(message);
        } else {
            self.unsent.extend_from_slice(message);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let written = match self.tcp.write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // Reading will say that it is gone.
            Err(_) => bytes.len(),
        };
        self.unsent.extend_from_slice(&bytes[written..]);
    }

    fn close(&mut self, epoll: &std::os::fd::OwnedFd, seen: &mut Seen) {
        if self.open {
            self.open = false;
            seen.closed += 1;
            let _ = epoll::delete(epoll, &self.tcp);
        }
    }
}

/// Opens a WebSocket; gives back what came after the answer, too.
fn upgrade(address: SocketAddr, path: &str, token: Option<&str>) -> std::io::Result<(TcpStream, Vec<u8>)> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    let key = base64::engine::general_purpose::STANDARD.encode([7; 16]);
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{authorization}\r\n"
    );
    tcp.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0u8; 4_096];
    loop {
        let end = memchr::memmem::find(&answer, b"\r\n\r\n");
        if let Some(end) = end {
            if !answer.starts_with(b"HTTP/1.1 101") {
                return Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
            }
            return Ok((tcp, answer[end + 4..].to_vec()));
        }
        let length = tcp.read(&mut chunk)?;
        if length == 0 {
            return Err(std::io::Error::other("closed before the upgrade"));
        }
        answer.extend_from_slice(&chunk[..length]);
    }
}
