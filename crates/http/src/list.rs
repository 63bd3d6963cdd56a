//! Lists: cursor pages (contract section 10), the same for every kind of object.

use std::borrow::Cow;
use std::str::FromStr;

use kallglot_storage::{Cursor, Page, PageRequest};
use serde::Serialize;

use crate::problem::Problem;

/// A page as the API writes it.
#[derive(Serialize)]
pub(crate) struct List<T> {
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
    url: Cow<'static, str>,
}

impl<T> List<T> {
    /// The page of the list at `url`, each item made by `body`.
    pub(crate) fn of<I>(page: Page<I>, url: impl Into<Cow<'static, str>>, body: impl FnMut(I) -> T) -> Self {
        let data = page.items.into_iter().map(body).collect();
        Self { object: "list", data, has_more: page.has_more, url: url.into() }
    }

    /// The same, where an item may have no body.
    ///
    /// # Errors
    /// The first item's that has none.
    pub(crate) fn of_results<I>(
        page: Page<I>,
        url: impl Into<Cow<'static, str>>,
        body: impl FnMut(I) -> Result<T, Problem>,
    ) -> Result<Self, Problem> {
        let data = page.items.into_iter().map(body).collect::<Result<_, _>>()?;
        Ok(Self { object: "list", data, has_more: page.has_more, url: url.into() })
    }
}

/// The pairs of a query string, percent-decoded.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// 422 for a parameter that the request does not have.
pub(crate) fn unknown_parameter(name: &str) -> Problem {
    let message = format!("`{name}` is not a parameter of this request. Check its spelling.");
    Problem::invalid(name, message)
}

/// `limit`: 1 to 100.
pub(crate) fn limit(value: &str) -> Result<u32, Problem> {
    value
        .parse()
        .ok()
        .filter(|limit| (1..=PageRequest::<()>::LIMIT_MAX).contains(limit))
        .ok_or_else(|| Problem::invalid("limit", "`limit` must be 1 to 100."))
}

/// The page that a query asks for; `what` names the objects: "a session".
pub(crate) fn page<Id: FromStr>(query: Option<&str>, what: &str) -> Result<PageRequest<Id>, Problem> {
    filtered_page(query, what, |_, _| Ok(false))
}

/// Likewise for a list with further parameters, which `take` takes: false for one that it does not know.
pub(crate) fn filtered_page<Id: FromStr>(
    query: Option<&str>,
    what: &str,
    mut take: impl FnMut(&str, &str) -> Result<bool, Problem>,
) -> Result<PageRequest<Id>, Problem> {
    let mut page = PageRequest::newest(20);
    for (name, value) in query_pairs(query.unwrap_or("")) {
        let id = || {
            let message = format!("`{name}` must be the id of {what}.");
            value.parse::<Id>().map_err(|_| Problem::invalid(&name, message))
        };
        let cursor = match name.as_str() {
            "limit" => {
                page.limit = limit(&value)?;
                continue;
            }
            "starting_after" => Cursor::StartingAfter(id()?),
            "ending_before" => Cursor::EndingBefore(id()?),
            _ if take(&name, &value)? => continue,
            _ => return Err(unknown_parameter(&name)),
        };
        if page.cursor.replace(cursor).is_some() {
            return Err(Problem::invalid(&name, "Send one of `starting_after` and `ending_before`, once."));
        }
    }
    Ok(page)
}
