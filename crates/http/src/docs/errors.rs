//! `/docs/errors`: every error code of both editions, made from the registry, the editions' table and the table of operations.
//!
//! Every name of a code is the id of exactly one element: edition 1's `doc_url` and the reference link to it.

use std::fmt::Write as _;

use axum::http::StatusCode;
use kallglot_core::edition::Edition;
use kallglot_core::error_code::{ErrorCode, ErrorRow};

use super::explanation;
use crate::openapi::Route;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Errors · Kallglot API</title>
<link rel="icon" href="/docs/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/docs/assets/errors.css">
</head>
<body>
<div class="page">
"#;

const INTRODUCTION: &str = r##"<h1>Errors</h1>
<p class="lead">Every error is JSON of one shape. <code>code</code> is for programs, <code>message</code> says what is wrong and what to
do, <code>param</code> names the field that is wrong. With the request id, <code>GET /v1/requests/{id}</code> explains the refusal.</p>
<pre><code>{
  "error": {
    "type": "invalid_request_error",
    "code": "validation_failed",
    "message": "`mode` must be one of …",
    "param": "mode",
    "request_id": "req_…"
  }
}</code></pre>
<p class="lead">The codes are edition 2's. Where edition 1 has another name, status or type, it stands below the code; names that only
edition 1 has are <a href="#edition-1">at the end</a>. Edition 1's errors also have a <code>doc_url</code>, which leads to this page.</p>
"##;

/// A name that only edition 1 has, with the codes that it stands for.
struct OldName {
    name: &'static str,
    codes: Vec<ErrorCode>,
}

/// The codes of one status, or those that only streams have.
struct Group {
    /// None: on streams only.
    status: Option<u16>,
    codes: Vec<ErrorCode>,
}

/// The page.
pub(super) fn page() -> String {
    let (groups, old_names) = (groups(), old_names());
    let mut html = String::with_capacity(96 * 1024);
    html.push_str(HEAD);
    contents(&mut html, &groups, &old_names);
    html.push_str("<main>\n");
    html.push_str(INTRODUCTION);
    for group in &groups {
        let _ = writeln!(html, "<h2 id=\"{}\">{}</h2>", group.anchor(), group.title());
        for code in &group.codes {
            entry(&mut html, *code);
        }
    }
    html.push_str("<h2 id=\"edition-1\">Names that only edition 1 has</h2>\n");
    for old in &old_names {
        old_entry(&mut html, old);
    }
    html.push_str("</main>\n</div>\n</body>\n</html>\n");
    html
}

impl Group {
    fn anchor(&self) -> String {
        self.status.map_or_else(|| "streams".into(), |status| format!("status-{status}"))
    }

    fn title(&self) -> String {
        let Some(status) = self.status else { return "On streams only".into() };
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        format!("{status} {}", reason.unwrap_or_default())
    }
}

/// The codes by status, the smallest first; each group in the registry's order.
fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for code in ErrorCode::ALL {
        let status = code.row().status;
        match groups.iter_mut().find(|group| group.status == status) {
            Some(group) => group.codes.push(*code),
            None => groups.push(Group { status, codes: vec![*code] }),
        }
    }
    groups.sort_by_key(|group| group.status.unwrap_or(u16::MAX));
    groups
}

fn old_names() -> Vec<OldName> {
    let mut names: Vec<OldName> = Vec::new();
    for code in ErrorCode::ALL {
        let name = Edition::One.error_shape(*code).code;
        if ErrorCode::parse(name).is_some() {
            continue;
        }
        match names.iter_mut().find(|old| old.name == name) {
            Some(old) => old.codes.push(*code),
            None => names.push(OldName { name, codes: vec![*code] }),
        }
    }
    names
}

fn contents(html: &mut String, groups: &[Group], old_names: &[OldName]) {
    html.push_str("<nav aria-label=\"Codes\">\n<p class=\"top\"><a href=\"/docs\">Kallglot API reference</a></p>\n<details>\n<summary>All codes</summary>\n<div class=\"list\">\n");
    let mut list = |title: &str, names: &mut dyn Iterator<Item = &'static str>| {
        let _ = writeln!(html, "<span class=\"group\">{title}</span>\n<ul>");
        for name in names {
            let _ = writeln!(html, "<li><a href=\"#{name}\"><code>{}</code></a></li>", breakable(name));
        }
        html.push_str("</ul>\n");
    };
    for group in groups {
        list(&group.title(), &mut group.codes.iter().map(|code| code.as_str()));
    }
    list("Edition 1", &mut old_names.iter().map(|old| old.name));
    html.push_str("</div>\n</details>\n</nav>\n");
}

/// A name that may be broken after its underscores.
fn breakable(name: &str) -> String {
    name.replace('_', "_<wbr>")
}

fn entry(html: &mut String, code: ErrorCode) {
    let row = code.row();
    heading(html, row.code, row.status);
    let _ = writeln!(html, "<p>{}</p>\n<p class=\"why\">{}</p>", text(row.message), text(explanation::of(code)));
    html.push_str("<dl>\n");
    let _ = writeln!(html, "<dt>Type</dt><dd><code>{}</code></dd>", row.error_type);
    if let Some(difference) = in_edition_1(code) {
        let _ = writeln!(html, "<dt>Edition 1</dt><dd>{difference}</dd>");
    }
    let again =
        if row.retryable { "Yes: the same request can succeed later." } else { "No: change the request first." };
    let _ = writeln!(html, "<dt>Try again</dt><dd>{again}</dd>");
    if let Some(close) = row.close_code {
        let _ = writeln!(html, "<dt>Stream</dt><dd>Closes with {close}.</dd>");
    }
    if let Some(operations) = operations(row, code) {
        let _ = writeln!(html, "<dt>Given by</dt><dd>{operations}</dd>");
    }
    html.push_str("</dl>\n</section>\n");
}

fn heading(html: &mut String, name: &str, status: Option<u16>) {
    let (class, label) = match status {
        Some(500..) => ("status server", status.map_or_else(String::new, |status| status.to_string())),
        Some(status) => ("status", status.to_string()),
        None => ("status stream", "stream".into()),
    };
    let _ = writeln!(
        html,
        "<section class=\"entry\" id=\"{name}\">\n<h3><a href=\"#{name}\"><code>{}</code></a> <span class=\"{class}\">{label}</span></h3>",
        breakable(name)
    );
}

fn old_entry(html: &mut String, old: &OldName) {
    let status = old.codes.first().and_then(|code| Edition::One.error_shape(*code).status);
    heading(html, old.name, status);
    html.push_str("<p>Edition 1's name for:</p>\n<dl>\n");
    for code in &old.codes {
        let name = code.as_str();
        let _ = writeln!(
            html,
            "<dt><a href=\"#{name}\"><code>{}</code></a></dt><dd>{}</dd>",
            breakable(name),
            text(code.row().message)
        );
    }
    html.push_str("</dl>\n</section>\n");
}

/// What is different in edition 1, if anything is.
fn in_edition_1(code: ErrorCode) -> Option<String> {
    let (one, two) = (Edition::One.error_shape(code), Edition::Two.error_shape(code));
    let mut parts = Vec::new();
    if one.code != two.code {
        parts.push(format!("<a href=\"#{0}\"><code>{0}</code></a>", one.code));
    }
    if let Some(status) = one.status.filter(|status| Some(*status) != two.status) {
        parts.push(format!("status {status}"));
    }
    if one.error_type != two.error_type {
        parts.push(format!("type <code>{}</code>", one.error_type));
    }
    if parts.is_empty() { None } else { Some(parts.join(", ")) }
}

/// Which operations can give it. None when no operation does (yet).
fn operations(row: &ErrorRow, code: ErrorCode) -> Option<String> {
    row.status?;
    let listed = || Route::ALL.iter().map(|route| route.operation()).filter(|operation| operation.tag.is_some());
    let giving: Vec<_> = listed().filter(|operation| operation.codes().contains(&code)).collect();
    let all_with_key =
        listed().filter(|operation| operation.needs_key()).all(|operation| operation.codes().contains(&code));
    let names = |giving: &mut dyn Iterator<Item = &&crate::openapi::Operation>| {
        giving
            .map(|operation| format!("<li><code>{} {}</code></li>", operation.verb.method(), operation.path))
            .collect::<String>()
    };
    let others = names(&mut giving.iter().filter(|operation| !(all_with_key && operation.needs_key())));
    match (all_with_key, others.is_empty()) {
        (true, true) => Some("Every request with an API key.".into()),
        (true, false) => Some(format!("Every request with an API key, and:<ul>{others}</ul>")),
        (false, false) => Some(format!("<ul>{others}</ul>")),
        (false, true) => match code {
            ErrorCode::MethodNotAllowed => Some("Every address.".into()),
            _ => None,
        },
    }
}

/// Plain text as HTML; what is in backticks is code.
fn text(plain: &str) -> String {
    let mut html = String::with_capacity(plain.len() + 32);
    for (index, part) in plain.split('`').enumerate() {
        let part = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match index % 2 {
            0 => html.push_str(&part),
            _ => {
                let _ = write!(html, "<code>{part}</code>");
            }
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_both_editions_is_one_anchor() {
        let html = page();
        for code in ErrorCode::ALL {
            for edition in Edition::ALL {
                let id = format!(" id=\"{}\"", edition.error_shape(*code).code);
                assert_eq!(html.matches(&id).count(), 1, "{id}");
            }
        }
    }

    #[test]
    fn every_link_within_the_page_leads_somewhere() {
        let html = page();
        for link in html.split("href=\"#").skip(1) {
            let name = link.split('"').next().unwrap_or_default();
            assert!(html.contains(&format!(" id=\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn code_in_backticks_is_marked_and_the_rest_escaped() {
        assert_eq!(text("a < b: `c & <d>`."), "a &lt; b: <code>c &amp; &lt;d&gt;</code>.");
    }

    /// The table behind the page, for whoever changes it to see what they change.
    #[test]
    fn the_error_table() {
        let mut table = String::new();
        for code in ErrorCode::ALL {
            let (one, two) = (Edition::One.error_shape(*code), Edition::Two.error_shape(*code));
            let number = |number: Option<u16>| number.map_or_else(|| "-".into(), |number| number.to_string());
            let shape = |shape: kallglot_core::edition::ErrorShape| {
                format!("{} {} {}", number(shape.status), shape.error_type, shape.code)
            };
            let old = if one == two { "the same".into() } else { shape(one) };
            let again = if code.row().retryable { "retry" } else { "final" };
            let _ = writeln!(
                table,
                "{} | close {} | {again} | edition 1: {old}",
                shape(two),
                number(code.row().close_code)
            );
        }
        insta::assert_snapshot!(table);
    }
}
