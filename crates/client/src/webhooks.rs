//! Webhook endpoints and deliveries.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ClientError;
use crate::events::Page;
use crate::rest::{Answer, Body, Client};
use crate::secret::Secret;

/// What an endpoint is created with. Fields that are none are not sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewWebhook {
    /// Where events are sent.
    pub url: String,
    /// Which; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// A note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An endpoint as the server shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Webhook {
    /// `wh_…`.
    pub id: String,
    /// Where events are sent.
    pub url: String,
    /// Which; `*` for all.
    pub events: Vec<String>,
    /// `enabled` or `disabled`.
    pub status: String,
    /// A note.
    #[serde(default)]
    pub description: Option<String>,
    /// The secret; only in the answers that made it.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Since when attempts have failed without a success in between.
    #[serde(default)]
    pub failing_since: Option<String>,
}

/// The delivery of one event to one endpoint.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookDelivery {
    /// `dlv_…`.
    pub id: String,
    /// What is delivered.
    pub event_id: String,
    /// Of which type that is.
    pub event_type: String,
    /// `pending`, `succeeded` or `failed`.
    pub status: String,
    /// How many attempts were made.
    pub attempt_count: u32,
    /// When the next one is due.
    #[serde(default)]
    pub next_attempt_at: Option<String>,
    /// What is sent, byte for byte; only where one delivery is asked for.
    #[serde(default)]
    pub request_body: Option<String>,
    /// Its attempts, the first one first; only where one delivery is asked for.
    #[serde(default)]
    pub attempts: Vec<Value>,
}

impl Client {
    /// Creates an endpoint. Its secret is in the answer, and nowhere else.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no endpoint.
    pub async fn create_webhook(&self, webhook: &NewWebhook) -> Result<Webhook, ClientError> {
        let body = serde_json::to_value(webhook)
            .map_err(|error| ClientError::Unexpected { status: 0, reason: error.to_string() })?;
        self.post("/v1/webhooks", body).await?.typed()
    }

    /// A page of endpoints, newest first; `query` is empty or begins with `?`.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no page.
    pub async fn webhooks(&self, query: &str) -> Result<Page<Webhook>, ClientError> {
        self.get(&format!("/v1/webhooks{query}")).await?.typed()
    }

    /// An endpoint.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no endpoint.
    pub async fn webhook(&self, id: &str) -> Result<Webhook, ClientError> {
        self.get(&format!("/v1/webhooks/{id}")).await?.typed()
    }

    /// Changes an endpoint: `url`, `events`, `description`, `enabled`.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no endpoint.
    pub async fn update_webhook(&self, id: &str, changes: Value) -> Result<Webhook, ClientError> {
        self.request("PATCH", &format!("/v1/webhooks/{id}"), &[], Body::Json(changes)).await?.typed()
    }

    /// Deletes an endpoint.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), ClientError> {
        self.request("DELETE", &format!("/v1/webhooks/{id}"), &[], Body::Empty).await?.success()?;
        Ok(())
    }

    /// Gives an endpoint a new secret; the old one signs too for `overlap_s` seconds.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no endpoint.
    pub async fn rotate_webhook_secret(&self, id: &str, overlap_s: u32) -> Result<Webhook, ClientError> {
        let body = json!({ "overlap_seconds": overlap_s });
        self.post(&format!("/v1/webhooks/{id}/rotate_secret"), body).await?.typed()
    }

    /// Sends an endpoint a sample event of this type.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no delivery.
    pub async fn test_webhook(&self, id: &str, event_type: &str) -> Result<WebhookDelivery, ClientError> {
        self.post(&format!("/v1/webhooks/{id}/test"), json!({ "type": event_type })).await?.typed()
    }

    /// A page of an endpoint's deliveries, newest event first; `query` is empty or begins with `?`.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no page.
    pub async fn webhook_deliveries(&self, id: &str, query: &str) -> Result<Page<WebhookDelivery>, ClientError> {
        self.get(&format!("/v1/webhooks/{id}/deliveries{query}")).await?.typed()
    }

    /// A delivery with its attempts.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no delivery.
    pub async fn webhook_delivery(&self, id: &str, delivery: &str) -> Result<WebhookDelivery, ClientError> {
        self.get(&format!("/v1/webhooks/{id}/deliveries/{delivery}")).await.and_then(Answer::typed)
    }

    /// Delivers an event to an endpoint once more.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no delivery.
    pub async fn redeliver_webhook(&self, id: &str, delivery: &str) -> Result<WebhookDelivery, ClientError> {
        self.post(&format!("/v1/webhooks/{id}/deliveries/{delivery}/redeliver"), json!({})).await?.typed()
    }
}
