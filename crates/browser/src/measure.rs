//! What a page costs: bytes, and how far what was there already is moved.

use serde_json::json;

use crate::Browser;
use crate::browser::texts;

/// Collects layout shifts from the page's first moment on (<https://wicg.github.io/layout-instability/>).
const WATCH: &str = "
    window.layoutShifts = [];
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            const moved = entry.sources.map((source) => source.node && source.node.nodeType === 1
                ? source.node.outerHTML.slice(0, 120) : String(source.node && source.node.nodeName));
            // Within a control that the browser draws itself (a player that learns its length) no node of the page is named.
            if (entry.sources.length > 0 && entry.sources.every((source) => !source.node)) continue;
            window.layoutShifts.push({ value: entry.value, moved });
        }
    }).observe({ type: 'layout-shift', buffered: true });
";

/// What a page has cost, everything that it brought along counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Requests, the page's own included.
    pub requests: u64,
    /// Bytes transferred, with headers, compressed as they were; nothing for what was in the cache.
    pub transferred_bytes: u64,
    /// From the navigation's start until everything had loaded, in milliseconds. For people to read: it depends on the machine.
    pub loaded_ms: f64,
}

impl Browser {
    pub(crate) async fn watch_layout(&mut self) {
        self.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH })).await;
    }

    /// What the page that is open has cost.
    pub async fn weight(&self) -> Weight {
        let script =
            "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
            return { requests: all.length, bytes: all.reduce((sum, one) => sum + one.transferSize, 0),
                loaded: performance.getEntriesByType('navigation')[0].loadEventEnd };";
        self.until("the page has loaded", "performance.getEntriesByType('navigation')[0].loadEventEnd > 0").await;
        let found = self.run(script, &[]).await;
        Weight {
            requests: found["requests"].as_u64().expect("a number"),
            transferred_bytes: found["bytes"].as_u64().expect("a number"),
            loaded_ms: found["loaded"].as_f64().expect("a number"),
        }
    }

    /// Empties the cache, so that the next page is as the first one that somebody sees.
    pub async fn forget_cache(&mut self) {
        self.cdp("Network.enable", json!({})).await;
        self.cdp("Network.clearBrowserCache", json!({})).await;
    }

    /// What on the page has moved by itself since it was first drawn, and how much. Empty when nothing has.
    pub async fn shifts(&self) -> Vec<String> {
        // What is drawn is reported after the frame in which it is drawn.
        let frames = "const done = arguments[arguments.length - 1];
            document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))));";
        self.done(self.session.post("/execute/async", json!({ "script": frames, "args": [] })).await);
        let shifts = "return window.layoutShifts.map(({ value, moved }) => `moved by ${value}: ${moved.join(', ')}`);";
        texts(&self.run(shifts, &[]).await)
    }
}
