//! The settings `[portal.oidc]`: the OpenID Connect provider whose accounts let people into the portal.

use std::sync::Arc;

use kallglot_app::people::SingleSignOn;
use kallglot_core::id::OrganizationId;
use kallglot_core::person::Role;
use kallglot_oidc::{HttpFetch, Provider, ProviderConfig};
use serde::Deserialize;

use crate::config::Hidden;

/// The settings `[portal]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PortalSettings {
    pub(crate) oidc: OidcSettings,
}

/// The settings `[portal.oidc]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcSettings {
    name: String,
    issuer: String,
    client_id: String,
    client_secret: Hidden,
    scopes: Vec<String>,
    email_domains: Vec<String>,
    organization: String,
    role: String,
}

impl OidcSettings {
    /// What is wrong, in a sentence for the operator.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.issuer.is_empty() {
            return None;
        }
        if !Provider::is_issuer(&self.issuer) {
            let text = "`portal.oidc.issuer` must be empty or an https:// address without ? and #, as the provider's ID tokens have it.";
            return Some(text.into());
        }
        if self.client_id.is_empty() || self.name.is_empty() {
            let text = "`portal.oidc.issuer` names a provider: set `portal.oidc.client_id`, and `portal.oidc.name` for the button, too.";
            return Some(text.into());
        }
        if !self.organization.is_empty() && self.organization.parse::<OrganizationId>().is_err() {
            return Some("`portal.oidc.organization` must be empty or an organization's id, such as org_….".into());
        }
        if self.role().is_none() {
            return Some("`portal.oidc.role` must be \"admin\", \"developer\" or \"read_only\".".into());
        }
        None
    }

    /// An owner is made by an owner.
    fn role(&self) -> Option<Role> {
        Role::parse(&self.role).filter(|role| *role != Role::Owner)
    }

    /// What was found to be right, to be used. None: there is no provider.
    ///
    /// # Errors
    /// TLS can't be set up, in a sentence for the operator.
    pub(crate) fn single_sign_on(&self) -> Result<Option<SingleSignOn>, String> {
        if self.issuer.is_empty() {
            return Ok(None);
        }
        let fetch = HttpFetch::new().map_err(|error| format!("single sign-on can't be set up: {error}"))?;
        let config = ProviderConfig {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.expose().to_owned(),
            scopes: self.scopes.clone(),
        };
        Ok(Some(SingleSignOn {
            name: self.name.clone(),
            provider: Provider::new(config, Arc::new(fetch)),
            email_domains: self.email_domains.clone(),
            join: self.organization.parse().ok().zip(self.role()),
        }))
    }
}
