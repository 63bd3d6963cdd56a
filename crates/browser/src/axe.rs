//! axe-core, which checks a page for what keeps people out (<https://github.com/dequelabs/axe-core>). `scripts/axe` fetches it beside
//! what is built; it is not part of the repository, as its licence is the MPL.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::json;

use crate::Browser;

/// The rules of WCAG 2.2, levels A and AA, and of the versions that it includes; and axe's own advice on landmarks and headings.
const TAGS: &[&str] = &["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/// Something on a page that keeps people out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// axe's name of the rule, such as `color-contrast`.
    pub rule: String,
    /// What is wrong, in a sentence.
    pub help: String,
    /// The elements that it concerns: selector, HTML, and what to do about each.
    pub elements: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}", self.rule, self.help)?;
        self.elements.iter().try_for_each(|element| writeln!(f, "  {element}"))
    }
}

/// The checker's source, from `axe-core/axe.min.js` in a folder above this test's own program.
///
/// # Panics
/// When it is not there.
fn source() -> &'static str {
    static SOURCE: OnceLock<String> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let program = std::env::current_exe().expect("a program");
        let mut folders = program.ancestors().map(|folder| folder.join("axe-core/axe.min.js"));
        let found: Option<PathBuf> = folders.find(|file| file.is_file());
        let found = found.expect("axe-core is missing: scripts/axe fetches it (scripts/test does)");
        std::fs::read_to_string(found).expect("it can be read")
    })
}

impl Browser {
    /// What keeps people out of the page as it looks now.
    pub async fn violations(&mut self) -> Vec<Violation> {
        if self.run("return typeof window.axe;", &[]).await == "undefined" {
            self.run(source(), &[]).await;
        }
        let script = "const done = arguments[arguments.length - 1];
            window.axe.run(document, { runOnly: arguments[0], resultTypes: ['violations'] }).then(
                (result) => done(result.violations.map((violation) => ({
                    rule: violation.id,
                    help: violation.help,
                    elements: violation.nodes.map((node) => `${node.target.join(' ')}: ${node.html}: ${node.failureSummary}`),
                }))),
                (error) => done(String(error)));";
        let found = self.done(self.session.post("/execute/async", json!({ "script": script, "args": [TAGS] })).await);
        let found = found.as_array().unwrap_or_else(|| panic!("axe failed: {found}"));
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let violation = |found: &serde_json::Value| Violation {
            rule: text(&found["rule"]),
            help: text(&found["help"]),
            elements: found["elements"].as_array().into_iter().flatten().map(text).collect(),
        };
        found.iter().map(violation).collect()
    }
}
