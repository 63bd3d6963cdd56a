//! One element of a page.

use serde_json::{Value, json};

use crate::Browser;

/// The protocol's name for the field that holds an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// An element of the page that is open; no longer of any use once another page is.
#[derive(Debug)]
pub struct Element<'b> {
    browser: &'b Browser,
    id: String,
}

impl<'b> Element<'b> {
    pub(crate) fn of(browser: &'b Browser, found: &Value) -> Self {
        Self { browser, id: found[ELEMENT].as_str().expect("an element has an id").to_owned() }
    }

    /// As an argument of [`Browser::run`].
    pub fn argument(&self) -> Value {
        json!({ ELEMENT: self.id })
    }

    async fn post(&self, what: &str, body: Value) {
        let path = format!("/element/{}{what}", self.id);
        self.browser.done(self.browser.session.post(&path, body).await);
    }

    async fn get(&self, what: &str) -> Value {
        self.browser.done(self.browser.session.get(&format!("/element/{}{what}", self.id)).await)
    }

    /// Clicks it, where a person would: refused when something lies over it.
    pub async fn click(&self) {
        self.post("/click", json!({})).await;
    }

    /// Types into it, after what is there.
    pub async fn type_in(&self, text: &str) {
        self.post("/value", json!({ "text": text })).await;
    }

    /// Empties it and types into it.
    pub async fn fill(&self, text: &str) {
        self.post("/clear", json!({})).await;
        self.type_in(text).await;
    }

    /// Chooses an option of a list by its text.
    ///
    /// # Panics
    /// When there is no such option.
    pub async fn choose(&self, option: &str) {
        let script = "const option = [...arguments[0].options].find((option) => option.text.trim() === arguments[1]);
            if (!option) return false;
            arguments[0].value = option.value;
            arguments[0].dispatchEvent(new Event('input', { bubbles: true }));
            arguments[0].dispatchEvent(new Event('change', { bubbles: true }));
            return true;";
        let chosen = self.browser.run(script, &[self.argument(), json!(option)]).await;
        assert_eq!(chosen, Value::Bool(true), "there is no option “{option}”");
    }

    /// What can be read in it.
    pub async fn text(&self) -> String {
        self.get("/text").await.as_str().unwrap_or_default().to_owned()
    }

    /// An attribute, as it is in the HTML.
    pub async fn attribute(&self, name: &str) -> Option<String> {
        let script = "return arguments[0].getAttribute(arguments[1]);";
        let value = self.browser.run(script, &[self.argument(), json!(name)]).await;
        value.as_str().map(str::to_owned)
    }

    /// What a field holds.
    pub async fn value(&self) -> String {
        self.get("/property/value").await.as_str().unwrap_or_default().to_owned()
    }

    /// Whether it can be seen.
    pub async fn is_displayed(&self) -> bool {
        self.get("/displayed").await == Value::Bool(true)
    }

    /// Whether a box is ticked, or an option chosen.
    pub async fn is_selected(&self) -> bool {
        self.get("/selected").await == Value::Bool(true)
    }
}
