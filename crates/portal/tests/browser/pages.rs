//! Every page: readable for everybody, in either theme, wide and narrow, without moving by itself; and light.

#![allow(clippy::print_stderr, reason = "what a page costs is for people to read")]

use kallglot_browser::{Browser, Setup, Theme, Width};
use kallglot_portal::Access;

use crate::example::{Example, Place, address, sign_in};

/// Most bytes of the first page that somebody sees, with all that it brings along.
const FIRST_PAGE_BYTES_MAX: u64 = 100_000;

/// Opens every page and does something with each. The browser is signed in as who may see it.
async fn each_page(browser: &mut Browser, example: &mut Example, look: impl AsyncFn(&mut Browser, &Place)) {
    let places = example.places().await;
    assert!(places.len() > 20, "the pages are found: {places:#?}");
    let groups: [fn(&Place) -> bool; 3] = [
        |place| place.access == Access::Anybody,
        |place| !matches!(place.access, Access::Anybody | Access::Operator),
        |place| place.access == Access::Operator,
    ];
    for (index, group) in groups.into_iter().enumerate() {
        browser.forget_cookies().await;
        match index {
            0 => {}
            1 => sign_in(browser, &example.server, &example.owner).await,
            _ => sign_in(browser, &example.server, &example.operator).await,
        }
        for place in places.iter().filter(|place| group(place)) {
            browser.open(&address(&example.server, &place.path)).await;
            let at = browser.url().await;
            assert!(at.ends_with(&place.path), "{} leads to {at}", place.path);
            look(browser, place).await;
        }
    }
}

async fn readable(width: Width, theme: Theme) {
    let mut example = Example::start().await;
    let mut browser = Browser::start(Setup::default()).await;
    browser.open(&address(&example.server, "/portal/sign-in")).await;
    browser.look(width, theme).await;
    let wrong = std::sync::Mutex::new(Vec::new());
    each_page(&mut browser, &mut example, async |browser, place| {
        let mut found: Vec<String> = browser.violations().await.iter().map(ToString::to_string).collect();
        found.extend(browser.overflow().await);
        found.extend(browser.shifts().await);
        found.extend(browser.complaints().await);
        if !found.is_empty() {
            wrong.lock().unwrap().push(format!("== {} {}\n{}", place.name, place.path, found.join("\n")));
        }
    })
    .await;
    let wrong = wrong.into_inner().unwrap();
    browser.close().await;
    example.finish().await;
    assert!(wrong.is_empty(), "{width:?} and {theme:?}:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_page_is_readable_wide_and_light() {
    readable(Width::Wide, Theme::Light).await;
}

#[tokio::test]
async fn every_page_is_readable_wide_and_dark() {
    readable(Width::Wide, Theme::Dark).await;
}

#[tokio::test]
async fn every_page_is_readable_narrow_and_light() {
    readable(Width::Narrow, Theme::Light).await;
}

#[tokio::test]
async fn every_page_is_readable_narrow_and_dark() {
    readable(Width::Narrow, Theme::Dark).await;
}

#[tokio::test]
async fn the_first_page_is_light() {
    let mut example = Example::start().await;
    let mut browser = Browser::start(Setup::default()).await;
    for place in ["/portal/sign-in".to_owned(), example.team.at("test", "")] {
        if place != "/portal/sign-in" {
            sign_in(&mut browser, &example.server, &example.owner).await;
        }
        browser.forget_cache().await;
        browser.open(&address(&example.server, &place)).await;
        let weight = browser.weight().await;
        eprintln!("{place}: {weight:?}");
        assert!(weight.transferred_bytes > 2_000, "it is measured: {weight:?}");
        assert!(weight.transferred_bytes < FIRST_PAGE_BYTES_MAX, "{place}: {weight:?}");
    }
    browser.close().await;
    let _ = example.places().await;
    example.finish().await;
}
