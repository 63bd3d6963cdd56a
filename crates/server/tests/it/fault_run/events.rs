//! Events: whatever has happened to a session is told once.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::capability::{Capability, Stored};
use super::report::Report;
use crate::load::{Chance, text};

/// See above. It has no clients of its own: sessions make events.
pub(super) struct Events {
    pub(super) report: Arc<Report>,
}

#[async_trait]
impl Capability for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn clients(&self) -> usize {
        0
    }

    async fn act(&self, _: &mut Chance) {}

    async fn settle(&self, _: &mut Chance) {}

    async fn check(&self, stored: &Stored, _: &mut Chance) {
        let mut told: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for event in &stored.events {
            *told.entry((event.object.as_str(), event.event_type.to_string())).or_default() += 1;
        }
        for (id, session) in stored.sessions.values().flatten() {
            let expected = [
                ("session.created", true),
                ("session.started", !session["started_at"].is_null()),
                ("session.ended", text(session, "/status") == "ended"),
            ];
            for (event_type, happened) in expected {
                let times = told.remove(&(id.as_str(), event_type.to_owned())).unwrap_or_default();
                self.report
                    .must(times == u64::from(happened), || format!("{event_type} was told {times} times: {session}"));
            }
        }
        let strangers: Vec<_> = told.iter().filter(|((object, _), _)| object.starts_with("sess_")).collect();
        self.report.must(strangers.is_empty(), || format!("events of sessions that are not there: {strangers:?}"));
        self.report.add("checked", "events", stored.events.len() as u64);
    }
}
