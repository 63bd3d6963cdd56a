//! The browser: pages opened, read, filled in and waited for.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::element::Element;
use crate::process::Driver;
use crate::setup::Setup;
use crate::wire::{Refusal, Session};
use crate::{LOOK, PATIENCE, Theme, Width};

/// A Chromium of a test's own, with one tab. Ends with [`Browser::close`].
#[derive(Debug)]
pub struct Browser {
    /// Always there until it is closed.
    driver: Option<Driver>,
    pub(crate) session: Session,
    pub(crate) width: Width,
    complaints: Vec<String>,
    /// Where it has been: a page that answers with an error is written to the console too, which is no complaint about the page.
    visited: BTreeSet<String>,
}

impl Browser {
    /// Starts one that looks at pages wide and light.
    ///
    /// # Panics
    /// When Chromium or its driver is missing or does not start.
    pub async fn start(setup: Setup) -> Self {
        let driver = Driver::start().await;
        let session = Session::start(driver.address(), setup.capabilities(driver.folder())).await;
        let session = session.unwrap_or_else(|refusal| {
            panic!("the browser does not start: {}\n{}", refusal.message, driver.last_words());
        });
        let (complaints, visited, width) = (Vec::new(), BTreeSet::new(), Width::Wide);
        let mut browser = Self { driver: Some(driver), session, width, complaints, visited };
        browser.watch_layout().await;
        browser.look(width, Theme::Light).await;
        browser
    }

    /// Its folder: the profile and all that it writes. Gone once it is closed.
    pub fn folder(&self) -> &Path {
        self.driver.as_ref().expect("it is open").folder()
    }

    /// Opens a page and waits until it has loaded.
    pub async fn open(&mut self, url: &str) {
        self.done(self.session.post("/url", json!({ "url": url })).await);
        self.note_where().await;
    }

    /// Loads the page again.
    pub async fn reload(&mut self) {
        self.done(self.session.post("/refresh", json!({})).await);
    }

    /// Goes back to the page before.
    pub async fn back(&mut self) {
        self.done(self.session.post("/back", json!({})).await);
        self.note_where().await;
    }

    /// The address of the page, with its fragment.
    pub async fn url(&self) -> String {
        self.text_of(self.session.get("/url").await)
    }

    /// The page's title.
    pub async fn title(&self) -> String {
        self.text_of(self.session.get("/title").await)
    }

    /// The page as HTML, as it is now.
    pub async fn html(&self) -> String {
        self.text_of(self.session.get("/source").await)
    }

    /// What can be read on the page.
    pub async fn text(&self) -> String {
        self.find("body").await.text().await
    }

    /// The first element that a CSS selector names, once there is one.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn find(&self, css: &str) -> Element<'_> {
        self.first("css selector", css, css).await
    }

    /// All elements that a CSS selector names now.
    pub async fn find_all(&self, css: &str) -> Vec<Element<'_>> {
        let found = self.session.post("/elements", json!({ "using": "css selector", "value": css })).await;
        let found = self.done(found);
        found.as_array().into_iter().flatten().map(|found| Element::of(self, found)).collect()
    }

    /// The field with this label, once there is one.
    pub async fn field(&self, label: &str) -> Element<'_> {
        let label_xpath = quoted(label);
        let inside = "(self::input or self::select or self::textarea)";
        let xpath = format!(
            "(//label[normalize-space(.)={label_xpath} or normalize-space(text()[normalize-space()])={label_xpath}]\
             /descendant::*[{inside}] | //*[{inside} and @id = //label[normalize-space(.)={label_xpath} or \
             normalize-space(text()[normalize-space()])={label_xpath}]/@for] | //*[{inside} and @aria-label={label_xpath}])[1]"
        );
        self.first("xpath", &xpath, &format!("a field “{label}”")).await
    }

    /// The button, link or summary with this text, once there is one.
    pub async fn control(&self, text: &str) -> Element<'_> {
        let text_xpath = quoted(text);
        let xpath = format!(
            "(//*[(self::button or self::a or self::summary) and (normalize-space(.)={text_xpath} or \
             @aria-label={text_xpath})])[1]"
        );
        self.first("xpath", &xpath, &format!("“{text}” to press")).await
    }

    /// Writes a text into the field with this label, instead of what was in it.
    pub async fn fill(&self, label: &str, text: &str) {
        self.field(label).await.fill(text).await;
    }

    /// Ticks or unticks the box, or chooses the option, with this label.
    pub async fn tick(&self, label: &str) {
        self.field(label).await.click().await;
    }

    /// Chooses an option of the list with this label.
    pub async fn choose(&self, label: &str, option: &str) {
        self.field(label).await.choose(option).await;
    }

    /// Presses the button or link with this text; a page that loads for it has loaded when this returns.
    pub async fn press(&mut self, text: &str) {
        self.control(text).await.click().await;
        self.note_where().await;
    }

    /// Presses the first element that a CSS selector names; a page that loads for it has loaded when this returns.
    pub async fn press_first(&mut self, css: &str) {
        self.find(css).await.click().await;
        self.note_where().await;
    }

    /// Waits until this can be read on the page.
    pub async fn see(&self, text: &str) {
        let what = format!("“{text}” is to be read");
        self.until(&what, &format!("document.body.innerText.includes({})", json!(text))).await;
    }

    /// Waits until a condition, an expression in JavaScript, is true of the page.
    ///
    /// # Panics
    /// When it does not become true in time.
    pub async fn until(&self, what: &str, condition: &str) {
        let script = format!("return Boolean(document.body && ({condition}));");
        let last = Instant::now() + PATIENCE;
        // A page that is just being left has no answer.
        while !matches!(self.try_run(&script, &[]).await, Ok(Value::Bool(true))) {
            if Instant::now() > last {
                panic!("it took too long: {what}\n{} has:\n{}", self.url().await, self.text().await);
            }
            sleep(LOOK).await;
        }
    }

    /// Runs a script (a function's body; `arguments` are its arguments) in the page and gives what it returns.
    ///
    /// # Panics
    /// When it throws.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.done(self.try_run(script, arguments).await)
    }

    async fn try_run(&self, script: &str, arguments: &[Value]) -> Result<Value, Refusal> {
        self.session.post("/execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// Switches the pages' own scripts off or on, from the next page on. Everything else here goes on to work.
    pub async fn scripts(&mut self, on: bool) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": !on })).await;
    }

    /// The cookies of the page, as WebDriver tells them: `name`, `value`, `httpOnly`, `secure`, `sameSite`, `expiry`, `path`.
    pub async fn cookies(&self) -> Vec<Value> {
        let all = self.done(self.session.get("/cookie").await);
        all.as_array().cloned().unwrap_or_default()
    }

    /// Sets a cookie of the page's site, as its server would.
    pub async fn set_cookie(&mut self, name: &str, value: &str) {
        let cookie = json!({ "name": name, "value": value, "path": "/", "httpOnly": true, "sameSite": "Lax" });
        self.done(self.session.post("/cookie", json!({ "cookie": cookie })).await);
    }

    /// Forgets all cookies of the page's site, as somebody does who comes with another browser.
    pub async fn forget_cookies(&mut self) {
        self.done(self.session.delete("/cookie").await);
    }

    /// A command of Chromium's DevTools protocol.
    pub(crate) async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.done(self.session.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await)
    }

    /// What the pages have written to the console since the last look that they should not have: errors, warnings and what the content
    /// security policy has refused.
    pub async fn complaints(&mut self) -> Vec<String> {
        self.read_console().await;
        std::mem::take(&mut self.complaints)
    }

    async fn read_console(&mut self) {
        self.note_where().await;
        let lines = self.done(self.session.post("/se/log", json!({ "type": "browser" })).await);
        for line in lines.as_array().into_iter().flatten() {
            let (level, message) = (line["level"].as_str().unwrap_or(""), line["message"].as_str().unwrap_or(""));
            let of_a_page = line["source"] == "network"
                && self.visited.iter().any(|url| {
                    message.strip_prefix(url.as_str()).is_some_and(|rest| rest.starts_with(" - Failed to load"))
                });
            if matches!(level, "SEVERE" | "WARNING") && !of_a_page {
                self.complaints.push(format!("{level} {}: {message}", line["source"].as_str().unwrap_or("")));
            }
        }
    }

    async fn note_where(&mut self) {
        let url = self.url().await;
        self.visited.insert(url.split('#').next().unwrap_or_default().to_owned());
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a page has written an error or a warning to its console, or has broken its content security policy, and nobody has taken
    /// that with [`Browser::complaints`].
    pub async fn close(mut self) {
        let complaints = self.complaints().await;
        let driver = self.driver.take().expect("it is open");
        self.done(self.session.delete("").await);
        driver.stop().await;
        assert!(complaints.is_empty(), "the pages complained:\n{}", complaints.join("\n"));
    }

    /// What a command answered.
    ///
    /// # Panics
    /// When it was refused.
    #[track_caller]
    pub(crate) fn done(&self, answer: Result<Value, Refusal>) -> Value {
        answer.unwrap_or_else(|refusal| panic!("{}: {}", refusal.error, refusal.message))
    }

    #[track_caller]
    fn text_of(&self, answer: Result<Value, Refusal>) -> String {
        self.done(answer).as_str().unwrap_or_default().to_owned()
    }

    async fn first(&self, using: &str, value: &str, what: &str) -> Element<'_> {
        let last = Instant::now() + PATIENCE;
        loop {
            match self.session.post("/element", json!({ "using": using, "value": value })).await {
                Ok(found) => return Element::of(self, &found),
                Err(refusal) if Instant::now() > last => {
                    let (url, html) = (self.url().await, self.html().await);
                    panic!("there is no {what}: {}\n{url} has:\n{html}", refusal.message);
                }
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let forgotten = self.driver.is_some() && !std::thread::panicking();
        assert!(!forgotten, "the browser was not closed, so nobody has heard what the pages complained of");
    }
}

/// A text as XPath writes it. XPath 1.0 has no escapes: one with both kinds of quotes is put together.
fn quoted(text: &str) -> String {
    if text.contains('"') {
        let parts: Vec<String> = text.split('"').map(|part| format!("\"{part}\"")).collect();
        return format!("concat({})", parts.join(", '\"', "));
    }
    format!("\"{text}\"")
}

/// A script's list of texts.
pub(crate) fn texts(found: &Value) -> Vec<String> {
    found.as_array().into_iter().flatten().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
}
