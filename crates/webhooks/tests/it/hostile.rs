//! Receivers that are up to something: whatever they do is bounded, is a failure that says what happened, and takes nothing from others.

use kallglot_core::delivery::{AttemptError, DeliveryStatus, EXCERPT_BYTES_MAX};
use kallglot_testkit::{Behaviour, FakeReceiver};

use crate::world::{World, hasty};

/// What is logged of one attempt at a receiver that does this; a healthy one is served meanwhile.
async fn attempt_at(behaviour: Behaviour) -> (FakeReceiver, kallglot_storage::DeliveryLog) {
    let world = World::on(hasty().start().await).await;
    let receiver = FakeReceiver::start(behaviour).await;
    let healthy = FakeReceiver::start(Behaviour::ok()).await;
    let (id, _) = world.endpoint(&receiver.url()).await;
    let (other, _) = world.endpoint(&healthy.url()).await;
    let delivery = world.test(id).await;
    world.test(other).await;
    healthy.until(1).await;
    let log = world.attempts(&delivery, 1).await;
    assert_eq!(log.attempts.len(), 1);
    world.server.finish().await;
    (receiver, log)
}

fn error(log: &kallglot_storage::DeliveryLog) -> Option<AttemptError> {
    log.attempts[0].error
}

#[tokio::test]
async fn an_answer_of_ten_gigabytes_is_read_to_its_beginning_only() {
    let (receiver, log) = attempt_at(Behaviour::EndlessBody).await;
    assert_eq!((error(&log), log.delivery.status), (None, DeliveryStatus::Succeeded), "the status is what counts");
    assert_eq!(log.attempts[0].answer_body.len(), EXCERPT_BYTES_MAX);
    // What the two sockets between them hold, and no more.
    assert!(receiver.written_bytes() < 32 * 1024 * 1024, "{}", receiver.written_bytes());
}

#[tokio::test]
async fn headers_without_an_end_are_refused() {
    let (receiver, log) = attempt_at(Behaviour::EndlessHeaders).await;
    assert_eq!(error(&log), Some(AttemptError::InvalidAnswer), "{:?}", log.attempts[0]);
    assert!(receiver.written_bytes() < 32 * 1024 * 1024, "{}", receiver.written_bytes());
}

#[tokio::test]
async fn an_answer_byte_by_byte_runs_out_of_time() {
    let (_, log) = attempt_at(Behaviour::SlowLoris).await;
    assert_eq!(error(&log), Some(AttemptError::TimedOut));
}

#[tokio::test]
async fn who_never_answers_or_never_reads_runs_out_of_time() {
    for behaviour in [Behaviour::Hangs, Behaviour::NeverReads] {
        let (_, log) = attempt_at(behaviour).await;
        assert_eq!((error(&log), log.delivery.status), (Some(AttemptError::TimedOut), DeliveryStatus::Pending));
    }
}

#[tokio::test]
async fn who_closes_or_speaks_something_else_is_told_apart() {
    let (_, log) = attempt_at(Behaviour::Closes).await;
    assert_eq!(error(&log), Some(AttemptError::ConnectionClosed));
    let (_, log) = attempt_at(Behaviour::Garbage).await;
    assert_eq!(error(&log), Some(AttemptError::InvalidAnswer));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trap = FakeReceiver::start(Behaviour::ok()).await;
    for to in ["http://169.254.169.254/latest/meta-data/".to_owned(), trap.url()] {
        let (_, log) = attempt_at(Behaviour::redirects(&to)).await;
        assert_eq!((error(&log), log.attempts[0].status), (Some(AttemptError::Redirect), Some(302)));
        assert!(log.attempts[0].error_detail.contains(&to), "{}", log.attempts[0].error_detail);
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn who_does_not_listen_is_told_apart() {
    let world = World::on(hasty().start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let url = receiver.url();
    drop(receiver);
    let (id, _) = world.endpoint(&url).await;
    let delivery = world.test(id).await;
    let log = world.attempts(&delivery, 1).await;
    assert_eq!(error(&log), Some(AttemptError::ConnectFailed));
    world.server.finish().await;
}
