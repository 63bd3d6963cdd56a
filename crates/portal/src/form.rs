//! What a form sent: its fields, taken by name. [`crate::guard`] reads it and checks where it comes from before a handler sees it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::PortalState;
use crate::refusal::Refusal;

/// Most bytes of a form.
pub(crate) const FORM_BYTES_MAX: usize = 64 * 1024;
/// Most fields of a form.
const FIELDS_MAX: usize = 512;

/// The fields of a form, or of a query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// The fields of a body or a query; none when there are too many.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let fields: Vec<_> =
            form_urlencoded::parse(bytes).take(FIELDS_MAX + 1).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        (fields.len() <= FIELDS_MAX).then_some(Self(fields))
    }

    /// The field of this name without blanks around it; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The field of this name as it was typed: of passwords blanks count.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The field of this name; none when it is not there or empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Every field of this name: of checkboxes those that are checked.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
    }

    /// Whether a checkbox is checked.
    pub(crate) fn is_checked(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

impl FromRequestParts<PortalState> for Form {
    type Rejection = Refusal;

    /// What the guard has read of a POST; of a GET, the query.
    async fn from_request_parts(parts: &mut Parts, _: &PortalState) -> Result<Self, Refusal> {
        match parts.extensions.get::<Self>() {
            Some(form) => Ok(form.clone()),
            None => Self::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .ok_or_else(|| Refusal::bad_request("The address has too many parameters.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_by_name() {
        let form = Form::parse(b"name=+backend+&permission=a&permission=b&password=+x+&empty=").unwrap();
        assert_eq!(form.text("name"), "backend");
        assert_eq!(form.raw("password"), " x ");
        assert_eq!(form.all("permission").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((form.given("empty"), form.given("missing")), (None, None));
        assert!(form.is_checked("permission") && !form.is_checked("missing"));
    }

    #[test]
    fn a_form_has_a_bound() {
        assert!(Form::parse("a=1&".repeat(FIELDS_MAX).as_bytes()).is_some());
        assert!(Form::parse("a=1&".repeat(FIELDS_MAX + 1).as_bytes()).is_none());
    }
}
