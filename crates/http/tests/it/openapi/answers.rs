//! That the server's answers are as the document says: status, body, headers; and that no field is in them which it does not name.

use kallglot_core::permission::Permission;
use kallglot_core::session::{Environment, Speaker};
use kallglot_testkit::TestServer;
use kallglot_testkit::client::{Body, Client};
use serde_json::{Value, json};

use super::{Operation, document, mistakes, operations, validator};

/// A client that compares every answer with the document.
struct Checked {
    client: Client,
    document: Value,
    operations: Vec<Operation>,
    edition: &'static str,
    seen: std::cell::RefCell<Vec<String>>,
}

/// Closes every schema that names its properties, so that a field which the document does not name is a mistake.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let open =
                object.get("properties").is_some_and(Value::is_object) && !object.contains_key("additionalProperties");
            if open && object.get("type").is_some() {
                object.insert("additionalProperties".into(), Value::Bool(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

impl Checked {
    async fn new(server: &TestServer, client: Client, edition: &'static str) -> Self {
        let path = if edition == "1" { "/openapi-1.json" } else { "/openapi.json" };
        let mut document = document(server, path).await;
        let operations = operations(&document);
        close(&mut document["components"]["schemas"]);
        Self { client, document, operations, edition, seen: Vec::new().into() }
    }

    /// Sends a request with the operation `id`; `values` fill its path and follow it as a query.
    async fn send(
        &self,
        id: &str,
        values: &[&str],
        query: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Value {
        let operation = self.operations.iter().find(|operation| operation.id() == id).expect(id);
        let mut path = operation.path.clone();
        for value in values {
            let (start, end) = (path.find('{').unwrap(), path.find('}').unwrap());
            path.replace_range(start..=end, value);
        }
        let mut headers = headers.to_vec();
        headers.push(("kallglot-edition", self.edition));
        let body = body.map_or(Body::Empty, Body::Json);
        let answer = self.client.request(&operation.method, &format!("{path}{query}"), &headers, body).await.unwrap();
        let what = format!("{} {path}{query}: {} {}", operation.method, answer.status, answer.text());

        let response = operation.entry["responses"].get(answer.status.to_string()).unwrap_or_else(|| panic!("{what}"));
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            let header = &self.document["components"]["headers"][name];
            match answer.header(name) {
                Some(value) => {
                    let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
                    let as_text = header["schema"]["type"] == "string";
                    let value = if as_text { json!(answer.header(name)) } else { value };
                    assert_eq!(
                        mistakes(&validator(&self.document, &header["schema"]), &value),
                        Vec::<String>::new(),
                        "{name}: {what}"
                    );
                }
                // A refusal before the limits were asked tells nothing of them; only a replay is marked.
                None => {
                    let conditional = answer.status >= 400 || name.starts_with("Idempotent");
                    assert!(conditional && header["required"] != true, "{name} is missing: {what}");
                }
            }
        }
        self.seen.borrow_mut().push(id.to_owned());
        if response.get("content").is_none() {
            assert!(answer.body.is_empty(), "{what}");
            return Value::Null;
        }
        let content_type =
            answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
        let schema = &response["content"][&content_type]["schema"];
        assert!(schema.is_object(), "{content_type} is not documented: {what}");
        let value = if content_type == "application/json" { answer.json() } else { json!(answer.text()) };
        assert_eq!(mistakes(&validator(&self.document, schema), &value), Vec::<String>::new(), "{what}");
        value
    }

    async fn get(&self, id: &str, values: &[&str], query: &str) -> Value {
        self.send(id, values, query, &[], None).await
    }

    async fn post(&self, id: &str, values: &[&str], body: Value) -> Value {
        self.send(id, values, "", &[], Some(body)).await
    }

    /// Whether the document says that the operation can answer `status` with `code`.
    fn answered(&self, id: &str, status: u16, code: &str) -> bool {
        let operation = self.operations.iter().find(|operation| operation.id() == id).expect(id);
        let schema = &operation.entry["responses"][status.to_string()]["content"]["application/json"]["schema"];
        let codes = schema["properties"]["error"]["properties"]["code"]["enum"].as_array();
        codes.is_some_and(|codes| codes.iter().any(|known| known == code))
    }

    /// Every example of the operation's body.
    fn examples(&self, id: &str) -> Vec<Value> {
        let operation = self.operations.iter().find(|operation| operation.id() == id).expect(id);
        let examples = operation.entry["requestBody"]["content"]["application/json"]["examples"].as_object().unwrap();
        examples.values().map(|example| example["value"].clone()).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Recordings, and pausing them.
async fn recordings(api: &Checked, mixed: &str) {
    let recording = api.get("getRecording", &[mixed], "").await;
    let session = text(&recording["session_id"]);
    api.get("listSessionRecordings", &[session], "").await;
    assert_eq!(api.get("listSessionRecordings", &[session], "?channel=left").await["error"]["param"], "channel");
    api.get("listRecordings", &[], "?limit=1").await;
    for query in ["", "?format=wav&layout=stereo", "?format=ogg&track=original", "?format=flac"] {
        api.get("getRecordingAudio", &[mixed], query).await;
    }
    let ended = api.send("pauseRecording", &[session], "", &[], None).await;
    assert_eq!(ended["error"]["code"], "session_already_ended");
    let recorded = json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es",
        "recording": { "enabled": true } });
    let session = api.post("createSession", &[], recorded).await;
    let id = text(&session["id"]);
    assert_eq!(api.send("pauseRecording", &[id], "", &[], None).await["paused"], true);
    assert_eq!(api.send("resumeRecording", &[id], "", &[], None).await["paused"], false);
    api.send("deleteRecording", &[mixed], "", &[], None).await;
    assert_eq!(api.get("getRecording", &[mixed], "").await["error"]["code"], "recording_not_found");
    assert_eq!(api.get("getRecordingAudio", &[mixed], "").await["error"]["code"], "recording_not_found");
}

/// Endpoints, deliveries and events.
async fn webhooks(api: &Checked) {
    for example in api.examples("createWebhook") {
        let webhook = api.post("createWebhook", &[], example).await;
        api.get("getWebhook", &[text(&webhook["id"])], "").await;
    }
    assert_eq!(api.post("createWebhook", &[], json!({ "url": "ftp://x" })).await["error"]["param"], "url");
    let webhook = api.get("listWebhooks", &[], "?limit=1").await["data"][0].clone();
    let id = text(&webhook["id"]);
    for example in api.examples("updateWebhook") {
        api.post("updateWebhook", &[id], example).await;
    }
    for example in api.examples("rotateWebhookSecret") {
        api.post("rotateWebhookSecret", &[id], example).await;
    }
    assert!(api.post("rotateWebhookSecret", &[id], json!({})).await["rotation"].is_object());
    for example in api.examples("testWebhook") {
        api.post("testWebhook", &[id], example).await;
    }
    let log = api.post("testWebhook", &[id], json!({})).await;
    let delivery = text(&log["id"]);
    api.get("listWebhookDeliveries", &[id], "?limit=1&status=pending").await;
    assert_eq!(api.get("listWebhookDeliveries", &[id], "?status=lost").await["error"]["param"], "status");
    api.get("getWebhookDelivery", &[id, delivery], "").await;
    api.get("getWebhookDelivery", &[id, "dlv_0000000000000000000000"], "").await;
    api.send("redeliverWebhookDelivery", &[id, delivery], "", &[], None).await;
    api.post("updateWebhook", &[id], json!({ "enabled": false })).await;
    assert_eq!(api.get("getWebhook", &[id], "").await["disabled"]["reason"], "by_owner");
    assert_eq!(api.post("testWebhook", &[id], json!({})).await["error"]["code"], "validation_failed");
    api.send("deleteWebhook", &[id], "", &[], None).await;
    assert_eq!(api.get("getWebhook", &[id], "").await["error"]["code"], "webhook_not_found");

    let event = api.get("listEvents", &[], "?limit=1").await["data"][0].clone();
    api.get("listEvents", &[], &format!("?type=session.created&starting_after={}", text(&event["id"]))).await;
    api.get("getEvent", &[text(&event["id"])], "").await;
    api.get("getEvent", &["evt_0000000000000000000000"], "").await;
    assert_eq!(api.get("listenToEvents", &[], "").await["error"]["type"], "authentication_error", "only test events");
}

async fn tour(edition: &'static str) {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let api = Checked::new(&server, server.client_that_may(&organization, Permission::ALL).await, edition).await;

    for example in api.examples("createSession") {
        let session = api.post("createSession", &[], example).await;
        api.get("getSession", &[text(&session["id"])], "").await;
    }
    let key = [("idempotency-key", "order-17")];
    let new = api.examples("createSession").remove(0);
    let session = api.send("createSession", &[], "", &key, Some(new.clone())).await;
    assert_eq!(api.send("createSession", &[], "", &key, Some(new.clone())).await, session);
    let other = api.examples("createSession").remove(1);
    assert_eq!(api.send("createSession", &[], "", &key, Some(other)).await["error"]["code"], "idempotency_mismatch");
    api.get("getIdempotencyKey", &["order-17"], "").await;
    api.get("getIdempotencyKey", &["order-18"], "").await;
    let id = text(&session["id"]);
    api.get("listSessions", &[], "?limit=2").await;
    api.get("listSessions", &[], &format!("?starting_after={id}")).await;
    assert_eq!(api.get("listSessions", &[], "?limit=0").await["error"]["param"], "limit");
    for query in ["", "?format=text", "?format=srt", "?format=vtt", "?include_translations=false", "?format=pdf"] {
        api.get("getTranscript", &[id], query).await;
    }
    api.get("getSessionQuality", &[id], "").await;

    assert_eq!(api.post("createAnalysis", &[id], json!({})).await["error"]["code"], "transcript_not_available");
    crate::analysis::say(&server, id, Speaker::Agent, "en", "Good morning, this call is recorded.").await;
    crate::analysis::say(&server, id, Speaker::Customer, "fi", "Huomenta.").await;
    let profile = api.post("createComplianceProfile", &[], api.examples("createComplianceProfile").remove(0)).await;
    let profile = text(&profile["id"]);
    for example in api.examples("updateComplianceProfile") {
        api.post("updateComplianceProfile", &[profile], example).await;
    }
    api.get("getComplianceProfile", &[profile], "").await;
    api.get("listComplianceProfiles", &[], "?limit=1").await;
    let mut made = Vec::new();
    for example in api.examples("createAnalysis").into_iter().chain([json!({ "profile": profile })]) {
        made.push(api.post("createAnalysis", &[id], example).await);
    }
    for analysis in made {
        crate::analysis::over(&server.client_that_may(&organization, Permission::ALL).await, text(&analysis["id"]))
            .await;
        assert_eq!(api.get("getAnalysis", &[text(&analysis["id"])], "").await["status"], "completed");
    }
    api.get("listAnalyses", &[id], "?limit=2").await;
    api.send("deleteComplianceProfile", &[profile], "", &[], None).await;
    api.send("deleteComplianceProfile", &[profile], "", &[], None).await;
    api.get("getAnalysis", &["anl_0000000000000000000000"], "").await;
    api.post("endSession", &[id], json!({ "reason": "customer_hangup" })).await;
    api.get("getSession", &[id], "").await;
    api.get("streamSessionEvents", &[id], "").await;
    api.get("streamSessionEvents", &[id], "?after=2&wait=false").await;
    api.get("streamSessionEvents", &[id], "?after=3").await;
    api.get("getSession", &["sess_0000000000000000000000"], "").await;
    assert_eq!(api.post("createSession", &[], json!({ "mode": "song" })).await["error"]["param"], "mode");

    let whoami = api.get("whoAmI", &[], "").await;
    api.get("listLanguages", &[], "").await;

    for example in api.examples("createApiKey") {
        api.post("createApiKey", &[], example).await;
    }
    let key = api.post("createApiKey", &[], json!({})).await;
    let id = text(&key["id"]);
    api.get("getApiKey", &[id], "").await;
    for example in api.examples("updateApiKey") {
        api.post("updateApiKey", &[id], example).await;
    }
    for example in api.examples("rotateApiKey") {
        assert_eq!(api.post("rotateApiKey", &[id], example).await["status"], "rotating");
    }
    api.get("listApiKeys", &[], "?limit=1").await;
    assert_eq!(api.post("revokeApiKey", &[id], json!({ "close_streams": true })).await["status"], "revoked");
    api.post("rotateApiKey", &[id], json!({})).await;
    api.get("getApiKey", &["key_0000000000000000000000"], "").await;
    let leaked = api.post("createApiKey", &[], json!({})).await;
    api.post("reportLeakedApiKey", &[], json!({ "secret": leaked["secret"] })).await;
    for example in api.examples("reportLeakedApiKey") {
        assert_eq!(api.post("reportLeakedApiKey", &[], example).await["error"]["code"], "not_found");
    }
    let entry = api.get("listAuditLog", &[], "?limit=1").await["data"][0].clone();
    api.get("listAuditLog", &[], &format!("?starting_after={}", text(&entry["id"]))).await;

    webhooks(&api).await;
    recordings(&api, &crate::recordings::recorded_call(&api.client).await).await;
    let requests = api.get("listRequests", &[], "").await;
    assert!(requests["data"].as_array().unwrap().len() > 10);
    let own = format!("?api_key={}&limit=100", text(&whoami["api_key"]["id"]));
    for query in [own.as_str(), "?status=4xx", "?status=201&limit=1", "?code=validation_failed", "?code=no"] {
        for request in api.get("listRequests", &[], query).await["data"].as_array().into_iter().flatten() {
            api.get("getRequest", &[text(&request["id"])], "").await;
        }
    }
    api.get("getRequest", &["req_0000000000000000000000"], "").await;
    for open in ["health", "readiness", "metrics", "openApi", "openApiOfEdition1"] {
        api.get(open, &[], "").await;
    }
    let seen = api.seen.borrow().clone();
    for operation in &api.operations {
        let elsewhere = operation.id() == "connectSession";
        assert!(elsewhere || seen.iter().any(|id| id == operation.id()), "{} was not asked", operation.id());
    }
    server.finish().await;
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    tour("2").await;
}

#[tokio::test]
async fn answers_of_edition_1_are_as_its_document_says() {
    tour("1").await;
}

#[tokio::test]
async fn refusals_are_as_the_document_says() {
    let server = TestServer::start().await;
    for edition in ["1", "2"] {
        let poor = server.organization_with(0, |_| {}).await;
        let idle = server.organization_with(10, |organization| organization.active = false).await;
        let reader = server.organization().await;
        let clients = [
            (Client::new(&server.base_url(), None).unwrap(), 401),
            (server.client_that_may(&poor, Permission::ALL).await, 402),
            (server.client(&idle, Environment::Live).await, 403),
            (server.client_that_may(&reader, &[]).await, if edition == "1" { 401 } else { 403 }),
        ];
        for (client, status) in clients {
            let api = Checked::new(&server, client, edition).await;
            let new = api.examples("createSession").remove(0);
            let error = api.post("createSession", &[], new).await;
            let code = text(&error["error"]["code"]).to_owned();
            assert!(api.answered("createSession", status, &code), "{edition}: {status} {code}");
        }
        let throttled =
            Checked::new(&server, server.client_with("sk_live_000000000000000000000000000000000000"), edition).await;
        let mut last = Value::Null;
        for _ in 0..=60 {
            last = throttled.get("whoAmI", &[], "").await;
        }
        assert_eq!(last["error"]["code"], "too_many_failed_attempts");
    }
    server.finish().await;
}

#[tokio::test]
async fn a_stream_is_refused_as_the_document_says() {
    let server = TestServer::start().await;
    let api = Checked::new(&server, Client::new(&server.base_url(), None).unwrap(), "2").await;
    let owner = server.test_client().await;
    let session = owner.post("/v1/sessions", json!({ "mode": "bidirectional_translation" })).await.unwrap().json();
    let id = text(&session["id"]);
    assert_eq!(api.get("connectSession", &[id], "?token=kst_live_x").await["error"]["code"], "stream_token_invalid");
    let token = text(&session["stream"]["token"]);
    let no_upgrade = api.get("connectSession", &[id], &format!("?token={token}")).await;
    assert_eq!(no_upgrade["error"]["code"], "invalid_request");
    server.clock.advance(jiff::SignedDuration::from_mins(5));
    let late = api.get("connectSession", &[id], &format!("?token={token}")).await;
    assert_eq!(late["error"]["code"], "stream_token_expired");
    server.finish().await;
}
