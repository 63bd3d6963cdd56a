//! The forms that make, change and delete rules.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use kallglot_app::Error;
use kallglot_app::alerts::AskedRule;
use kallglot_core::alert::{AlertRule, Comparison, Metric, Unit};
use kallglot_core::error_code::ErrorCode;
use maud::{Markup, html};

use super::find;
use crate::PortalState;
use crate::components::{Field, Mistakes, form};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::pages::usage::{key_names, route_of};
use crate::refusal::Refusal;

type Place = Path<(String, String, String)>;

/// The fields as texts, as a form has them.
struct Fields {
    name: String,
    metric: String,
    code: String,
    key: String,
    route: String,
    comparison: String,
    threshold: String,
    window_minutes: String,
    mail_members: bool,
    mail_to: String,
    webhook: bool,
    enabled: bool,
}

impl Fields {
    /// What a new rule begins with.
    fn new() -> Self {
        Self {
            name: String::new(),
            metric: Metric::ErrorRate.to_string(),
            code: String::new(),
            key: String::new(),
            route: String::new(),
            comparison: Comparison::Above.to_string(),
            threshold: "5".into(),
            window_minutes: "5".into(),
            mail_members: true,
            mail_to: String::new(),
            webhook: true,
            enabled: true,
        }
    }

    fn of(rule: &AlertRule) -> Self {
        let threshold = match rule.metric.unit() {
            Unit::Permille if rule.threshold % 10 != 0 => format!("{}.{}", rule.threshold / 10, rule.threshold % 10),
            Unit::Permille => (rule.threshold / 10).to_string(),
            Unit::Count | Unit::Milliseconds => rule.threshold.to_string(),
        };
        Self {
            name: rule.name.clone(),
            metric: rule.metric.to_string(),
            code: rule.code.clone().unwrap_or_default(),
            key: rule.key.map(|key| key.to_string()).unwrap_or_default(),
            route: rule.route.as_ref().map(ToString::to_string).unwrap_or_default(),
            comparison: rule.comparison.to_string(),
            threshold,
            window_minutes: rule.window_minutes.to_string(),
            mail_members: rule.mail_members,
            mail_to: rule.mail_to.join(" "),
            webhook: rule.webhook,
            enabled: rule.enabled,
        }
    }

    fn sent(sent: &Form) -> Self {
        let text = |name| sent.text(name).to_owned();
        Self {
            name: text("name"),
            metric: text("metric"),
            code: text("code"),
            key: text("key"),
            route: text("route"),
            comparison: text("comparison"),
            threshold: text("threshold"),
            window_minutes: text("window_minutes"),
            mail_members: sent.all("tell").any(|tell| tell == "members"),
            mail_to: text("mail_to"),
            webhook: sent.all("tell").any(|tell| tell == "webhook"),
            enabled: sent.is_checked("enabled"),
        }
    }

    /// What is asked for, or what is wrong with it.
    fn read(&self) -> Result<AskedRule, Mistakes> {
        let mut mistakes = Mistakes::default();
        let metric = Metric::parse(&self.metric);
        if metric.is_none() {
            mistakes.add("metric", "Choose what to watch.");
        }
        let comparison = Comparison::parse(&self.comparison);
        if comparison.is_none() {
            mistakes.add("comparison", "Choose more or less.");
        }
        let threshold = metric.and_then(|metric| threshold_of(metric, &self.threshold));
        if metric.is_some() && threshold.is_none() {
            mistakes.add(
                "threshold",
                "The threshold is a number, such as 100; a share can have one digit after the point.",
            );
        }
        let window_minutes = self.window_minutes.parse().ok();
        if window_minutes.is_none() {
            mistakes.add("window_minutes", "The window is a number of minutes.");
        }
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let key = given(&self.key).map(|key| key.parse());
        if matches!(key, Some(Err(_))) {
            mistakes.add("key", "That is not the id of a key. Choose one of the list.");
        }
        let route = given(&self.route).map(|text| route_of(&text));
        if matches!(route, Some(None)) {
            mistakes.add("route", "A route is a method and a path, such as POST /v1/sessions.");
        }
        match (metric, comparison, threshold, window_minutes) {
            (Some(metric), Some(comparison), Some(threshold), Some(window_minutes)) if mistakes.is_empty() => {
                Ok(AskedRule {
                    name: self.name.clone(),
                    metric,
                    key: key.and_then(Result::ok),
                    route: route.flatten(),
                    code: given(&self.code),
                    comparison,
                    threshold,
                    window_minutes,
                    mail_members: self.mail_members,
                    mail_to: self.mail_to.split([' ', ',', ';', '\n', '\r']).filter_map(given).collect(),
                    webhook: self.webhook,
                    enabled: self.enabled,
                })
            }
            _ => Err(mistakes),
        }
    }
}

/// A threshold in the metric's unit, of how people write it: of shares, per cent.
fn threshold_of(metric: Metric, text: &str) -> Option<i64> {
    let text = text.trim_end_matches(['%', ' ']);
    if metric.unit() != Unit::Permille {
        return text.parse().ok();
    }
    let (whole, tenths) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let tenths: i64 = tenths.parse().ok().filter(|_| tenths.len() == 1 && !tenths.starts_with(['+', '-']))?;
    whole.parse::<i64>().ok().filter(|whole| *whole >= 0)?.checked_mul(10)?.checked_add(tenths)
}

/// What is to be typed as the threshold.
const fn unit_text(metric: Metric) -> &'static str {
    match metric.unit() {
        Unit::Count => "a number",
        Unit::Permille => "per cent",
        Unit::Milliseconds => "milliseconds",
    }
}

async fn fields(state: &PortalState, member: &Member, fields: &Fields, mistakes: &Mistakes) -> Result<Markup, Refusal> {
    let options = |metric: &Metric| (metric.to_string(), format!("{} ({})", metric.title(), unit_text(*metric)));
    let metrics: Vec<_> = Metric::ALL.iter().map(options).collect();
    let sides = [("above", "more than"), ("below", "less than")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let mut codes = vec![(String::new(), "Any".to_owned())];
    let of_requests = ErrorCode::ALL.iter().filter(|code| code.row().status.is_some());
    codes.extend(of_requests.map(|code| (code.to_string(), code.to_string())));
    let mut keys = vec![(String::new(), "All keys".to_owned())];
    keys.extend(key_names(state, member).await?.into_iter().map(|(id, name)| (id.to_string(), name)));
    if keys.iter().all(|(id, _)| *id != fields.key) {
        keys.push((fields.key.clone(), fields.key.clone()));
    }
    let members = if state.app.mails.is_configured() {
        "A mail to everybody here."
    } else {
        "This server sends no mail: nothing will arrive."
    };
    let tell = [
        ("members", "Members by mail", members),
        ("webhook", "Webhook endpoints", "The events alert.fired and alert.resolved, for endpoints that want them."),
    ]
    .map(|(value, text, meaning)| (value.to_owned(), text.to_owned(), meaning.to_owned()));
    let enabled = [("yes".to_owned(), "Switched on".to_owned(), "Off, it is kept and not looked at.".to_owned())];
    Ok(html! {
        (mistakes.summary())
        (Field::new("name", "Name", mistakes).hint("What people read in the mail's subject.").input("text", &fields.name, "off", true))
        (Field::new("metric", "Watch", mistakes).select(&metrics, &fields.metric))
        (Field::new("comparison", "Fire when it is", mistakes).select(&sides, &fields.comparison))
        (Field::new("threshold", "Threshold", mistakes).hint("In the unit beside what is watched.").input("text", &fields.threshold, "off", true))
        (Field::new("window_minutes", "Over the last minutes", mistakes).hint("1 to 1440. Credits left and failing endpoints are looked at as they stand.").input("number", &fields.window_minutes, "off", true))
        details open[!fields.key.is_empty() || !fields.route.is_empty() || !fields.code.is_empty()] {
            summary { "Only some requests" }
            div.stack {
                (Field::new("key", "Key", mistakes).select(&keys, &fields.key))
                (Field::new("route", "Method and route", mistakes).hint("Such as POST /v1/sessions. Empty for all.").input("text", &fields.route, "off", false))
                (Field::new("code", "Error code", mistakes).hint("Of requests with an error alone.").select(&codes, &fields.code))
            }
        }
        (Field::new("tell", "Tell", mistakes).hint("It is always on the page of alerts.")
            .checkboxes(&tell, |value| if value == "members" { fields.mail_members } else { fields.webhook }))
        (Field::new("mail_to", "Mail to other addresses", mistakes).hint("Up to 10, with blanks between them.").input("text", &fields.mail_to, "off", false))
        (Field::new("enabled", "State", mistakes).checkboxes(&enabled, |_| fields.enabled))
    })
}

async fn with_form(
    state: &PortalState,
    member: &Member,
    path: &str,
    title: &str,
    filled: &Fields,
    mistakes: &Mistakes,
) -> Result<Page, Refusal> {
    let (action, button) = (member.url(path), if path == "/alerts/new" { "Make the rule" } else { "Save" });
    let fields = fields(state, member, filled, mistakes).await?;
    let body = form(
        &member.visitor,
        &action,
        html! {
            (fields)
            div.buttons { button.primary type="submit" { (button) } a href=(member.url("/alerts")) { "Cancel" } }
        },
    );
    Ok(page(member, Area::Alerts, title, body))
}

/// What of an error the form can show.
fn mistake(error: Error) -> Result<Mistakes, Refusal> {
    match error {
        Error::Public(public) if public.code == ErrorCode::ValidationFailed => {
            Ok(Mistakes::one(public.param.unwrap_or_default(), public.message))
        }
        error => Err(error.into()),
    }
}

pub(super) async fn new(State(state): State<PortalState>, member: Member) -> Result<Page, Refusal> {
    with_form(&state, &member, "/alerts/new", "New alert rule", &Fields::new(), &Mistakes::default()).await
}

pub(super) async fn create(State(state): State<PortalState>, member: Member, sent: Form) -> Result<Response, Refusal> {
    let fields = Fields::sent(&sent);
    let mistakes = match fields.read() {
        Ok(asked) => match state.app.create_alert_rule(member.tenant, &member.change(&state), asked).await {
            Ok(rule) => {
                let to = member.url(&format!("/alerts/{}?done=created", rule.id));
                return Ok(Redirect::to(&to).into_response());
            }
            Err(error) => mistake(error)?,
        },
        Err(mistakes) => mistakes,
    };
    let page = with_form(&state, &member, "/alerts/new", "New alert rule", &fields, &mistakes).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

pub(super) async fn edit(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, rule)): Place,
) -> Result<Page, Refusal> {
    let rule = find(&state, &member, &rule).await?;
    let path = format!("/alerts/{}/edit", rule.id);
    with_form(&state, &member, &path, "Change the alert rule", &Fields::of(&rule), &Mistakes::default()).await
}

pub(super) async fn update(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, rule)): Place,
    sent: Form,
) -> Result<Response, Refusal> {
    let rule = find(&state, &member, &rule).await?;
    let fields = Fields::sent(&sent);
    let mistakes = match fields.read() {
        Ok(asked) => match state.app.update_alert_rule(member.tenant, &member.change(&state), rule.id, asked).await {
            Ok(rule) => {
                let to = member.url(&format!("/alerts/{}?done=saved", rule.id));
                return Ok(Redirect::to(&to).into_response());
            }
            Err(error) => mistake(error)?,
        },
        Err(mistakes) => mistakes,
    };
    let path = format!("/alerts/{}/edit", rule.id);
    let page = with_form(&state, &member, &path, "Change the alert rule", &fields, &mistakes).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

pub(super) async fn ask_to_delete(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, rule)): Place,
) -> Result<Page, Refusal> {
    let rule = find(&state, &member, &rule).await?;
    let body = html! {
        p { "“" (rule.name) "” will not be looked at any more. Its alerts stay in the list; one that is firing is over then." }
        (form(&member.visitor, &member.url(&format!("/alerts/{}/delete", rule.id)), html! {
            div.buttons {
                button.danger type="submit" { "Delete the rule" }
                a href=(member.url(&format!("/alerts/{}", rule.id))) { "Cancel" }
            }
        }))
    };
    Ok(page(&member, Area::Alerts, "Delete the alert rule", body))
}

pub(super) async fn delete(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, rule)): Place,
) -> Result<Redirect, Refusal> {
    let id = rule.parse().map_err(|_| Refusal::not_found())?;
    state.app.delete_alert_rule(member.tenant, &member.change(&state), id).await?;
    Ok(Redirect::to(&member.url("/alerts?done=deleted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_per_cent() {
        for (text, permille) in
            [("5", Some(50)), ("5.5", Some(55)), ("0,1 %", Some(1)), ("5.55", None), ("-1", None), ("x", None)]
        {
            assert_eq!(threshold_of(Metric::ErrorRate, text), permille, "{text}");
        }
        assert_eq!(threshold_of(Metric::Requests, "120"), Some(120));
        assert_eq!(threshold_of(Metric::Requests, "1.5"), None);
    }
}
