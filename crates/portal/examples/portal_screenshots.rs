//! Pictures every page of the portal, wide and narrow, for people to look at: `cargo run -p kallglot-portal --example portal_screenshots`
//! writes them to `docs/portal/`, in place of those that are there. Small, as they are kept: WebP, the first part of long pages.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a tool for those who work on this")]

#[path = "../tests/browser/example.rs"]
mod example;

use std::path::Path;

use kallglot_browser::{Browser, Setup, Theme, Width};
use kallglot_portal::Access;

use crate::example::{Example, address, sign_in};

/// Most bytes of one picture.
const PICTURE_BYTES_MAX: usize = 32_000;
/// Of a longer page the first so many pixels are pictured.
const ROWS_MAX: u32 = 1400;

#[tokio::main]
async fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/portal");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let mut example = Example::start().await;
    let places = example.places().await;
    let mut browser = Browser::start(Setup::default()).await;
    browser.open(&address(&example.server, "/portal/sign-in")).await;
    let mut total_bytes = 0;
    for (width, theme, suffix) in [
        (Width::Wide, Theme::Light, "wide"),
        (Width::Narrow, Theme::Light, "narrow"),
        (Width::Wide, Theme::Dark, "dark"),
    ] {
        browser.look(width, theme).await;
        for place in &places {
            // Of the dark ones a few are enough to see what they are like.
            if theme == Theme::Dark
                && !["overview", "sign-in", "usage", "sessions-session"].contains(&place.name.as_str())
            {
                continue;
            }
            browser.forget_cookies().await;
            match place.access {
                Access::Anybody => {}
                Access::Operator => sign_in(&mut browser, &example.server, &example.operator).await,
                Access::SignedIn | Access::Member(_) => sign_in(&mut browser, &example.server, &example.owner).await,
            }
            browser.open(&address(&example.server, &place.path)).await;
            let picture = browser.small_picture(ROWS_MAX, PICTURE_BYTES_MAX).await;
            total_bytes += picture.len();
            std::fs::write(folder.join(format!("{}-{suffix}.webp", place.name)), picture).unwrap();
        }
    }
    eprintln!("{} pages in {}, {total_bytes} bytes", places.len(), folder.display());
    for complaint in browser.complaints().await {
        eprintln!("a page complained: {complaint}");
    }
    browser.close().await;
    example.finish().await;
}
