//! The headers that tell how limits and credits stand (contract section 5).
//!
//! All values are written into one buffer of which each header gets a slice: one allocation for all of them.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{BufMut as _, Bytes, BytesMut};
use kallglot_app::gate::cache::Known;
use kallglot_cluster::{Rate, WINDOW_MS, Window};
use kallglot_core::Timestamp;

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATE: HeaderName = HeaderName::from_static("ratelimit");
static CREDITS_REMAINING: HeaderName = HeaderName::from_static("x-api-credits-remaining");
static CREDITS_USED: HeaderName = HeaderName::from_static("x-api-credits-used");

/// Enough for all values with two buckets.
const VALUES_BYTES: usize = 256;

struct Values(BytesMut);

impl Values {
    /// What `write` has written, as a header's value.
    fn value(&mut self, write: impl FnOnce(&mut BytesMut)) -> HeaderValue {
        write(&mut self.0);
        let bytes: Bytes = self.0.split().freeze();
        // Digits, quotes and semicolons are always valid.
        HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static(""))
    }
}

fn number(out: &mut BytesMut, number: i64) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Adds the headers.
pub(crate) fn limit_headers(headers: &mut HeaderMap, rate: &Rate, known: &Known, now: Timestamp) {
    let mut values = Values(BytesMut::with_capacity(VALUES_BYTES));
    let (window, _) = rate.tightest();
    headers.insert(LIMIT.clone(), values.value(|out| number(out, window.limit.into())));
    headers.insert(REMAINING.clone(), values.value(|out| number(out, window.remaining().into())));
    headers.insert(RESET.clone(), values.value(|out| number(out, window.resets_at_s())));
    // draft-ietf-httpapi-ratelimit-headers-10: one policy per bucket.
    let buckets = [("\"organization\"", Some(rate.tenant)), ("\"key\"", rate.own)];
    let each = |out: &mut BytesMut, write: &dyn Fn(&mut BytesMut, Window)| {
        for (name, window) in buckets {
            let Some(window) = window else { continue };
            if !out.is_empty() {
                out.put_slice(b", ");
            }
            out.put_slice(name.as_bytes());
            write(out, window);
        }
    };
    let now_ms = now.as_millisecond();
    let policy = values.value(|out| {
        each(out, &|out, window| {
            out.put_slice(b";q=");
            number(out, window.limit.into());
            out.put_slice(b";w=");
            number(out, WINDOW_MS / 1000);
        });
    });
    headers.insert(POLICY.clone(), policy);
    let left = values.value(|out| {
        each(out, &|out, window| {
            out.put_slice(b";r=");
            number(out, window.remaining().into());
            out.put_slice(b";t=");
            number(out, window.retry_after_s(now_ms).into());
        });
    });
    headers.insert(RATE.clone(), left);
    let credits = known.credits.balance();
    headers.insert(CREDITS_REMAINING.clone(), values.value(|out| number(out, credits.remaining)));
    headers.insert(CREDITS_USED.clone(), values.value(|out| number(out, credits.used_at(now))));
}
