//! Around every route: who comes, whether they may, whether a form comes from our own page; and the headers of every answer.
//!
//! What must stay true: no handler of a route runs before its entry in the table was judged here, and no POST has an effect that did not come with the
//! token of the session (or of the visit) that its form was rendered for.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use kallglot_app::Arrival;
use kallglot_app::people::SignedIn as Known;
use kallglot_core::audit::{Change, Who};
use kallglot_core::id::OrganizationId;
use kallglot_core::person::{Act, Membership};
use kallglot_core::random;
use kallglot_core::session::{Environment, Tenant};
use subtle::ConstantTimeEq as _;
use tower::{Layer, Service};

use crate::PortalState;
use crate::cookie::Cookie;
use crate::form::{FORM_BYTES_MAX, Form};
use crate::refusal::Refusal;
use crate::route::{Access, Entry, Verb};

/// What pages may load: only what is in the binary. `ws` and `wss` of the same host are within 'self'.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    media-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Whoever makes a request: what every page knows of them.
#[derive(Clone)]
pub(crate) struct Visitor(Arc<Visit>);

/// See [`Visitor`].
pub(crate) struct Visit {
    /// The request.
    pub(crate) arrival: Arrival,
    /// Who is signed in.
    pub(crate) known: Option<Arc<Known>>,
    /// What forms for this visitor hold.
    pub(crate) csrf: String,
    /// The path and query that were asked for, with `/portal`.
    pub(crate) here: String,
}

impl std::ops::Deref for Visitor {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.0
    }
}

/// Somebody who is signed in, on a route that asks for that at least.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub(crate) visitor: Visitor,
    pub(crate) known: Arc<Known>,
}

impl SignedIn {
    /// A change that this person is about to make.
    pub(crate) fn change(&self, state: &PortalState) -> Change {
        let arrival = self.visitor.arrival;
        state.app.change(Who::Person(self.known.person.id), arrival.address, arrival.request)
    }
}

/// A member of the organization in the path, on a route for members. The guard has judged that the role may do what the route is for.
#[derive(Clone)]
pub(crate) struct Member {
    signed_in: SignedIn,
    /// The organization, and what the person is there.
    pub(crate) membership: Membership,
    /// The organization and the environment in the path.
    pub(crate) tenant: Tenant,
}

impl Member {
    /// Whether the role may do this too: for what a page shows.
    pub(crate) fn may(&self, act: Act) -> bool {
        self.membership.role.may(act)
    }

    /// The address of a page of this organization and environment: `path` begins with a slash or is empty.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("/portal/{}/{}{path}", self.tenant.organization, self.tenant.environment)
    }
}

impl std::ops::Deref for Member {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.signed_in
    }
}

macro_rules! from_extensions {
    ($($type:ty),*) => {$(
        impl FromRequestParts<PortalState> for $type {
            type Rejection = Refusal;

            async fn from_request_parts(parts: &mut Parts, _: &PortalState) -> Result<Self, Refusal> {
                // Missing only when a handler asks for more than its entry in the table does: the walk of all routes finds that.
                parts.extensions.get::<Self>().cloned().ok_or_else(|| Refusal::internal("the route's entry does not ask for this"))
            }
        }
    )*};
}

from_extensions!(Visitor, SignedIn, Member);

/// Wraps the handlers of one route.
#[derive(Clone)]
pub(crate) struct Guard {
    state: PortalState,
    entry: Entry,
}

impl Guard {
    pub(crate) fn new(state: &PortalState, entry: Entry) -> Self {
        Self { state: state.clone(), entry }
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

/// A route's handler behind its guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The clone is ready as far as axum's routes go: they always are.
        let mut inner = self.inner.clone();
        let Guard { state, entry } = self.guard.clone();
        Box::pin(async move {
            let mut fresh_visit = None;
            let admitted = if entry.file { Ok(request) } else { admit(&state, entry, request, &mut fresh_visit).await };
            let mut response = match admitted {
                Ok(request) => inner.call(request).await?,
                Err(refusal) => refusal.into_response(),
            };
            if let Some(visit) = fresh_visit {
                Cookie::Visit.set(&state, response.headers_mut(), &visit, None);
            }
            headers(&state, response.headers_mut());
            Ok(response)
        })
    }
}

/// Judges a request. The answer has in its extensions what the handlers' extractors take.
async fn admit(
    state: &PortalState,
    entry: Entry,
    request: Request,
    fresh_visit: &mut Option<String>,
) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    let arrival = parts.extensions.get::<Arrival>().copied();
    let arrival = arrival.ok_or_else(|| Refusal::internal("the request came without its arrival"))?;
    let known = match Cookie::Session.of(state, &parts.headers) {
        Some(secret) => state.app.signed_in(secret).await?.map(Arc::new),
        None => None,
    };
    let csrf = match (&known, Cookie::Visit.of(state, &parts.headers)) {
        (Some(known), _) => known.csrf.clone(),
        (None, Some(visit)) if is_visit(visit) => visit.to_owned(),
        (None, _) => {
            let bytes: [u8; 16] = random::bytes(state.app.random.as_ref());
            let visit: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            *fresh_visit = Some(visit.clone());
            visit
        }
    };
    // Nested at `/portal`, which is not in the path any more.
    let here = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let here = format!("/portal{here}");
    let visitor = Visitor(Arc::new(Visit { arrival, known, csrf, here }));
    parts.extensions.insert(visitor.clone());
    let safe = matches!(parts.method, Method::GET | Method::HEAD);
    if !safe && !comes_from_us(&parts.headers) {
        return Err(Refusal::forbidden("This form was sent from another site. Open the page here and send it again."));
    }
    judge(entry, &visitor, &mut parts)?;
    if entry.fresh && !is_fresh(state, &visitor) {
        // A form that was open for too long: its page comes again after the confirmation, so `next` is always a page.
        let next =
            if entry.verb == Verb::Get { visitor.here.as_str() } else { page_of_form(&visitor.here, &parts.headers) };
        return Err(Refusal::SeeOther(format!("/portal/confirm?next={}", encode(next))));
    }
    if safe {
        return Ok(Request::from_parts(parts, body));
    }
    let bytes = axum::body::to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| {
        Refusal::page(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too large",
            "The form is larger than 64 KiB. Shorten it and send it again.",
        )
    })?;
    let form = Form::parse(&bytes).ok_or_else(|| Refusal::bad_request("The form has too many fields."))?;
    if !bool::from(form.raw("csrf").as_bytes().ct_eq(visitor.csrf.as_bytes())) {
        let message = "This form is no longer valid: you have signed in or out since it was opened. Open the page again and send it once more.";
        return Err(Refusal::forbidden(message));
    }
    parts.extensions.insert(form);
    Ok(Request::from_parts(parts, Body::empty()))
}

/// Whether this person may take this route.
fn judge(entry: Entry, visitor: &Visitor, parts: &mut Parts) -> Result<(), Refusal> {
    if entry.access == Access::Anybody {
        if let Some(known) = &visitor.known {
            parts.extensions.insert(SignedIn { visitor: visitor.clone(), known: Arc::clone(known) });
        }
        return Ok(());
    }
    let Some(known) = &visitor.known else {
        // A stranger is told nothing of what there is: every such address leads to the sign-in.
        let next = if entry.verb == Verb::Get { visitor.here.as_str() } else { "/portal" };
        return Err(Refusal::SeeOther(format!("/portal/sign-in?next={}", encode(next))));
    };
    let signed_in = SignedIn { visitor: visitor.clone(), known: Arc::clone(known) };
    parts.extensions.insert(signed_in.clone());
    match entry.access {
        Access::Anybody | Access::SignedIn => Ok(()),
        Access::Operator if known.person.is_operator => Ok(()),
        Access::Operator => Err(Refusal::not_found()),
        Access::Member(act) => {
            let tenant = tenant_of(&visitor.here).ok_or_else(Refusal::not_found)?;
            let membership = known.memberships.iter().find(|of| of.organization == tenant.organization);
            let membership = membership.cloned().ok_or_else(Refusal::not_found)?;
            if !membership.role.may(act) {
                let message = format!(
                    "Your role here is {}. This needs the role {} or a higher one: ask an owner or admin of {}.",
                    membership.role.title(),
                    act.lowest_role().title(),
                    membership.organization_name
                );
                return Err(Refusal::forbidden(message));
            }
            parts.extensions.insert(Member { signed_in, membership, tenant });
            Ok(())
        }
    }
}

/// Organization and environment in a path such as `/portal/org_…/test/keys`.
fn tenant_of(here: &str) -> Option<Tenant> {
    let path = here.split(['?', '#']).next()?;
    let mut segments = path.strip_prefix("/portal/")?.split('/');
    let organization: OrganizationId = segments.next()?.parse().ok()?;
    let environment = Environment::parse(segments.next()?)?;
    Some(Tenant { organization, environment })
}

/// Whether the browser says that a form comes from this server. One that says nothing is old; then the form's token decides alone.
fn comes_from_us(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match text("origin") {
        None => true,
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text("host")
        }
    }
}

/// The page that a form is on: where its `Referer` says, as far as that is a page of ours; else the portal's start.
fn page_of_form<'a>(here: &'a str, headers: &'a HeaderMap) -> &'a str {
    let referer = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    let path = referer.and_then(|url| url.split_once("://")).and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    match path {
        Some(path) if crate::layout::is_page_of_ours(path) => path,
        _ if tenant_of(here).is_some() => here.rsplit_once('/').map_or("/portal", |(page, _)| page),
        _ => "/portal",
    }
}

fn is_fresh(state: &PortalState, visitor: &Visitor) -> bool {
    let until = visitor.known.as_ref().and_then(|known| known.session.fresh_until);
    until.is_some_and(|until| state.app.clock.now() < until)
}

fn is_visit(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The headers of every answer; what a handler has set itself stays.
fn headers(state: &PortalState, headers: &mut HeaderMap) {
    let mut set = |name, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // Forms of ours need it to find their page again; nobody else gets it.
    set(header::REFERRER_POLICY, "same-origin");
    set(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(
        header::HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(self), payment=(), usb=(), publickey-credentials-get=(self), \
         publickey-credentials-create=(self)",
    );
    // Pages hold what is not to be seen after signing out.
    set(header::CACHE_CONTROL, "no-store");
    if state.is_secure() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_organization_is_the_one_in_the_path() {
        let organization = OrganizationId::from_bits(7);
        let tenant = tenant_of(&format!("/portal/{organization}/live/keys?x=/portal/a/b")).unwrap();
        assert_eq!((tenant.organization, tenant.environment), (organization, Environment::Live));
        for path in ["/portal", "/portal/account/sessions", "/portal/org_1/live", "/elsewhere"] {
            assert_eq!(tenant_of(path), None, "{path}");
        }
        assert_eq!(tenant_of(&format!("/portal/{organization}/staging")), None);
    }

    #[test]
    fn forms_of_other_sites_are_told_apart() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect()
        };
        assert!(comes_from_us(&headers(&[])));
        assert!(comes_from_us(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(comes_from_us(&headers(&[("origin", "https://a.example"), ("host", "a.example")])));
        for other in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://b.example"), ("host", "a.example")],
            &[("origin", "null"), ("host", "a.example")],
        ] {
            assert!(!comes_from_us(&headers(other)), "{other:?}");
        }
    }
}
