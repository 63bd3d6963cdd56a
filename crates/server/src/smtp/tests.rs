use std::sync::Arc;

use kallglot_testkit::{FakeMailServer, ServerBuilder, TestServer};
use lettre::transport::smtp::client::Certificate;

use super::{MailSettings, SmtpMailer};

fn settings(server: &FakeMailServer, more: &str) -> MailSettings {
    let defaults =
        "host = 'localhost'\nsecurity = 'none'\nusername = ''\npassword = ''\nfrom = 'Kallglot <kallglot@example.com>'";
    let mut table: toml::Table = format!("{defaults}\nport = {}", server.address.port()).parse().unwrap();
    table.extend(more.parse::<toml::Table>().unwrap());
    let settings: MailSettings = table.try_into().unwrap();
    assert_eq!(settings.problem(), None);
    settings
}

async fn server_with(mailer: SmtpMailer) -> TestServer {
    ServerBuilder::default().mailer(Arc::new(mailer)).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_arrives_as_it_was_written() {
    let smtp = FakeMailServer::start().await;
    let mailer = SmtpMailer::new(&settings(&smtp, "username = 'user'\npassword = 'word'")).unwrap().unwrap();
    let server = server_with(mailer).await;
    let text = "Grüße,\n.\nhttps://portal.example.com/portal/link#abc\n";
    server.app.send_mail("ann@example.com", "Einladung zu Übersetzern", text).unwrap();

    let said = smtp.conversations(1).await.remove(0);
    // The password's base64: "\0user\0word".
    let expected = ["EHLO example.com", "AUTH PLAIN AHVzZXIAd29yZA==", "MAIL FROM:<kallglot@example.com>"];
    for (line, expected) in said.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    let line = |start: &str| said.iter().find_map(|line| line.strip_prefix(start)).unwrap_or_default().to_owned();
    assert_eq!(line("RCPT TO:"), "<ann@example.com>");
    assert_eq!(line("From: "), "Kallglot <kallglot@example.com>");
    assert_eq!(line("To: "), "ann@example.com");
    assert!(line("Subject: ").contains("=?utf-8?b?"), "{said:?}");
    // The test's clock says when.
    assert_eq!(line("Date: "), "Fri, 15 Jan 2027 08:00:00 +0000");
    assert!(line("Message-ID: ").ends_with("@example.com>"));
    assert_eq!(line("Content-Transfer-Encoding: "), "quoted-printable");
    let body = said.iter().skip_while(|line| !line.is_empty()).skip(1).cloned().collect::<Vec<_>>();
    // A line of one dot does not end the message.
    assert_eq!(body, ["Gr=C3=BC=C3=9Fe,", "..", "https://portal.example.com/portal/link#abc", "", "."]);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_can_add_no_header_and_no_recipient() {
    let smtp = FakeMailServer::start().await;
    let server = server_with(SmtpMailer::new(&settings(&smtp, "")).unwrap().unwrap()).await;
    server
        .app
        .send_mail(
            "ann@example.com",
            "Hello\r\nBcc: eve@example.com\r\n\r\nother text",
            "text\r\n.\r\nMAIL FROM:<x@x.de>",
        )
        .unwrap();
    let said = smtp.conversations(1).await.remove(0);
    let headers = said.iter().skip_while(|line| *line != "DATA").skip(1).take_while(|line| !line.is_empty());
    let names = headers.map(|line| line.split(':').next().unwrap_or_default()).collect::<Vec<_>>();
    let expected = ["From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Transfer-Encoding"];
    assert_eq!(names, expected, "{said:?}");
    assert_eq!(said.iter().filter(|line| line.starts_with("RCPT")).count(), 1);
    assert!(said.contains(&"MAIL FROM:<x@x.de>".to_owned()) && said.contains(&"..".to_owned()), "it is text: {said:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_goes_only_to_a_server_with_a_trusted_certificate() {
    let smtp = FakeMailServer::start_with_tls().await;
    let settings = settings(&smtp, "security = 'tls'\nusername = 'user'\npassword = 'word'");
    let root = Certificate::from_der(smtp.root.as_ref().unwrap().to_vec()).unwrap();
    let trusting = server_with(SmtpMailer::trusting(&settings, vec![root]).unwrap()).await;
    trusting.app.send_mail("ann@example.com", "Hello", "text").unwrap();
    assert!(smtp.conversations(1).await[0].contains(&"RCPT TO:<ann@example.com>".to_owned()));
    trusting.finish().await;

    let careful = server_with(SmtpMailer::new(&settings).unwrap().unwrap()).await;
    careful.app.send_mail("eve@example.com", "Hello", "text").unwrap();
    let counts = &careful.app.mails.counts;
    wait_until(|| counts.failed.load(std::sync::atomic::Ordering::Relaxed) == 1).await;
    assert_eq!(smtp.conversations(1).await.len(), 1, "the one without trust said nothing");
    careful.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_starttls_gets_nothing() {
    let smtp = FakeMailServer::start().await;
    let settings = settings(&smtp, "security = 'starttls'\nusername = 'user'\npassword = 'word'");
    let server = server_with(SmtpMailer::new(&settings).unwrap().unwrap()).await;
    server.app.send_mail("ann@example.com", "Hello", "text").unwrap();
    let counts = &server.app.mails.counts;
    wait_until(|| counts.failed.load(std::sync::atomic::Ordering::Relaxed) == 1).await;
    let said = smtp.said();
    assert!(said.iter().all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL")), "{said:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_recipient_is_given_up_and_a_refused_password_tried_again() {
    let smtp = FakeMailServer::start().await;
    let mailer = SmtpMailer::new(&settings(&smtp, "username = 'user'\npassword = 'word'")).unwrap().unwrap();
    let server = server_with(mailer).await;
    let count = |which: &std::sync::atomic::AtomicU64| which.load(std::sync::atomic::Ordering::Relaxed);
    let counts = &server.app.mails.counts;

    smtp.answers_recipients("550 no such person");
    server.app.send_mail("nobody@example.com", "Hello", "text").unwrap();
    wait_until(|| count(&counts.given_up) == 1).await;
    assert_eq!((count(&counts.failed), server.app.mails.waiting()), (1, 0));

    smtp.answers_recipients("250 fine");
    smtp.answers_passwords("535 wrong password");
    server.app.send_mail("ann@example.com", "Hello", "text").unwrap();
    wait_until(|| count(&counts.failed) == 2).await;
    smtp.answers_passwords("235 welcome");
    server.clock.advance(jiff::SignedDuration::from_secs(5));
    assert_eq!(smtp.conversations(1).await.len(), 1);
    wait_until(|| count(&counts.sent) == 1).await;
    assert_eq!((count(&counts.given_up), server.app.mails.waiting()), (1, 0));
    server.finish().await;
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    kallglot_testkit::soon("it is so", waiting).await;
}
