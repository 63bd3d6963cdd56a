//! What keeps a server from starting is said in a sentence that names it.

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
        ("KALLGLOT_LOG__FILTER", "a=b=c", "`log.filter` is not valid"),
        ("KALLGLOT_CONFIG", "/nowhere/settings.toml", "/nowhere/settings.toml"),
    ] {
        let output = folder.command(&["serve"]).env(name, value).output();
        let output = kallglot_testkit::soon("it stops", output).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {stderr}");
        assert!(stderr.contains(says), "{name}={value}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
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
