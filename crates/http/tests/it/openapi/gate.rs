//! That every operation lets in whom the document says, and nobody else.

use kallglot_core::permission::Permission;
use kallglot_core::session::{Environment, Speaker};
use kallglot_testkit::client::{Answer, Body, Client};
use kallglot_testkit::{Organization, TestServer};
use serde_json::json;

use crate::recordings::recorded_call;

use super::{Operation, document, mistakes, operations, validator};

async fn send(client: &Client, operation: &Operation, path: &str) -> Answer {
    let body = match operation.id() {
        // What may be given away depends on what the caller has; a name, never.
        "createApiKey" | "updateApiKey" => Body::Json(json!({ "name": "A name" })),
        _ => operation.body().map_or(Body::Empty, Body::Json),
    };
    client.request(&operation.method, path, &[], body).await.unwrap()
}

/// The operation's path with ids of things that `owner` has.
async fn path_of(operation: &Operation, server: &TestServer, owner: &Organization) -> String {
    let api = server.client_that_may(owner, Permission::ALL).await;
    let created = |answer: Answer| {
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let new_session = json!({ "mode": "bidirectional_translation" });
    let id = match operation.path.as_str() {
        "/v1/sessions/{id}/events" => {
            // Of one that has ended, the stream ends too.
            let id = created(api.post("/v1/sessions", new_session).await.unwrap());
            assert_eq!(api.post(&format!("/v1/sessions/{id}/end"), json!({})).await.unwrap().status, 200);
            id
        }
        path if path.starts_with("/v1/webhooks/{id}") => {
            let id = created(api.post("/v1/webhooks", json!({ "url": "https://example.com/hook" })).await.unwrap());
            let delivery = api.post(&format!("/v1/webhooks/{id}/test"), json!({})).await.unwrap().json();
            return path.replace("{id}", &id).replace("{delivery}", delivery["id"].as_str().unwrap());
        }
        "/v1/webhooks/listen" => return "/v1/webhooks/listen?wait=false".into(),
        "/v1/events/{id}" => {
            let page = api.get("/v1/events?limit=1").await.unwrap().json();
            page["data"][0]["id"].as_str().unwrap().to_owned()
        }
        path if path.starts_with("/v1/sessions/{id}/recording/") => {
            let recorded = json!({ "mode": "bidirectional_translation", "recording": { "enabled": true } });
            created(api.post("/v1/sessions", recorded).await.unwrap())
        }
        path if path.starts_with("/v1/recordings/{id}") => recorded_call(&api).await,
        path if path.starts_with("/v1/sessions/{id}") => {
            let id = created(api.post("/v1/sessions", new_session).await.unwrap());
            crate::analysis::say(server, &id, Speaker::Agent, "en", "Good morning.").await;
            id
        }
        "/v1/analyses/{id}" => {
            let id = created(api.post("/v1/sessions", new_session).await.unwrap());
            crate::analysis::say(server, &id, Speaker::Agent, "en", "Good morning.").await;
            api.analyse(&id, &[], None).await.unwrap().id
        }
        path if path.starts_with("/v1/compliance_profiles/{id}") => {
            let rules = json!([{ "id": "greeting", "kind": "must_say", "phrases": ["good morning"] }]);
            let profile = api.create_compliance_profile(&format!("For {}", operation.id()), rules).await.unwrap();
            profile["id"].as_str().unwrap().to_owned()
        }
        path if path.starts_with("/v1/api_keys/{id}") => {
            let with_little = json!({ "permissions": ["api_keys:manage"] });
            created(api.post("/v1/api_keys", with_little).await.unwrap())
        }
        "/v1/requests/{id}" => api.get("/v1/whoami").await.unwrap().header("x-request-id").unwrap().to_owned(),
        "/v1/idempotency_keys/{key}" => {
            let headers = [("idempotency-key", "mine")];
            let answer = api.request("POST", "/v1/sessions", &headers, Body::Json(new_session)).await.unwrap();
            assert_eq!(answer.status, 201);
            "mine".into()
        }
        path => {
            assert!(!path.contains('{'), "{path}: say here how to make one");
            String::new()
        }
    };
    operation.path.replace("{id}", &id).replace("{key}", &id)
}

#[tokio::test]
async fn without_a_key_it_is_401_without_the_permission_403() {
    let server = TestServer::start().await;
    let document = document(&server, "/openapi.json").await;
    let owner = server.organization().await;
    let nobody = Client::new(&server.base_url(), None).unwrap();
    let error = validator(&document, &json!({ "$ref": "#/components/schemas/Error" }));
    let mut walked = 0;
    for operation in operations(&document).iter().filter(|operation| operation.needs_key()) {
        let what = format!("{} {}", operation.method, operation.path);
        let path = path_of(operation, &server, &owner).await;

        let answer = send(&nobody, operation, &path).await;
        assert_eq!((answer.status, answer.error_code().as_deref()), (401, Some("api_key_invalid")), "{what}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
        assert_eq!(mistakes(&error, &answer.json()), Vec::<String>::new(), "{what}");

        if let Some(permission) = operation.permission() {
            let others: Vec<_> = Permission::ALL.iter().copied().filter(|other| other.as_str() != permission).collect();
            let answer = send(&server.client_that_may(&owner, &others).await, operation, &path).await;
            assert_eq!(
                (answer.status, answer.error_code().as_deref()),
                (403, Some("insufficient_permissions")),
                "{what}"
            );
            let scope = format!("Bearer error=\"insufficient_scope\", scope=\"{permission}\"");
            assert_eq!(answer.header("www-authenticate"), Some(scope.as_str()), "{what}");
            assert_eq!(answer.json()["error"]["param"], permission, "{what}");
        }

        let enough: Vec<_> = operation.permission().and_then(Permission::parse).into_iter().collect();
        // Only test events are listened to.
        let environment = if operation.id() == "listenToEvents" { Environment::Test } else { Environment::Live };
        let permissions = enough.into_iter().collect();
        let (_, secret) = server.key_with(&owner, environment, |key| key.permissions = permissions).await;
        let answer = send(&server.client_with(&secret), operation, &path).await;
        assert!(answer.status < 300, "{what} with just what it needs: {}", answer.text());
        walked += 1;
    }
    assert!(walked >= 17, "{walked} operations with a key");
    server.finish().await;
}

#[tokio::test]
async fn an_edition_that_there_is_not_is_refused_but_a_key_is_asked_for_first() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    for (client, wrong, expected) in [
        (&api, "3", (400, Some("invalid_request"))),
        (&api, "", (400, Some("invalid_request"))),
        (&api, "one", (400, Some("invalid_request"))),
        (&api, " 2 ", (200, None)),
        (&api.with_key(None), "3", (401, Some("api_key_invalid"))),
    ] {
        let answer = client.request("GET", "/v1/whoami", &[("kallglot-edition", wrong)], Body::Empty).await.unwrap();
        assert_eq!((answer.status, answer.error_code().as_deref()), expected, "{wrong:?}");
    }
    server.finish().await;
}

#[tokio::test]
async fn what_belongs_to_strangers_does_not_exist() {
    let server = TestServer::start().await;
    let document = document(&server, "/openapi.json").await;
    let (owner, stranger) = (server.organization().await, server.organization().await);
    let stranger = server.client_that_may(&stranger, Permission::ALL).await;
    for operation in operations(&document).iter().filter(|operation| operation.needs_key()) {
        if !operation.path.contains('{') {
            continue;
        }
        let path = path_of(operation, &server, &owner).await;
        let answer = send(&stranger, operation, &path).await;
        let body = answer.json();
        assert_eq!((answer.status, body["error"]["type"].as_str()), (404, Some("not_found_error")), "{path}: {body}");
    }
    server.finish().await;
}

#[tokio::test]
async fn what_belongs_to_the_other_environment_is_told_apart() {
    let server = TestServer::start().await;
    let document = document(&server, "/openapi.json").await;
    let owner = server.organization().await;
    let (_, secret) = server
        .key_with(&owner, Environment::Test, |key| key.permissions = Permission::ALL.iter().copied().collect())
        .await;
    let test = server.client_with(&secret);
    for operation in operations(&document).iter().filter(|operation| operation.needs_key()) {
        let owned = [
            "/v1/sessions/{id}",
            "/v1/api_keys/{id}",
            "/v1/events/{id}",
            "/v1/webhooks/{id}",
            "/v1/analyses/{id}",
            "/v1/compliance_profiles/{id}",
            "/v1/recordings/{id}",
        ]
        .iter()
        .any(|owned| operation.path.starts_with(owned));
        if !owned {
            continue;
        }
        let path = path_of(operation, &server, &owner).await;
        let answer = send(&test, operation, &path).await;
        let expected = (401, Some("api_key_wrong_environment".to_owned()));
        assert_eq!((answer.status, answer.error_code()), expected, "{} {path}", operation.method);
    }
    server.finish().await;
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_there_are() {
    let server = TestServer::start().await;
    let document = document(&server, "/openapi.json").await;
    let nobody = Client::new(&server.base_url(), None).unwrap();
    for (path, verbs) in document["paths"].as_object().unwrap() {
        let mut expected: Vec<_> = verbs.as_object().unwrap().keys().map(|verb| verb.to_uppercase()).collect();
        if expected.iter().any(|method| method == "GET") {
            expected.push("HEAD".into());
        }
        expected.sort();
        let answer = nobody.request("PUT", path, &[], Body::Empty).await.unwrap();
        assert_eq!((answer.status, answer.error_code().as_deref()), (405, Some("method_not_allowed")), "{path}");
        let mut allowed: Vec<_> =
            answer.header("allow").unwrap().split(',').map(|name| name.trim().to_owned()).collect();
        allowed.sort();
        assert_eq!(allowed, expected, "{path}");
    }
    server.finish().await;
}
