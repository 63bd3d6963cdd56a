//! API keys, as they are managed by keys (`/v1/api_keys`) and by people (the portal): a key can never make or change a key into something
//! that may do more than itself; who of an organization's people may do it at all is their role's to say, and decided at the edge.

pub mod portal;
pub mod standing;

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, Secret};
use kallglot_core::audit::Change;
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::ApiKeyId;
use kallglot_core::organization::Organization;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::{GateChange, KeyUpdate, LeakedKey, Once, RotateKey, Storage, StorageError};

use crate::gate::cache::Known;
use crate::idempotency::{Made, Repeatable};
use crate::{App, Error};

/// By whose authority keys are made and changed: how much they may be.
#[derive(Debug, Clone, Copy)]
pub enum Authority<'a> {
    /// A key's, which can give no more than it has.
    Key(&'a Known),
    /// A person's of this organization, in one environment: any key of it.
    Person(&'a Organization, Environment),
}

impl<'a> Authority<'a> {
    /// Whose keys.
    pub fn tenant(self) -> Tenant {
        match self {
            Self::Key(known) => known.key.tenant(),
            Self::Person(organization, environment) => Tenant { organization: organization.id, environment },
        }
    }

    /// The key whose rights are the most that can be given, where there is one.
    fn bound(self) -> Option<&'a ApiKey> {
        match self {
            Self::Key(known) => Some(&known.key),
            Self::Person(..) => None,
        }
    }

    /// The edition of a new key that names none.
    fn edition(self) -> Edition {
        match self {
            Self::Key(known) => known.edition(),
            Self::Person(organization, _) => organization.edition,
        }
    }

    /// Refuses what is more than may be given.
    fn within(self, key: &ApiKey) -> Result<(), Error> {
        self.bound().map_or(Ok(()), |bound| within(bound, key))
    }

    /// As [`Self::within`], for a key that is there already: then it is a matter of permission.
    fn may_change(self, key: &ApiKey) -> Result<(), Error> {
        self.within(key).map_err(|error| match error.code() {
            ErrorCode::InsufficientPermissions => error,
            _ => Error::with(
                ErrorCode::InsufficientPermissions,
                "That API key is less restricted than this one, which therefore can't change it.",
            )
            .param("api_keys:manage"),
        })
    }
}

/// What a new key is asked to be. What is left out is as the key has it that makes it; a person's has then no limit.
#[derive(Debug, Clone, Default)]
pub struct CreateKey {
    /// Its name.
    pub name: String,
    /// What it may do; none for its edition's standard set, as far as it may be given.
    pub permissions: Option<PermissionSet>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// From where it may be used.
    pub allowed_networks: Option<Vec<IpNet>>,
    /// Its own limit.
    pub requests_per_minute_max: Option<u32>,
    /// The edition it is pinned to.
    pub edition: Option<Edition>,
}

/// A key that has just been made.
pub struct NewKey {
    /// The key.
    pub key: ApiKey,
    /// Its secret, which nobody can be told again.
    pub secret: Secret,
    /// The answer's body.
    pub body: Vec<u8>,
}

/// A permission that was not used for this long counts as unused.
const UNUSED_AFTER: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What these keys, which are all of one tenant, may do but have not done for 30 days: one set per key, in their order. Nothing for a
/// key that is younger: it must have had the time.
///
/// # Errors
/// Storage's.
pub async fn unused_permissions(
    storage: &dyn Storage,
    keys: &[ApiKey],
    now: Timestamp,
) -> Result<Vec<PermissionSet>, StorageError> {
    let Some(tenant) = keys.first().map(ApiKey::tenant) else { return Ok(Vec::new()) };
    let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    let uses = storage.permissions_used(tenant, &ids).await?;
    let since = now.checked_sub(UNUSED_AFTER).unwrap_or(Timestamp::MIN);
    let used = |key: &ApiKey, permission: Permission| {
        uses.iter().any(|(id, of, at)| *id == key.id && *of == permission && *at >= since)
    };
    let unused = |key: &ApiKey| key.permissions.iter().filter(|of| key.created_at < since && !used(key, *of)).collect();
    Ok(keys.iter().map(unused).collect())
}

fn not_found() -> Error {
    Error::with(ErrorCode::NotFound, "There is no such API key in this organization and environment.")
}

/// Refuses what the caller's key may not do itself (contract section 4).
fn within(caller: &ApiKey, key: &ApiKey) -> Result<(), Error> {
    if let Some(permission) = key.permissions.iter().find(|permission| !caller.permissions.contains(*permission)) {
        let message = format!(
            "This API key does not have the permission `{permission}`, so it can't make or change a key that has it."
        );
        return Err(Error::with(ErrorCode::InsufficientPermissions, message).param(permission.as_str()));
    }
    if let Some(caller_expires_at) = caller.expires_at
        && key.expires_at.is_none_or(|expires_at| expires_at > caller_expires_at)
    {
        let message = format!("`expires_at` must be {caller_expires_at} or earlier: this API key expires then itself.");
        return Err(Error::invalid("expires_at", message));
    }
    let contained = |network: &IpNet| caller.allowed_networks.iter().any(|allowed| allowed.contains(network));
    if !caller.allowed_networks.is_empty()
        && (key.allowed_networks.is_empty() || !key.allowed_networks.iter().all(contained))
    {
        let message = "`allowed_ips` must lie within the allow-list of this API key.";
        return Err(Error::invalid("allowed_ips", message));
    }
    if let Some(caller_max) = caller.requests_per_minute_max
        && key.requests_per_minute_max.is_none_or(|own_max| own_max > caller_max)
    {
        let message = format!("`requests_per_minute` must be at most {caller_max}, the limit of this API key.");
        return Err(Error::invalid("requests_per_minute", message));
    }
    Ok(())
}

impl App {
    /// Makes a key. `render` makes the answer's body from it and its secret; with `repeatable` it is stored in the same transaction.
    ///
    /// # Errors
    /// `insufficient_permissions` and `validation_failed` where it would be more than `by` may give, `idempotency_mismatch`; storage's.
    pub async fn create_key(
        &self,
        by: Authority<'_>,
        change: &Change,
        asked: CreateKey,
        repeatable: Option<&Repeatable>,
        render: impl Fn(&ApiKey, &Secret) -> Vec<u8>,
    ) -> Result<Made<NewKey>, Error> {
        let (tenant, bound) = (by.tenant(), by.bound());
        let standard = asked.edition.unwrap_or(by.edition()).rules().standard_permissions;
        let may_give = |permission: &Permission| bound.is_none_or(|bound| bound.permissions.contains(*permission));
        let networks = || bound.map(|bound| bound.allowed_networks.clone()).unwrap_or_default();
        let secret = Secret::new(tenant.environment, self.random.as_ref());
        let key = ApiKey {
            id: ApiKeyId::new(change.at, self.random.as_ref()),
            organization: tenant.organization,
            environment: tenant.environment,
            name: asked.name,
            permissions: asked.permissions.unwrap_or_else(|| standard.iter().filter(may_give).collect()),
            expires_at: asked.expires_at.or(bound.and_then(|bound| bound.expires_at)),
            allowed_networks: asked.allowed_networks.unwrap_or_else(networks),
            requests_per_minute_max: asked
                .requests_per_minute_max
                .or(bound.and_then(|bound| bound.requests_per_minute_max)),
            edition: asked.edition,
            created_at: change.at,
            last_used_at: None,
            revoked_at: None,
            last4: secret.last4().to_owned(),
            old_secret_valid_until: None,
            old_secret_last_used_at: None,
            quarantined_at: None,
        };
        by.within(&key)?;
        let body = render(&key, &secret);
        let answer = repeatable.map(|repeatable| repeatable.answer(201, &body));
        let stored = secret.stored(self.pepper_to_store_with(&self.peppers()));
        match self.storage.create_key(&key, &stored, answer.as_ref(), change).await? {
            Once::Done(()) => {
                self.changed(&[GateChange::Key(key.id)]).await;
                Ok(Made::New(NewKey { key, secret, body }))
            }
            Once::Known(answer) => match repeatable {
                Some(repeatable) => Ok(Made::Replay(repeatable.replay(answer)?)),
                None => Err(Error::of(ErrorCode::InternalError)),
            },
        }
    }

    /// A key of the tenant.
    ///
    /// # Errors
    /// `not_found`, `api_key_wrong_environment` for one of the other environment; storage's.
    pub async fn find_key(&self, tenant: Tenant, id: ApiKeyId) -> Result<ApiKey, Error> {
        if let Some(key) = self.storage.key(tenant, id).await? {
            return Ok(key);
        }
        let other = Tenant { environment: tenant.environment.other(), ..tenant };
        match self.storage.key(other, id).await? {
            Some(_) => Err(Error::of(ErrorCode::ApiKeyWrongEnvironment)),
            None => Err(not_found()),
        }
    }

    /// Changes a key.
    ///
    /// # Errors
    /// As [`Self::find_key`]; `insufficient_permissions` and `validation_failed` where it is or would be more than `by` may give.
    pub async fn update_key(
        &self,
        by: Authority<'_>,
        change: &Change,
        id: ApiKeyId,
        update: &KeyUpdate,
    ) -> Result<ApiKey, Error> {
        let tenant = by.tenant();
        let before = self.find_key(tenant, id).await?;
        by.may_change(&before)?;
        let update = update.clone();
        let wanted = ApiKey {
            permissions: update.permissions.unwrap_or(before.permissions),
            expires_at: update.expires_at.unwrap_or(before.expires_at),
            allowed_networks: update.allowed_networks.clone().unwrap_or_else(|| before.allowed_networks.clone()),
            requests_per_minute_max: update.requests_per_minute_max.unwrap_or(before.requests_per_minute_max),
            ..before
        };
        by.within(&wanted)?;
        let after = self.storage.update_key(tenant, id, &update, change).await?.ok_or_else(not_found)?;
        self.changed(&[GateChange::Key(id)]).await;
        Ok(after)
    }

    /// Gives a key a new secret; the old one stays valid until `old_valid_until`. Answers with the key and its new secret.
    ///
    /// # Errors
    /// As [`Self::find_key`]; `insufficient_permissions` where the key is more than `by` may give, `validation_failed` for a revoked one.
    pub async fn rotate_key(
        &self,
        by: Authority<'_>,
        change: &Change,
        id: ApiKeyId,
        old_valid_until: Timestamp,
    ) -> Result<(ApiKey, Secret), Error> {
        let tenant = by.tenant();
        by.may_change(&self.find_key(tenant, id).await?)?;
        let secret = Secret::new(tenant.environment, self.random.as_ref());
        let stored = secret.stored(self.pepper_to_store_with(&self.peppers()));
        match self.storage.rotate_key(tenant, id, &stored, old_valid_until, change).await? {
            RotateKey::Rotated(key) => {
                self.changed(&[GateChange::Key(id)]).await;
                Ok((*key, secret))
            }
            RotateKey::Revoked => Err(Error::invalid("id", "A revoked API key gets no new secret. Create a new key.")),
            RotateKey::NotFound => Err(not_found()),
        }
    }

    /// Revokes a key. When this has answered, no request with it is let in on this node any more.
    ///
    /// # Errors
    /// As [`Self::find_key`].
    pub async fn revoke_key(
        &self,
        by: Authority<'_>,
        change: &Change,
        id: ApiKeyId,
        close_streams: bool,
    ) -> Result<ApiKey, Error> {
        let tenant = by.tenant();
        self.find_key(tenant, id).await?;
        let key = self.storage.revoke_key(tenant, id, close_streams, change).await?.ok_or_else(not_found)?;
        self.changed(&[GateChange::Key(id)]).await;
        if close_streams {
            self.changed(&[GateChange::CloseStreams(id)]).await;
        }
        Ok(key)
    }

    /// Does with a leaked key what its organization wants. None when it has gone meanwhile.
    ///
    /// # Errors
    /// As [`Self::identify`], through which it goes first: a client that tries keys here waits as everywhere, and never for the
    /// database's writer. Storage's.
    pub async fn report_leak(
        &self,
        secret: &Secret,
        address: IpAddr,
        change: &Change,
    ) -> Result<Option<LeakedKey>, Error> {
        self.identify(secret, address).await?;
        let peppers = self.peppers();
        // The newest once more at the end: a request of this key may move it there between the look-ups.
        let newest = std::iter::once(peppers.newest());
        for pepper in newest.clone().chain(peppers.older()).chain(newest) {
            if let Some(leaked) = self.storage.report_leak(&pepper.hash(secret.expose()), change).await? {
                self.changed(&[GateChange::Key(leaked.key.id)]).await;
                if leaked.key.revoked_at.is_some() {
                    self.changed(&[GateChange::CloseStreams(leaked.key.id)]).await;
                }
                return Ok(Some(leaked));
            }
        }
        Ok(None)
    }
}
