//! Styles, scripts and pictures: in the binary, under an address that changes with them, so that browsers keep them for good.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::refusal::Refusal;

macro_rules! assets {
    ($($name:literal)*) => {
        const FILES: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("../assets/", $name)))),*];
    };
}

assets! {
    "capture.js"
    "capture.worklet.js"
    "chart.js"
    "icon.svg"
    "level.js"
    "link.js"
    "live.js"
    "mulaw.js"
    "playout.js"
    "passkey.js"
    "portal.css"
    "portal.js"
    "quickstart.js"
    "secret.js"
    "refresh.js"
    "resample.js"
    "stream.js"
    "transcript.js"
    "try.js"
    "turns.js"
}

/// An asset, and compressed with gzip.
struct Asset {
    name: &'static str,
    plain: Bytes,
    gzip: Bytes,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let compress = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Into memory: it can't fail.
        let _ = encoder.write_all(bytes);
        encoder.finish().unwrap_or_default().into()
    };
    FILES.iter().map(|(name, bytes)| Asset { name, plain: Bytes::from_static(bytes), gzip: compress(bytes) }).collect()
});

/// What all of them hash to: one for all, so that scripts may name each other.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, bytes) in FILES {
        hash.update(name.as_bytes());
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
});

/// Where an asset is.
pub(crate) fn url(name: &str) -> String {
    debug_assert!(FILES.iter().any(|(known, _)| *known == name), "there is no asset {name}");
    format!("/portal/assets/{}/{name}", *VERSION)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// `GET /portal/assets/{version}/{name}`. Of an earlier version's address it answers with what there is now, not to be kept.
pub(crate) async fn asset(
    Path((version, name)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Response, Refusal> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(Refusal::not_found)?;
    let accepts = request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let gzip = accepts.is_some_and(|value| value.contains("gzip"));
    let kept = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-store" };
    let headers = [
        (header::CONTENT_TYPE, content_type(asset.name)),
        (header::CACHE_CONTROL, kept),
        (header::VARY, "Accept-Encoding"),
    ];
    let body = if gzip { asset.gzip.clone() } else { asset.plain.clone() };
    let mut response = (StatusCode::OK, headers, body).into_response();
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
