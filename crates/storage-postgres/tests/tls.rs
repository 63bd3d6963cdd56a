//! TLS to the database, as `sslmode` and `sslrootcert` say it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use kallglot_storage::Storage as _;
use kallglot_storage_postgres::{Config, OpenError, PostgresStorage, migrate};
use kallglot_throwaway::Postgres;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_postgres::NoTls;

/// An authority, and a file with its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

fn authority(folder: &Path, name: &str) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let file = folder.join(name);
    std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    Authority { issuer: Issuer::new(params, key), file }
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Gives the server a certificate for this name by this authority.
async fn certify(server: &Postgres, folder: &Path, authority: &Authority, name: &str) {
    let client = client(&server.url()).await;
    let data: String = client.query_one("SHOW data_directory", &[]).await.unwrap().get(0);
    let owner = std::fs::metadata(data).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority.issuer).unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (setting, text) in [("ssl_cert_file", certificate.pem()), ("ssl_key_file", key.serialize_pem())] {
        let file = folder.join(setting);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        client.batch_execute(&format!("ALTER SYSTEM SET {setting} = '{}'", file.display())).await.unwrap();
    }
    client.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
}

/// Whether a connection with these parameters is made, and is encrypted; otherwise why not.
async fn encrypted(server: &Postgres, parameters: &str) -> Result<bool, String> {
    let config = Config { url: format!("{}?{parameters}", server.url()), connections_max: 1 };
    let storage = match PostgresStorage::open(&config).await {
        Ok(storage) => storage,
        Err(OpenError::Connect { cause }) => return Err(cause),
        Err(other) => panic!("{other}"),
    };
    storage.changes().await.unwrap();
    let ours = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'kallglot%'";
    let row = client(&server.url()).await.query_one(ours, &[]).await.unwrap();
    storage.close().await.unwrap();
    Ok(row.get(0))
}

#[tokio::test]
async fn the_servers_certificate_is_looked_at_as_the_mode_says() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(folder.path(), "ours.pem"), authority(folder.path(), "theirs.pem"));
    let mut server = Postgres::start().await;
    migrate(&server.url()).await.unwrap();
    assert_eq!(encrypted(&server, "").await, Ok(false), "the server has no TLS, and it was not required");
    assert!(encrypted(&server, "sslmode=require").await.is_err());

    certify(&server, folder.path(), &ours, "127.0.0.1").await;
    server.stop().await;
    server.start_again().await;
    let (good, bad) =
        (format!("sslrootcert={}", ours.file.display()), format!("sslrootcert={}", theirs.file.display()));
    assert_eq!(encrypted(&server, "sslmode=disable").await, Ok(false));
    for parameters in ["", "sslmode=prefer", "sslmode=require"] {
        assert_eq!(encrypted(&server, parameters).await, Ok(true), "{parameters}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_eq!(encrypted(&server, &format!("sslmode={mode}&{good}")).await, Ok(true), "{mode}");
        let refused = encrypted(&server, &format!("sslmode={mode}&{bad}")).await.unwrap_err();
        assert!(refused.contains("certificate"), "{mode}: {refused}");
    }

    certify(&server, folder.path(), &ours, "db.example.com").await;
    server.stop().await;
    server.start_again().await;
    assert_eq!(encrypted(&server, &format!("sslmode=verify-ca&{good}")).await, Ok(true));
    let refused = encrypted(&server, &format!("sslmode=verify-full&{good}")).await.unwrap_err();
    assert!(refused.contains("db.example.com"), "{refused}");
}
