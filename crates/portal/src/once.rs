//! Forms that must not have their effect twice: a second press of the button, a reload of the answer, the way back and forth.
//!
//! Such a form holds a number of its own, under which the outcome is kept for a day, as the API keeps answers under idempotency keys. Kept is
//! what was made, never a secret: who sends the form again is led to what it has made.

use axum::http::StatusCode;
use kallglot_app::Error;
use kallglot_app::idempotency::{Repeatable, Replay};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::{OrganizationId, PersonId};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_core::random;
use kallglot_core::session::{Environment, Tenant};
use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::PortalState;
use crate::form::Form;
use crate::guard::{Member, SignedIn, Visitor};
use crate::refusal::Refusal;

/// The field's name.
const FIELD: &str = "once";

/// The field with a new number, or with the one that `form` had: a form that is shown again is still the same.
pub(crate) fn field(state: &PortalState, form: Option<&Form>) -> Markup {
    let number = form.map(|form| form.text(FIELD)).filter(|number| is_number(number)).map(str::to_owned);
    let number = number.unwrap_or_else(|| {
        let bytes: [u8; 16] = random::bytes(state.app.random.as_ref());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    });
    html! { input type="hidden" name=(FIELD) value=(number); }
}

fn is_number(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What is said of an error of work that a form does once.
pub(crate) fn refusal(error: Error) -> Refusal {
    match error.code() {
        ErrorCode::IdempotencyConflict => Refusal::page(
            StatusCode::CONFLICT,
            "Just a moment",
            "This form is being worked on. Wait a moment, then look whether it is done.",
        ),
        ErrorCode::IdempotencyMismatch => Refusal::page(
            StatusCode::CONFLICT,
            "Sent before",
            "This form was sent before with other entries. Open it anew.",
        ),
        _ => error.into(),
    }
}

/// A form that is being worked on: nobody else can send it meanwhile.
pub(crate) struct Once(pub(crate) Repeatable);

impl Once {
    /// Claims the form's number. `asked` is what the form asks for: the same number with something else is refused.
    pub(crate) async fn begin(
        state: &PortalState,
        member: &Member,
        form: &Form,
        asked: String,
    ) -> Result<Self, Refusal> {
        Self::claim(state, &member.visitor, member.known.person.id, member.tenant, form, asked).await
    }

    /// As [`Self::begin`], for what an operator does to an organization.
    pub(crate) async fn begin_for_operator(
        state: &PortalState,
        who: &SignedIn,
        organization: OrganizationId,
        form: &Form,
        asked: String,
    ) -> Result<Self, Refusal> {
        let tenant = Tenant { organization, environment: Environment::Live };
        Self::claim(state, &who.visitor, who.known.person.id, tenant, form, asked).await
    }

    async fn claim(
        state: &PortalState,
        visitor: &Visitor,
        person: PersonId,
        tenant: Tenant,
        form: &Form,
        asked: String,
    ) -> Result<Self, Refusal> {
        let number = form.text(FIELD);
        if !is_number(number) {
            return Err(Refusal::bad_request("The form is not complete. Open its page and send it from there."));
        }
        let key = format!("portal-{person}-{number}");
        let key = IdempotencyKey::parse(&key).map_err(|error| Refusal::internal(error.to_string()))?;
        let path = visitor.here.split('?').next().unwrap_or_default();
        let body = Map::from_iter([("asked".to_owned(), Value::String(asked))]);
        let fingerprint = Fingerprint::of("POST", path, &body);
        let request = visitor.arrival.request;
        let begun = Repeatable::begin(&state.app, tenant, key, fingerprint, request).await;
        begun.map(Self).map_err(refusal)
    }

    /// What the form has made before, if it was sent before.
    pub(crate) async fn made_before(&self) -> Result<Option<String>, Refusal> {
        Ok(self.0.find().await.map_err(refusal)?.map(text))
    }

    /// Keeps what the form has made.
    pub(crate) async fn keep(&self, made: &str) -> Result<(), Refusal> {
        Ok(self.0.keep(200, made.as_bytes()).await?)
    }
}

/// What was kept.
pub(crate) fn text(replay: Replay) -> String {
    String::from_utf8_lossy(&replay.body).into_owned()
}
