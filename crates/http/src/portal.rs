//! Where the Developer Portal hangs: requests below `/portal` get what its pages have to know of them, and go through the same wrapping as all.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use kallglot_app::Arrival;
use tower::Service;

use crate::context::RequestContext;

/// The portal's router, told how each request arrived.
#[derive(Clone)]
pub(crate) struct Portal(pub(crate) Router);

impl Service<Request> for Portal {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = <Router as Service<Request>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if let Some(context) = request.extensions().get::<Arc<RequestContext>>() {
            let arrival = Arrival { request: context.id, address: context.address };
            request.extensions_mut().insert(arrival);
        }
        self.0.call(request)
    }
}
