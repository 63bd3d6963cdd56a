//! Usage, the request log and alerts at the portal.

use jiff::SignedDuration;
use kallglot_client::Client;
use kallglot_core::alert::{Alert, Resolution};
use kallglot_core::event::EventType;
use kallglot_core::person::Role;
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::PageRequest;
use kallglot_testkit::backing::Servers;
use kallglot_testkit::{FakeClock, ServerBuilder, Team, TestServer, Visitor, soon};
use serde_json::json;

const RULE: [(&str, &str); 7] = [
    ("name", "Too many errors"),
    ("metric", "errors"),
    ("comparison", "above"),
    ("threshold", "2"),
    ("window_minutes", "5"),
    ("tell", "webhook"),
    ("enabled", "yes"),
];

fn tenant(team: &Team) -> Tenant {
    Tenant { organization: team.id, environment: Environment::Test }
}

/// A server, an organization, a developer of it, and a client with a key that is called `name`.
async fn begin(name: &str) -> (TestServer, Team, Visitor, Client) {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut developer = server.member(&team, Role::Developer).await;
    developer.get(&team.at("test", "/usage")).await;
    let name = name.to_owned();
    let (_, secret) = server.key_with(&team.organization(), Environment::Test, |key| key.name = name).await;
    let client = server.client_with(&secret);
    (server, team, developer, client)
}

/// One request that is let in, then `errors` that are refused.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn ask(server: &TestServer, client: &Client, errors: usize) {
    assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
    for _ in 0..errors {
        assert_eq!(client.post("/v1/sessions", json!({ "mode": "nonsense" })).await.unwrap().status, 422);
    }
    server.app.store_what_waits().await.unwrap();
}

/// The organization's alerts, newest first, once `is` is true of them.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn alerts(server: &TestServer, team: &Team, what: &str, is: impl Fn(&[Alert]) -> bool) -> Vec<Alert> {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    soon(what, async {
        loop {
            look.tick().await;
            let page = server.app.storage.alerts(tenant(team), None, &PageRequest::newest(100)).await.unwrap();
            if is(&page.items) {
                return page.items;
            }
        }
    })
    .await
}

#[tokio::test]
async fn usage_is_shown_as_charts_and_as_the_same_numbers() {
    let (server, team, mut developer, client) = begin("=cmd()").await;
    let empty = developer.get(&team.at("test", "/usage")).await;
    assert!(empty.status == 200 && empty.has("There were no requests in this time."), "{}", empty.html);
    ask(&server, &client, 3).await;
    for period in ["hour", "day", "week", "month"] {
        let page = developer.get(&team.at("test", &format!("/usage?period={period}"))).await;
        assert_eq!(page.status, 200, "{period}");
        assert!(page.has("All: highest 4 at "), "{period}: what is drawn is said: {}", page.html);
        assert!(page.has("With an error: highest 3 at "), "{period}");
        assert!(page.has("75 %") && page.has("validation_failed") && page.has("POST /v1/sessions"), "{period}");
        assert!(!page.has("style=") && !page.has("<script>"), "nothing is within the page");
    }
    let one = developer.get(&team.at("test", "/usage?route=GET+/v1/whoami")).await;
    assert!(one.has("All: highest 1 at ") && !one.has("validation_failed"), "{}", one.html);
    let live = developer.get(&team.at("live", "/usage")).await;
    assert!(live.has("There were no requests in this time."), "environments are strangers");
    for wrong in ["period=year", "key=nobody", "route=x"] {
        assert_eq!(developer.get(&team.at("test", &format!("/usage?{wrong}"))).await.status, 400, "{wrong}");
    }

    let at = |query: &str| team.at("test", &format!("/usage/csv?{query}"));
    let csv = developer.get(&at("table=time&period=hour")).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.header("content-disposition").unwrap().starts_with("attachment"));
    let lines: Vec<&str> = csv.html.lines().collect();
    assert_eq!(lines.len(), 61, "{}", csv.html);
    assert!(lines[60].contains(",4,3,0,0,"), "{}", lines[60]);
    let keys = developer.get(&at("table=keys")).await;
    assert!(keys.html.contains(",\"'=cmd()\",4,3,0,0,"), "a name is no formula: {}", keys.html);
    assert!(developer.get(&at("table=errors")).await.html.contains("validation_failed,3"));
    assert!(developer.get(&at("table=routes")).await.html.contains("GET,/v1/whoami,1,0,0,0,"));
    assert_eq!(developer.get(&at("table=people")).await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn a_request_is_found_and_its_refusal_explained() {
    let (server, team, mut developer, client) = begin("backend").await;
    ask(&server, &client, 1).await;
    let refused = client.post("/v1/sessions", json!({ "mode": "nonsense" })).await.unwrap();
    let id = refused.header("x-request-id").unwrap().to_owned();

    let list = developer.get(&team.at("test", "/requests")).await;
    assert!(list.has(&id), "what is not in the database yet is there too");
    let found = developer.get(&team.at("test", &format!("/requests?id={id}"))).await;
    let path = team.at("test", &format!("/requests/{id}"));
    assert_eq!((found.status, found.location()), (303, Some(path.as_str())));
    let page = developer.get(&path).await;
    assert!(page.has("Why it was refused") && page.has("Correct `mode`") && page.has("Check 8 of 11"), "{}", page.html);
    assert!(page.has("backend") && page.has("Limits after it"), "{}", page.html);

    for (query, rows) in [
        ("status=4xx", 2),
        ("status=422&code=validation_failed", 2),
        ("status=200", 1),
        ("route=GET+/v1/whoami", 1),
        ("route=GET+/v1/sessions", 0),
        ("from=2100-01-01T00:00", 0),
        ("to=2001-01-01T00:00", 0),
    ] {
        let page = developer.get(&team.at("test", &format!("/requests?{query}"))).await;
        assert_eq!((page.status, page.html.matches("/requests/req_").count()), (200, rows), "{query}");
    }
    for (query, message) in [
        ("status=much", "A status is a number"),
        ("code=nothing", "There is no such error code"),
        ("from=yesterday", "A time is written like"),
        ("id=42", "A request&apos;s id begins with req_"),
    ] {
        let page = developer.get(&team.at("test", &format!("/requests?{query}"))).await;
        assert!(page.has(message) || page.has(&message.replace("&apos;", "'")), "{query}: {}", page.html);
    }
    assert_eq!(developer.get(&path.replace("/test/", "/live/")).await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn requests_are_listed_in_pages() {
    let (server, team, mut developer, client) = begin("backend").await;
    ask(&server, &client, 54).await;
    let first = developer.get(&team.at("test", "/requests?status=4xx")).await;
    assert_eq!(first.html.matches("/requests/req_").count(), 50);
    let older = first.html.split("href=\"").find(|rest| rest.contains("before=")).unwrap();
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    let second = developer.get(&older).await;
    assert_eq!(second.html.matches("/requests/req_").count(), 4);
    server.finish().await;
}

#[tokio::test]
async fn an_alert_fires_once_is_seen_and_is_over() {
    let (server, team, mut developer, client) = begin("backend").await;
    let made = developer.post_and_follow(&team.at("test", "/alerts/new"), &RULE).await;
    assert!(made.has("Created.") && made.has("more than 2 in 5 minutes") && made.has("Quiet"), "{}", made.html);
    ask(&server, &client, 2).await;
    assert_eq!(alerts(&server, &team, "nothing", <[_]>::is_empty).await, []);
    ask(&server, &client, 1).await;
    let fired = alerts(&server, &team, "the alert", |alerts| !alerts.is_empty()).await;
    assert_eq!((fired.len(), fired[0].value, fired[0].resolved_at), (1, 3, None));
    // More of the same is the same alert.
    ask(&server, &client, 5).await;
    server.clock.advance(SignedDuration::from_secs(60));
    let page = developer.get(&team.at("test", "/alerts")).await;
    assert!(page.has("1 rule is firing.") && page.has("1 new") && page.has("Firing"), "{}", page.html);
    developer.post(&team.at("test", "/alerts/seen"), &[]).await;
    assert!(!developer.get(&team.at("test", "/alerts")).await.has("1 new"), "seen");

    server.clock.advance(SignedDuration::from_mins(7));
    let over = alerts(&server, &team, "its end", |alerts| alerts[0].resolved_at.is_some()).await;
    assert_eq!((over.len(), over[0].id, over[0].resolution), (1, fired[0].id, Some(Resolution::Recovered)));
    ask(&server, &client, 3).await;
    let again = alerts(&server, &team, "the next one", |alerts| alerts.len() == 2).await;
    assert_ne!(again[0].id, fired[0].id);
    let events = server.app.storage.events(0, 1000).await.unwrap();
    let of_alerts: Vec<EventType> = events.iter().map(|(_, event)| event.event_type).collect();
    let told = |wanted| of_alerts.iter().filter(|event_type| **event_type == wanted).count();
    assert_eq!((told(EventType::AlertFired), told(EventType::AlertResolved)), (2, 1));
    server.finish().await;
}

#[tokio::test]
async fn a_rule_is_changed_and_deleted_by_who_may() {
    let (server, team, mut developer, _) = begin("backend").await;
    let new = team.at("test", "/alerts/new");
    for (field, value, message) in [
        ("name", "", "A rule needs a name"),
        ("threshold", "many", "The threshold is a number"),
        ("window_minutes", "0", "The window is 1 to 1440 minutes."),
        ("mail_to", "nobody", "is no mail address"),
        ("key", "key_0000000000000000000007", "There is no such key here."),
    ] {
        let mut fields: Vec<(&str, &str)> = RULE.into_iter().filter(|(name, _)| *name != field).collect();
        fields.push((field, value));
        let page = developer.post(&new, &fields).await;
        assert_eq!(page.status, 422, "{field}: {}", page.html);
        assert!(page.has(message) && (field == "name" || page.has("Too many errors")), "{field}: {}", page.html);
    }
    let made = developer.post(&new, &RULE).await;
    let path = made.location().unwrap().split('?').next().unwrap().to_owned();
    let share = [("metric", "error_rate"), ("threshold", "5.5")];
    let fields: Vec<_> =
        RULE.into_iter().filter(|(name, _)| !["metric", "threshold"].contains(name)).chain(share).collect();
    let changed = developer.post_and_follow(&format!("{path}/edit"), &fields).await;
    assert!(changed.has("more than 5.5 % in 5 minutes"), "{}", changed.html);
    assert!(developer.get(&format!("{path}/edit")).await.has("value=\"5.5\""));
    // Nobody of another environment or a lower role.
    assert_eq!(developer.get(&path.replace("/test/", "/live/")).await.status, 404);
    let mut reader = server.member(&team, Role::ReadOnly).await;
    assert!(!reader.get(&path).await.has("Delete"));
    assert_eq!(reader.post(&format!("{path}/delete"), &[]).await.status, 403);

    let deleted = developer.post_and_follow(&format!("{path}/delete"), &[]).await;
    assert!(deleted.has("Deleted.") && deleted.has("There are no rules yet."), "{}", deleted.html);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_fire_an_alert_once() {
    let servers = Servers::start().await;
    let clock = std::sync::Arc::new(FakeClock::default());
    let mut nodes = Vec::new();
    for seed in 1..=3 {
        nodes.push(ServerBuilder::default().start_on(servers.backing().await, clock.clone(), seed).await);
    }
    let team = nodes[0].team("Example").await;
    let mut developer = nodes[0].member(&team, Role::Developer).await;
    developer.get(&team.at("test", "/alerts")).await;
    for number in 0..5 {
        let name = format!("Rule {number}");
        let fields: Vec<_> =
            RULE.into_iter().filter(|(field, _)| *field != "name").chain([("name", name.as_str())]).collect();
        assert_eq!(developer.post(&team.at("test", "/alerts/new"), &fields).await.status, 303);
    }
    let (_, secret) = nodes[0].key_with(&team.organization(), Environment::Test, |_| {}).await;
    // Each node has seen one error, which is too few; together they have three.
    for node in &nodes {
        ask(node, &node.client_with(&secret), 1).await;
    }
    let fired = alerts(&nodes[0], &team, "an alert of each rule", |alerts| alerts.len() >= 5).await;
    clock.advance(SignedDuration::from_mins(8));
    let over = |alerts: &[Alert]| alerts.iter().all(|alert| alert.resolved_at.is_some());
    let ended = alerts(&nodes[1], &team, "their ends", over).await;
    assert_eq!((fired.len(), ended.len()), (5, 5));
    let events = nodes[2].app.storage.events(0, 1000).await.unwrap();
    let told = |wanted| events.iter().filter(|(_, event)| event.event_type == wanted).count();
    assert_eq!((told(EventType::AlertFired), told(EventType::AlertResolved)), (5, 5));
    for node in nodes {
        node.finish().await;
    }
}
