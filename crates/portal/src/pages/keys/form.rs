//! The form that makes a key and the one that changes it: the same fields.

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kallglot_core::api_key::{ALLOWED_NETWORKS_MAX, ApiKey, network};
use kallglot_core::edition::Edition;
use kallglot_core::organization::{NAME_CHARS_MAX, Organization, valid_name};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::LimitOverrides;
use maud::{Markup, html};

use super::permission::meaning;
use crate::components::{Field, Mistakes};
use crate::form::Form;

/// What the form's fields hold, as typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    name: String,
    permissions: Vec<String>,
    expires_on: String,
    networks: String,
    requests_per_minute: String,
    edition: String,
}

/// What they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) permissions: PermissionSet,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) networks: Vec<IpNet>,
    pub(super) requests_per_minute_max: Option<u32>,
    pub(super) edition: Option<Edition>,
}

/// The day on which a time lies, as a date field has it.
fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}

impl Entries {
    /// What a new key has unless told otherwise.
    pub(super) fn new(organization: &Organization) -> Self {
        let permissions = organization.edition.rules().standard_permissions;
        Self { permissions: permissions.iter().map(|of| of.to_string()).collect(), ..Self::default() }
    }

    /// What a key has.
    pub(super) fn of(key: &ApiKey) -> Self {
        Self {
            name: key.name.clone(),
            permissions: key.permissions.iter().map(|of| of.to_string()).collect(),
            expires_on: key.expires_at.map(day).unwrap_or_default(),
            networks: key.allowed_networks.iter().map(|of| format!("{of}\n")).collect(),
            requests_per_minute: key.requests_per_minute_max.map(|max| max.to_string()).unwrap_or_default(),
            edition: key.edition.map(|edition| edition.to_string()).unwrap_or_default(),
        }
    }

    /// What was sent.
    pub(super) fn sent(form: &Form) -> Self {
        Self {
            name: form.text("name").to_owned(),
            permissions: form.all("permissions").map(str::to_owned).collect(),
            expires_on: form.text("expires_on").to_owned(),
            networks: form.text("networks").to_owned(),
            requests_per_minute: form.text("requests_per_minute").to_owned(),
            edition: form.text("edition").to_owned(),
        }
    }

    /// Reads them. A key that is changed keeps its expiry to the second unless another day was chosen.
    pub(super) fn read(&self, before: Option<&ApiKey>, now: Timestamp) -> Result<Wanted, Mistakes> {
        let mut mistakes = Mistakes::default();
        if !valid_name(&self.name) {
            mistakes.add("name", format!("Give it a name of 1 to {NAME_CHARS_MAX} characters."));
        }
        let permissions: PermissionSet = self.permissions.iter().filter_map(|text| Permission::parse(text)).collect();
        if permissions.is_empty() {
            mistakes.add("permissions", "Choose at least one permission: a key without any can do nothing.");
        }
        let unchanged = before.and_then(|key| key.expires_at).filter(|at| day(*at) == self.expires_on);
        let expires_at = match (self.expires_on.as_str(), unchanged) {
            ("", _) => None,
            (_, Some(at)) => Some(at),
            (text, None) => {
                let day = text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
                let at = day.map(|day| day.timestamp()).filter(|at| *at > now);
                if at.is_none() {
                    mistakes.add("expires_on", "Choose a day after today, or leave it empty: then it never expires.");
                }
                at
            }
        };
        let mut networks = Vec::new();
        for text in self.networks.split([',', ' ', '\n', '\r', '\t']).filter(|text| !text.is_empty()) {
            match network(text) {
                Some(network) => networks.push(network),
                None => {
                    let cut: String = text.chars().take(60).collect();
                    mistakes.add("networks", format!("“{cut}” is no address and no network such as 203.0.113.0/24."));
                    break;
                }
            }
        }
        if networks.len() > ALLOWED_NETWORKS_MAX {
            mistakes.add("networks", format!("At most {ALLOWED_NETWORKS_MAX} networks."));
        }
        let limit =
            self.requests_per_minute.parse::<u32>().ok().filter(|max| (1..=LimitOverrides::LIMIT_MAX).contains(max));
        if limit.is_none() && !self.requests_per_minute.is_empty() {
            mistakes.add("requests_per_minute", "A whole number of at least 1, or empty for no limit of its own.");
        }
        let edition = self.edition.parse::<Edition>().ok();
        if edition.is_none() && !self.edition.is_empty() {
            mistakes.add("edition", "Choose one of the editions.");
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Wanted {
            name: self.name.clone(),
            permissions,
            expires_at,
            networks,
            requests_per_minute_max: limit,
            edition,
        })
    }

    /// The form's fields.
    pub(super) fn fields(&self, organization: &Organization, mistakes: &Mistakes) -> Markup {
        let permissions: Vec<_> =
            Permission::ALL.iter().map(|of| (of.to_string(), of.to_string(), meaning(*of).to_owned())).collect();
        let mut editions = vec![(String::new(), format!("The organization's (now {})", organization.edition))];
        editions.extend(Edition::ALL.iter().map(|of| (of.to_string(), format!("Always {of}"))));
        html! {
            (Field::new("name", "Name", mistakes).hint("What it is for: the server or job that will use it.").input("text", &self.name, "off", true))
            (Field::new("permissions", "What it may do", mistakes)
                .hint("As little as it needs: what it never uses is shown to you after 30 days.")
                .checkboxes(&permissions, |value| self.permissions.iter().any(|of| of == value)))
            (Field::new("expires_on", "Expires on", mistakes)
                .hint("From the beginning of this day (UTC) on it is refused. Empty: never.")
                .input("date", &self.expires_on, "off", false))
            details open[!self.networks.is_empty() || !self.requests_per_minute.is_empty() || !self.edition.is_empty() || !mistakes.is_empty()] {
                summary { "Restrict it further" }
                div.stack {
                    (Field::new("networks", "Allowed addresses", mistakes)
                        .hint("One address or network a line, such as 203.0.113.0/24. Empty: it works from anywhere.")
                        .textarea(&self.networks, 3))
                    (Field::new("requests_per_minute", "Requests per minute", mistakes)
                        .hint("A limit of its own, below the organization's. Empty: only the organization's.")
                        .input("number", &self.requests_per_minute, "off", false))
                    (Field::new("edition", "Edition of the API", mistakes)
                        .hint("Which contract its requests are answered by, unless they say otherwise.")
                        .select(&editions, &self.edition))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kallglot_core::id::{ApiKeyId, OrganizationId};
    use kallglot_core::session::Environment;

    fn now() -> Timestamp {
        "2026-11-22T20:00:00Z".parse().unwrap()
    }

    fn entries() -> Entries {
        Entries { name: "backend".into(), permissions: vec!["sessions:read".into()], ..Entries::default() }
    }

    #[test]
    fn what_is_typed_is_read() {
        let typed = Entries {
            expires_on: "2026-11-23".into(),
            networks: "203.0.113.7/24\r\n2001:db8::1".into(),
            requests_per_minute: "60".into(),
            edition: "1".into(),
            ..entries()
        };
        let wanted = typed.read(None, now()).unwrap();
        assert_eq!(wanted.expires_at, Some("2026-11-23T00:00:00Z".parse().unwrap()));
        assert_eq!(wanted.networks, ["203.0.113.0/24".parse().unwrap(), "2001:db8::1/128".parse().unwrap()]);
        assert_eq!((wanted.requests_per_minute_max, wanted.edition), (Some(60), Some(Edition::One)));
        let plain = entries().read(None, now()).unwrap();
        assert_eq!((plain.expires_at, plain.networks, plain.edition), (None, vec![], None));
    }

    #[test]
    fn each_mistake_is_said_at_its_field() {
        let wrong = Entries {
            name: " ".into(),
            permissions: vec!["sessions:raed".into()],
            expires_on: "2026-11-22".into(),
            networks: "everywhere".into(),
            requests_per_minute: "0".into(),
            edition: "3".into(),
        };
        let summary = wrong.read(None, now()).unwrap_err().summary().into_string();
        for field in ["name", "permissions", "expires_on", "networks", "requests_per_minute", "edition"] {
            assert!(summary.contains(&format!("\"#{field}\"")), "{field}: {summary}");
        }
    }

    #[test]
    fn an_expiry_stays_as_it_was_unless_another_day_is_chosen() {
        let at = "2026-11-22T20:30:00Z".parse().unwrap();
        let key = ApiKey {
            id: ApiKeyId::from_bits(1),
            organization: OrganizationId::from_bits(2),
            environment: Environment::Test,
            name: "backend".into(),
            permissions: PermissionSet::all(),
            expires_at: Some(at),
            allowed_networks: vec!["192.0.2.0/24".parse().unwrap()],
            requests_per_minute_max: Some(7),
            edition: None,
            created_at: now(),
            last_used_at: None,
            revoked_at: None,
            last4: "abcd".into(),
            old_secret_valid_until: None,
            old_secret_last_used_at: None,
            quarantined_at: None,
        };
        let wanted = Entries::of(&key).read(Some(&key), now()).unwrap();
        assert_eq!((wanted.expires_at, wanted.networks), (Some(at), key.allowed_networks.clone()));
        let never = Entries { expires_on: String::new(), ..Entries::of(&key) };
        assert_eq!(never.read(Some(&key), now()).unwrap().expires_at, None);
    }
}
