//! Against a real S3 server, which checks signatures, and whose cable can be cut.
#![allow(clippy::unwrap_used, reason = "a test that can't go on must fail at once")]

use kallglot_objects::{ObjectError, Objects as _, conformance};
use kallglot_objects_s3::{Config, PART_BYTES, S3};
use kallglot_throwaway::{Proxy, S3 as Server};

fn config(endpoint: String) -> Config {
    Config {
        bucket: Server::BUCKET.into(),
        prefix: "kallglot".into(),
        endpoint,
        region: "us-east-1".into(),
        access_key_id: Server::ACCESS_KEY_ID.into(),
        secret_access_key: Server::SECRET_ACCESS_KEY.into(),
        path_style: true,
    }
}

#[tokio::test]
async fn an_s3_server_is_an_object_store() {
    let server = Server::start().await;
    // In one request, and in three parts.
    for large in [100_000, 2 * PART_BYTES + 12_345] {
        conformance::every_case(&S3::new(&config(server.endpoint())).unwrap(), large).await;
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_and_loses_nothing() {
    let server = Server::start().await;
    let wrong = Config { secret_access_key: "another".into(), ..config(server.endpoint()) };
    let refused = S3::new(&wrong).unwrap().put("a", std::path::Path::new("/proc/self/comm")).await;
    assert!(matches!(refused, Err(ObjectError::Unavailable { .. })), "{refused:?}");
    assert!(!format!("{refused:?}").contains("another"), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_told_as_unavailable_and_works_when_it_is_back() {
    let server = Server::start().await;
    let cable = Proxy::start(server.address()).await;
    let store = S3::new(&config(format!("http://{}", cable.address()))).unwrap();
    let file = std::env::temp_dir().join(format!("kallglot-s3-{}", std::process::id()));
    std::fs::write(&file, "something").unwrap();
    store.put("a", &file).await.unwrap();
    cable.cut().await;
    for outcome in
        [store.put("b", &file).await.map(drop), store.read("a", 0..1).await.map(drop), store.delete("a").await]
    {
        assert!(matches!(outcome, Err(ObjectError::Unavailable { .. })), "{outcome:?}");
    }
    cable.mend().await;
    store.put("b", &file).await.unwrap();
    assert_eq!(store.read("a", 0..9).await.unwrap(), "something");
    std::fs::remove_file(&file).unwrap();
}
