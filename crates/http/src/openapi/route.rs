//! The one list of routes. The router is made from it (`Route::ALL`), and so is the document: neither can have a route that the other
//! has not.

use super::operation::Operation;
use super::table::{account, api_keys, requests, server, sessions};

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
