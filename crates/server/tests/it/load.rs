//! What the harnesses share that put load on servers: chance that can be repeated, and reading what answers say.

use kallglot_core::Timestamp;
use kallglot_testkit::client::Answer;
use serde_json::Value;

/// Numbers that are the same in every run with one seed (SplitMix64).
#[derive(Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(parts: [u64; 3]) -> Self {
        let mut chance = Self(0);
        for part in parts {
            chance = Self(chance.0 ^ part);
            chance.0 = chance.next();
        }
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One of these, if there is any.
    pub(crate) fn one<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len() as u64) as usize)
    }
}

/// A number that whoever runs the tests may give.
pub(crate) fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// A text of an object.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {object}"))
}

/// A session's body; its metadata say by which request it was made.
pub(crate) fn session(mode: &str, asked: &str) -> Value {
    serde_json::json!({ "mode": mode, "source_language": "en", "target_language": "es", "metadata": { "asked": asked } })
}

/// Whether an answer was given before.
pub(crate) fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

/// Milliseconds of an RFC 3339 time.
pub(crate) fn ms(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_millisecond()
}

/// What is in a list, page by page from the newest to this one.
pub(crate) async fn list<Page: Future<Output = Answer>>(
    get: impl Fn(String) -> Page,
    path: &str,
    until: Option<&String>,
) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let after = found.last().map(|last| format!("&starting_after={}", text(last, "/id"))).unwrap_or_default();
        let page = get(format!("{path}?limit=100{after}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let Value::Object(mut page) = page.json() else { panic!("no page") };
        if let Some(Value::Array(items)) = page.remove("data") {
            found.extend(items);
        }
        let newer = |item: &Value| until.is_none_or(|until| text(item, "/id") > until.as_str());
        let older = found.iter().position(|item| !newer(item));
        found.truncate(older.unwrap_or(found.len()));
        if page["has_more"] == false || older.is_some() {
            return found;
        }
    }
}
