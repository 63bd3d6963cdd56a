//! Mails: nobody waits for a mail server, what fails is tried again, and the queue has a bound.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::SignedDuration;
use kallglot_app::mail::{AGAIN_AFTER_S, MAILS_MAX, MailError, NotSent};
use kallglot_testkit::{FakeMailer, ServerBuilder, TestServer};

async fn server() -> (TestServer, Arc<FakeMailer>) {
    let mailer = Arc::new(FakeMailer::default());
    let server = ServerBuilder::default().mailer(Arc::clone(&mailer) as Arc<_>).start().await;
    (server, mailer)
}

fn away() -> Option<MailError> {
    Some(MailError::Later("the mail server is away".into()))
}

#[tokio::test]
async fn a_mail_is_tried_again_until_the_server_is_back() {
    let (server, mailer) = server().await;
    mailer.fails_with(away());
    server.app.send_mail("ann@example.com", "Hello\r\nBcc: eve@example.com", "One\r\ntwo\rthree").unwrap();
    mailer.attempts(1).await;
    // One that nobody can take does not hold up the others.
    mailer.fails_with(None);
    server.app.send_mail("bob@example.com", "Hello", "Bob").unwrap();
    assert_eq!(mailer.mail_to("bob@example.com").await.text(), "Bob");
    server.clock.advance(SignedDuration::from_secs(AGAIN_AFTER_S[0]));
    let mail = mailer.mail_to("ann@example.com").await;
    assert_eq!(mail.subject(), "Hello  Bcc: eve@example.com");
    assert_eq!(mail.text(), "One\ntwo\nthree");
    server.finish().await;
}

#[tokio::test]
async fn a_mail_is_given_up_after_five_attempts_and_a_refused_one_at_once() {
    let (server, mailer) = server().await;
    let counts = &server.app.mails.counts;
    mailer.fails_with(away());
    server.app.send_mail("ann@example.com", "Hello", "text").unwrap();
    for (attempt, wait_s) in AGAIN_AFTER_S.iter().enumerate() {
        mailer.attempts(attempt + 1).await;
        // Not before its time.
        until(|| server.app.mails.counts.failed.load(Relaxed) == attempt as u64 + 1).await;
        server.clock.advance(SignedDuration::from_secs(*wait_s));
    }
    until(|| counts.given_up.load(Relaxed) == 1).await;
    assert_eq!((mailer.attempts_so_far(), server.app.mails.waiting()), (AGAIN_AFTER_S.len() + 1, 0));

    mailer.fails_with(Some(MailError::Never("no such person".into())));
    server.app.send_mail("nobody@example.com", "Hello", "text").unwrap();
    until(|| counts.given_up.load(Relaxed) == 2).await;
    assert_eq!(mailer.attempts_so_far(), AGAIN_AFTER_S.len() + 2);
    server.finish().await;
}

#[tokio::test]
async fn the_queue_has_a_bound_and_says_when_it_is_full() {
    let (server, mailer) = server().await;
    mailer.fails_with(away());
    for number in 0..MAILS_MAX {
        server.app.send_mail(&format!("person{number}@example.com"), "Hello", "text").unwrap();
    }
    // Those that were tried wait too.
    mailer.attempts(MAILS_MAX).await;
    assert_eq!(server.app.send_mail("ann@example.com", "Hello", "text"), Err(NotSent::Full));
    assert_eq!(server.app.mails.counts.refused.load(Relaxed), 1);
    mailer.fails_with(None);
    server.clock.advance(SignedDuration::from_secs(AGAIN_AFTER_S[0]));
    until(|| server.app.mails.waiting() == 0).await;
    assert_eq!(server.app.send_mail("ann@example.com", "Hello", "text"), Ok(()));
    server.finish().await;
}

#[tokio::test]
async fn what_is_no_address_or_has_no_server_is_refused() {
    let (server, _) = server().await;
    for to in ["ann", "ann@example.com\r\nBcc: eve@example.com", "Ann <ann@example.com>", "a@b.de,c@d.de"] {
        assert_eq!(server.app.send_mail(to, "Hello", "text"), Err(NotSent::Address), "{to:?}");
    }
    server.finish().await;
    let silent = TestServer::start().await;
    assert!(!silent.app.mails.is_configured());
    assert_eq!(silent.app.send_mail("ann@example.com", "Hello", "text"), Err(NotSent::NotConfigured));
    silent.finish().await;
}

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    kallglot_testkit::soon("it is so", waiting).await;
}
