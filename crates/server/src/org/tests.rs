//! `kallglot org …` as its users have it.

use crate::command::tests::Shell;
use serde_json::json;

#[tokio::test]
async fn credits_are_granted() {
    let shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Acme", "--credits", "7"]).await;
    assert_eq!(created["credits"], 7);
    let id = created["id"].as_str().unwrap();
    assert_eq!(shell.json(&["org", "grant-credits", id, "50"]).await["credits"], 57);
    assert_eq!(shell.json(&["org", "show", id]).await["credits"], 57);
    assert!(shell.run(false, &["org", "grant-credits", id, "0"]).await.is_err());
}

#[tokio::test]
async fn an_organization_is_created_shown_and_listed() {
    let shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Åsa & Söner", "--concurrent-sessions", "12"]).await;
    assert_eq!((&created["plan"], &created["credits"]), (&json!("starter"), &json!(100)));
    assert_eq!(created["limits"]["live"]["concurrent_sessions"], 12);
    assert_eq!(created["limits"]["live"]["requests_per_minute"], 120);
    assert_eq!(created["created_at"], "2025-06-15T15:06:40Z");
    let id = created["id"].as_str().unwrap();
    assert_eq!(shell.json(&["org", "show", id]).await, created);
    assert_eq!(shell.json(&["org", "list"]).await, json!({"object": "list", "data": [created]}));

    let text = shell.run(false, &["org", "list"]).await.unwrap();
    assert!(text.lines().nth(1).unwrap().contains("Åsa & Söner"), "{text}");
}

#[tokio::test]
async fn people_are_told_what_to_do_next() {
    let shell = Shell::new();
    let empty = shell.run(false, &["org", "list"]).await.unwrap();
    assert!(empty.contains("kallglot org create"), "{empty}");
    let created = shell.run(false, &["org", "create", "--name", "Acme"]).await.unwrap();
    assert!(created.contains("kallglot key create --org org_"), "{created}");
    let unknown = shell.run(false, &["org", "show", "org_0000000000000000000009"]).await.unwrap_err();
    assert!(unknown.contains("org_0000000000000000000009") && unknown.contains("org list"), "{unknown}");
}

#[tokio::test]
async fn plan_and_status_and_engine_are_set() {
    let shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Acme", "--requests-per-minute", "7"]).await;
    let id = created["id"].as_str().unwrap();
    let pro = shell.json(&["org", "set-plan", id, "--plan", "pro"]).await;
    assert_eq!(pro["limits"]["live"]["requests_per_minute"], 600, "what is not given is the plan's");
    assert_eq!(shell.json(&["org", "deactivate", id]).await["active"], false);
    assert_eq!(shell.json(&["org", "activate", id]).await["active"], true);
    assert_eq!(shell.json(&["org", "set-engine", id, "openai"]).await["engine"], "openai");
    assert_eq!(shell.json(&["org", "set-engine", id, "--default"]).await["engine"], json!(null));
}

#[tokio::test]
async fn a_vocabulary_is_read_from_files_and_cleared() {
    let shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Acme"]).await;
    let id = created["id"].as_str().unwrap();
    let file = shell.folder.path().join("phrases.txt");
    std::fs::write(&file, "# reception\nbuenos días\n\n  ¿en qué puedo ayudarle?  \n").unwrap();
    let file = file.to_str().unwrap();

    let words = ["org", "set-vocabulary", id, "--language", "ES-mx", "--phrases", file, "--phrases-only"];
    let set = shell.json(&words).await;
    let expected = json!({"es-MX": {"phrases": ["buenos días", "¿en qué puedo ayudarle?"], "phrases_only": true}});
    assert_eq!(set["vocabulary"], expected);
    let text = shell.run(false, &["org", "show", id]).await.unwrap();
    assert!(text.contains("es-MX: 2 phrases (only these), 0 words"), "{text}");

    let cleared = shell.json(&["org", "set-vocabulary", id, "--language", "es-MX", "--clear"]).await;
    assert_eq!(cleared["vocabulary"], json!({}));
    let words = ["org", "set-vocabulary", id, "--language", "es", "--words", "/nowhere/words.txt"];
    let missing = shell.run(false, &words).await.unwrap_err();
    assert!(missing.contains("/nowhere/words.txt"), "{missing}");
}

#[tokio::test]
async fn wrong_values_are_usage_errors() {
    let shell = Shell::new();
    for words in [
        &["org", "create"] as &[&str],
        &["org", "create", "--name", " "],
        &["org", "create", "--name", "a", "--plan", "gold"],
        &["org", "create", "--name", "a", "--requests-per-minute", "0"],
        &["org", "create", "--name", "a", "--edition", "3"],
        &["org", "create", "--name", "a", "--leak-policy", "forgive"],
        &["org", "create", "--name", "a", "--low-credits", "-1"],
        &["org", "set-edition", "org_0000000000000000000009", "3"],
        &["org", "set-leak-policy", "org_0000000000000000000009", "forgive"],
        &["org", "set-low-credits", "org_0000000000000000000009", "few"],
        &["org", "ledger", "org_0000000000000000000009", "--limit", "0"],
        &["org", "show", "acme"],
        &["org", "set-engine", "org_0000000000000000000009"],
        &["org", "set-vocabulary", "org_0000000000000000000009", "--language", "es"],
        &["org", "set-vocabulary", "org_0000000000000000000009", "--language", "es", "--phrases-only"],
    ] {
        let error = shell.run(false, words).await.unwrap_err();
        assert!(error.starts_with("usage: "), "{words:?}: {error}");
    }
}

#[tokio::test]
async fn edition_leak_policy_and_threshold_are_set_and_shown() {
    let shell = Shell::new();
    let standard = shell.json(&["org", "create", "--name", "Acme"]).await;
    assert_eq!((&standard["leak_policy"], &standard["low_credits_threshold"]), (&json!("revoke"), &json!(10)));
    let chosen = ["org", "create", "--name", "Acme", "--leak-policy", "notify", "--low-credits", "0"];
    let created = shell.json(&chosen).await;
    assert_eq!((&created["leak_policy"], &created["low_credits_threshold"]), (&json!("notify"), &json!(0)));
    let id = created["id"].as_str().unwrap();

    assert_eq!(shell.json(&["org", "set-edition", id, "1"]).await["edition"], 1);
    assert_eq!(shell.json(&["org", "set-leak-policy", id, "quarantine"]).await["leak_policy"], "quarantine");
    assert_eq!(shell.json(&["org", "set-low-credits", id, "500"]).await["low_credits_threshold"], 500);
    let text = shell.run(false, &["org", "show", id]).await.unwrap();
    for says in ["credits.low is raised at 500 or fewer", "quarantine: a leaked key may only read", "edition"] {
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn credits_are_shown_with_what_was_used_in_the_billing_period() {
    let shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Acme"]).await;
    assert_eq!(created["credits_used"], 0);
    assert_eq!(
        created["billing_period"],
        json!({"begins_at": "2025-06-01T00:00:00Z", "ends_at": "2025-07-01T00:00:00Z"})
    );
    let text = shell.run(false, &["org", "show", created["id"].as_str().unwrap()]).await.unwrap();
    assert!(text.contains("100 left, 0 used since 2025-06-01T00:00:00Z"), "{text}");
}

#[tokio::test]
async fn the_ledger_is_shown_newest_first_with_the_balance_after_each_entry() {
    let mut shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Acme", "--credits", "5"]).await;
    let other = shell.json(&["org", "create", "--name", "Other", "--credits", "900"]).await;
    let id = created["id"].as_str().unwrap();
    for credits in ["20", "300"] {
        shell.wait_s(60);
        shell.json(&["org", "grant-credits", id, credits]).await;
    }
    let entries = async |words: &[&str]| {
        let ledger = shell.json(&[&["org", "ledger", id], words].concat()).await;
        let entries = ledger["data"].as_array().unwrap().iter();
        let entries: Vec<_> = entries
            .map(|entry| (entry["amount"].as_i64().unwrap(), entry["balance_after"].as_i64().unwrap()))
            .collect();
        (entries, ledger["has_more"].as_bool().unwrap())
    };
    assert_eq!(entries(&[]).await, (vec![(300, 325), (20, 25), (5, 5)], false));
    assert_eq!(entries(&["--limit", "3"]).await, (vec![(300, 325), (20, 25), (5, 5)], false));
    assert_eq!(entries(&["--limit", "2"]).await, (vec![(300, 325), (20, 25)], true));

    let text = shell.run(false, &["org", "ledger", id, "--limit", "2"]).await.unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[1].starts_with("2025-06-15T15:08:40Z  grant  +300     325"), "{text}");
    assert!(lines.last().unwrap().contains("--limit"), "{text}");
    assert!(!text.contains("900"), "it is nobody else's: {text}");

    let empty = shell.json(&["org", "create", "--name", "Poor", "--credits", "0"]).await;
    let text = shell.run(false, &["org", "ledger", empty["id"].as_str().unwrap()]).await.unwrap();
    assert!(text.contains("kallglot org grant-credits"), "{text}");
    drop(other);
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_and_what_is_different() {
    let mut shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Acme"]).await;
    let id = created["id"].as_str().unwrap();
    shell.wait_s(60);
    let key = shell.json(&["key", "create", "--org", id, "--env", "live", "--name", "backend"]).await;
    let key = key["id"].as_str().unwrap();
    shell.wait_s(60);
    shell.json(&["key", "update", key, "--name", "reports", "--requests-per-minute", "30"]).await;
    shell.wait_s(60);
    shell.json(&["key", "update", key, "--no-own-limit"]).await;
    shell.wait_s(60);
    shell.json(&["org", "set-plan", id, "--plan", "pro"]).await;

    let log = shell.json(&["org", "audit", id]).await;
    let actions: Vec<_> =
        log["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        ["organization.updated", "api_key.updated", "api_key.updated", "api_key.created", "organization.created"]
    );
    let renamed = &log["data"][2];
    assert_eq!((&renamed["target"], &renamed["environment"]), (&json!(key), &json!("live")));
    assert_eq!(renamed["who"], json!({"type": "operator", "api_key": null}));
    assert_eq!(renamed["changes"]["name"], json!({"before": "backend", "after": "reports"}));
    assert_eq!(log["has_more"], false);

    let text = shell.run(false, &["org", "audit", id, "--limit", "3"]).await.unwrap();
    for says in [
        "2025-06-15T15:10:40Z  organization.updated  org_",
        "  by the operator, at the command line\n",
        "    plan: starter → pro\n",
        "    name: backend → reports\n",
        "    requests_per_minute_max: 30\n",
        "    requests_per_minute_max: 30 → none\n",
        "These are the newest 3. Show more with --limit.",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert_eq!(shell.json(&["org", "audit", id, "--limit", "3"]).await["has_more"], true);
}

#[tokio::test]
async fn an_audit_log_of_several_pages_is_shown_whole() {
    let shell = Shell::new();
    let created = shell.json(&["org", "create", "--name", "Acme", "--credits", "0"]).await;
    let id = created["id"].as_str().unwrap();
    for _ in 0..105 {
        shell.json(&["org", "grant-credits", id, "1"]).await;
    }
    for (limit, shown, has_more) in [("1000", 106, false), ("106", 106, false), ("105", 105, true), ("100", 100, true)]
    {
        let log = shell.json(&["org", "audit", id, "--limit", limit]).await;
        assert_eq!((log["data"].as_array().unwrap().len(), &log["has_more"]), (shown, &json!(has_more)), "{limit}");
    }
}
