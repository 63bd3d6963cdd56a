//! What an audit entry says of a change: each property that is different, before and after, as people read it. The same in every
//! backend: one place for organizations, one for keys. What is not set is the empty text.

use std::collections::BTreeMap;

use kallglot_core::Timestamp;
use kallglot_core::alert::AlertRule;
use kallglot_core::api_key::ApiKey;
use kallglot_core::delivery::{Webhook, WebhookState};
use kallglot_core::organization::Organization;
use kallglot_core::plan::Plan;
use kallglot_core::vocabulary::Vocabulary;

/// Property → (before, after), as in [`kallglot_core::audit::AuditEntry`].
pub type Changes = BTreeMap<String, (String, String)>;

/// Compares two objects of one kind property by property; without the first, everything about the second is new.
struct Comparison<'a, T> {
    before: Option<&'a T>,
    after: &'a T,
    changes: Changes,
}

impl<T> Comparison<'_, T> {
    /// Notes the property that `of` gives if it is different; `text` says how people read it.
    fn note<'s, P: PartialEq + 's>(&'s mut self, name: &str, of: impl Fn(&'s T) -> P, text: impl Fn(&P) -> String)
    where
        T: 's,
    {
        let (before, after) = (self.before.map(&of), of(self.after));
        if before.as_ref() == Some(&after) {
            return;
        }
        let texts = (before.as_ref().map(&text).unwrap_or_default(), text(&after));
        if texts != Default::default() {
            self.changes.insert(name.into(), texts);
        }
    }
}

fn if_any<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map(T::to_string).unwrap_or_default()
}

fn spaced<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

/// A summary: the whole may be megabytes.
fn vocabulary_text(vocabulary: &Vocabulary) -> String {
    let languages = vocabulary.languages.iter().map(|(tag, expectation)| {
        let only = if expectation.phrases_only { " and no others" } else { "" };
        format!("{tag} (phrases: {}{only}, words: {})", expectation.phrases.len(), expectation.words.len())
    });
    languages.collect::<Vec<_>>().join(" ")
}

/// What is different about an organization; everything that is set when there was none before.
pub fn of_organization(before: Option<&Organization>, after: &Organization) -> Changes {
    let mut comparison = Comparison { before, after, changes: Changes::new() };
    comparison.note("name", |it| it.name.clone(), String::clone);
    comparison.note("plan", |it| it.plan, Plan::to_string);
    comparison.note("requests_per_minute_max", |it| it.overrides.requests_per_minute_max, if_any);
    comparison.note("concurrent_sessions_max", |it| it.overrides.concurrent_sessions_max, if_any);
    comparison.note("stream_messages_per_second_max", |it| it.overrides.stream_messages_per_second_max, if_any);
    comparison.note("stream_audio_bytes_per_second_max", |it| it.overrides.stream_audio_bytes_per_second_max, if_any);
    comparison.note("active", |it| it.active, bool::to_string);
    comparison.note("edition", |it| it.edition, ToString::to_string);
    comparison.note("engine", |it| it.engine.clone(), if_any);
    comparison.note("vocabulary", |it| it.vocabulary.clone(), vocabulary_text);
    comparison.note("leak_policy", |it| it.leak_policy, ToString::to_string);
    comparison.note("low_credits_threshold", |it| it.low_credits_threshold, ToString::to_string);
    comparison.note("recording", |it| it.recording, bool::to_string);
    comparison.note("recordings_kept_days", |it| it.recordings_kept_days, ToString::to_string);
    comparison.changes
}

/// What is different about a key; everything that is set when there was none before. When it was used is not a change.
pub fn of_key(before: Option<&ApiKey>, after: &ApiKey) -> Changes {
    let mut comparison = Comparison { before, after, changes: Changes::new() };
    let time = if_any::<Timestamp>;
    comparison.note("name", |it| it.name.clone(), String::clone);
    comparison.note("permissions", |it| it.permissions, ToString::to_string);
    comparison.note("expires_at", |it| it.expires_at, time);
    comparison.note("allowed_networks", |it| it.allowed_networks.clone(), |it| spaced(it));
    comparison.note("requests_per_minute_max", |it| it.requests_per_minute_max, if_any);
    comparison.note("edition", |it| it.edition, if_any);
    comparison.note("last4", |it| it.last4.clone(), String::clone);
    comparison.note("old_secret_valid_until", |it| it.old_secret_valid_until, time);
    comparison.note("revoked_at", |it| it.revoked_at, time);
    comparison.note("quarantined_at", |it| it.quarantined_at, time);
    comparison.changes
}

/// What is different about a rule of alerts; everything that is set when there was none before. Its alerts are not a change.
pub fn of_alert_rule(before: Option<&AlertRule>, after: &AlertRule) -> Changes {
    let mut comparison = Comparison { before, after, changes: Changes::new() };
    comparison.note("name", |it| it.name.clone(), String::clone);
    comparison.note("metric", |it| it.metric, ToString::to_string);
    comparison.note("api_key", |it| it.key, if_any);
    comparison.note("route", |it| it.route.clone(), if_any);
    comparison.note("code", |it| it.code.clone(), if_any);
    comparison.note("comparison", |it| it.comparison, ToString::to_string);
    comparison.note("threshold", |it| it.threshold, ToString::to_string);
    comparison.note("window_minutes", |it| it.window_minutes, ToString::to_string);
    comparison.note("mail_members", |it| it.mail_members, bool::to_string);
    comparison.note("mail_to", |it| it.mail_to.clone(), |it| spaced(it));
    comparison.note("webhook", |it| it.webhook, bool::to_string);
    comparison.note("enabled", |it| it.enabled, bool::to_string);
    comparison.changes
}

/// What is different about a webhook endpoint; everything that is set when there was none before. How its deliveries fare is not a change.
pub fn of_webhook(before: Option<&Webhook>, after: &Webhook) -> Changes {
    let mut comparison = Comparison { before, after, changes: Changes::new() };
    comparison.note("url", |it| it.url.clone(), String::clone);
    comparison.note("description", |it| it.description.clone(), String::clone);
    comparison.note("event_types", |it| it.event_types.clone(), |it| spaced(it));
    comparison.note(
        "state",
        |it| it.state,
        |state| match state {
            WebhookState::Enabled => state.as_str().to_owned(),
            WebhookState::Disabled { reason, .. } => format!("disabled ({reason})"),
        },
    );
    comparison.note("old_secret_valid_until", |it| it.old_secret_valid_until, if_any::<Timestamp>);
    comparison.changes
}
