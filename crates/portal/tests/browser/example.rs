//! An organization with something on every page, made by using the server as its customers do. Shared by the tests in a browser and by
//! the example that pictures the pages.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on must fail at once")]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use kallglot_app::App;
use kallglot_app::alerts::AskedRule;
use kallglot_browser::Browser;
use kallglot_client::{Body, Client, NewWebhook};
use kallglot_core::alert::{Comparison, Metric};
use kallglot_core::delivery::DeliveryStatus;
use kallglot_core::person::Role;
use kallglot_core::session::{Environment, Mode, Speaker};
use kallglot_portal::{Access, Entry, Verb};
use kallglot_storage::{OrganizationUpdate, PageRequest};
use kallglot_testkit::{Behaviour, Call, FakeReceiver, Script, ServerBuilder, Team, TestServer, Visitor, soon};

/// What both parties say, an utterance each time.
const CALL: &[(&str, &[&str])] = &[
    (
        "en",
        &[
            "Good morning, I would like to change my appointment on Thursday.",
            "The afternoon would be best, if that is possible.",
            "Yes, four o'clock is fine. Thank you very much.",
        ],
    ),
    (
        "es",
        &[
            "Buenos días, claro que sí. ¿Qué día le viene mejor?",
            "Tenemos una hora libre el viernes a las cuatro.",
            "Perfecto, queda anotado. Que tenga un buen día.",
        ],
    ),
];

/// The server, the organization, who looks at it, and what is in it.
pub(crate) struct Example {
    pub(crate) server: TestServer,
    pub(crate) team: Team,
    pub(crate) owner: Visitor,
    pub(crate) operator: Visitor,
    /// What stands in paths: a route's placeholder with the id of something that there is.
    ids: BTreeMap<&'static str, String>,
    /// A session that was made on the page to try it, and one that is being held.
    tried: String,
    live: Call,
    _receivers: Vec<FakeReceiver>,
}

/// Pages of something that this example has not: a passkey, an authenticator app with its recovery codes, single sign-on.
const LEFT_OUT: &[&str] = &[
    "/account/passkeys/remove",
    "/account/authenticator/remove",
    "/account/recovery-codes",
    "/sso",
    "/sso/return",
    "/confirm/sso",
];

/// A page that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its route's words, with dashes between: `webhooks-webhook-edit`.
    pub(crate) name: String,
    /// Its path and query.
    pub(crate) path: String,
    /// Who may see it.
    pub(crate) access: Access,
}

/// The address of a page for a browser: passkeys need a name.
pub(crate) fn address(server: &TestServer, path: &str) -> String {
    format!("{}{path}", server.base_url().replace("127.0.0.1", "localhost"))
}

/// Gives a browser the cookies of somebody: it is signed in as them then.
pub(crate) async fn sign_in(browser: &mut Browser, server: &TestServer, visitor: &Visitor) {
    browser.open(&address(server, "/portal/sign-in")).await;
    for (name, value) in &visitor.cookies {
        browser.set_cookie(name, value).await;
    }
}

/// A whole call in which both parties say three things each, in turns.
async fn hold_a_call(server: &TestServer, api: &Client, ended: bool) -> Call {
    let mut call = Call::start_with(api, Mode::BidirectionalTranslation, None).await;
    for _ in 0..3 {
        for speaker in [Speaker::Customer, Speaker::Agent] {
            call.say(speaker, 600).await;
            call.next_final().await;
            server.clock.advance(SignedDuration::from_secs(4));
        }
    }
    if ended {
        api.end_session(&call.session.id, None).await.unwrap();
    }
    call
}

impl Example {
    /// Makes it: takes some seconds, as calls are held at the speed of speech.
    pub(crate) async fn start() -> Self {
        let utterances = CALL.iter().map(|(language, said)| {
            ((*language).to_owned(), said.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        });
        let script = Script { utterances: utterances.collect(), ..Script::default() };
        let server = ServerBuilder::default().script(script).start().await;
        let team = server.team("Harbour Clinic").await;
        let app = &server.app;
        let update = OrganizationUpdate { recording: Some(true), ..OrganizationUpdate::default() };
        app.storage.update_organization(team.id, &update, &server.change()).await.unwrap().unwrap();
        let mut ids = BTreeMap::from([("organization", team.id.to_string()), ("environment", "test".to_owned())]);

        for role in [Role::Admin, Role::Developer, Role::ReadOnly] {
            let member = server.member(&team, role).await;
            ids.insert("person", member.person.unwrap().to_string());
        }
        let mut owner = server.signed_in(team.owner).await;
        server.confirm(&owner).await;
        let operator = server.signed_in(server.operator().await).await;
        server.confirm(&operator).await;
        let (receivers, live) = use_it(&server, &team, &mut ids).await;
        owner.get(&team.at("test", "/try")).await;
        let tried = owner.post(&team.at("test", "/try"), &[("customer", "en"), ("agent", "es")]).await;
        let tried = tried.location().unwrap().rsplit('/').next().unwrap().to_owned();
        Self { server, team, owner, operator, ids, tried, live, _receivers: receivers }
    }

    /// The path of a route with the ids of this example.
    ///
    /// # Panics
    /// When the route has a placeholder that this example has nothing for: give it something.
    fn path_of(&self, entry: Entry) -> String {
        let segments = entry.path.split('/').filter(|segment| !segment.is_empty()).map(|segment| {
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                None => segment.to_owned(),
                Some("session") if entry.path.contains("/try/") => self.tried.clone(),
                Some(name) => {
                    self.ids.get(name).unwrap_or_else(|| panic!("the example has no {name}: {entry:?}")).clone()
                }
            }
        });
        segments.fold("/portal".to_owned(), |path, segment| format!("{path}/{segment}"))
    }

    /// Every page of the portal, but for what is no page (files, states) and what only leads to another one.
    pub(crate) async fn places(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        for entry in kallglot_portal::table() {
            if entry.verb != Verb::Get || entry.path.starts_with("/assets/") || LEFT_OUT.contains(&entry.path) {
                continue;
            }
            let path = self.path_of(entry);
            let mut nobody = self.server.visitor();
            let visitor = match entry.access {
                Access::Anybody => &mut nobody,
                Access::Operator => &mut self.operator,
                Access::SignedIn | Access::Member(_) => &mut self.owner,
            };
            let head = visitor.ask("HEAD", &path, &[], Body::Empty).await;
            let is_page = head.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
            // One that says what is missing is a page too.
            if matches!(head.status, 200 | 422) && is_page {
                let words =
                    entry.path.split('/').filter(|word| !["", "{organization}", "{environment}"].contains(word));
                let name: Vec<&str> = words.map(|word| word.trim_matches(['{', '}'])).collect();
                let name = if name.is_empty() { "overview".to_owned() } else { name.join("-") };
                places.push(Place { name, path, access: entry.access });
            } else {
                assert!(!is_page || head.status < 400, "{entry:?} gave {} for {path}", head.status);
            }
        }
        let live = self.team.at("test", &format!("/sessions/{}", self.live.session.id));
        let access = Access::Member(kallglot_core::person::Act::View);
        places.push(Place { name: "sessions-session-live".into(), path: live, access });
        places
    }

    /// Ends the server.
    pub(crate) async fn finish(self) {
        self.server.finish().await;
    }
}

/// Uses the server as its customers do. Notes what came of it.
async fn use_it(
    server: &TestServer,
    team: &Team,
    ids: &mut BTreeMap<&'static str, String>,
) -> (Vec<FakeReceiver>, Call) {
    let organization = team.organization();
    let (key, secret) =
        server.key_with(&organization, Environment::Test, |key| key.name = "Reception desk".into()).await;
    ids.insert("key", key.to_string());
    let (_, other) = server.key_with(&organization, Environment::Test, |key| key.name = "Night shift".into()).await;
    let api = server.client_with(&secret);

    let receivers = vec![FakeReceiver::start(Behaviour::ok()).await, FakeReceiver::start(Behaviour::status(503)).await];
    for (receiver, what) in receivers.iter().zip(["Appointments", "Archive, being moved"]) {
        let webhook = NewWebhook { url: receiver.url(), description: Some(what.into()), ..NewWebhook::default() };
        ids.insert("webhook", api.create_webhook(&webhook).await.unwrap().id);
    }

    let night = server.client_with(&other);
    let calls = tokio::join!(hold_a_call(server, &api, true), hold_a_call(server, &night, false));
    let (call, live) = calls;
    ids.insert("session", call.session.id.clone());
    let analysis = api.analyse(&call.session.id, &[], None).await.unwrap();
    ids.insert("analysis", analysis.id);
    let recordings = api.recordings_of(&call.session.id).await.unwrap();
    if let Some(recording) = recordings.first() {
        ids.insert("recording", recording.id.clone());
    }
    // What is refused is in the log too, with why.
    for (path, body) in [
        ("/v1/sessions", serde_json::json!({ "mode": "telepathy" })),
        ("/v1/sessions", serde_json::json!({})),
        ("/v1/sessions/sess_0000000000000000000000/end", serde_json::json!({})),
    ] {
        let answer = api.post(path, body).await.unwrap();
        ids.insert("request", answer.headers["x-request-id"].to_str().unwrap().to_owned());
    }
    let tenant = kallglot_core::session::Tenant { organization: team.id, environment: Environment::Test };
    let rule = AskedRule {
        name: "Many refusals".into(),
        metric: Metric::Errors,
        key: None,
        route: None,
        code: None,
        comparison: Comparison::Above,
        threshold: 2,
        window_minutes: 15,
        mail_members: false,
        mail_to: Vec::new(),
        webhook: true,
        enabled: true,
    };
    let rule = server.app.create_alert_rule(tenant, &server.change(), rule).await.unwrap();
    ids.insert("rule", rule.id.to_string());
    server.app.store_what_waits().await.unwrap();
    server.clock.advance(SignedDuration::from_mins(2));
    server.app.look_at_alerts().await.unwrap();
    delivered(&server.app, team, ids).await;
    (receivers, live)
}

/// Waits until the endpoint that fails was tried once.
async fn delivered(app: &App, team: &Team, ids: &mut BTreeMap<&'static str, String>) {
    let tenant = kallglot_core::session::Tenant { organization: team.id, environment: Environment::Test };
    let webhook = ids["webhook"].parse().unwrap();
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
    let delivery = soon("an attempt", async {
        loop {
            let page = app.storage.deliveries(tenant, webhook, Default::default(), &PageRequest::newest(50)).await;
            let page = page.unwrap().unwrap();
            let tried =
                |one: &&kallglot_core::delivery::Delivery| one.attempts > 0 && one.status == DeliveryStatus::Pending;
            if let Some(delivery) = page.items.iter().find(tried) {
                return delivery.id;
            }
            pause.tick().await;
        }
    });
    ids.insert("delivery", delivery.await.to_string());
}
