//! `kallglot org set-vocabulary`: what an organization's recognizers should expect, from files.

use std::path::{Path, PathBuf};

use clap::Args;
use kallglot_core::id::OrganizationId;
use kallglot_core::language::LanguageTag;
use kallglot_core::vocabulary::Expectation;
use kallglot_storage::OrganizationUpdate;

use super::show;
use crate::command::{CommandError, Context};

#[derive(Debug, Args)]
pub(super) struct SetVocabulary {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// Which language, such as en or es-MX
    #[arg(long)]
    language: LanguageTag,
    /// A file of whole phrases that are likely to be said, one a line
    #[arg(long, value_name = "FILE")]
    phrases: Option<PathBuf>,
    /// A file of names and other words that the recognizer should know, one a line
    #[arg(long, value_name = "FILE")]
    words: Option<PathBuf>,
    /// Only what the phrases are made of will be said: more exact then, wrong otherwise
    #[arg(long, requires = "phrases")]
    phrases_only: bool,
    /// Forget what was set for that language
    #[arg(long, conflicts_with_all = ["phrases", "words", "phrases_only"], required_unless_present_any = ["phrases", "words"])]
    clear: bool,
}

/// Runs `kallglot org set-vocabulary`.
pub(super) async fn set(args: SetVocabulary, context: &mut Context<'_>) -> Result<(), CommandError> {
    let id = args.organization;
    let mut vocabulary = super::find(id, context).await?.vocabulary;
    if args.clear {
        vocabulary.languages.remove(&args.language);
    } else {
        let expectation = Expectation {
            phrases: args.phrases.as_deref().map(lines).transpose()?.unwrap_or_default(),
            words: args.words.as_deref().map(lines).transpose()?.unwrap_or_default(),
            phrases_only: args.phrases_only,
        };
        vocabulary.languages.insert(args.language, expectation);
    }
    vocabulary.validate().map_err(|error| CommandError::Invalid(error.to_string()))?;
    let update = OrganizationUpdate { vocabulary: Some(vocabulary), ..OrganizationUpdate::default() };
    let changed = context.storage.update_organization(id, &update, &context.change()).await?;
    show::one(&changed.ok_or(CommandError::NoOrganization(id))?, Some("Vocabulary set"), context).await
}

/// The lines of a text file that say something.
fn lines(path: &Path) -> Result<Vec<String>, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|source| CommandError::File { path: path.to_owned(), source })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
