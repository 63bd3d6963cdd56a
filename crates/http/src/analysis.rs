//! Analyses of sessions (contract section 13): ask for one, read one, list a session's.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use kallglot_app::App;
use kallglot_app::analysis::CreateAnalysis;
use kallglot_app::analysis::document::Document;
use kallglot_app::idempotency::Made;
use kallglot_app::idempotency::Repeatable;
use kallglot_core::analysis::{Analysis, AnalysisState, ComplianceProfile, Part};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::AnalysisId;
use kallglot_core::session::Tenant;
use kallglot_storage::StorageError;
use serde::Serialize;

use crate::HttpState;
use crate::body::{Body, Fields};
use crate::gate::{AnalysisRead, AnalysisWrite, Caller};
use crate::idempotency::{Repeat, made};
use crate::list::{List, page};
use crate::problem::Problem;
use crate::sessions::{find, session_id, time};

#[derive(Serialize)]
pub(crate) struct AnalysisBody {
    id: String,
    object: &'static str,
    session_id: String,
    status: &'static str,
    include: Vec<&'static str>,
    profile: Option<ProfileBody>,
    progress: Progress,
    #[serde(flatten)]
    parts: PartsBody,
    error: Option<ErrorBody>,
    created_at: String,
    completed_at: Option<String>,
}

#[derive(Serialize)]
struct ProfileBody {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct Progress {
    attempts: u32,
    parts_done: usize,
    parts_total: usize,
}

#[derive(Serialize)]
struct ErrorBody {
    code: &'static str,
    message: String,
}

/// What is in a completed analysis; the same fields, all null, in another.
#[derive(Serialize)]
#[serde(untagged)]
enum PartsBody {
    Made(Box<Document>),
    None {
        summary: Option<()>,
        summary_language: Option<()>,
        summary_method: Option<()>,
        highlights: Option<()>,
        action_items: Option<()>,
        sentiment: Option<()>,
        compliance: Option<()>,
        keywords: Option<()>,
        performance: Option<()>,
        errors: [(); 0],
        transcript: Option<()>,
    },
}

const NO_PARTS: PartsBody = PartsBody::None {
    summary: None,
    summary_language: None,
    summary_method: None,
    highlights: None,
    action_items: None,
    sentiment: None,
    compliance: None,
    keywords: None,
    performance: None,
    errors: [],
    transcript: None,
};

fn body(analysis: &Analysis) -> Result<AnalysisBody, Problem> {
    let parts_total = analysis.include.len();
    let (parts, parts_done, error, completed_at) = match &analysis.state {
        AnalysisState::Processing => (NO_PARTS, analysis.parts_done as usize, None, None),
        AnalysisState::Completed { at, result } => {
            let document = serde_json::from_str(result).map_err(|_| StorageError::Corrupt {
                table: "analyses",
                column: "result",
                id: analysis.id.to_string(),
            })?;
            (PartsBody::Made(document), parts_total, None, Some(time(*at)))
        }
        AnalysisState::Failed { at, failure, message } => {
            let error = ErrorBody { code: failure.as_str(), message: message.clone() };
            (NO_PARTS, analysis.parts_done as usize, Some(error), Some(time(*at)))
        }
    };
    Ok(AnalysisBody {
        id: analysis.id.to_string(),
        object: "analysis",
        session_id: analysis.session.to_string(),
        status: analysis.state.status().as_str(),
        include: analysis.include.iter().map(|part| part.as_str()).collect(),
        profile: analysis
            .profile
            .as_ref()
            .map(|profile| ProfileBody { id: profile.id.to_string(), name: profile.name.clone() }),
        progress: Progress { attempts: analysis.attempts, parts_done, parts_total },
        parts,
        error,
        created_at: time(analysis.created_at),
        completed_at,
    })
}

/// Which parts are asked for, in their own order; all, unless some are named.
fn include(fields: &mut Fields) -> Result<Vec<Part>, Problem> {
    if !fields.has("include") {
        return Ok(Part::ALL.to_vec());
    }
    let named = fields.texts("include")?;
    let names = || Part::ALL.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ");
    for (at, name) in named.iter().enumerate() {
        if Part::parse(name).is_none() {
            return fields.refuse(&format!("include[{at}]"), &format!("one of {}", names()));
        }
    }
    if named.is_empty() {
        return fields.refuse("include", &format!("a list of at least one of {}", names()));
    }
    Ok(Part::ALL.iter().copied().filter(|part| named.iter().any(|name| name == part.as_str())).collect())
}

pub(crate) async fn create(
    caller: Caller<AnalysisWrite>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    repeat: Repeat,
    Body(fields): Body,
) -> Result<Response, Problem> {
    let repeatable = repeat.begin(&state, &caller, &fields).await?;
    let asked = make(&caller, &state, &id, fields, repeatable.as_ref()).await;
    made(StatusCode::ACCEPTED, repeatable.as_ref(), asked).await
}

async fn make(
    caller: &Caller<AnalysisWrite>,
    state: &HttpState,
    id: &str,
    mut fields: Fields,
    repeatable: Option<&Repeatable>,
) -> Result<Made, Problem> {
    let include = include(&mut fields)?;
    let profile = fields.short_text("profile", ComplianceProfile::NAME_CHARS_MAX)?;
    fields.finish()?;
    let asked = CreateAnalysis { include, profile };
    let session = find(&state.app, caller.tenant(), session_id(id)?).await?;
    // What waits has no parts, and so a JSON form.
    let render =
        |analysis: &Analysis| body(analysis).ok().and_then(|body| serde_json::to_vec(&body).ok()).unwrap_or_default();
    let (known, request) = (&caller.known, caller.context.id);
    Ok(state.app.create_analysis(known, request, &session, asked, repeatable, render).await?)
}

pub(crate) async fn get(
    caller: Caller<AnalysisRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<AnalysisBody>, Problem> {
    let unknown = || Problem::of(ErrorCode::AnalysisNotFound);
    let id: AnalysisId = id.parse().map_err(|_| unknown())?;
    match state.app.storage.analysis(caller.tenant(), id).await? {
        Some(analysis) => Ok(Json(body(&analysis)?)),
        None => Err(elsewhere(&state.app, caller.tenant(), id).await?.unwrap_or_else(unknown)),
    }
}

/// One of the same organization's other environment is told apart from one that does not exist (contract section 1).
async fn elsewhere(app: &App, tenant: Tenant, id: AnalysisId) -> Result<Option<Problem>, Problem> {
    let other = Tenant { environment: tenant.environment.other(), ..tenant };
    let found = app.storage.analysis(other, id).await?;
    Ok(found.map(|_| Problem::of(ErrorCode::ApiKeyWrongEnvironment)))
}

pub(crate) async fn list(
    caller: Caller<AnalysisRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<AnalysisBody>>, Problem> {
    let page = page(query.as_deref(), "an analysis")?;
    let session = find(&state.app, caller.tenant(), session_id(&id)?).await?;
    let found = state.app.storage.analyses(session.tenant, session.id, &page).await?;
    List::of_results(found, format!("/v1/sessions/{}/analyses", session.id), |analysis| body(&analysis)).map(Json)
}
