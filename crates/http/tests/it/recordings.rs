//! Recordings (contract section 13): what was said and what was heard, when; who may have it; what is gone when it is deleted.

use std::time::Duration;

use jiff::SignedDuration;
use kallglot_core::permission::Permission;
use kallglot_core::session::{Environment, Mode, Speaker};
use kallglot_testkit::client::{Body, Client, NewSession, Recording, ServerMessage};
use kallglot_testkit::{Call, Organization, TestServer, next_matching, soon, voice_mulaw};
use serde_json::json;

const SAMPLES_PER_S: usize = 8_000;
/// Bytes of a WAV file before its samples.
const WAV_HEADER_BYTES: usize = 44;

/// A client that may do everything with recordings.
async fn client(server: &TestServer, organization: &Organization) -> Client {
    let may = [
        Permission::SessionsRead,
        Permission::SessionsWrite,
        Permission::RecordingsRead,
        Permission::RecordingsDelete,
        Permission::ApiKeysManage,
    ];
    server.client_that_may(organization, &may).await
}

/// The id of a mix of a short call.
pub(crate) async fn recorded_call(api: &Client) -> String {
    let mut call = begin(api, Mode::BidirectionalTranslation).await;
    call.play(Speaker::Customer, &voice_mulaw(60)).await;
    call.stream.ping().await.unwrap();
    api.end_session(&call.session.id, None).await.unwrap();
    let [mixed, ..] = ready(api, &call.session.id).await;
    assert_eq!(mixed.status, "ready");
    mixed.id
}

async fn begin(api: &Client, mode: Mode) -> Call {
    let session = api.create_session(&NewSession::new(mode, "en", "es").recorded(true)).await.unwrap();
    let stream = Call::join(&session, None).await;
    Call { session, stream }
}

/// The session's recordings once they are made: mixed, customer, agent.
async fn ready(api: &Client, session: &str) -> [Recording; 3] {
    let made = soon("recordings are ready", async {
        // Not as fast as can be: each look counts as a request.
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            look.tick().await;
            let found = api.recordings_of(session).await.unwrap();
            if found.len() == 3 && found.iter().all(|it| it.status != "processing") {
                return found;
            }
        }
    });
    made.await.try_into().unwrap()
}

async fn samples(api: &Client, id: &str, query: &str) -> Vec<i16> {
    let wav = api.recording_audio(id, query).await.unwrap();
    assert_eq!(&wav[..4], b"RIFF");
    wav[WAV_HEADER_BYTES..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect()
}

/// The first place at which it is loud. Samples.
fn begins(samples: &[i16]) -> usize {
    samples.iter().position(|sample| sample.unsigned_abs() > 500).unwrap_or(usize::MAX)
}

/// Milliseconds in which it is loud.
fn loud_ms(samples: &[i16]) -> usize {
    samples.chunks(8).filter(|ms| ms.iter().any(|sample| sample.unsigned_abs() > 500)).count()
}

/// Reads until the first frame of translated speech has come.
async fn hear_translation(call: &mut Call) {
    let is_speech =
        |message: &ServerMessage| matches!(message, ServerMessage::Audio(audio) if audio.translation_of.is_some());
    next_matching(&mut call.stream, "translated speech", is_speech).await;
}

#[tokio::test]
async fn what_was_said_and_what_was_heard_is_in_the_recording() {
    let server = TestServer::start().await;
    let api = client(&server, &server.organization().await).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    let session = call.session.id.clone();
    assert_eq!(api.recordings_of(&session).await.unwrap().len(), 0, "they are there from the end on");
    call.say(Speaker::Customer, 800).await;
    let said = call.next_final().await;
    hear_translation(&mut call).await;
    call.say(Speaker::Agent, 600).await;
    call.next_final().await;
    hear_translation(&mut call).await;
    api.end_session(&session, None).await.unwrap();

    let [mixed, customer, agent] = ready(&api, &session).await;
    assert_eq!(
        [&mixed, &customer, &agent].map(|it| (it.channel.as_str(), it.status.as_str(), it.incomplete)),
        [("mixed", "ready", false), ("customer", "ready", false), ("agent", "ready", false)]
    );
    assert_eq!(mixed.download_url, format!("/v1/recordings/{}/audio", mixed.id));
    let duration = mixed.duration.unwrap();
    let customer_said = samples(&api, &customer.id, "format=wav").await;
    assert_eq!(customer_said.len(), (duration * SAMPLES_PER_S as f64).round() as usize);
    // The text's times are the speech's on the same time line.
    let began_ms = begins(&customer_said) / 8;
    assert!(began_ms.abs_diff(said.start_ms as usize) < 200, "{began_ms} ms, the text says {} ms", said.start_ms);
    assert!((700..=900).contains(&loud_ms(&customer_said)), "{} ms", loud_ms(&customer_said));

    let translated = samples(&api, &customer.id, "format=wav&track=translated").await;
    assert!(begins(&translated) > begins(&customer_said), "it is heard after it was said");
    assert!(loud_ms(&translated) > 100);
    let agent_said = samples(&api, &agent.id, "format=wav&track=original").await;
    assert!(begins(&agent_said) > begins(&customer_said) + 8 * 800);

    // Both in one, one beside the other: the agent left, the customer right.
    let both = samples(&api, &mixed.id, "format=wav&track=original&layout=stereo").await;
    let (left, right): (Vec<i16>, Vec<i16>) = both.chunks_exact(2).map(|frame| (frame[0], frame[1])).unzip();
    assert_eq!((begins(&left), begins(&right)), (begins(&agent_said), begins(&customer_said)));
    let all = samples(&api, &mixed.id, "format=wav").await;
    assert_eq!(all.len(), customer_said.len());
    assert!(loud_ms(&all) > loud_ms(&customer_said) + loud_ms(&agent_said));
    server.finish().await;
}

#[tokio::test]
async fn the_original_that_an_agent_hears_is_recorded_once() {
    let server = TestServer::start().await;
    let api = client(&server, &server.organization().await).await;
    let mut call = begin(&api, Mode::AssistiveTranslation).await;
    call.say(Speaker::Customer, 600).await;
    call.next_final().await;
    let session = call.session.id.clone();
    api.end_session(&session, None).await.unwrap();
    let [mixed, customer, _] = ready(&api, &session).await;
    let translated = samples(&api, &customer.id, "format=wav&track=translated").await;
    assert_eq!(loud_ms(&translated), 0, "the agent reads the translation");
    let original = samples(&api, &customer.id, "format=wav").await;
    assert_eq!(samples(&api, &mixed.id, "format=wav").await, original);
    server.finish().await;
}

#[tokio::test]
async fn audio_comes_in_every_form_and_in_ranges() {
    let server = TestServer::start().await;
    let api = client(&server, &server.organization().await).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    call.say(Speaker::Customer, 600).await;
    call.next_final().await;
    let session = call.session.id.clone();
    api.end_session(&session, None).await.unwrap();
    let [mixed, ..] = ready(&api, &session).await;
    let path = |query: &str| format!("/v1/recordings/{}/audio{query}", mixed.id);

    let whole = api.get(&path("")).await.unwrap();
    assert_eq!((whole.status, whole.header("content-type")), (200, Some("audio/mpeg")), "{}", whole.text());
    let name = format!("attachment; filename=\"{session}_mixed.mp3\"");
    assert_eq!(whole.header("content-disposition"), Some(name.as_str()));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(Some(whole.body.len() as u64), mixed.size);
    let etag = whole.header("etag").unwrap().to_owned();
    let ogg = api.get(&path("?format=ogg")).await.unwrap();
    assert_eq!((ogg.header("content-type"), &ogg.body[..4]), (Some("audio/ogg"), b"OggS".as_slice()));
    assert_ne!(ogg.header("etag"), Some(etag.as_str()));

    let get = async |headers: &[(&str, &str)]| api.request("GET", &path(""), headers, Body::Empty).await.unwrap();
    let length = whole.body.len();
    let part = get(&[("range", "bytes=100-299"), ("if-range", &etag)]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[100..300]));
    assert_eq!(part.header("content-range"), Some(format!("bytes 100-299/{length}").as_str()));
    let end = get(&[("range", "bytes=-50")]).await;
    assert_eq!((end.status, end.body.as_slice()), (206, &whole.body[length - 50..]));
    let outside = get(&[("range", "bytes=99999999-")]).await;
    assert_eq!((outside.status, outside.body.len()), (416, 0));
    assert_eq!(outside.header("content-range"), Some(format!("bytes */{length}").as_str()));
    for whole_again in [&[("range", "bytes=0-1,5-9")][..], &[("range", "bytes=0-1"), ("if-range", "\"another\"")]] {
        let answer = get(whole_again).await;
        assert_eq!((answer.status, answer.body.len()), (200, length), "{whole_again:?}");
    }
    assert_eq!(get(&[("if-none-match", &etag)]).await.status, 304);
    let head = api.request("HEAD", &path(""), &[], Body::Empty).await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));

    for (query, param) in
        [("?format=flac", "format"), ("?track=mine", "track"), ("?layout=left", "layout"), ("?x=1", "x")]
    {
        let refused = api.get(&path(query)).await.unwrap();
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (422, Some(param)));
    }
    server.finish().await;
}

#[tokio::test]
async fn nothing_is_recorded_unless_somebody_wants_it() {
    let server = TestServer::start().await;
    let api = client(&server, &server.organization().await).await;
    let mut call = Call::start(&api).await;
    let body = api.get(&format!("/v1/sessions/{}", call.session.id)).await.unwrap().json();
    assert_eq!(body["recording"], json!({ "enabled": false, "paused": false }));
    call.say(Speaker::Customer, 300).await;
    let refused = api.pause_recording(&call.session.id, true).await.unwrap_err();
    assert!(refused.to_string().contains("not recorded"), "{refused}");
    api.end_session(&call.session.id, None).await.unwrap();
    assert_eq!(api.recordings_of(&call.session.id).await.unwrap().len(), 0);
    assert_eq!(std::fs::read_dir(server.app.recordings.disk.folder()).unwrap().count(), 0, "nothing is on the disk");

    // An organization may want it always, and a session not.
    let keen = server.organization_with(1000, |organization| organization.recording = true).await;
    let api = client(&server, &keen).await;
    let new = NewSession::new(Mode::BidirectionalTranslation, "en", "es");
    for (new, enabled) in [(new.clone(), true), (new.recorded(false), false)] {
        let session = api.create_session(&new).await.unwrap();
        let body = api.get(&format!("/v1/sessions/{}", session.id)).await.unwrap().json();
        assert_eq!(body["recording"]["enabled"], enabled);
    }
    server.finish().await;
}

#[tokio::test]
async fn what_is_said_while_paused_is_nowhere() {
    let server = TestServer::start().await;
    let api = client(&server, &server.organization().await).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    let session = call.session.id.clone();
    call.say(Speaker::Customer, 400).await;
    call.next_final().await;
    hear_translation(&mut call).await;
    for _twice in 0..2 {
        api.pause_recording(&session, true).await.unwrap();
    }
    let body = api.get(&format!("/v1/sessions/{session}")).await.unwrap().json();
    assert_eq!(body["recording"], json!({ "enabled": true, "paused": true }));
    call.say(Speaker::Agent, 600).await;
    call.next_final().await;
    hear_translation(&mut call).await;
    api.pause_recording(&session, false).await.unwrap();
    call.play(Speaker::Customer, &voice_mulaw(200)).await;
    api.end_session(&session, None).await.unwrap();
    let [mixed, customer, agent] = ready(&api, &session).await;
    assert_eq!(loud_ms(&samples(&api, &agent.id, "format=wav&track=original").await), 0);
    let customer_said = loud_ms(&samples(&api, &customer.id, "format=wav").await);
    assert!((500..=750).contains(&customer_said), "before and after it goes on: {customer_said} ms");
    // The time line is that of the call: the pause is in it.
    assert!(mixed.duration.unwrap() > 2.0, "{:?}", mixed.duration);
    for what in ["pause", "resume"] {
        let ended = api.post(&format!("/v1/sessions/{session}/recording/{what}"), json!({})).await.unwrap();
        assert_eq!((ended.status, ended.error_code().as_deref()), (409, Some("session_already_ended")));
    }
    server.finish().await;
}

#[tokio::test]
async fn a_call_that_only_paused_has_recordings_that_say_so() {
    let server = TestServer::start().await;
    let api = client(&server, &server.organization().await).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    api.pause_recording(&call.session.id, true).await.unwrap();
    call.say(Speaker::Customer, 300).await;
    call.next_final().await;
    api.end_session(&call.session.id, None).await.unwrap();
    let [mixed, ..] = ready(&api, &call.session.id).await;
    assert_eq!((mixed.status.as_str(), mixed.duration), ("failed", None));
    assert!(mixed.error.unwrap().starts_with("Nothing was recorded"));
    let audio = api.get(&format!("/v1/recordings/{}/audio", mixed.id)).await.unwrap();
    assert_eq!((audio.status, audio.error_code().as_deref()), (404, Some("recording_not_found")));
    server.finish().await;
}

#[tokio::test]
async fn a_recording_goes_on_after_a_restart() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let api = client(&server, &organization).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    let session = call.session.id.clone();
    call.say(Speaker::Customer, 400).await;
    call.next_final().await;
    api.pause_recording(&session, true).await.unwrap();
    let server = server.restart().await;
    let api = client(&server, &organization).await;
    let again = api.get_session(&session).await.unwrap();
    let mut call = Call { stream: Call::join(&again, None).await, session: again };
    call.say(Speaker::Agent, 400).await;
    call.next_final().await;
    api.pause_recording(&session, false).await.unwrap();
    call.say(Speaker::Customer, 500).await;
    call.next_final().await;
    api.end_session(&session, None).await.unwrap();
    let [mixed, customer, agent] = ready(&api, &session).await;
    assert_eq!((mixed.status.as_str(), mixed.incomplete), ("ready", false));
    let said = samples(&api, &customer.id, "format=wav").await;
    assert!((800..=1000).contains(&loud_ms(&said)), "of both lives: {} ms", loud_ms(&said));
    assert_eq!(loud_ms(&samples(&api, &agent.id, "format=wav").await), 0, "the pause outlived the restart");
    server.finish().await;
}

#[tokio::test]
async fn a_deleted_recording_is_gone_with_its_audio() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let api = client(&server, &organization).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    call.say(Speaker::Customer, 400).await;
    call.next_final().await;
    let session = call.session.id.clone();
    api.end_session(&session, None).await.unwrap();
    let [mixed, customer, agent] = ready(&api, &session).await;
    let reader = server.client_that_may(&organization, &[Permission::RecordingsRead]).await;
    let refused = reader.request("DELETE", &format!("/v1/recordings/{}", mixed.id), &[], Body::Empty).await.unwrap();
    assert_eq!((refused.status, refused.error_code().as_deref()), (403, Some("insufficient_permissions")));

    let tracks = async || {
        let tenant = kallglot_core::session::Tenant { organization: organization.id, environment: Environment::Live };
        let stored = server.app.storage.recording_tracks(tenant, session.parse().unwrap()).await.unwrap();
        let objects = server.app.recordings.objects.as_ref().unwrap();
        for track in &stored {
            assert_eq!(objects.size(&track.object).await.unwrap(), track.bytes);
        }
        stored.into_iter().map(|track| track.object).collect::<Vec<_>>()
    };
    let before = tracks().await;
    assert_eq!(before.len(), 4);
    api.delete_recording(&mixed.id).await.unwrap();
    assert_eq!(tracks().await, before, "the parties' recordings need them");
    api.delete_recording(&agent.id).await.unwrap();
    let left = tracks().await;
    assert_eq!(left.len(), 2);
    let objects = server.app.recordings.objects.as_ref().unwrap();
    for gone in before.iter().filter(|object| !left.contains(object)) {
        assert!(objects.size(gone).await.is_err(), "{gone} is still there");
    }
    for path in ["", "/audio"] {
        let gone = api.get(&format!("/v1/recordings/{}{path}", mixed.id)).await.unwrap();
        assert_eq!((gone.status, gone.error_code().as_deref()), (404, Some("recording_not_found")));
    }
    assert!(api.delete_recording(&mixed.id).await.is_err());
    assert_eq!(api.recordings_of(&session).await.unwrap()[0].id, customer.id);
    let log = api.get("/v1/audit_log").await.unwrap().json();
    assert_eq!(log["data"][0]["action"], "recording.deleted");
    assert_eq!(log["data"][0]["object_id"], agent.id.as_str(), "{log}");
    server.finish().await;
}

#[tokio::test]
async fn a_recording_expires_with_its_audio() {
    let server = TestServer::start().await;
    let organization = server.organization_with(1000, |it| it.recordings_kept_days = 2).await;
    let api = client(&server, &organization).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    call.say(Speaker::Customer, 300).await;
    call.next_final().await;
    let session = call.session.id.clone();
    api.end_session(&session, None).await.unwrap();
    let [mixed, ..] = ready(&api, &session).await;
    let tenant = kallglot_core::session::Tenant { organization: organization.id, environment: Environment::Live };
    let stored = server.app.storage.recording_tracks(tenant, session.parse().unwrap()).await.unwrap();
    server.clock.advance(SignedDuration::from_hours(48));
    let path = format!("/v1/recordings/{}", mixed.id);
    let answer = soon("the recording expires", async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            look.tick().await;
            let answer = api.get(&path).await.unwrap();
            if answer.status != 200 {
                return answer;
            }
        }
    });
    let answer = answer.await;
    assert_eq!((answer.status, answer.error_code().as_deref()), (410, Some("recording_expired")));
    let objects = server.app.recordings.objects.as_ref().unwrap();
    soon("the audio goes", async {
        for track in &stored {
            while objects.size(&track.object).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    assert_eq!(api.get("/v1/recordings").await.unwrap().json()["data"], json!([]));
    server.finish().await;
}

#[tokio::test]
async fn recordings_are_strangers_to_other_tenants() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let api = client(&server, &organization).await;
    let mut call = begin(&api, Mode::BidirectionalTranslation).await;
    call.say(Speaker::Customer, 300).await;
    let session = call.session.id.clone();
    api.end_session(&session, None).await.unwrap();
    let [mixed, ..] = ready(&api, &session).await;
    let page = api.get("/v1/recordings?limit=2").await.unwrap().json();
    assert_eq!((page["data"].as_array().unwrap().len(), page["has_more"].as_bool()), (2, Some(true)));

    let stranger = client(&server, &server.organization().await).await;
    let sandbox = server.client(&organization, Environment::Test).await;
    for path in ["", "/audio"] {
        let path = format!("/v1/recordings/{}{path}", mixed.id);
        assert_eq!(stranger.get(&path).await.unwrap().error_code().as_deref(), Some("recording_not_found"));
        assert_eq!(sandbox.get(&path).await.unwrap().error_code().as_deref(), Some("api_key_wrong_environment"));
    }
    let path = format!("/v1/sessions/{session}/recordings");
    assert_eq!(stranger.get(&path).await.unwrap().error_code().as_deref(), Some("session_not_found"));
    let delete = stranger.request("DELETE", &format!("/v1/recordings/{}", mixed.id), &[], Body::Empty).await.unwrap();
    assert_eq!(delete.status, 404);
    for what in ["pause", "resume"] {
        let path = format!("/v1/sessions/{session}/recording/{what}");
        assert_eq!(stranger.post(&path, json!({})).await.unwrap().error_code().as_deref(), Some("session_not_found"));
    }
    assert_eq!(stranger.get("/v1/recordings").await.unwrap().json()["data"], json!([]));
    server.finish().await;
}
