//! Settings, audit log, credits; and what only operators do.

use jiff::SignedDuration;
use kallglot_core::person::Role;
use kallglot_testkit::{TestServer, Visitor};

/// Somebody of this role who has just confirmed who they are, and an open page of theirs.
async fn member(server: &TestServer, team: &kallglot_testkit::Team, role: Role) -> Visitor {
    let mut member = server.member(team, role).await;
    server.confirm(&member).await;
    member.get(&team.at("test", "/settings")).await;
    member
}

#[tokio::test]
async fn an_admin_changes_the_settings_and_the_audit_log_says_who() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut admin = member(&server, &team, Role::Admin).await;
    let edit = team.at("test", "/settings/edit");
    admin.get(&edit).await;
    let wrong = [
        ("name", ""),
        ("edition", "9"),
        ("leak_policy", "x"),
        ("low_credits_threshold", "-1"),
        ("recordings_kept_days", "0"),
    ];
    let page = admin.post(&edit, &wrong).await;
    assert_eq!(page.status, 422);
    for id in [
        "name-wrong",
        "edition-wrong",
        "leak_policy-wrong",
        "low_credits_threshold-wrong",
        "recordings_kept_days-wrong",
    ] {
        assert!(page.has(id), "{id}: {}", page.html);
    }
    let right = [
        ("name", "Åsa & Söner"),
        ("edition", "1"),
        ("leak_policy", "notify"),
        ("low_credits_threshold", "25"),
        ("recording", "yes"),
        ("recordings_kept_days", "7"),
    ];
    let page = admin.post_and_follow(&edit, &right).await;
    for text in ["Saved.", "Åsa &amp; Söner", "7 days", "Only tell us", "Recorded unless"] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    let organization = server.app.storage.organization(team.id).await.unwrap().unwrap();
    assert_eq!((organization.name.as_str(), organization.low_credits_threshold), ("Åsa & Söner", 25));

    let page = admin.get(&team.at("test", "/audit")).await;
    assert!(page.has("organization.updated") && page.has("Admin of the team"), "{}", page.html);
    let who = format!("/audit?who={}&action=organization.updated", admin.person.unwrap());
    assert!(admin.get(&team.at("test", &who)).await.has("leak_policy"));
    let page = admin.get(&team.at("test", "/audit?action=credits.granted")).await;
    assert!(page.has("No entry is like that."), "{}", page.html);

    let mut developer = member(&server, &team, Role::Developer).await;
    assert!(!developer.get(&team.at("test", "/settings")).await.has("/settings/edit"));
    assert_eq!(developer.get(&team.at("test", "/audit")).await.status, 403);
    assert_eq!(developer.post(&edit, &right).await.status, 403);
    server.finish().await;
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut admin = member(&server, &team, Role::Admin).await;
    for number in 0..60u32 {
        let update =
            kallglot_storage::OrganizationUpdate { low_credits_threshold: Some(100 + number), ..Default::default() };
        server.clock.advance(SignedDuration::from_secs(1));
        server.app.storage.update_organization(team.id, &update, &server.change()).await.unwrap();
    }
    let first = admin.get(&team.at("test", "/audit?action=organization.updated")).await;
    assert!(first.has("→ 159") && !first.has("→ 108<"), "the newest 50: {}", first.html);
    let older = first.html.split("rel=\"next\"").next().and_then(|html| html.rsplit("href=\"").next()).unwrap();
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    assert!(older.contains("action=organization.updated"), "{older}");
    let second = admin.get(&older).await;
    assert!(second.has("→ 109") && second.has("→ 100") && !second.has("→ 110"), "{}", second.html);
    server.finish().await;
}

#[tokio::test]
async fn only_operators_grant_credits_and_set_plans_and_a_grant_counts_once() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let operator = server.operator().await;
    let mut operator = server.signed_in(operator).await;
    server.confirm(&operator).await;
    let of = format!("/portal/organizations/{}", team.id);
    let page = operator.get(&of).await;
    assert!(page.has("1\u{202f}000"), "{}", page.html);
    let once = page.attribute("name=\"once\" value").unwrap().to_owned();
    let grant = [("once", once.as_str()), ("credits", "250")];
    let credits = format!("{of}/credits");
    assert!(operator.post_and_follow(&credits, &grant).await.has("1\u{202f}250"));
    assert!(operator.post_and_follow(&credits, &grant).await.has("1\u{202f}250"), "the same form grants nothing more");
    assert_eq!(operator.post(&credits, &[("once", &once), ("credits", "0")]).await.status, 422);

    let plan = [("plan", "enterprise"), ("requests_per_minute", "12000"), ("concurrent_sessions", "")];
    let page = operator.post_and_follow(&format!("{of}/plan"), &plan).await;
    assert!(page.has("Enterprise") && page.has("12\u{202f}000"), "{}", page.html);
    assert_eq!(operator.post(&format!("{of}/plan"), &[("plan", "gold")]).await.status, 422);
    operator.post_and_follow(&format!("{of}/deactivate"), &[]).await;
    assert!(!server.app.storage.organization(team.id).await.unwrap().unwrap().active);
    assert!(operator.post_and_follow(&format!("{of}/activate"), &[]).await.has("Active"));
    // The operator is no member: what is in the organization is not theirs to see.
    assert_eq!(operator.get(&team.at("test", "/credits")).await.status, 404);

    let mut owner = server.signed_in(team.owner).await;
    server.confirm(&owner).await;
    let page = owner.get(&team.at("live", "/credits")).await;
    assert!(page.has("+250") && page.has("Enterprise") && page.has("12\u{202f}000"), "{}", page.html);
    assert_eq!(owner.get(&of).await.status, 404);
    assert_eq!(owner.post(&credits, &grant).await.status, 404);
    let file = owner.get(&team.at("live", "/credits/ledger.csv")).await;
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    let amounts: Vec<_> = file.html.lines().skip(1).map(|line| line.split(',').nth(3).unwrap()).collect();
    assert_eq!(amounts, ["1000", "250"], "oldest first");
    server.finish().await;
}
