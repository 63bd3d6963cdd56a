//! The editions of the API and the one table of what differs between them (contract section 12).
//!
//! Nothing else in the code knows what an edition means: it asks for a property of [`Edition::rules`] or for
//! [`Edition::error_shape`] and does what it says.

use std::fmt;
use std::str::FromStr;

use crate::error_code::{ErrorCode, ErrorType};
use crate::permission::{Permission, PermissionSet};

/// Which of the two contracts a request is read and answered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Edition {
    /// The older one, for those who are pinned to it.
    One,
    /// The default.
    #[default]
    Two,
}

/// The text names no edition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an edition is `1` or `2`")]
pub struct UnknownEdition;

impl Edition {
    /// Every edition.
    pub const ALL: &'static [Self] = &[Self::One, Self::Two];

    /// Its number, as in the header `Kallglot-Edition`.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Its number as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
        }
    }

    /// The edition of this number.
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl FromStr for Edition {
    type Err = UnknownEdition;

    fn from_str(text: &str) -> Result<Self, UnknownEdition> {
        match text {
            "1" => Ok(Self::One),
            "2" => Ok(Self::Two),
            _ => Err(UnknownEdition),
        }
    }
}

/// What a top-level `provider` in a new session means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderField {
    /// It is read as `routing`.
    ReadAsRouting,
    /// It is refused: `provider_field_not_allowed`.
    Refused,
}

/// How a code looks from outside in one edition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorShape {
    /// The code's name.
    pub code: &'static str,
    /// The HTTP status; none for a code that only streams use.
    pub status: Option<u16>,
    /// The family's name.
    pub error_type: ErrorType,
}

/// Everything that one edition decides.
#[derive(Debug, PartialEq, Eq)]
pub struct EditionRules {
    /// How long a stream token is valid unless the server's configuration says otherwise.
    pub stream_token_lifetime_s: u32,
    /// What a new key may do unless told otherwise.
    pub standard_permissions: PermissionSet,
    /// What a top-level `provider` means.
    pub provider_field: ProviderField,
    /// Whether a new session must name both languages.
    pub languages_required: bool,
    /// Whether an error has a `doc_url`.
    pub error_doc_url: bool,
    /// What its error types are called, where not as in the registry.
    error_types: &'static [(ErrorType, ErrorType)],
    /// The codes whose name, status or type is not as in the registry.
    errors: &'static [(ErrorCode, &'static str, u16, ErrorType)],
}

const EDITION_2_PERMISSIONS: PermissionSet = PermissionSet::of(&[
    Permission::SessionsRead,
    Permission::SessionsWrite,
    Permission::RecordingsRead,
    Permission::AnalysisRead,
    Permission::AnalysisWrite,
    Permission::WebhooksManage,
    Permission::AgentsRead,
    Permission::AgentsWrite,
]);

static EDITION_1: EditionRules = EditionRules {
    stream_token_lifetime_s: 60 * 60,
    standard_permissions: EDITION_2_PERMISSIONS.with(Permission::RecordingsDelete),
    provider_field: ProviderField::ReadAsRouting,
    languages_required: true,
    error_doc_url: true,
    error_types: &[
        (ErrorType::InvalidRequest, ErrorType::Validation),
        (ErrorType::Permission, ErrorType::Authorization),
    ],
    errors: &[
        (ErrorCode::ApiKeyInvalid, "invalid_api_key", 401, ErrorType::Authentication),
        (ErrorCode::ApiKeyExpired, "expired_api_key", 401, ErrorType::Authentication),
        (ErrorCode::ApiKeyRevoked, "revoked_api_key", 401, ErrorType::Authentication),
        (ErrorCode::ApiKeyWrongEnvironment, "invalid_api_key", 401, ErrorType::Authentication),
        (ErrorCode::InsufficientPermissions, "insufficient_permissions", 401, ErrorType::Authorization),
        (ErrorCode::StreamTokenInvalid, "invalid_token", 401, ErrorType::Authentication),
        (ErrorCode::StreamTokenExpired, "expired_token", 401, ErrorType::Authentication),
    ],
};

static EDITION_2: EditionRules = EditionRules {
    stream_token_lifetime_s: 5 * 60,
    standard_permissions: EDITION_2_PERMISSIONS,
    provider_field: ProviderField::Refused,
    languages_required: false,
    error_doc_url: false,
    error_types: &[],
    errors: &[],
};

impl Edition {
    /// What this edition decides.
    pub fn rules(self) -> &'static EditionRules {
        match self {
            Self::One => &EDITION_1,
            Self::Two => &EDITION_2,
        }
    }

    /// How `code` looks from outside in this edition.
    pub fn error_shape(self, code: ErrorCode) -> ErrorShape {
        let rules = self.rules();
        if let Some((_, name, status, error_type)) = rules.errors.iter().find(|(different, ..)| *different == code) {
            return ErrorShape { code: name, status: Some(*status), error_type: *error_type };
        }
        let row = code.row();
        let renamed = rules.error_types.iter().find(|(registry, _)| *registry == row.error_type);
        ErrorShape { code: row.code, status: row.status, error_type: renamed.map_or(row.error_type, |(_, here)| *here) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edition_2_is_the_default_and_shows_the_registry_as_it_is() {
        assert_eq!(Edition::default(), Edition::Two);
        for code in ErrorCode::ALL {
            let row = code.row();
            let expected = ErrorShape { code: row.code, status: row.status, error_type: row.error_type };
            assert_eq!(Edition::Two.error_shape(*code), expected);
        }
    }

    #[test]
    fn edition_1_has_its_own_names_for_what_its_document_names() {
        for (code, name, status) in [
            (ErrorCode::ApiKeyInvalid, "invalid_api_key", 401),
            (ErrorCode::ApiKeyExpired, "expired_api_key", 401),
            (ErrorCode::ApiKeyRevoked, "revoked_api_key", 401),
            (ErrorCode::ApiKeyWrongEnvironment, "invalid_api_key", 401),
            (ErrorCode::InsufficientPermissions, "insufficient_permissions", 401),
            (ErrorCode::StreamTokenInvalid, "invalid_token", 401),
            (ErrorCode::StreamTokenExpired, "expired_token", 401),
        ] {
            let shape = Edition::One.error_shape(code);
            assert_eq!((shape.code, shape.status), (name, Some(status)), "{code}");
        }
        assert_eq!(Edition::One.error_shape(ErrorCode::ValidationFailed).error_type, ErrorType::Validation);
        assert_eq!(Edition::One.error_shape(ErrorCode::IpNotAllowed).error_type, ErrorType::Authorization);
        assert_eq!(Edition::One.error_shape(ErrorCode::SessionNotFound).code, "session_not_found");
    }

    #[test]
    fn standard_permissions_are_the_contracts() {
        let two = Edition::Two.rules().standard_permissions;
        assert_eq!(
            two.to_string(),
            "sessions:read sessions:write recordings:read analysis:read analysis:write webhooks:manage agents:read agents:write"
        );
        let one = Edition::One.rules().standard_permissions;
        assert_eq!(one, two.with(Permission::RecordingsDelete));
        assert!(!one.contains(Permission::ApiKeysManage));
    }

    #[test]
    fn numbers_and_text_name_editions() {
        for edition in Edition::ALL {
            assert_eq!(edition.to_string().parse(), Ok(*edition));
            assert_eq!(Edition::from_number(edition.number().into()), Some(*edition));
        }
        assert_eq!("3".parse::<Edition>(), Err(UnknownEdition));
        assert_eq!(Edition::from_number(0), None);
    }
}
