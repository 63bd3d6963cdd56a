//! A route with who may take it: what the table is made of. Each page's module gives its own.

use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};
use kallglot_core::person::Act;

use crate::PortalState;

/// How a page is asked for. Whatever changes something is a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To be read.
    Get,
    /// To do something: a form.
    Post,
}

/// Who may take a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever comes.
    Anybody,
    /// Whoever is signed in.
    SignedIn,
    /// Members of the organization in the path whose role may do this. Others are told that there is nothing (404), members with a lower
    /// role that they may not (403).
    Member(Act),
    /// Operators of the server.
    Operator,
}

/// A route as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// How it is asked for.
    pub verb: Verb,
    /// Its path below `/portal`, as axum writes them.
    pub path: &'static str,
    /// Who may take it.
    pub access: Access,
    /// Whether the person must have given the password or passkey in the last minutes: for what would hurt in the hands of who found an unlocked
    /// screen.
    pub fresh: bool,
    /// Whether it is a file, the same for everybody: nobody is looked up for it, and caches that people share may keep it, so no cookie is set with it.
    pub file: bool,
}

impl Entry {
    /// What has no route.
    pub(crate) const NOTHING: Self =
        Self { verb: Verb::Get, path: "none", access: Access::Anybody, fresh: false, file: false };
}

/// A route with what answers it.
pub(crate) struct Route {
    pub(crate) entry: Entry,
    pub(crate) handler: MethodRouter<PortalState>,
}

impl Route {
    /// A page.
    pub(crate) fn get<H, T>(path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, PortalState>,
        T: 'static,
    {
        Self { entry: Entry { verb: Verb::Get, path, access, fresh: false, file: false }, handler: get(handler) }
    }

    /// What a form does.
    pub(crate) fn post<H, T>(path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, PortalState>,
        T: 'static,
    {
        Self { entry: Entry { verb: Verb::Post, path, access, fresh: false, file: false }, handler: post(handler) }
    }

    /// A file.
    pub(crate) fn file<H, T>(path: &'static str, handler: H) -> Self
    where
        H: Handler<T, PortalState>,
        T: 'static,
    {
        let mut route = Self::get(path, Access::Anybody, handler);
        route.entry.file = true;
        route
    }

    /// With [`Entry::fresh`]. Of a form, both the page that shows it and what it does are, so nobody types something in vain.
    pub(crate) fn fresh(mut self) -> Self {
        self.entry.fresh = true;
        self
    }
}
