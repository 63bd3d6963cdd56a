//! Sessions at the portal: the list, the page of a call live and over, its audio in pieces, what may be done with it and by whom; and a call
//! that is begun from a page.

use kallglot_client::{Body, Client, NewSession, Session, Stream, TokenPlacement};
use kallglot_core::audit::Who;
use kallglot_core::person::Role;
use kallglot_core::session::{Environment, Mode, Speaker};
use kallglot_storage::{AuditFilter, PageRequest};
use kallglot_testkit::{Call, Sight, Team, TestServer, Visitor, next_matching, soon};
use serde_json::{Value, json};

/// A client of the team's organization, in the test environment.
async fn api(server: &TestServer, team: &Team) -> Client {
    let (_, secret) = server.key_with(&team.organization(), Environment::Test, |_| {}).await;
    server.client_with(&secret)
}

fn new() -> NewSession {
    NewSession::new(Mode::BidirectionalTranslation, "en", "es")
}

/// A recorded call in which the customer has said something, not over yet.
async fn call(api: &Client) -> Call {
    let session = api.create_session(&new().recorded(true)).await.unwrap();
    let mut call = Call { stream: Call::join(&session, None).await, session };
    call.say(Speaker::Customer, 900).await;
    call.next_final().await;
    call
}

/// The page of a session, once nothing of it is being made any more.
async fn made(visitor: &mut Visitor, path: &str) -> Sight {
    soon("all of the call is made", async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            look.tick().await;
            let page = visitor.get(path).await;
            assert_eq!(page.status, 200);
            if !page.has("data-refresh") {
                return page;
            }
        }
    })
    .await
}

fn json_of(sight: &Sight) -> Value {
    serde_json::from_str(&sight.html).unwrap()
}

#[tokio::test]
async fn sessions_are_listed_the_live_ones_first_and_found_by_state_time_and_id() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let api = api(&server, &team).await;
    let mut ana = server.member(&team, Role::ReadOnly).await;
    let list = team.at("test", "/sessions");
    assert!(ana.get(&list).await.has("There are no sessions yet"));

    let live = Call::start(&api).await;
    let ended = api.create_session(&new()).await.unwrap();
    api.end_session(&ended.id, None).await.unwrap();
    let waiting = api.create_session(&new()).await.unwrap();
    let page = ana.get(&list).await;
    let (above, below) = page.html.split_once("All sessions").unwrap();
    assert!(above.contains(&live.session.id) && !above.contains(&ended.id));
    for session in [&live.session, &ended, &waiting] {
        assert!(below.contains(&session.id));
    }
    for (query, shown) in [
        ("?status=live", [true, false, false]),
        ("?status=ended", [false, true, false]),
        ("?status=waiting", [false, false, true]),
        ("?from=1999-01-01&until=1999-12-31", [false, false, false]),
        ("?from=1999-01-01", [true, true, true]),
        ("?until=1999-01-01", [false, false, false]),
    ] {
        let page = ana.get(&format!("{list}{query}")).await;
        assert_eq!([&live.session, &ended, &waiting].map(|session| page.has(&session.id)), shown, "{query}");
    }
    assert!(ana.get(&format!("{list}?from=yesterday")).await.has("is no day"));
    let found = ana.get(&format!("{list}?id={}", ended.id)).await;
    assert_eq!(found.location(), Some(team.at("test", &format!("/sessions/{}", ended.id)).as_str()));
    assert!(ana.get(&format!("{list}?id=sess_0000000000000000000007")).await.has("There is no session of this id"));
    // The other environment has its own.
    assert!(ana.get(&team.at("live", "/sessions")).await.has("There are no sessions yet"));
    server.finish().await;
}

#[tokio::test]
async fn long_lists_have_pages() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let api = api(&server, &team).await;
    for _ in 0..26 {
        let session = api.create_session(&new()).await.unwrap();
        api.end_session(&session.id, None).await.unwrap();
    }
    let mut ana = server.member(&team, Role::ReadOnly).await;
    let list = team.at("test", "/sessions");
    let first = ana.get(&format!("{list}?status=ended")).await;
    assert!(first.has("Older →") && !first.has("← Newer"));
    let older =
        first.html.split("href=\"").filter_map(|rest| rest.split('"').next()).find(|href| href.contains("after="));
    let second = ana.get(&older.unwrap().replace("&amp;", "&")).await;
    assert!(second.has("← Newer") && !second.has("Older →"));
    assert_eq!(second.html.matches("<th scope=\"row\">").count(), 1, "the filter is kept from page to page");
    server.finish().await;
}

#[tokio::test]
async fn a_live_call_is_read_and_watched_with_a_token_that_can_do_no_more() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let api = api(&server, &team).await;
    let call = call(&api).await;
    let mut ana = server.member(&team, Role::ReadOnly).await;
    let path = team.at("test", &format!("/sessions/{}", call.session.id));
    let page = ana.get(&path).await;
    assert_eq!(page.status, 200);
    // Without JavaScript: what was said so far, both texts, and a link to load it again.
    let said = api.transcript(&call.session.id).await.unwrap().turns.remove(0);
    assert!(page.has(&said.text) && page.has(&said.translation.unwrap().text));
    assert!(page.has("Load it again") && page.has("aria-live=\"polite\""));
    assert!(!page.has("kso_") && !page.has("kst_"), "no token is in a page");
    assert!(!page.has("End the call"), "who only reads ends nothing");

    let answer = ana.get(&format!("{path}/observe")).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let token = json_of(&answer)["token"].as_str().unwrap().to_owned();
    let url = format!("ws://{}/v1/sessions/{}/connect", server.address, call.session.id);
    assert!(
        Stream::connect(&url, &token, TokenPlacement::Subprotocol, None).await.is_err(),
        "no part is taken with it"
    );
    let mut watching =
        Stream::connect(&format!("{url}?observe=true"), &token, TokenPlacement::Subprotocol, None).await.unwrap();
    next_matching(&mut watching, "ready", |m| matches!(m, kallglot_client::ServerMessage::Ready { .. })).await;

    let mut dev = server.member(&team, Role::Developer).await;
    assert!(dev.get(&path).await.has("End the call"));
    let over = dev.post_and_follow(&format!("{path}/end"), &[]).await;
    assert!(over.has("Ended."));
    assert_eq!(soon("the end", watching.wait_closed()).await.code, Some(1000));
    let after = json_of(&ana.get(&format!("{path}/observe")).await);
    assert_eq!(after, json!({ "status": "ended", "token": null }));
    server.finish().await;
}

#[tokio::test]
async fn a_call_that_is_over_is_heard_in_pieces_read_and_downloaded() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let api = api(&server, &team).await;
    let call = call(&api).await;
    api.end_session(&call.session.id, None).await.unwrap();
    let mut ana = server.member(&team, Role::ReadOnly).await;
    let path = team.at("test", &format!("/sessions/{}", call.session.id));
    let page = made(&mut ana, &path).await;
    let audio = page.attribute("<audio id=\"audio\" controls preload=\"metadata\" src").unwrap().to_owned();
    assert!(page.has(&format!("href=\"{audio}#t=")), "each turn leads to its place, without JavaScript too");
    assert!(!page.has("/delete\""), "who only reads deletes nothing");

    let whole = ana.get(&audio).await;
    assert_eq!((whole.status, whole.header("content-type")), (200, Some("audio/mpeg")));
    assert_eq!((whole.header("accept-ranges"), whole.header("cache-control")), (Some("bytes"), Some("no-store")));
    let bytes: u64 = whole.header("content-length").unwrap().parse().unwrap();
    let etag = whole.header("etag").unwrap().to_owned();
    let piece = ana.ask("GET", &audio, &[("range", "bytes=100-299")], Body::Empty).await;
    assert_eq!((piece.status, piece.header("content-length")), (206, Some("200")));
    assert_eq!(piece.header("content-range"), Some(format!("bytes 100-299/{bytes}").as_str()));
    let outside = ana.ask("GET", &audio, &[("range", "bytes=99999999-")], Body::Empty).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, Some(format!("bytes */{bytes}").as_str())));
    let known = ana.ask("GET", &audio, &[("if-none-match", &etag)], Body::Empty).await;
    assert_eq!(known.status, 304);
    for (format, media) in [("mp3", "audio/mpeg"), ("ogg", "audio/ogg"), ("wav", "audio/wav")] {
        let file = ana.get(&format!("{audio}?download=yes&format={format}")).await;
        assert_eq!((file.status, file.header("content-type")), (200, Some(media)));
        assert!(file.header("content-disposition").unwrap().ends_with(&format!("_mixed.{format}\"")));
    }
    assert_eq!(ana.get(&format!("{audio}?format=exe")).await.status, 404);

    let said = api.transcript(&call.session.id).await.unwrap().turns.remove(0).text;
    for (format, media) in
        [("txt", "text/plain"), ("srt", "application/x-subrip"), ("vtt", "text/vtt"), ("json", "application/json")]
    {
        let file = ana.get(&format!("{path}/transcript?format={format}")).await;
        assert!(file.header("content-type").unwrap().starts_with(media), "{format}");
        assert!(file.header("content-disposition").unwrap().contains(&format!(".{format}\"")));
        assert!(file.has(&said), "{format}");
    }
    // The same as the API's.
    let theirs = api.get(&format!("/v1/sessions/{}/transcript", call.session.id)).await.unwrap().json();
    assert_eq!(json_of(&ana.get(&format!("{path}/transcript?format=json")).await), theirs);
    server.finish().await;
}

#[tokio::test]
async fn a_recording_is_deleted_by_who_may_and_the_audit_log_says_who() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let api = api(&server, &team).await;
    let call = call(&api).await;
    api.end_session(&call.session.id, None).await.unwrap();
    let mut dev = server.member(&team, Role::Developer).await;
    let path = team.at("test", &format!("/sessions/{}", call.session.id));
    made(&mut dev, &path).await;
    let recordings = api.recordings_of(&call.session.id).await.unwrap();
    let mixed = recordings.iter().find(|it| it.channel == "mixed").unwrap();
    let delete = format!("{path}/recordings/{}/delete", mixed.id);
    assert!(
        dev.get(&delete).await.location().unwrap().starts_with("/portal/confirm?next="),
        "it asks again who one is"
    );
    server.confirm(&dev).await;
    assert!(dev.get(&delete).await.has("Delete the recording"));
    assert!(dev.post_and_follow(&delete, &[]).await.has("Deleted."));
    assert_eq!(dev.get(&format!("{path}/recordings/{}/audio", mixed.id)).await.status, 404);
    assert_eq!(dev.post(&delete, &[]).await.status, 404);
    let (all, newest) = (AuditFilter::default(), PageRequest::newest(20));
    let entries = server.app.storage.audit_log(team.id, &all, &newest).await.unwrap();
    let entry = entries.items.iter().find(|entry| entry.object == mixed.id).unwrap();
    assert_eq!(entry.change.who, Who::Person(dev.person.unwrap()));
    server.finish().await;
}

#[tokio::test]
async fn an_analysis_is_asked_for_and_shown() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let api = api(&server, &team).await;
    let mut call = call(&api).await;
    call.say(Speaker::Agent, 900).await;
    call.next_final().await;
    api.end_session(&call.session.id, None).await.unwrap();
    let mut dev = server.member(&team, Role::Developer).await;
    let path = team.at("test", &format!("/sessions/{}", call.session.id));
    assert!(made(&mut dev, &path).await.has("Analyse this call"));
    let answer = dev.post(&format!("{path}/analyses"), &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.html);
    let page = made(&mut dev, &path).await;
    for part in ["Mood", "Keywords", "Compliance", "How it went", "Analyse again"] {
        assert!(page.has(part), "{part}");
    }
    // A call in which nothing was said has nothing to analyse, whoever asks.
    let silent = api.create_session(&new()).await.unwrap();
    api.end_session(&silent.id, None).await.unwrap();
    let path = team.at("test", &format!("/sessions/{}", silent.id));
    assert!(dev.get(&path).await.has("nothing to analyse"));
    assert_eq!(dev.post(&format!("{path}/analyses"), &[]).await.status, 409);
    server.finish().await;
}

#[tokio::test]
async fn nothing_of_a_call_is_seen_from_another_organization_or_environment() {
    let server = TestServer::start().await;
    let (team, others) = (server.team("Example").await, server.team("Elsewhere").await);
    let api = api(&server, &team).await;
    let call = call(&api).await;
    let other: Session = api.create_session(&new()).await.unwrap();
    let theirs = self::api(&server, &others).await.create_session(&new()).await.unwrap();
    api.end_session(&call.session.id, None).await.unwrap();
    let mut owner = server.signed_in(team.owner).await;
    made(&mut owner, &team.at("test", &format!("/sessions/{}", call.session.id))).await;
    let recording = api.recordings_of(&call.session.id).await.unwrap().remove(0).id;
    let below = ["".to_owned(), "/observe".into(), "/transcript".into(), format!("/recordings/{recording}/audio")];

    let mut stranger = server.signed_in(others.owner).await;
    for rest in &below {
        let path = format!("/sessions/{}{rest}", call.session.id);
        assert_eq!(owner.get(&team.at("test", &path)).await.status, 200, "{path}");
        for unseen in [team.at("test", &path), others.at("test", &path)] {
            assert_eq!(stranger.get(&unseen).await.status, 404, "{unseen}");
        }
        assert_eq!(owner.get(&team.at("live", &path)).await.status, 404, "{path}");
    }
    // A recording by way of another session of the same organization; another organization's session in one's own.
    let crossed = team.at("test", &format!("/sessions/{}/recordings/{recording}/audio", other.id));
    assert_eq!(owner.get(&crossed).await.status, 404);
    assert_eq!(owner.get(&team.at("test", &format!("/sessions/{}", theirs.id))).await.status, 404);
    assert_eq!(owner.post(&team.at("test", &format!("/sessions/{}/end", theirs.id)), &[]).await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn a_call_is_begun_from_a_page_and_spoken_to_with_its_token() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut dev = server.member(&team, Role::Developer).await;
    let start = team.at("test", "/try");
    let elsewhere = dev.get(&team.at("live", "/try")).await;
    assert_eq!(elsewhere.location(), Some(start.as_str()), "nobody tries anything with live credits");
    let page = dev.get(&start).await;
    assert!(
        page.has("<option value=\"en\" selected>English</option>") && page.has("<option value=\"es\" selected>"),
        "{}",
        page.html
    );

    let wrong = dev.post(&start, &[("customer", "en"), ("agent", "tlh")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.has("goes together with"));
    let same = dev.post(&start, &[("customer", "en"), ("agent", "en")]).await;
    assert_eq!(same.status, 422);

    let call = dev.post_and_follow(&start, &[("customer", "en"), ("agent", "es"), ("record", "yes")]).await;
    let session = call.attribute("data-session").unwrap().to_owned();
    assert!(call.has("This page needs JavaScript") && call.has("Start the microphone") && !call.has("kst_"));
    let answer = dev.get(call.attribute("data-token").unwrap()).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let token = json_of(&answer)["token"].as_str().unwrap().to_owned();

    // What the page's script does, without a browser.
    let url = format!("ws://{}/v1/sessions/{session}/connect", server.address);
    let stream = Stream::connect(&url, &token, TokenPlacement::Subprotocol, None).await.unwrap();
    let api = api(&server, &team).await;
    let mut talk = Call { session: api.get_session(&session).await.unwrap(), stream };
    talk.say(Speaker::Customer, 700).await;
    let text = talk.next_final().await;
    assert_eq!((text.language.as_str(), text.translation.unwrap().language.as_str()), ("en", "es"));
    let page = dev.get(&format!("{start}/{session}?side=agent")).await;
    assert!(page.has(&text.text) && page.has("value=\"agent\" checked"));

    // A session as any other: it is listed, costs a slot, and is ended like one.
    assert!(dev.get(&team.at("test", "/sessions")).await.has(&session));
    dev.post(&team.at("test", &format!("/sessions/{session}/end")), &[]).await;
    let over = dev.get(&format!("{start}/{session}")).await;
    assert_eq!(over.location(), Some(team.at("test", &format!("/sessions/{session}")).as_str()));
    server.finish().await;
}

#[tokio::test]
async fn nobody_takes_part_from_the_portal_in_a_call_that_it_has_not_begun() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let api = api(&server, &team).await;
    let session = api.create_session(&new()).await.unwrap();
    let mut owner = server.signed_in(team.owner).await;
    for rest in ["", "/token"] {
        assert_eq!(owner.get(&team.at("test", &format!("/try/{}{rest}", session.id))).await.status, 404);
    }
    server.finish().await;
}

#[tokio::test]
async fn tried_calls_keep_within_the_organizations_limits() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let organization = server.app.storage.organization(team.id).await.unwrap().unwrap();
    let slots = organization.limits(Environment::Test).concurrent_sessions_max;
    let api = api(&server, &team).await;
    for _ in 0..slots {
        api.create_session(&new()).await.unwrap();
    }
    let mut dev = server.member(&team, Role::Developer).await;
    dev.get(&team.at("test", "/try")).await;
    let refused = dev.post(&team.at("test", "/try"), &[("customer", "en"), ("agent", "es")]).await;
    assert_eq!(refused.status, 429);
    assert!(refused.has("id=\"mistakes\"") && refused.has("Start a call"), "it says so above the form");
    server.finish().await;
}
