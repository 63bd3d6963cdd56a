//! What becomes of requests when the server or the way to it fails. Shown with the translator; the parts share the code.

use std::sync::Arc;

use kallglot_engine::{EngineError, Synthesizer, Translator};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::fake_server::{FakeServer, Reply};
use crate::translator::{said, translate};
use crate::{KEY, config, open, soon, tag};

#[tokio::test]
async fn a_failure_of_the_server_is_tried_again() {
    for status in [500, 502, 503, 504, 429] {
        let server =
            FakeServer::start(move |_, n| if n < 2 { Reply::status(status) } else { Reply::json(said("Hola")) }).await;
        assert_eq!(translate(&server, "Hello").await, Ok("Hola".into()), "{status}");
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    let server = FakeServer::start(|_, _| Reply::status(503)).await;
    assert!(matches!(translate(&server, "Hello").await, Err(EngineError::Unavailable(_))));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn retry_after_comes_before_the_usual_wait() {
    let server = FakeServer::start(|_, n| {
        if n == 0 { Reply::status(429).with_header("retry-after", "0") } else { Reply::json(said("Hola")) }
    })
    .await;
    let mut config = config(&server.base_url);
    // The usual wait would be beyond the deadline.
    (config.limits.backoff_ms, config.limits.backoff_max_ms) = (60_000, 60_000);
    let translator = open(config).translator().unwrap();
    assert_eq!(soon(translator.translate("Hello", &tag("en"), &tag("es"))).await, Ok("Hola".into()));
}

#[tokio::test]
async fn a_retry_after_beyond_the_deadline_is_not_waited_for() {
    let server = FakeServer::start(|_, _| Reply::status(429).with_header("retry-after", "3600")).await;
    assert!(matches!(translate(&server, "Hello").await, Err(EngineError::Overloaded(_))));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_will_not_get_better_is_not_tried_again_and_says_what_to_check() {
    for (status, expected) in [(401, "api_key"), (403, "api_key"), (404, "base_url"), (302, "base_url"), (418, "model")]
    {
        let server =
            FakeServer::start(move |_, _| Reply::status(status).with_header("location", "http://127.0.0.1:1/")).await;
        let error = translate(&server, "Hello").await.unwrap_err();
        assert!(error.to_string().contains(expected), "{status}: {error}");
        // 418: once more without temperature, which might have been what it did not like.
        assert_eq!(server.requests().len(), if status == 418 { 2 } else { 1 });
    }
    let quota = json!({"error": {"code": "insufficient_quota"}}).to_string();
    let server =
        FakeServer::start(move |_, _| Reply::Full { status: 429, headers: vec![], body: quota.clone().into() }).await;
    assert!(translate(&server, "Hello").await.unwrap_err().to_string().contains("billing"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_error_never_has_what_the_server_said_in_it() {
    for status in [400, 401, 429, 500] {
        let body = json!({"error": {"message": format!("Incorrect API key provided: {KEY}, at /srv/secret/path")}})
            .to_string();
        let server =
            FakeServer::start(move |_, _| Reply::Full { status, headers: vec![], body: body.clone().into() }).await;
        let error = format!("{:?}", translate(&server, "Hello").await.unwrap_err());
        assert!(!error.contains(KEY) && !error.contains("/srv"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let translator = open(config(&format!("http://{address}/v1"))).translator().unwrap();
    let error = soon(translator.translate("Hello", &tag("en"), &tag("es"))).await.unwrap_err();
    assert!(matches!(&error, EngineError::Unavailable(text) if text.contains("can't be reached")), "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_or_stops_speaking_times_out() {
    let silent = || Reply::Nothing;
    let stops = || Reply::Pieces {
        content_type: "text/event-stream",
        pieces: vec![(None, b"data: {\"choices\":[]}\n\n".to_vec()), (Some(Default::default()), Vec::new())],
    };
    for reply in [silent as fn() -> Reply, stops] {
        let mut server = FakeServer::start(move |_, _| reply()).await;
        let mut config = config(&server.base_url);
        config.limits.first_byte_ms = 100;
        let translator = open(config).translator().unwrap();
        let result = soon(translator.translate("Hello", &tag("en"), &tag("es"))).await;
        assert!(matches!(result, Err(EngineError::TimedOut(_))), "{result:?}");
        soon(server.hung_up.recv()).await.expect("the connection was closed");
        assert_eq!(server.requests().len(), 1, "a slow server is not given more work");
    }
}

#[tokio::test]
async fn a_drip_of_data_does_not_outlast_the_deadline() {
    let server = FakeServer::start(|_, _| Reply::Endless {
        content_type: "text/event-stream",
        piece: b": still here\n".to_vec(),
    })
    .await;
    let mut config = config(&server.base_url);
    config.limits.total_ms = 100;
    let translator = open(config).translator().unwrap();
    let result = soon(translator.translate("Hello", &tag("en"), &tag("es"))).await;
    assert!(matches!(result, Err(EngineError::TimedOut(_) | EngineError::Failed(_))), "{result:?}");
}

#[tokio::test]
async fn garbage_is_a_failure() {
    let garbage: [fn() -> Reply; 8] = [
        || Reply::body("application/json", "not JSON at all"),
        || Reply::body("application/json", "{}"),
        || Reply::body("application/json", "{\"choices\": \"many\"}"),
        || Reply::body("text/html", "<html>Welcome to the router</html>"),
        || Reply::body("application/json", vec![0xff; 100]),
        || Reply::events(&["{\"choices\":", "[DONE]"]),
        || Reply::events(&["{\"error\": {\"message\": \"overloaded\"}}"]),
        || Reply::events(&["{\"choices\":[{\"delta\":{\"content\":\"Ho\"}}]}"]),
    ];
    for (index, reply) in garbage.into_iter().enumerate() {
        let server = FakeServer::start(move |_, _| reply()).await;
        let result = translate(&server, "Hello").await;
        assert!(matches!(result, Err(EngineError::Failed(_))), "{index}: {result:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_left() {
    for (content_type, piece) in [
        ("application/json", vec![b' '; 65_536]),
        ("text/event-stream", vec![b'x'; 65_536]),
        ("text/event-stream", b"data: {\"choices\":[]}\n\n".repeat(3_000)),
    ] {
        let mut server = FakeServer::start(move |_, _| Reply::Endless { content_type, piece: piece.clone() }).await;
        assert!(matches!(translate(&server, "Hello").await, Err(EngineError::Failed(_))));
        soon(server.hung_up.recv()).await.expect("the connection was closed");
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_a_failure() {
    for content_type in ["application/json", "text/event-stream"] {
        let server =
            FakeServer::start(move |_, _| Reply::Cut { content_type, body: b"data: {\"choices\":[]}\n\n".to_vec() })
                .await;
        assert!(matches!(translate(&server, "Hello").await, Err(EngineError::Failed(_))));
    }
}

#[tokio::test]
async fn requests_at_a_time_are_bounded_whatever_part_makes_them() {
    let never = Arc::new(Notify::new());
    let server = FakeServer::start(move |request, _| match request.path.as_str() {
        "/v1/audio/speech" => Reply::Pieces {
            content_type: "audio/pcm",
            pieces: vec![(None, vec![0; 9_600]), (Some(Arc::clone(&never)), Vec::new())],
        },
        _ => Reply::json(said("Hola")),
    })
    .await;
    let mut config = config(&server.base_url);
    (config.limits.requests_max, config.limits.total_ms) = (1, 500);
    let server_parts = open(config);
    let (translator, synthesizer) = (server_parts.translator().unwrap(), server_parts.synthesizer().unwrap());
    let (en, es) = (tag("en"), tag("es"));
    let mut speech = soon(synthesizer.synthesize("Hola", &es, None)).await.unwrap();
    assert!(soon(speech.recv()).await.unwrap().is_ok());
    let refused = soon(translator.translate("Hello", &en, &es)).await;
    assert!(matches!(refused, Err(EngineError::Overloaded(_))), "{refused:?}");
    drop(speech);
    assert_eq!(soon(translator.translate("Hello", &en, &es)).await, Ok("Hola".into()), "the slot is free again");
}
