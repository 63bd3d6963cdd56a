//! What each permission allows, for people.

use kallglot_core::permission::Permission;

/// What a key with this permission can do, in a sentence.
pub(super) const fn meaning(permission: Permission) -> &'static str {
    match permission {
        Permission::SessionsRead => "Read sessions, transcripts and their quality; watch a session's events.",
        Permission::SessionsWrite => {
            "Create and end sessions, and get the tokens with which calls connect. Sessions in the live environment cost credits."
        }
        Permission::RecordingsRead => "List recordings and download their audio.",
        Permission::RecordingsDelete => "Delete recordings, for good.",
        Permission::AnalysisRead => "Read analyses: summaries, sentiment, keywords, compliance.",
        Permission::AnalysisWrite => "Request analyses of sessions. In the live environment they cost credits.",
        Permission::WebhooksManage => {
            "Manage webhook endpoints and read events: who has it can have everything sent to an address of their own."
        }
        Permission::AgentsRead => "Read AI agents.",
        Permission::AgentsWrite => "Manage AI agents.",
        Permission::ApiKeysManage => {
            "Make, rotate and revoke keys by API. Give it to automation that you trust like an admin, and to nothing else."
        }
    }
}
