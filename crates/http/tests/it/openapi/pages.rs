//! The pages for readers: whole, from this server alone, and kept by browsers.

use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_testkit::TestServer;
use kallglot_testkit::client::{Body, Client};

fn nobody(server: &TestServer) -> Client {
    Client::new(&server.base_url(), None).unwrap()
}

#[tokio::test]
async fn a_pages_parts_all_come_from_this_server() {
    let server = TestServer::start().await;
    let client = nobody(&server);
    for (path, scripts) in [("/docs", 2), ("/docs/errors", 0)] {
        let page = client.get(path).await.unwrap();
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let script = policy.split(';').map(str::trim).find(|part| part.starts_with("script-src"));
        assert_eq!(script, (scripts > 0).then_some("script-src 'self'"));
        let html = page.text();
        assert_eq!(html.matches("<script").count(), scripts);
        assert_eq!(html.matches("<script src=\"/docs/assets/").count(), scripts, "no script within the page");
        assert!(!html.contains("http://") && !html.contains("https://"), "nothing from elsewhere");
        for part in html.split("/docs/assets/").skip(1) {
            let name = part.split('"').next().unwrap();
            let asset = client.get(&format!("/docs/assets/{name}")).await.unwrap();
            assert_eq!((asset.status, asset.header("x-content-type-options")), (200, Some("nosniff")), "{name}");
        }
    }
    assert_eq!(client.get("/docs/assets/other.js").await.unwrap().error_code().as_deref(), Some("not_found"));
    server.finish().await;
}

#[tokio::test]
async fn what_a_browser_has_already_is_not_sent_again() {
    let server = TestServer::start().await;
    let client = nobody(&server);
    for path in ["/docs", "/docs/errors", "/docs/assets/scalar.js", "/openapi.json", "/openapi-1.json"] {
        let etag = client.get(path).await.unwrap().header("etag").unwrap().to_owned();
        for (known, status) in [(etag.as_str(), 304), (&format!("W/{etag}, \"x\""), 304), ("\"x\"", 200)] {
            let answer = client.request("GET", path, &[("if-none-match", known)], Body::Empty).await.unwrap();
            assert_eq!((answer.status, answer.body.is_empty()), (status, status == 304), "{path} {known}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn the_doc_url_of_an_error_leads_to_its_explanation() {
    let server = TestServer::start().await;
    let client = nobody(&server);
    let answer = client.request("GET", "/v1/whoami", &[("kallglot-edition", "1")], Body::Empty).await.unwrap();
    let url = answer.json()["error"]["doc_url"].as_str().unwrap().to_owned();
    let (path, anchor) = url.split_once('#').unwrap();
    assert_eq!(anchor, Edition::One.error_shape(ErrorCode::ApiKeyInvalid).code);
    let page = client.get(path).await.unwrap().text();
    assert!(page.contains(&format!("id=\"{anchor}\"")));
    assert!(page.contains("<a href=\"#api_key_invalid\">"), "it leads on to edition 2's name");
    server.finish().await;
}
