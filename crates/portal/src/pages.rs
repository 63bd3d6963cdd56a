//! The pages: one module for each area, which gives its routes.

mod keys;
mod people;
mod quickstart;
mod start;
mod webhooks;

use crate::assets;
use crate::route::{Access, Route};

/// Every route of the portal.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![Route::get("/assets/{version}/{name}", Access::Anybody, assets::asset)];
    routes.extend(keys::routes());
    routes.extend(quickstart::routes());
    routes.extend(start::routes());
    routes.extend(people::routes());
    routes.extend(webhooks::routes());
    routes
}
