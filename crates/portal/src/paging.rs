//! Pages of a list: which one is asked for, and links to those around it.

use kallglot_storage::{Cursor, Page, PageRequest};
use maud::Markup;

use crate::components::pager;
use crate::form::Form;
use crate::refusal::Refusal;

/// The place in a list that the query names.
pub(crate) fn cursor<Id: std::str::FromStr>(form: &Form) -> Result<Option<Cursor<Id>>, Refusal> {
    let id = |text: &str| text.parse().map_err(|_| Refusal::not_found());
    match (form.given("after"), form.given("before")) {
        (Some(after), _) => Ok(Some(Cursor::StartingAfter(id(after)?))),
        (None, Some(before)) => Ok(Some(Cursor::EndingBefore(id(before)?))),
        (None, None) => Ok(None),
    }
}

/// Links to the pages around this one. `here` is the list's address, up to and with `?` or `&`.
pub(crate) fn pages<T, Id: std::fmt::Display>(
    found: &Page<T>,
    request: &PageRequest<Id>,
    here: &str,
    id: impl Fn(&T) -> Id,
) -> Markup {
    let (newer, older) = match request.cursor {
        None => (false, found.has_more),
        Some(Cursor::StartingAfter(_)) => (true, found.has_more),
        Some(Cursor::EndingBefore(_)) => (found.has_more, true),
    };
    let newer = found.items.first().filter(|_| newer).map(|first| format!("{here}before={}", id(first)));
    let older = found.items.last().filter(|_| older).map(|last| format!("{here}after={}", id(last)));
    pager(newer.as_deref(), older.as_deref())
}
