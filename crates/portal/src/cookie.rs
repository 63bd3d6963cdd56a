//! The portal's cookies: one for who is signed in, one for who is not yet (it only ties a form to the browser that was given it).
//!
//! With TLS they have the prefix `__Host-`: no other host of the same domain can set them.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::PortalState;

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The secret of a portal session. `Lax`: a link in a mail leads to a page, not to the sign-in.
    Session,
    /// What a form shown to who is not signed in is tied to.
    Visit,
    /// The code of a one-time link, from the form that takes it until it is used.
    Link,
    /// What ties somebody who comes back from the single sign-on provider to the browser that was sent there.
    SingleSignOn,
}

impl Cookie {
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-kallglot_session",
            (Self::Session, false) => "kallglot_session",
            (Self::Link, true) => "__Host-kallglot_link",
            (Self::Link, false) => "kallglot_link",
            (Self::SingleSignOn, true) => "__Host-kallglot_sso",
            (Self::SingleSignOn, false) => "kallglot_sso",
            (Self::Visit, true) => "__Host-kallglot_visit",
            (Self::Visit, false) => "kallglot_visit",
        }
    }

    /// What the request has of it. Of several with the same name none is believed.
    pub(crate) fn of<'a>(self, state: &PortalState, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.name(state.is_secure());
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = pairs
            .flat_map(|pairs| pairs.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(|(key, value)| (key == name).then_some(value));
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Sets it, until the browser is closed or for `max_age_s` seconds.
    pub(crate) fn set(self, state: &PortalState, headers: &mut HeaderMap, value: &str, max_age_s: Option<u32>) {
        let secure = state.is_secure();
        let age = max_age_s.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure_mark = if secure { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure_mark}", self.name(secure));
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.append(header::SET_COOKIE, text);
        }
    }

    /// Takes it away.
    pub(crate) fn clear(self, state: &PortalState, headers: &mut HeaderMap) {
        self.set(state, headers, "", Some(0));
    }
}
