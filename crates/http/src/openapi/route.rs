//! The one list of routes. The router is made from it (`Route::ALL`), and so is the document: neither can have a route that the other
//! has not.

use super::operation::Operation;
use super::table::{account, analysis, api_keys, events, recordings, requests, server, sessions, webhooks};

macro_rules! routes {
    ($($name:ident = $operation:expr;)*) => {
        /// A route: a method at a path. [`Route::operation`] says everything about it but its handler.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Route { $($name,)* }

        impl Route {
            /// Every route, in the reference's order.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it is.
            pub(crate) const fn operation(self) -> &'static Operation {
                match self { $(Self::$name => &$operation,)* }
            }
        }
    };
}

routes! {
    CreateSession = sessions::CREATE;
    ListSessions = sessions::LIST;
    GetSession = sessions::GET;
    EndSession = sessions::END;
    ConnectSession = sessions::CONNECT;
    GetTranscript = sessions::TRANSCRIPT;
    GetQuality = sessions::QUALITY;
    StreamSessionEvents = events::OF_SESSION;

    CreateWebhook = webhooks::CREATE;
    ListWebhooks = webhooks::LIST;
    // Before the route of one endpoint, whose path has room for any word.
    ListenToEvents = events::LISTEN;
    GetWebhook = webhooks::GET;
    UpdateWebhook = webhooks::UPDATE;
    DeleteWebhook = webhooks::DELETE;
    TestWebhook = webhooks::TEST;
    RotateWebhookSecret = webhooks::ROTATE;
    ListWebhookDeliveries = webhooks::DELIVERIES;
    GetWebhookDelivery = webhooks::DELIVERY_LOG;
    RedeliverWebhookDelivery = webhooks::REDELIVER;
    ListEvents = events::LIST;
    GetEvent = events::GET;

    CreateAnalysis = analysis::CREATE;
    GetAnalysis = analysis::GET;
    ListAnalyses = analysis::LIST;
    CreateComplianceProfile = analysis::CREATE_PROFILE;
    ListComplianceProfiles = analysis::LIST_PROFILES;
    GetComplianceProfile = analysis::GET_PROFILE;
    UpdateComplianceProfile = analysis::UPDATE_PROFILE;
    DeleteComplianceProfile = analysis::DELETE_PROFILE;
    ListSessionRecordings = recordings::OF_SESSION;
    PauseRecording = recordings::PAUSE;
    ResumeRecording = recordings::RESUME;
    ListRecordings = recordings::LIST;
    GetRecording = recordings::GET;
    GetRecordingAudio = recordings::AUDIO;
    DeleteRecording = recordings::DELETE;

    WhoAmI = account::WHOAMI;
    ListLanguages = account::LANGUAGES;

    CreateApiKey = api_keys::CREATE;
    ListApiKeys = api_keys::LIST;
    GetApiKey = api_keys::GET;
    UpdateApiKey = api_keys::UPDATE;
    RotateApiKey = api_keys::ROTATE;
    RevokeApiKey = api_keys::REVOKE;
    ReportLeak = api_keys::LEAKS;
    ListAuditLog = api_keys::AUDIT_LOG;

    ListRequests = requests::LIST;
    GetRequest = requests::GET;
    GetIdempotencyKey = requests::IDEMPOTENCY_KEY;

    Health = server::HEALTH;
    Readiness = server::READINESS;
    Metrics = server::METRICS;
    Document = server::DOCUMENT;
    DocumentOfEdition1 = server::DOCUMENT_OF_EDITION_1;
    Reference = server::REFERENCE;
    ErrorReference = server::ERRORS;
    ReferenceAsset = server::ASSET;
}
