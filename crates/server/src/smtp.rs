//! Mails by SMTP, with lettre: one connection for each mail, TLS by rustls with this machine's trusted roots.
//!
//! What must stay true: a password is never sent in clear (the settings refuse it); no text of a mail can become a header or a command: the
//! address is parsed, the subject and the text are encoded by lettre.

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use kallglot_app::mail::{Mail, MailError, Mailer};
use lettre::address::Address;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use serde::Deserialize;

use crate::config::Hidden;

/// Longest that handing over one mail may take, and one step of it.
const SEND_MAX: Duration = Duration::from_secs(30);
const STEP_MAX: Duration = Duration::from_secs(10);

/// The settings `[mail]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailSettings {
    host: String,
    port: u16,
    security: Security,
    username: String,
    password: Hidden,
    from: String,
}

/// How the connection to the mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS before anything else is said; a server that does not offer it gets nothing.
    Starttls,
    /// None: for a mail server on this machine or in a network that is trusted.
    None,
}

impl MailSettings {
    /// Whether mails are sent.
    pub(crate) fn is_set(&self) -> bool {
        !self.host.is_empty()
    }

    /// What is wrong, in a sentence for the operator.
    pub(crate) fn problem(&self) -> Option<String> {
        if !self.is_set() {
            return None;
        }
        let port = self.port;
        if port == 0 {
            return Some(
                "`mail.port` is 0; it must be 1 to 65535: mostly 587 for \"starttls\" and 465 for \"tls\".".into(),
            );
        }
        if self.from.parse::<Mailbox>().is_err() {
            let text = format!("`mail.from` is {:?}; it must be like \"Kallglot <kallglot@example.com>\".", self.from);
            return Some(text);
        }
        if self.username.is_empty() != self.password.expose().is_empty() {
            return Some("`mail.username` and `mail.password` go together: set both, or neither.".into());
        }
        let here = self.host == "localhost" || self.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if self.security == Security::None && !self.username.is_empty() && !here {
            let text = "`mail.security` is \"none\", so the password would be sent in clear: set \"starttls\" or \"tls\", or no password.";
            return Some(text.into());
        }
        None
    }
}

/// Takes mails to one mail server.
pub(crate) struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpMailer {
    /// As the settings say, which were found to be right. None: no mail server is set.
    ///
    /// # Errors
    /// TLS can't be set up, in a sentence for the operator.
    pub(crate) fn new(settings: &MailSettings) -> Result<Option<Self>, String> {
        if !settings.is_set() {
            return Ok(None);
        }
        Self::trusting(settings, Vec::new()).map(Some)
    }

    /// Likewise, trusting these certificates too.
    fn trusting(settings: &MailSettings, roots: Vec<Certificate>) -> Result<Self, String> {
        let from = settings.from.parse::<Mailbox>().map_err(|error| format!("`mail.from`: {error}"))?;
        let tls = || {
            let builder = TlsParameters::builder(settings.host.clone());
            let builder = roots.into_iter().fold(builder, |builder, root| builder.add_root_certificate(root));
            builder.build_rustls().map_err(|error| format!("TLS for mail can't be set up: {error}"))
        };
        let security = match settings.security {
            Security::Tls => Tls::Wrapper(tls()?),
            Security::Starttls => Tls::Required(tls()?),
            Security::None => Tls::None,
        };
        // Mail servers want to know who speaks; this machine's name is none of their business.
        let hello = ClientId::Domain(from.email.domain().to_owned());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.as_str())
            .port(settings.port)
            .tls(security)
            .timeout(Some(STEP_MAX))
            .hello_name(hello);
        if !settings.username.is_empty() {
            let password = settings.password.expose().to_owned();
            builder = builder.credentials(Credentials::new(settings.username.clone(), password));
        }
        Ok(Self { transport: builder.build(), from })
    }

    fn message(&self, mail: &Mail) -> Result<Message, MailError> {
        let never = |problem: String| MailError::Never(problem);
        let to: Address = mail.to().parse().map_err(|error| never(format!("the address: {error}")))?;
        let id = u128::from_be_bytes(mail.id());
        let at = u64::try_from(mail.at().as_second()).unwrap_or_default();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject())
            .date(UNIX_EPOCH + Duration::from_secs(at))
            .message_id(Some(format!("<{id:032x}@{}>", self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text().to_owned())
            .map_err(|error| never(error.to_string()))
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = self.message(mail)?;
        match tokio::time::timeout(SEND_MAX, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                // Answers about who we are (530 to 538) are about the settings, not about this mail.
                let about_us = error.status().is_some_and(|code| (530..540).contains(&u16::from(code)));
                let never = error.is_permanent() && !about_us;
                Err(if never { MailError::Never(error.to_string()) } else { MailError::Later(error.to_string()) })
            }
            Err(_) => Err(MailError::Later("the mail server took too long".into())),
        }
    }
}

#[cfg(test)]
mod tests;
