//! The pages for readers: the API reference at `/docs`, the list of errors at `/docs/errors`, and the OpenAPI documents.
//!
//! Nothing here needs a key or comes from elsewhere: every script, style and picture is in the binary, and the
//! Content-Security-Policy of each page lets nothing else in. No page has a script within it.

mod errors;
mod explanation;

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;

use crate::openapi;
use crate::problem::Problem;

/// Why `style-src` has `'unsafe-inline'`: the viewer writes its styles into the page. Scripts come from files alone.
const REFERENCE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const ERRORS_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Something that is served as it is, with an `ETag`: whoever has it already is told so.
struct File {
    content_type: &'static str,
    /// None for what is not a page.
    policy: Option<&'static str>,
    /// Whether `bytes` are compressed with gzip, which every browser takes.
    gzip: bool,
    bytes: Bytes,
    etag: String,
}

impl File {
    fn new(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let etag = openapi::etag(&bytes);
        Self { content_type, policy: None, gzip: false, bytes, etag }
    }

    fn page(policy: &'static str, html: impl Into<Bytes>) -> Self {
        Self { policy: Some(policy), ..Self::new("text/html; charset=utf-8", html) }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = if is_known(request, &self.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.content_type)], self.bytes.clone()).into_response()
        };
        let headers = response.headers_mut();
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            headers.insert(header::ETAG, etag);
        }
        // Kept by the browser, but asked for each time: a new version of the server is seen at once.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(policy) = self.policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
        if self.gzip && response.status() == StatusCode::OK {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// Whether the client has this version (RFC 9110 section 13.1.2; weak comparison).
fn is_known(request: &HeaderMap, etag: &str) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// `GET /docs`
pub(crate) async fn reference(headers: HeaderMap) -> Response {
    static PAGE: LazyLock<File> =
        LazyLock::new(|| File::page(REFERENCE_POLICY, include_str!("assets/reference.html").as_bytes()));
    PAGE.answer(&headers)
}

/// `GET /docs/errors`
pub(crate) async fn errors(headers: HeaderMap) -> Response {
    static PAGE: LazyLock<File> = LazyLock::new(|| File::page(ERRORS_POLICY, errors::page()));
    PAGE.answer(&headers)
}

/// `GET /docs/assets/{name}`
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    static VIEWER: LazyLock<File> = LazyLock::new(|| {
        let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scalar.js.gz"));
        File { gzip: true, ..File::new("text/javascript; charset=utf-8", packed) }
    });
    static START: LazyLock<File> =
        LazyLock::new(|| File::new("text/javascript; charset=utf-8", include_str!("assets/reference.js").as_bytes()));
    static STYLE: LazyLock<File> =
        LazyLock::new(|| File::new("text/css; charset=utf-8", include_str!("assets/errors.css").as_bytes()));
    static ICON: LazyLock<File> =
        LazyLock::new(|| File::new("image/svg+xml", include_str!("assets/icon.svg").as_bytes()));
    let file = match name.as_str() {
        "scalar.js" => &VIEWER,
        "reference.js" => &START,
        "errors.css" => &STYLE,
        "icon.svg" => &ICON,
        _ => return Err(Problem::of(ErrorCode::NotFound)),
    };
    Ok(file.answer(&headers))
}

/// `GET /openapi.json`
pub(crate) async fn document(headers: HeaderMap) -> Response {
    static FILE: LazyLock<File> = LazyLock::new(|| document_of(Edition::Two));
    FILE.answer(&headers)
}

/// `GET /openapi-1.json`
pub(crate) async fn document_of_edition_1(headers: HeaderMap) -> Response {
    static FILE: LazyLock<File> = LazyLock::new(|| document_of(Edition::One));
    FILE.answer(&headers)
}

fn document_of(edition: Edition) -> File {
    File::new("application/json", openapi::document(edition))
}
