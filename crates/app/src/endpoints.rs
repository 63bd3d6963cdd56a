//! Webhook endpoints, as keys (`/v1/webhooks`) and people at the portal manage them: made, changed, given new secrets, tested; and deliveries asked for again.

use kallglot_core::Timestamp;
use kallglot_core::audit::Change;
use kallglot_core::delivery::{WEBHOOKS_MAX, Webhook, WebhookState};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::EventType;
use kallglot_core::event_sample::sample;
use kallglot_core::id::{DeliveryId, EventId, WebhookId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_core::webhook::WebhookSecret;
use kallglot_storage::{CreateWebhook, DeliveryLog, NewAnswer, Queued, StoredAnswer, WebhookUpdate};

use crate::idempotency::{Made, Repeatable};
use crate::{App, Error};

/// What a new endpoint is asked to be.
#[derive(Debug, Clone)]
pub struct CreateEndpoint {
    /// Where it is.
    pub url: String,
    /// What its owner notes.
    pub description: String,
    /// Which events it gets; empty for all.
    pub event_types: Vec<EventType>,
}

fn not_found() -> Error {
    Error::of(ErrorCode::WebhookNotFound)
}

impl App {
    /// The URL as it is stored, if endpoints of this environment may have it.
    fn endpoint_url(&self, url: &str, environment: Environment) -> Result<String, Error> {
        match self.webhooks.egress.endpoint(url, environment) {
            Ok(url) => Ok(url.as_str().to_owned()),
            Err(refused) => Err(Error::invalid("url", format!("`url` {refused}."))),
        }
    }

    /// An endpoint as it is asked for, not stored yet, and its secret.
    fn new_webhook(
        &self,
        tenant: Tenant,
        change: &Change,
        asked: CreateEndpoint,
    ) -> Result<(Webhook, WebhookSecret), Error> {
        let webhook = Webhook {
            id: WebhookId::new(change.at, self.random.as_ref()),
            tenant,
            url: self.endpoint_url(&asked.url, tenant.environment)?,
            description: asked.description,
            event_types: asked.event_types,
            state: WebhookState::Enabled,
            created_at: change.at,
            updated_at: change.at,
            old_secret_valid_until: None,
            failing_since: None,
            last_success_at: None,
            last_failure_at: None,
        };
        Ok((webhook, WebhookSecret::new(self.random.as_ref())))
    }

    async fn store_webhook(
        &self,
        webhook: &Webhook,
        secret: &WebhookSecret,
        answer: Option<&NewAnswer>,
        change: &Change,
    ) -> Result<Option<StoredAnswer>, Error> {
        let sealed = self.webhooks.seal(webhook.id, secret, self.random.as_ref());
        match self.storage.create_webhook(webhook, &sealed, answer, change).await? {
            CreateWebhook::Created => Ok(None),
            CreateWebhook::Known(answer) => Ok(Some(answer)),
            CreateWebhook::TooMany => {
                let message = format!(
                    "There are {WEBHOOKS_MAX} endpoints in this organization and environment already. Delete one first."
                );
                Err(Error::with(ErrorCode::ValidationFailed, message))
            }
        }
    }

    /// Makes an endpoint. `render` makes the answer's body from it and its secret.
    ///
    /// # Errors
    /// `validation_failed` for a URL that nothing is sent to, or when there are [`WEBHOOKS_MAX`]; `idempotency_mismatch`; storage's.
    pub async fn create_webhook(
        &self,
        tenant: Tenant,
        change: &Change,
        asked: CreateEndpoint,
        repeatable: Option<&Repeatable>,
        render: impl Fn(&Webhook, &WebhookSecret) -> Vec<u8>,
    ) -> Result<Made, Error> {
        let (webhook, secret) = self.new_webhook(tenant, change, asked)?;
        let body = render(&webhook, &secret);
        let answer = repeatable.map(|repeatable| repeatable.answer(201, &body));
        let known = self.store_webhook(&webhook, &secret, answer.as_ref(), change).await?;
        match (known, repeatable) {
            (None, _) => Ok(Made::New(body)),
            (Some(answer), Some(repeatable)) => Ok(Made::Replay(repeatable.replay(answer)?)),
            (Some(_), None) => Err(Error::of(ErrorCode::InternalError)),
        }
    }

    /// As [`Self::create_webhook`], for who has no idempotency key: a person at the portal. Answers with the endpoint and its secret.
    ///
    /// # Errors
    /// As [`Self::create_webhook`].
    pub async fn add_webhook(
        &self,
        tenant: Tenant,
        change: &Change,
        asked: CreateEndpoint,
    ) -> Result<(Webhook, WebhookSecret), Error> {
        let (webhook, secret) = self.new_webhook(tenant, change, asked)?;
        self.store_webhook(&webhook, &secret, None, change).await?;
        Ok((webhook, secret))
    }

    /// An endpoint of the tenant.
    ///
    /// # Errors
    /// `webhook_not_found`, `api_key_wrong_environment` for one of the other environment; storage's.
    pub async fn find_webhook(&self, tenant: Tenant, id: WebhookId) -> Result<Webhook, Error> {
        if let Some(webhook) = self.storage.webhook(tenant, id).await? {
            return Ok(webhook);
        }
        let other = Tenant { environment: tenant.environment.other(), ..tenant };
        match self.storage.webhook(other, id).await? {
            Some(_) => Err(Error::of(ErrorCode::ApiKeyWrongEnvironment)),
            None => Err(not_found()),
        }
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// As [`Self::find_webhook`]; `validation_failed` for a URL that nothing is sent to.
    pub async fn update_webhook(
        &self,
        tenant: Tenant,
        change: &Change,
        id: WebhookId,
        update: WebhookUpdate,
    ) -> Result<Webhook, Error> {
        self.find_webhook(tenant, id).await?;
        let url = update.url.as_deref().map(|url| self.endpoint_url(url, tenant.environment)).transpose()?;
        let update = WebhookUpdate { url, ..update };
        let webhook = self.storage.update_webhook(tenant, id, &update, change).await?.ok_or_else(not_found)?;
        // What was pending goes on.
        self.webhooks.hurry.notify_one();
        Ok(webhook)
    }

    /// Gives an endpoint a new secret; the old one signs too until `old_valid_until`. Answers with the endpoint and its new secret.
    ///
    /// # Errors
    /// As [`Self::find_webhook`].
    pub async fn rotate_webhook_secret(
        &self,
        tenant: Tenant,
        change: &Change,
        id: WebhookId,
        old_valid_until: Timestamp,
    ) -> Result<(Webhook, WebhookSecret), Error> {
        self.find_webhook(tenant, id).await?;
        let secret = WebhookSecret::new(self.random.as_ref());
        let sealed = self.webhooks.seal(id, &secret, self.random.as_ref());
        let rotated = self.storage.rotate_webhook_secret(tenant, id, &sealed, old_valid_until, change).await?;
        Ok((rotated.ok_or_else(not_found)?, secret))
    }

    /// Deletes an endpoint.
    ///
    /// # Errors
    /// As [`Self::find_webhook`].
    pub async fn delete_webhook(&self, tenant: Tenant, change: &Change, id: WebhookId) -> Result<(), Error> {
        self.find_webhook(tenant, id).await?;
        if self.storage.delete_webhook(tenant, id, change).await? { Ok(()) } else { Err(not_found()) }
    }

    /// Sends an endpoint a sample event of this type, and nobody else.
    ///
    /// # Errors
    /// As [`Self::find_webhook`]; `validation_failed` for an endpoint that is disabled.
    pub async fn test_webhook(
        &self,
        tenant: Tenant,
        id: WebhookId,
        event_type: EventType,
    ) -> Result<DeliveryLog, Error> {
        self.find_webhook(tenant, id).await?;
        let now = self.clock.now();
        let event = sample(event_type, tenant, EventId::new(now, self.random.as_ref()), now);
        let queued = self.storage.test_webhook(tenant, id, &event).await?;
        self.queued(tenant, id, queued).await
    }

    /// Delivers an event to an endpoint once more, also one that it has accepted.
    ///
    /// # Errors
    /// As [`Self::find_delivery`]; `validation_failed` for an endpoint that is disabled, `not_found` for an event that is not stored any more.
    pub async fn redeliver(&self, tenant: Tenant, webhook: WebhookId, id: DeliveryId) -> Result<DeliveryLog, Error> {
        self.find_delivery(tenant, webhook, id).await?;
        let queued = self.storage.redeliver(tenant, webhook, id, self.clock.now()).await?;
        self.queued(tenant, webhook, queued).await
    }

    async fn queued(&self, tenant: Tenant, webhook: WebhookId, queued: Queued) -> Result<DeliveryLog, Error> {
        match queued {
            Queued::Queued(delivery) => {
                self.webhooks.hurry.notify_one();
                self.find_delivery(tenant, webhook, delivery.id).await
            }
            Queued::Disabled => {
                let message = "Nothing is sent to an endpoint that is disabled. Enable it first.";
                Err(Error::invalid("id", message))
            }
            Queued::EventForgotten => {
                let message = "The event of this delivery is older than 30 days and not stored any more.";
                Err(Error::with(ErrorCode::NotFound, message))
            }
            Queued::NotFound => Err(not_found()),
        }
    }

    /// A delivery to an endpoint of the tenant, with its attempts.
    ///
    /// # Errors
    /// As [`Self::find_webhook`]; `not_found`.
    pub async fn find_delivery(
        &self,
        tenant: Tenant,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<DeliveryLog, Error> {
        if let Some(found) = self.storage.delivery(tenant, webhook, id).await? {
            return Ok(found);
        }
        self.find_webhook(tenant, webhook).await?;
        Err(Error::with(
            ErrorCode::NotFound,
            "There is no such delivery to this endpoint, or it is older than 30 days.",
        ))
    }
}
