//! What keeps a server from starting is said in a sentence that names it.

use std::process::Stdio;

use kallglot_testkit::soon;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::process::{Folder, Server};

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let folder = Folder::new();
    let server = Server::start(&folder).await;
    let address = server.address.to_string();
    let done = Folder::new().run(&["serve", "--listen", &address]).await;
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stderr.contains(&format!("can't listen on {address}")), "{}", done.stderr);
    assert!(done.stderr.contains("--listen"), "{}", done.stderr);
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn a_bad_setting_is_named_with_what_is_allowed() {
    let folder = Folder::new();
    for (name, value, says) in [
        ("KALLGLOT_SESSION__IDLE_S", "5", "`session.idle_s` is 5; it must be 10 to 86400."),
        ("KALLGLOT_SESSION__IDLE_S", "soon", "KALLGLOT_SESSION__IDLE_S: \"soon\" is no whole number"),
        ("KALLGLOT_SESION__IDLE_S", "60", "there is no setting `sesion.idle_s`"),
        ("KALLGLOT_LISTEN", "here", "listen"),
        ("KALLGLOT_REDIS_URL", "redis://127.0.0.1", "`database_url` and `redis_url` go together"),
        ("KALLGLOT_DATABASE_URL", "mysql://u:secret@h/d", "`database_url` must be empty or look like postgres://"),
        ("KALLGLOT_NODE_URL", "10.0.0.5:8080", "`node_url` is 10.0.0.5:8080; it must be empty or an http:// address"),
        ("KALLGLOT_LOG__FILTER", "a=b=c", "`log.filter` is not valid"),
        ("KALLGLOT_CONFIG", "/nowhere/settings.toml", "/nowhere/settings.toml"),
    ] {
        let output = folder.command(&["serve"]).env(name, value).output();
        let output = kallglot_testkit::soon("it stops", output).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {stderr}");
        assert!(stderr.contains(says), "{name}={value}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
        assert!(!stderr.contains("secret"), "no password is repeated: {stderr}");
    }
}

#[tokio::test]
async fn a_data_folder_that_can_not_be_used_is_named() {
    let folder = Folder::new();
    // A file where the folder should be: nobody, not even root, can make a database in it.
    std::fs::write(folder.data(), "not a folder").unwrap();
    let done = folder.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stderr.contains(&folder.data().display().to_string()), "{}", done.stderr);

    let folder = Folder::new();
    folder.organization().await;
    let database = folder.path().join("data/kallglot.db");
    assert!(database.is_file(), "the database's name has changed");
    for file in std::fs::read_dir(folder.data()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension != "lock") {
            std::fs::write(&path, "this is not a database, and longer than a header of one hundred bytes ".repeat(9))
                .unwrap();
        }
    }
    let done = folder.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("can't open the database"), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

#[tokio::test]
async fn a_second_server_on_the_same_data_waits_until_the_first_has_gone() {
    let folder = Folder::new();
    let first = Server::start(&folder).await;
    let mut command = folder.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut second = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines();
    let mut until = async |message: &str| {
        soon(message, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(message) {
                    return;
                }
                assert!(!line.contains("kallglot listens"), "too early: {line}");
            }
            panic!("it stopped before: {message}");
        })
        .await;
    };
    until("waiting for another server to leave the data folder").await;
    first.terminate();
    assert_eq!(first.wait().await, Some(0));
    until("kallglot listens").await;
    soon("it is dead", second.kill()).await.unwrap();
}
