//! Where mails go in tests: a fake that keeps them, and a fake mail server that speaks SMTP.
#![allow(clippy::expect_used, reason = "a test that can't be set up must fail at once")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kallglot_app::mail::{Mail, MailError, Mailer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::soon;

/// Keeps the mails it is given.
#[derive(Default)]
pub struct FakeMailer {
    mails: watch::Sender<Vec<Mail>>,
    attempts: watch::Sender<usize>,
    fails: Mutex<Option<MailError>>,
}

impl FakeMailer {
    /// What every attempt fails with from now on; None: mails are taken.
    pub fn fails_with(&self, error: Option<MailError>) {
        *self.fails.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// The mails so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.borrow().clone()
    }

    /// The last mail to this address, waited for when there is none yet.
    pub async fn mail_to(&self, to: &str) -> Mail {
        let mut mails = self.mails.subscribe();
        let found = soon("a mail comes", mails.wait_for(|mails| mails.iter().any(|mail| mail.to() == to))).await;
        let found = found.expect("the fake is there").iter().rev().find(|mail| mail.to() == to).cloned();
        found.expect("a mail")
    }

    /// Waits until there were so many attempts.
    pub async fn attempts(&self, count: usize) {
        let mut attempts = self.attempts.subscribe();
        soon("attempts to send", attempts.wait_for(|attempts| *attempts >= count)).await.expect("the fake is there");
    }

    /// How many attempts there were.
    pub fn attempts_so_far(&self) -> usize {
        *self.attempts.borrow()
    }
}

#[async_trait]
impl Mailer for FakeMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let error = self.fails.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let result = match error {
            Some(error) => Err(error),
            None => {
                self.mails.send_modify(|mails| mails.push(mail.clone()));
                Ok(())
            }
        };
        self.attempts.send_modify(|attempts| *attempts += 1);
        result
    }
}

/// A fake mail server on this machine, for a client's own tests. It offers `AUTH PLAIN` and takes everything.
pub struct FakeMailServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its certificate is signed with, for one that speaks TLS.
    pub root: Option<CertificateDer<'static>>,
    state: Arc<State>,
}

struct State {
    /// What it answers to `RCPT TO`.
    recipient_answer: Mutex<String>,
    /// What it answers to `AUTH`.
    auth_answer: Mutex<String>,
    connections: watch::Sender<Vec<Vec<String>>>,
    said: Mutex<Vec<String>>,
}

impl FakeMailServer {
    /// One that speaks plain SMTP.
    pub async fn start() -> Self {
        Self::launch(None, None).await
    }

    /// One that speaks TLS from the start, with a certificate for `localhost` that nobody trusts but who is told to.
    pub async fn start_with_tls() -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let root = signed.cert.der().clone();
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![root.clone()], key)
            .expect("a certificate with its key");
        Self::launch(Some(TlsAcceptor::from(Arc::new(config))), Some(root)).await
    }

    async fn launch(tls: Option<TlsAcceptor>, root: Option<CertificateDer<'static>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            recipient_answer: Mutex::new("250 fine".into()),
            auth_answer: Mutex::new("235 welcome".into()),
            connections: watch::Sender::default(),
            said: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, &state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, root, state }
    }

    /// What it answers to recipients from now on, such as `550 no such person`.
    pub fn answers_recipients(&self, line: &str) {
        line.clone_into(&mut self.state.recipient_answer.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it answers to passwords from now on.
    pub fn answers_passwords(&self, line: &str) {
        line.clone_into(&mut self.state.auth_answer.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All lines of all clients so far.
    pub fn said(&self) -> Vec<String> {
        self.state.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was said on the connections that brought a message, waited for until there are so many.
    pub async fn conversations(&self, count: usize) -> Vec<Vec<String>> {
        let mut connections = self.state.connections.subscribe();
        let seen = soon("mails come", connections.wait_for(|seen| seen.len() >= count)).await;
        seen.expect("the fake is there").clone()
    }
}

/// Answers one client until it goes; a message it has taken is kept with all that was said before.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut stream = BufReader::new(stream);
    let mut said = Vec::new();
    let _ = stream.write_all(b"220 fake.example ESMTP\r\n").await;
    let mut in_message = false;
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        said.push(line.clone());
        state.said.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        let answer = |of: &Mutex<String>| of.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = match line.split(' ').next().unwrap_or_default().to_ascii_uppercase().as_str() {
            _ if in_message && line != "." => continue,
            _ if in_message => {
                in_message = false;
                state.connections.send_modify(|seen| seen.push(said.clone()));
                "250 taken".to_owned()
            }
            "EHLO" => "250-fake.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN".to_owned(),
            "AUTH" => answer(&state.auth_answer),
            "RCPT" => answer(&state.recipient_answer),
            "DATA" => {
                in_message = true;
                "354 go on".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "250 fine".to_owned(),
        };
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
