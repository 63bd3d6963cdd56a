//! What is told is heard, or it is heard that something was lost.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kallglot_cluster::Heard;

use super::*;

type Listener = BoxStream<'static, Heard>;

async fn hear(listener: &mut Listener) -> Heard {
    tokio::time::timeout(PATIENCE, listener.next()).await.expect("something is heard").expect("news go on")
}

fn news(text: impl ToString) -> Heard {
    Heard::News(text.to_string())
}

#[tokio::test]
async fn what_one_node_tells_the_others_hear_in_order() {
    let redis = Redis::start().await;
    let (one, two, three) = (node(&redis).await, node(&redis).await, node(&redis).await);
    let mut listeners = [one.listen(), two.listen(), three.listen()];
    for number in 0..200 {
        let teller = if number % 2 == 0 { &one } else { &two };
        teller.announce(&format!("{number}")).get().await.unwrap();
    }
    for listener in &mut listeners {
        for number in 0..200 {
            assert_eq!(hear(listener).await, news(number));
        }
    }
}

#[tokio::test]
async fn after_a_cut_connection_something_was_lost_and_it_goes_on() {
    let redis = Redis::start().await;
    let (one, two) = (node(&redis).await, node(&redis).await);
    let mut listener = two.listen();
    one.announce("before").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, news("before"));
    let mut operator = operator(&redis).await;
    let killed: u32 = order(&mut operator, "CLIENT KILL TYPE pubsub").await;
    assert_eq!(killed, 2, "one listens on each node");
    one.announce("perhaps unheard").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Lost);
    one.announce("after").get().await.unwrap();
    while hear(&mut listener).await != news("after") {}
}

#[tokio::test]
async fn a_message_that_was_cut_is_noticed_without_another() {
    let redis = Redis::start().await;
    let (one, two) = (node(&redis).await, node(&redis).await);
    let mut listener = two.listen();
    one.announce("heard").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, news("heard"));
    // Its number was given, and it never came.
    let mut operator = operator(&redis).await;
    let number: u64 = order(&mut operator, "INCR kallglot:news").await;
    assert_eq!(number, 2);
    assert_eq!(hear(&mut listener).await, Heard::Lost);
    one.announce("next").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, news("next"), "and only once");
}

#[tokio::test]
async fn a_message_that_was_cut_is_noticed_by_the_next() {
    let redis = Redis::start().await;
    let one = node(&redis).await;
    let mut listener = one.listen();
    let mut operator = operator(&redis).await;
    let () = redis::pipe()
        .cmd("INCRBY")
        .arg("kallglot:news")
        .arg(2)
        .cmd("PUBLISH")
        .arg("kallglot:news")
        .arg("2 the second")
        .query_async::<()>(&mut operator)
        .await
        .unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Lost);
    one.announce("the third").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, news("the third"));
}

#[tokio::test]
async fn when_counting_begins_anew_something_was_lost() {
    let redis = Redis::start().await;
    let one = node(&redis).await;
    let mut listener = one.listen();
    for text in ["a", "b"] {
        one.announce(text).get().await.unwrap();
        assert_eq!(hear(&mut listener).await, news(text));
    }
    let mut operator = operator(&redis).await;
    let _: u32 = order(&mut operator, "DEL kallglot:news").await;
    assert_eq!(hear(&mut listener).await, Heard::Lost);
    one.announce("c").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, news("c"));
}

#[tokio::test]
async fn what_others_publish_there_is_not_news() {
    let redis = Redis::start().await;
    let one = node(&redis).await;
    let mut listener = one.listen();
    let mut operator = operator(&redis).await;
    for message in ["", "nonsense", "-1 x", "99999999999999999999999 x", "x 1"] {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("kallglot:news").arg(message).exec_async(&mut operator).await.unwrap();
    }
    one.announce("news").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, news("news"));
}

#[tokio::test]
async fn after_a_restart_something_was_lost_and_it_goes_on() {
    let mut redis = Redis::start().await;
    let one = node(&redis).await;
    let mut listener = one.listen();
    one.announce("before").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, news("before"));
    redis.kill().await;
    redis.start_again().await;
    assert_eq!(hear(&mut listener).await, Heard::Lost);
    until("it can be told", async || one.announce("after").get().await.is_ok()).await;
    while hear(&mut listener).await != news("after") {}
}

#[tokio::test]
async fn when_its_node_is_gone_a_listener_hears_the_end() {
    let redis = Redis::start().await;
    let one = node(&redis).await;
    let mut listener = one.listen();
    drop(one);
    assert_eq!(tokio::time::timeout(PATIENCE, listener.next()).await.unwrap(), None);
    let mut operator = operator(&redis).await;
    until("its connections are closed", async || {
        let clients: String = order(&mut operator, "CLIENT LIST").await;
        clients.lines().count() == 1
    })
    .await;
}
