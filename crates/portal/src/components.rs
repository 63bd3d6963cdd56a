//! What pages are made of. A component is here when two pages need it.
//!
//! Everything works without JavaScript; what `portal.js` adds (copying, for one) is hidden until it is there.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, PreEscaped, html};

use crate::guard::Visitor;

/// The field that ties a form to who it was rendered for. Part of every form: see [`form`].
pub(crate) fn csrf_field(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="csrf" value=(visitor.csrf); }
}

/// A form that does something.
pub(crate) fn form(visitor: &Visitor, action: &str, body: Markup) -> Markup {
    html! {
        form.stack method="post" action=(action) {
            (csrf_field(visitor))
            (body)
        }
    }
}

/// A button that does one thing, as a form of its own.
pub(crate) fn act(visitor: &Visitor, action: &str, label: &str, class: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            (csrf_field(visitor))
            button class=(class) type="submit" { (label) }
        }
    }
}

/// What is wrong with a form that is shown again: the field's name and what to do. Empty name: the form as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mistakes(Vec<(String, String)>);

impl Mistakes {
    /// One mistake.
    pub(crate) fn one(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![(field.into(), message.into())])
    }

    /// One more.
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push((field.into(), message.into()));
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == field).map(|(_, message)| message.as_str())
    }

    /// All of them with links to their fields: to be put above the form.
    pub(crate) fn summary(&self) -> Markup {
        html! {
            @if !self.0.is_empty() {
                div.note.bad role="alert" tabindex="-1" id="mistakes" {
                    @for (field, message) in &self.0 {
                        @if field.is_empty() { p { (message) } }
                        @else { p { a href={ "#" (field) } { (message) } } }
                    }
                }
            }
        }
    }
}

/// A field of a form: its label, what helps to fill it in, and what is wrong with it.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    pub(crate) hint: &'a str,
    pub(crate) mistakes: &'a Mistakes,
}

impl<'a> Field<'a> {
    pub(crate) const fn new(name: &'a str, label: &'a str, mistakes: &'a Mistakes) -> Self {
        Self { name, label, hint: "", mistakes }
    }

    /// What helps to fill it in.
    pub(crate) const fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    /// `aria-describedby` of the control.
    fn described(&self) -> Option<String> {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let wrong = self.mistakes.of(self.name).map(|_| format!("{}-wrong", self.name));
        match (hint, wrong) {
            (None, None) => None,
            (hint, wrong) => Some([wrong, hint].into_iter().flatten().collect::<Vec<_>>().join(" ")),
        }
    }

    /// The field around any control, which has the field's name as its id.
    pub(crate) fn around(&self, control: Markup) -> Markup {
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                @if !self.hint.is_empty() { p.hint id={ (self.name) "-hint" } { (self.hint) } }
                (control)
                @if let Some(message) = self.mistakes.of(self.name) { p.wrong id={ (self.name) "-wrong" } { (message) } }
            }
        }
    }

    /// An `input` of this type, with `autocomplete` as HTML has it ("off" for what the browser should not offer).
    pub(crate) fn input(&self, kind: &str, value: &str, autocomplete: &str, required: bool) -> Markup {
        let invalid = self.mistakes.of(self.name).map(|_| "true");
        self.around(html! {
            input type=(kind) id=(self.name) name=(self.name) value=(value) autocomplete=(autocomplete) required[required]
                aria-describedby=[self.described()] aria-invalid=[invalid];
        })
    }

    /// A text over several lines.
    pub(crate) fn textarea(&self, value: &str, rows: u32) -> Markup {
        let invalid = self.mistakes.of(self.name).map(|_| "true");
        self.around(html! {
            textarea id=(self.name) name=(self.name) rows=(rows) aria-describedby=[self.described()] aria-invalid=[invalid] { (value) }
        })
    }

    /// A choice of one: (value, text).
    pub(crate) fn select(&self, options: &[(String, String)], chosen: &str) -> Markup {
        let invalid = self.mistakes.of(self.name).map(|_| "true");
        self.around(html! {
            select id=(self.name) name=(self.name) aria-describedby=[self.described()] aria-invalid=[invalid] {
                @for (value, text) in options {
                    option value=(value) selected[value == chosen] { (text) }
                }
            }
        })
    }

    /// A choice of one that shows all: (value, text, what it means).
    pub(crate) fn radios(&self, options: &[(String, String, String)], chosen: &str) -> Markup {
        self.choices("radio", options, |value| value == chosen)
    }

    /// A choice of several: (value, text, what it means).
    pub(crate) fn checkboxes(&self, options: &[(String, String, String)], chosen: impl Fn(&str) -> bool) -> Markup {
        self.choices("checkbox", options, chosen)
    }

    fn choices(&self, kind: &str, options: &[(String, String, String)], chosen: impl Fn(&str) -> bool) -> Markup {
        html! {
            fieldset id=(self.name) aria-describedby=[self.described()] {
                legend { (self.label) }
                @if !self.hint.is_empty() { p.hint id={ (self.name) "-hint" } { (self.hint) } }
                @if let Some(message) = self.mistakes.of(self.name) { p.wrong id={ (self.name) "-wrong" } { (message) } }
                @for (value, text, meaning) in options {
                    label.choice {
                        input type=(kind) name=(self.name) value=(value) checked[chosen(value)];
                        span { b { (text) } @if !meaning.is_empty() { small { (meaning) } } }
                    }
                }
            }
        }
    }
}

/// How a state looks; its text says it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Busy,
    Bad,
    Plain,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "badge good",
            Self::Busy => "badge busy",
            Self::Bad => "badge bad",
            Self::Plain => "badge",
        }
    }
}

/// A state in a word or two.
pub(crate) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class=(tone.class()) { (text) } }
}

/// A moment, in UTC: `2026-11-22 20:14:05`.
pub(crate) fn time(at: Timestamp) -> Markup {
    let shown = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string();
    html! { time datetime=(at) title="UTC" { (shown) } }
}

/// As [`time`], or what to say when there is none.
pub(crate) fn time_or(at: Option<Timestamp>, none: &str) -> Markup {
    match at {
        Some(at) => time(at),
        None => html! { span.quiet { (none) } },
    }
}

/// Text to be copied: a secret, a command. `id` is its own on the page.
pub(crate) fn code(id: &str, label: &str, text: &str) -> Markup {
    html! {
        div.code {
            pre tabindex="0" role="region" aria-label=(label) { code id=(id) { (text) } }
            button.copy type="button" data-copy=(id) hidden { "Copy" }
        }
    }
}

/// An id, in a fixed font.
pub(crate) fn mono(text: impl std::fmt::Display) -> Markup {
    html! { code { (text.to_string()) } }
}

/// Properties: what each is called and what it is.
pub(crate) fn properties(rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl.properties {
            @for (name, value) in rows {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// A table that scrolls by itself when the window is narrow. `caption` says what it is, for those who don't see the heading.
pub(crate) fn table(caption: &str, heads: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption.unseen { (caption) }
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// What stands where nothing is yet: what would be here and how to get it.
pub(crate) fn empty(text: &str, action: Option<(&str, &str)>) -> Markup {
    html! {
        div.empty {
            p { (text) }
            @if let Some((href, label)) = action { p { a.button href=(href) { (label) } } }
        }
    }
}

/// Links to the pages before and after this one of a list.
pub(crate) fn pager(newer: Option<&str>, older: Option<&str>) -> Markup {
    html! {
        @if newer.is_some() || older.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(href) = newer { a.button href=(href) rel="prev" { "← Newer" } }
                @if let Some(href) = older { a.button href=(href) rel="next" { "Older →" } }
            }
        }
    }
}

/// A number with its name, large.
pub(crate) fn figure(name: &str, value: &str, more: Markup) -> Markup {
    html! { div.figure { p.name { (name) } p.value { (value) } @if !more.0.is_empty() { p.more { (more) } } } }
}

/// A number with thin spaces between its thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Nothing.
pub(crate) const fn nothing() -> Markup {
    PreEscaped(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn what_is_wrong_is_said_at_its_field() {
        let mistakes = Mistakes::one("name", "Give it a name.");
        let html = Field::new("name", "Name", &mistakes)
            .hint("What it is for.")
            .input("text", "<x>", "off", true)
            .into_string();
        assert!(
            html.contains(r#"aria-describedby="name-wrong name-hint""#) && html.contains(r#"aria-invalid="true""#),
            "{html}"
        );
        assert!(html.contains("&lt;x&gt;"), "{html}");
    }
}
