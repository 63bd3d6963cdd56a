//! The Developer Portal: pages at `/portal` on which people make keys, watch usage and hear calls, rendered here and served by the same binary.
//!
//! What must stay true: every route stands in a table with who may take it ([`Route`]), and [`guard`] judges that before a handler
//! runs, so a handler can't forget it; what belongs to an organization is asked for with that organization's id, and a stranger is told 404;
//! every page works without JavaScript as far as it can; no page has a script, a style or a handler within it, and none has a secret but the one that it
//! shows once.

mod assets;
mod chart;
mod components;
mod cookie;
mod form;
mod guard;
mod language;
mod layout;
mod list;
mod once;
mod pages;
mod refusal;
mod route;

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse as _;
use kallglot_app::App;
use tokio_util::sync::CancellationToken;

pub use route::{Access, Entry, Verb};

use crate::guard::Guard;
use crate::refusal::Refusal;
use crate::route::Route;

/// What the pages share. Cloned for every request: one count.
#[derive(Clone)]
pub struct PortalState(Arc<Shared>);

/// See [`PortalState`].
pub struct Shared {
    /// The use cases.
    pub app: Arc<App>,
    /// Cancelled when the server is to stop: what would go on for ever ends then.
    pub stop: CancellationToken,
}

impl PortalState {
    /// To be passed to [`router()`].
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Whether people reach this server by TLS: then cookies are sent by TLS alone.
    pub(crate) fn is_secure(&self) -> bool {
        self.app.config.public_url.starts_with("https://")
    }
}

impl std::ops::Deref for PortalState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The router of all pages, to be nested at `/portal`. Requests come with a [`kallglot_app::Arrival`] among their extensions.
pub fn router(state: PortalState) -> Router {
    let mut router = Router::new();
    for Route { entry, handler } in pages::routes() {
        router = router.route(entry.path, handler.layer(Guard::new(&state, entry)));
    }
    let nothing = axum::routing::any(async || Refusal::not_found().into_response());
    let nothing = nothing.layer(Guard::new(&state, Entry::NOTHING)).with_state(state.clone());
    router.fallback_service(nothing).with_state(state)
}

/// Every route with who may take it, for tests that walk all of them.
pub fn table() -> Vec<Entry> {
    pages::routes().into_iter().map(|route| route.entry).collect()
}
