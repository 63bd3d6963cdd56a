//! Secrets: each is in one answer, and in no page, file or address after it.

use jiff::SignedDuration;
use kallglot_client::NewSession;
use kallglot_core::person::Role;
use kallglot_core::session::{Environment, Mode, Tenant};
use kallglot_portal::{Access, Verb};
use kallglot_storage::PageRequest;
use kallglot_testkit::{TestServer, Visitor};

/// What a form shows once, after its page was opened.
async fn shown_once(visitor: &mut Visitor, path: &str, fields: &[(&str, &str)]) -> String {
    let page = visitor.get(path).await;
    let once = page.attribute("name=\"once\" value").unwrap_or_default().to_owned();
    let mut all = vec![("once", once.as_str())];
    all.extend(fields);
    let answer = visitor.post(path, &all).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.html);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.text_of("secret").unwrap().to_owned()
}

#[tokio::test]
async fn no_page_shows_a_secret_again() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut owner = server.member(&team, Role::Owner).await;
    server.confirm(&owner).await;
    let key_form = [("name", "backend"), ("permissions", "sessions:read"), ("permissions", "sessions:write")];
    let first = shown_once(&mut owner, &team.at("test", "/keys/new"), &key_form).await;
    // Used, so that the request log and the usage have something of it.
    let client = server.client_with(&first);
    let session = client.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let tenant = Tenant { organization: team.id, environment: Environment::Test };
    let keys = server.app.storage.keys(tenant, &PageRequest::newest(10)).await.unwrap();
    let key = keys.items.iter().find(|key| key.name == "backend").unwrap().id;
    server.clock.advance(SignedDuration::from_secs(1));
    let rotate = team.at("test", &format!("/keys/{key}/rotate"));
    let second = shown_once(&mut owner, &rotate, &[("grace_s", "3600")]).await;
    let endpoint = [("url", "http://127.0.0.1:9/hooks"), ("which", "all")];
    let signing = shown_once(&mut owner, &team.at("test", "/webhooks/new"), &endpoint).await;
    server.app.store_what_waits().await.unwrap();

    let list = owner.get(&team.at("test", "/webhooks")).await;
    let webhook = list.html.split("/webhooks/wh_").nth(1).map(|rest| format!("wh_{}", &rest[..22])).unwrap();
    let session_id = session.id.clone();
    let cookie = owner.cookies.values().next().unwrap().clone();
    let token = session.stream.unwrap().token.unwrap().reveal().to_owned();
    let secrets: [String; 5] = [first, second, signing, token, cookie];
    let mut pages = 0;
    for entry in kallglot_portal::table().into_iter().filter(|entry| entry.verb == Verb::Get) {
        if entry.access == Access::Operator {
            continue;
        }
        let path = entry
            .path
            .replace("{organization}", &team.id.to_string())
            .replace("{environment}", "test")
            .replace("{key}", &key.to_string())
            .replace("{webhook}", &webhook)
            .replace("{session}", &session_id);
        let page = owner.get(&format!("/portal{path}")).await;
        pages += usize::from(page.status == 200);
        for secret in &secrets {
            assert!(!page.has(secret), "{path} shows {}…", &secret[..12]);
            let told = page.headers.iter().find(|(_, value)| value.contains(secret.as_str()));
            assert_eq!(told, None, "{path}");
        }
    }
    assert!(pages > 30, "the pages are there: {pages}");
    server.finish().await;
}
