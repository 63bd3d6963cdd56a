//! The pages: one module for each area, which gives its routes.

mod alerts;
mod audit;
mod credits;
mod keys;
mod operator;
mod overview;
mod people;
mod quickstart;
mod requests;
mod sessions;
mod settings;
mod start;
mod try_it;
mod usage;
mod webhooks;

use crate::assets;
use crate::route::Route;

/// Every route of the portal.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![Route::file("/assets/{version}/{name}", assets::asset)];
    routes.extend(alerts::routes());
    routes.extend(audit::routes());
    routes.extend(credits::routes());
    routes.extend(keys::routes());
    routes.extend(operator::routes());
    routes.extend(overview::routes());
    routes.extend(quickstart::routes());
    routes.extend(requests::routes());
    routes.extend(settings::routes());
    routes.extend(sessions::routes());
    routes.extend(start::routes());
    routes.extend(try_it::routes());
    routes.extend(usage::routes());
    routes.extend(people::routes());
    routes.extend(webhooks::routes());
    routes
}
