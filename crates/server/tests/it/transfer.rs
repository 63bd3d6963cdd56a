//! From a server that runs alone to several nodes: `export`, `migrate`, `import`.

use kallglot_testkit::soon;
use kallglot_throwaway::{Postgres, Redis};
use serde_json::json;

use crate::process::{Done, Folder, Server};

/// Runs a command of a node of the cluster.
async fn shared(folder: &Folder, postgres: &Postgres, redis: &Redis, words: &[&str]) -> Done {
    let mut command = folder.command(words);
    command.env("KALLGLOT_DATABASE_URL", postgres.url()).env("KALLGLOT_REDIS_URL", redis.url());
    Done::of(soon(&format!("{words:?}"), command.output()).await.unwrap())
}

#[tokio::test]
async fn an_installation_moves_to_postgresql_and_nothing_differs() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let folder = Folder::new();
    let organization = folder.json(&["org", "create", "--name", "Åsa & Söner", "--credits", "10"]).await;
    let id = organization["id"].as_str().unwrap();
    let key = folder.json(&["key", "create", "--org", id, "--env", "live", "--name", "№ 1"]).await;
    let secret = key["secret"].as_str().unwrap().to_owned();
    let server = Server::start(&folder).await;
    let api = server.client(&secret);
    let body = json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es" });
    let session = api.post("/v1/sessions", body).await.unwrap().json();

    let file = folder.path().join("all.jsonl");
    let file = file.to_str().unwrap();
    let refused = folder.run(&["export", "--out", file]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("a server runs on"), "{}", refused.stderr);
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    let exported = folder.json(&["export", "--out", file]).await;
    assert!(exported["rows"].as_u64().unwrap() >= 6, "{exported}");
    let again = folder.run(&["export", "--out", file]).await;
    assert!(again.code == Some(1) && again.stderr.contains("exists already"), "{}", again.stderr);

    // Before the schema is there, every command says what to do.
    let early = shared(&folder, &postgres, &redis, &["import", file]).await;
    assert!(early.code == Some(1) && early.stderr.contains("run `kallglot migrate`"), "{}", early.stderr);
    let check = shared(&folder, &postgres, &redis, &["migrate", "--check"]).await;
    assert_eq!(check.code, Some(1), "{}", check.stderr);
    let migrated = shared(&folder, &postgres, &redis, &["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let check = shared(&folder, &postgres, &redis, &["migrate", "--check"]).await;
    assert_eq!((check.code, check.stdout.as_str()), (Some(0), "The database is up to date.\n"));

    let imported = shared(&folder, &postgres, &redis, &["import", file]).await;
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    assert!(imported.stdout.contains("Everything was read back and is the same."), "{}", imported.stdout);
    let twice = shared(&folder, &postgres, &redis, &["import", file]).await;
    assert!(twice.code == Some(1) && twice.stderr.contains("the database is not empty"), "{}", twice.stderr);

    // The same again out of PostgreSQL is the same file.
    let back = folder.path().join("back.jsonl");
    let exported = shared(&folder, &postgres, &redis, &["export", "--out", back.to_str().unwrap()]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    assert_eq!(std::fs::read_to_string(&back).unwrap(), std::fs::read_to_string(file).unwrap());

    // And it works: the old key, the old session, and numbers that go on.
    let (database_url, redis_url) = (postgres.url(), redis.url());
    let variables = [("KALLGLOT_DATABASE_URL", database_url.as_str()), ("KALLGLOT_REDIS_URL", redis_url.as_str())];
    let node = Server::start_with(&folder, &variables).await;
    let api = node.client(&secret);
    let found = api.get_session(session["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(found.status, "created");
    let body = json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es" });
    let made = api.post("/v1/sessions", body).await.unwrap();
    assert_eq!((made.status, made.header("x-api-credits-remaining")), (201, Some("8")));
    node.terminate();
    assert_eq!(node.wait().await, Some(0));
}
