//! The browser, tried on pages of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kallglot_browser::{Browser, PATIENCE, Setup, Theme, Width};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Pages by path: what the head holds beyond the title, and the body.
const PAGES: &[(&str, &str, &str)] = &[
    (
        "/form",
        "",
        r#"<main><h1>Sign in</h1><form action="/hello"><p><label for="name">Your name</label><input id="name" name="name" value="old"></p>
        <p><label><input type="checkbox" name="kept"> Keep me signed in</label></p>
        <p><label for="role">Role</label><select id="role" name="role"><option value="a">Admin</option><option value="d">Developer</option></select></p>
        <button>Go on</button></form></main>"#,
    ),
    ("/hello", "", r#"<main><h1>Hello</h1><p id="late"></p><script src="/late.js"></script></main>"#),
    (
        "/errors",
        "",
        r#"<main><h1>Errors</h1><img src="http://elsewhere.example/x.png" alt="x"><script>window.inline = 1;</script></main>"#,
    ),
    (
        "/bars",
        "<style>body{color:#222;background:#fff} @media (prefers-color-scheme: dark){body{color:#333;background:#222}}</style>",
        r#"<main><h1>Bars</h1><label for="who">Who</label><input id="who"></main>"#,
    ),
    ("/unlabelled", "", r#"<main><h1>Bars</h1><input id="who"></main>"#),
    (
        "/moves",
        "",
        r#"<main><h1>Moves</h1><div id="late"></div><p>This paragraph is pushed down.</p><script src="/moves.js"></script></main>"#,
    ),
    ("/wide", "", r#"<main><h1>Wide</h1><div style="width:700px">wide</div></main>"#),
];

const FILES: &[(&str, &str)] = &[
    ("/late.js", "setTimeout(() => { document.getElementById('late').textContent = 'Nice to see you'; }, 200);"),
    (
        "/moves.js",
        "setTimeout(() => { document.getElementById('late').style.height = '300px'; document.title = 'moved'; }, 300);",
    ),
];

/// A server of these pages; where it listens. It ends with the test.
async fn site() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap();
    let (status, kind, body) = if let Some((_, head, body)) = PAGES.iter().find(|page| page.0 == path) {
        let link =
            r#"<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">"#;
        let page = format!(
            "<!doctype html><html lang=en><head><title>A page</title>{link}{head}</head><body>{body}</body></html>"
        );
        (200, "text/html; charset=utf-8", page)
    } else if let Some((_, file)) = FILES.iter().find(|file| file.0 == path) {
        (200, "text/javascript", (*file).to_owned())
    } else {
        (
            404,
            "text/html",
            "<!doctype html><html lang=en><link rel=icon href=data:,><title>Not found</title><h1>Not found</h1>"
                .to_owned(),
        )
    };
    let answer = format!(
        "HTTP/1.1 {status} OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nset-cookie: seen=yes; HttpOnly; SameSite=Strict\r\n\
         content-security-policy: default-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// A browser and a function from paths to addresses at a new site.
async fn begin(setup: Setup) -> (Browser, impl Fn(&str) -> String) {
    let site = site().await;
    (Browser::start(setup).await, move |path: &str| format!("http://localhost:{}{path}", site.port()))
}

#[tokio::test]
async fn a_form_is_filled_in_and_sent_and_the_answer_waited_for() {
    let (mut browser, at) = begin(Setup::default()).await;
    browser.open(&at("/form")).await;
    assert_eq!(browser.title().await, "A page");
    assert_eq!(browser.field("Your name").await.value().await, "old");
    browser.fill("Your name", "Zoë \"Z\"").await;
    browser.tick("Keep me signed in").await;
    browser.choose("Role", "Developer").await;
    browser.press("Go on").await;
    browser.see("Nice to see you").await;
    assert!(browser.url().await.ends_with("/hello?name=Zo%C3%AB+%22Z%22&kept=on&role=d"), "{}", browser.url().await);
    let cookies = browser.cookies().await;
    assert_eq!((&cookies[0]["name"], &cookies[0]["httpOnly"]), (&"seen".into(), &true.into()), "{cookies:?}");
    browser.back().await;
    assert_eq!(browser.field("Your name").await.value().await, "Zoë \"Z\"", "as it was left");

    // A page that isn't there is no complaint by itself.
    browser.open(&at("/nowhere")).await;
    assert_eq!(browser.find("h1").await.text().await, "Not found");
    browser.close().await;
}

#[tokio::test]
async fn what_pages_complain_of_is_heard() {
    let (mut browser, at) = begin(Setup::default()).await;
    browser.open(&at("/errors")).await;
    browser.run("setTimeout(() => { window.thrown = 1; throw new Error('by the page'); })", &[]).await;
    browser.until("it has thrown", "window.thrown").await;
    let complaints = browser.complaints().await;
    for part in ["inline script", "elsewhere.example", "by the page"] {
        assert!(complaints.iter().any(|complaint| complaint.contains(part)), "{part}: {complaints:#?}");
    }
    assert_eq!(browser.run("return typeof window.inline;", &[]).await, "undefined");
    browser.close().await;
}

#[tokio::test]
async fn pages_that_keep_people_out_are_found_in_either_theme() {
    let (mut browser, at) = begin(Setup::default()).await;
    browser.look(Width::Wide, Theme::Light).await;
    browser.open(&at("/bars")).await;
    assert_eq!(browser.violations().await, []);
    browser.look(Width::Narrow, Theme::Dark).await;
    let rules: Vec<String> = browser.violations().await.into_iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, ["color-contrast"], "grey on grey");
    browser.open(&at("/unlabelled")).await;
    let found = browser.violations().await;
    assert_eq!(found[0].rule, "label");
    assert!(found[0].to_string().contains(r#"<input id="who">"#), "{}", found[0]);
    browser.close().await;
}

#[tokio::test]
async fn what_a_page_weighs_and_whether_it_moves_is_measured() {
    let (mut browser, at) = begin(Setup::default()).await;
    browser.open(&at("/hello")).await;
    assert_eq!(browser.shifts().await, [""; 0]);
    let weight = browser.weight().await;
    assert_eq!(weight.requests, 2, "the page and its script: {weight:?}");
    assert!((300..2000).contains(&weight.transferred_bytes), "{weight:?}");

    browser.open(&at("/moves")).await;
    browser.until("it has moved", "document.title === 'moved'").await;
    let moved = browser.shifts().await.concat();
    assert!(moved.contains("moved by 0.") && moved.contains("<p>This paragraph"), "{moved}");
    browser.close().await;
}

#[tokio::test]
async fn pages_are_looked_at_wide_and_narrow_and_pictured_whole() {
    let (mut browser, at) = begin(Setup::default()).await;
    for width in [Width::Wide, Width::Narrow] {
        browser.look(width, Theme::Light).await;
        browser.open(&at("/form")).await;
        assert_eq!(browser.overflow().await, [""; 0]);
        let picture = browser.screenshot().await;
        assert_eq!(&picture[1..4], b"PNG");
        let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
        assert_eq!((number(16), number(20)), width.size(), "a short page fills its window");
        let small = browser.small_picture(500, 8_000).await;
        assert_eq!((&small[8..12], small.len() <= 8_000), (&b"WEBP"[..], true));
    }
    browser.open(&at("/wide")).await;
    let overflow = browser.overflow().await.concat();
    assert!(overflow.contains("width:700px"), "{overflow}");
    browser.close().await;
}

#[tokio::test]
async fn without_scripts_the_rest_goes_on_to_work() {
    let (mut browser, at) = begin(Setup::default()).await;
    browser.scripts(false).await;
    browser.open(&at("/form")).await;
    browser.fill("Your name", "Ana").await;
    browser.press("Go on").await;
    browser.see("Hello").await;
    browser.open(&at("/moves")).await;
    assert_eq!(browser.title().await, "A page");
    assert_eq!(browser.run("return document.scripts.length;", &[]).await, 1, "it is there, but does not run");
    browser.close().await;
}

#[tokio::test]
async fn a_passkey_is_made_without_a_hand() {
    let (mut browser, at) = begin(Setup::default()).await;
    let authenticator = browser.authenticator().await;
    browser.open(&at("/form")).await;
    browser
        .run(
            "navigator.credentials.create({ publicKey: { challenge: new Uint8Array(32), rp: { name: 'Example', id: 'localhost' },
                user: { id: new Uint8Array(16), name: 'ana', displayName: 'Ana' }, pubKeyCredParams: [{ type: 'public-key', alg: -7 }, { type: 'public-key', alg: -257 }],
                authenticatorSelection: { residentKey: 'required', userVerification: 'required' } } })
                .then((made) => { window.made = made.id; }, (error) => { window.made = String(error); });",
            &[],
        )
        .await;
    browser.until("the passkey is made", "window.made").await;
    let passkeys = browser.passkeys(&authenticator).await;
    assert_eq!(passkeys[0]["credentialId"], browser.run("return window.made;", &[]).await);
    assert_eq!(passkeys[0]["rpId"], "localhost");
    browser.remove_authenticator(authenticator).await;
    browser.close().await;
}

/// One second of a tone.
fn recording(folder: &Path) -> PathBuf {
    let file = folder.join("tone.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&file, spec).unwrap();
    for place in 0..16_000 {
        let phase = f64::from(place) / 16_000.0 * 440.0 * std::f64::consts::TAU;
        #[allow(clippy::cast_possible_truncation, reason = "it is within 16 bits")]
        writer.write_sample((phase.sin() * 16_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    file
}

#[tokio::test]
async fn the_microphone_hears_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let (mut browser, at) = begin(Setup::default().microphone(&recording(folder.path()))).await;
    browser.open(&at("/form")).await;
    browser
        .run(
            "navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } })
                .then((stream) => {
                    const context = new AudioContext();
                    const hears = context.createAnalyser();
                    context.createMediaStreamSource(stream).connect(hears);
                    const bins = new Uint8Array(hears.frequencyBinCount);
                    setInterval(() => {
                        hears.getByteFrequencyData(bins);
                        const loudest = bins.indexOf(Math.max(...bins));
                        window.heard = bins[loudest] && loudest * context.sampleRate / hears.fftSize;
                    }, 50);
                });",
            &[],
        )
        .await;
    browser.until("the tone is heard", "window.heard > 400 && window.heard < 480").await;
    browser.close().await;
}

/// The processes that name this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let commands = all.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    commands.filter(|command| command.contains(folder.to_str().unwrap()) && !command.contains("watchdog")).collect()
}

#[tokio::test]
async fn nothing_outlives_a_test_not_even_one_that_fails() {
    let browser = Browser::start(Setup::default()).await;
    let folder = browser.folder().to_owned();
    assert!(processes_of(&folder).len() >= 2, "the driver and the browser");
    browser.close().await;
    assert_eq!((processes_of(&folder), folder.exists()), (vec![], false), "at once when it is closed");

    let browser = Browser::start(Setup::default()).await;
    let folder = browser.folder().to_owned();
    let failed = tokio::spawn(async move { panic!("with {browser:?}") }).await;
    assert!(failed.is_err());
    let gone = async {
        while folder.exists() || !processes_of(&folder).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("and soon when its test fails");
}
