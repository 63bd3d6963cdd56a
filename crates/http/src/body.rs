//! Reading a JSON body strictly: the first field that is wrong is named, and so is one that does not exist.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use kallglot_core::Timestamp;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::idempotency::Fingerprint;
use kallglot_core::language::LanguageTag;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Largest body of a request (contract section 9).
const BODY_BYTES_MAX: usize = 256 * 1024;

/// The JSON object of a request's body. An empty body is an empty object.
pub(crate) struct Body(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
            let essence = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
            essence.eq_ignore_ascii_case("application/json")
        });
        let bytes = bytes(request).await?;
        if bytes.is_empty() {
            return Ok(Self(Fields::new(Map::new())));
        }
        if !is_json {
            return Err(Problem::of(ErrorCode::UnsupportedMediaType));
        }
        Fields::read(&bytes).map(Self)
    }
}

async fn bytes(request: Request) -> Result<Bytes, Problem> {
    axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|error| {
        use std::error::Error as _;
        let too_large = error.source().is_some_and(|source| source.to_string().contains("length limit"));
        if too_large {
            let message = format!("The body is over {} KiB.", BODY_BYTES_MAX / 1024);
            Problem::with(ErrorCode::PayloadTooLarge, message)
        } else {
            Problem::with(ErrorCode::InvalidRequest, "The body could not be read to its end.")
        }
    })
}

/// A whole number from 0. To JSON Schema, and to JSON, `60.0` is the number that `60` is.
fn whole(value: &Value) -> Option<u64> {
    /// Below this, a 64-bit float is exact.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..EXACT_MAX).contains(&number)).then_some(number as u64)
    })
}

/// The fields of a JSON object, taken one by one; [`Fields::finish`] refuses what is left over.
pub(crate) struct Fields {
    /// Where the object is in the body: empty, or `routing.`.
    path: String,
    object: Map<String, Value>,
}

impl Fields {
    /// Reads a JSON object.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self::new(object)),
            Ok(_) => Err(Problem::with(ErrorCode::ValidationFailed, "The body must be a JSON object.")),
            Err(error) => {
                let message = format!("The body is not JSON: {error}.");
                Err(Problem::with(ErrorCode::InvalidRequest, message))
            }
        }
    }

    fn new(object: Map<String, Value>) -> Self {
        Self { path: String::new(), object }
    }

    /// What the request is, to tell whether another is the same.
    pub(crate) fn fingerprint(&self, method: &str, path: &str) -> Fingerprint {
        Fingerprint::of(method, path, &self.object)
    }

    /// Whether a field is there, be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// The name of a field from the body's root.
    pub(crate) fn param(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn invalid(&self, name: &str, expected: &str) -> Problem {
        let param = self.param(name);
        let message = format!("`{param}` must be {expected}.");
        Problem::invalid(param, message)
    }

    /// A field's value; none when it is missing or null.
    pub(crate) fn value(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "a string")),
        }
    }

    /// A text of 1 to `chars_max` characters without control characters.
    pub(crate) fn short_text(&mut self, name: &str, chars_max: usize) -> Result<Option<String>, Problem> {
        let text = self.text(name)?;
        if let Some(text) = &text
            && (text.is_empty() || text.chars().count() > chars_max || text.chars().any(char::is_control))
        {
            return Err(self.invalid(name, &format!("1 to {chars_max} characters without control characters")));
        }
        Ok(text)
    }

    /// One of a set of names.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        name: &str,
        all: &[T],
        as_str: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match all.iter().find(|value| as_str(**value) == text) {
            Some(value) => Ok(Some(*value)),
            None => {
                let names = all.iter().map(|value| format!("`{}`", as_str(*value))).collect::<Vec<_>>().join(", ");
                Err(self.invalid(name, &format!("one of {names}")))
            }
        }
    }

    /// A language tag.
    pub(crate) fn language(&mut self, name: &str) -> Result<Option<LanguageTag>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse() {
            Ok(tag) => Ok(Some(tag)),
            Err(_) => Err(self.invalid(name, "a BCP 47 language tag such as `en`, `es-MX` or `pt-BR`")),
        }
    }

    /// A truth value.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.invalid(name, "true or false")),
        }
    }

    /// A number that must be exactly `expected` if it is there.
    pub(crate) fn exactly(&mut self, name: &str, expected: u64) -> Result<(), Problem> {
        match self.value(name) {
            None => Ok(()),
            Some(value) if whole(&value) == Some(expected) => Ok(()),
            Some(_) => Err(self.invalid(name, &expected.to_string())),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match whole(&value).filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.invalid(name, &format!("a whole number from {least} to {most}"))),
        }
    }

    /// A time.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse() {
            Ok(time) => Ok(Some(time)),
            Err(_) => Err(self.invalid(name, "an RFC 3339 time such as `2027-01-31T12:00:00Z`")),
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, Problem> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let Value::Array(items) = value else { return Err(self.invalid(name, "a list of strings")) };
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::String(text) => Ok(text),
                _ => Err(self.invalid(&format!("{name}[{index}]"), "a string")),
            })
            .collect()
    }

    /// An object within this one.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Fields>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields { path: format!("{}{name}.", self.path), object })),
            Some(_) => Err(self.invalid(name, "an object")),
        }
    }

    /// Puts a text back that was taken, for whoever reads the object next.
    pub(crate) fn put_back(&mut self, name: &str, text: &str) {
        self.object.insert(name.into(), text.into());
    }

    /// The names that are left.
    pub(crate) fn names(&self) -> Vec<String> {
        self.object.keys().cloned().collect()
    }

    /// 422 for a field.
    pub(crate) fn refuse<T>(&self, name: &str, expected: &str) -> Result<T, Problem> {
        Err(self.invalid(name, expected))
    }

    /// Refuses fields that nobody has taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.object.keys().next() {
            None => Ok(()),
            Some(name) => {
                let param = self.param(name);
                let message = format!("`{param}` is not a field of this request. Check its spelling.");
                Err(Problem::invalid(param, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for (given, expected) in [
            (json!(60), Some(60)),
            (json!(60.0), Some(60)),
            (json!(6e1), Some(60)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!(60.5), None),
            (json!(-1), None),
            (json!(-1.0), None),
            (json!(1e300), None),
            (json!("60"), None),
        ] {
            assert_eq!(whole(&given), expected, "{given}");
        }
    }
}
