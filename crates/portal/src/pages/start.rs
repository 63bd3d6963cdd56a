//! `/portal` itself: leads to where one can go on.

use axum::extract::State;
use axum::response::Redirect;
use kallglot_core::session::Environment;

use crate::PortalState;
use crate::guard::SignedIn;
use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::get("/", Access::SignedIn, start)]
}

/// To the only organization, or to the choice of one.
async fn start(State(_): State<PortalState>, signed_in: SignedIn) -> Redirect {
    match signed_in.known.memberships.as_slice() {
        [only] => Redirect::to(&format!("/portal/{}/{}", only.organization, Environment::Test)),
        _ => Redirect::to("/portal/choose"),
    }
}
