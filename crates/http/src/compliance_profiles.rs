//! Compliance profiles: what an organization wants said and not said, for its analyses.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use kallglot_app::App;
use kallglot_core::analysis::ComplianceProfile;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::ComplianceProfileId;
use kallglot_core::session::Tenant;
use kallglot_storage::StorageError;
use serde::Serialize;
use serde_json::Value;

use crate::HttpState;
use crate::body::Body;
use crate::gate::{AnalysisRead, AnalysisWrite, Caller};
use crate::list::{List, page};
use crate::problem::Problem;
use crate::sessions::time;

#[derive(Serialize)]
pub(crate) struct ProfileBody {
    id: String,
    object: &'static str,
    name: String,
    rules: Value,
    created_at: String,
    updated_at: String,
}

fn body(profile: &ComplianceProfile) -> Result<ProfileBody, Problem> {
    let corrupt =
        |_| StorageError::Corrupt { table: "compliance_profiles", column: "rules", id: profile.id.to_string() };
    Ok(ProfileBody {
        id: profile.id.to_string(),
        object: "compliance_profile",
        name: profile.name.clone(),
        rules: serde_json::from_str(&profile.rules).map_err(corrupt)?,
        created_at: time(profile.created_at),
        updated_at: time(profile.updated_at),
    })
}

fn unknown() -> Problem {
    Problem::with(ErrorCode::NotFound, "There is no such compliance profile.")
}

fn profile_id(text: &str) -> Result<ComplianceProfileId, Problem> {
    text.parse().map_err(|_| unknown())
}

/// A profile that is not the tenant's: one of the organization's other environment is told apart (contract section 1).
async fn not_here(app: &App, tenant: Tenant, id: ComplianceProfileId) -> Problem {
    let other = Tenant { environment: tenant.environment.other(), ..tenant };
    match app.storage.compliance_profile(other, id).await {
        Ok(Some(_)) => Problem::of(ErrorCode::ApiKeyWrongEnvironment),
        Ok(None) => unknown(),
        Err(error) => error.into(),
    }
}

pub(crate) async fn create(
    caller: Caller<AnalysisWrite>,
    State(state): State<HttpState>,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<ProfileBody>), Problem> {
    let name = fields.short_text("name", ComplianceProfile::NAME_CHARS_MAX)?;
    let Some(name) = name else { return fields.refuse("name", "given") };
    let Some(rules) = fields.value("rules") else { return fields.refuse("rules", "given: a list of rules") };
    fields.finish()?;
    let profile = state.app.create_profile(caller.tenant(), name, &rules).await?;
    Ok((StatusCode::CREATED, Json(body(&profile)?)))
}

pub(crate) async fn get(
    caller: Caller<AnalysisRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<ProfileBody>, Problem> {
    let id = profile_id(&id)?;
    match state.app.storage.compliance_profile(caller.tenant(), id).await? {
        Some(profile) => Ok(Json(body(&profile)?)),
        None => Err(not_here(&state.app, caller.tenant(), id).await),
    }
}

pub(crate) async fn list(
    caller: Caller<AnalysisRead>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<ProfileBody>>, Problem> {
    let page = page(query.as_deref(), "a compliance profile")?;
    let found = state.app.storage.compliance_profiles(caller.tenant(), &page).await?;
    List::of_results(found, "/v1/compliance_profiles", |profile| body(&profile)).map(Json)
}

pub(crate) async fn update(
    caller: Caller<AnalysisWrite>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Body(mut fields): Body,
) -> Result<Json<ProfileBody>, Problem> {
    let name = fields.short_text("name", ComplianceProfile::NAME_CHARS_MAX)?;
    let rules = fields.value("rules");
    fields.finish()?;
    let id = profile_id(&id)?;
    match state.app.update_profile(caller.tenant(), id, name, rules.as_ref()).await {
        Err(error) if error.code() == ErrorCode::NotFound => Err(not_here(&state.app, caller.tenant(), id).await),
        updated => Ok(Json(body(&updated?)?)),
    }
}

pub(crate) async fn delete(
    caller: Caller<AnalysisWrite>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = profile_id(&id)?;
    if state.app.storage.delete_compliance_profile(caller.tenant(), id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_here(&state.app, caller.tenant(), id).await)
    }
}
