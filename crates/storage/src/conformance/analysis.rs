//! What analyses and compliance profiles promise.

use std::time::Duration;

use futures_util::future::{join, join_all};
use kallglot_core::analysis::{
    Analysis, AnalysisFailure, AnalysisState, AnalysisStatus, ComplianceProfile, Part, UsedProfile,
};
use kallglot_core::credit::LedgerKind;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{AnalysisId, ComplianceProfileId, NodeId, RequestId, SessionId};

use super::example::{STRANGERS, TENANT, answer, at, begin, begin_with_credits, event, new_session, session_event};
use crate::{Claim, CreatePaid, NewAnalysis, PageRequest, Storage, StorageError, StoreProfile};

const SESSION: SessionId = SessionId::from_bits(1);
const NODE: NodeId = NodeId::from_bits(1);
const OTHER_NODE: NodeId = NodeId::from_bits(2);
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

fn analysis(number: u128) -> Analysis {
    Analysis {
        id: AnalysisId::from_bits(number),
        tenant: TENANT,
        session: SESSION,
        include: vec![Part::Summary, Part::Compliance],
        profile: Some(UsedProfile {
            id: ComplianceProfileId::from_bits(1),
            name: "Übliche \"Regeln\"".into(),
            rules: "[]".into(),
        }),
        credits: 0,
        attempts: 0,
        parts_done: 0,
        created_at: at(60),
        state: AnalysisState::Processing,
    }
}

fn new(number: u128, credits: u32) -> NewAnalysis {
    NewAnalysis {
        analysis: Analysis { credits, ..analysis(number) },
        request: RequestId::from_bits(number),
        low_credits_event: event(EventType::CreditsLow, &TENANT.organization.to_string()),
        idempotency: None,
    }
}

fn done(event_type: EventType) -> Event {
    session_event(event_type, 1, None)
}

async fn with_session(storage: &impl Storage, credits: u32) {
    if credits > 0 {
        begin_with_credits(storage, credits).await;
    } else {
        begin(storage).await;
    }
    storage.create_session(&new_session(1)).await.unwrap();
}

async fn claimed(storage: &impl Storage, node: NodeId, lapses_after: Duration) -> Option<Claim> {
    storage.claim_analysis(node, lapses_after).await.unwrap().map(|(claim, _)| claim)
}

pub async fn an_analysis_is_kept_as_it_was_asked_for(storage: &impl Storage) {
    with_session(storage, 0).await;
    assert_eq!(storage.create_analysis(&new(1, 0)).await, Ok(CreatePaid::Created(None)));
    let without = Analysis { profile: None, include: vec![Part::Performance], ..analysis(2) };
    storage.create_analysis(&NewAnalysis { analysis: without.clone(), ..new(2, 0) }).await.unwrap();
    assert_eq!(storage.analysis(TENANT, AnalysisId::from_bits(1)).await.unwrap(), Some(analysis(1)));
    let page = storage.analyses(TENANT, SESSION, &PageRequest::newest(10)).await.unwrap();
    assert_eq!(page.items, [without, analysis(1)]);
    for stranger in STRANGERS {
        assert_eq!(storage.analysis(stranger, AnalysisId::from_bits(1)).await.unwrap(), None);
        assert_eq!(storage.analyses(stranger, SESSION, &PageRequest::newest(10)).await.unwrap().items, []);
    }
    let again = storage.create_analysis(&new(1, 0)).await;
    assert!(matches!(again, Err(StorageError::Conflict { .. })), "{again:?}");
}

pub async fn an_analysis_is_paid_for_once(storage: &impl Storage) {
    with_session(storage, 2).await;
    let repeatable = NewAnalysis { idempotency: Some(answer("a", 1, at(60))), ..new(1, 1) };
    let Ok(CreatePaid::Created(Some(balance))) = storage.create_analysis(&repeatable).await else { panic!() };
    assert_eq!((balance.remaining, balance.used), (1, 1));
    let again = NewAnalysis { idempotency: Some(answer("a", 1, at(61))), ..new(2, 1) };
    assert!(matches!(storage.create_analysis(&again).await, Ok(CreatePaid::Known(_))));
    let many: Vec<_> = (3..8).map(|number| new(number, 1)).collect();
    let outcomes = join_all(many.iter().map(|new| storage.create_analysis(new))).await;
    let made = outcomes.iter().filter(|outcome| matches!(outcome, Ok(CreatePaid::Created(_)))).count();
    assert_eq!(made, 1, "one credit was left: {outcomes:?}");
    let ledger = storage.ledger(TENANT.organization, 0, 100).await.unwrap();
    assert_eq!(ledger.last().unwrap().balance_after, 0);
    assert_eq!(storage.analyses(TENANT, SESSION, &PageRequest::newest(10)).await.unwrap().items.len(), 2);
}

pub async fn an_analysis_is_done_by_one_node_and_told(storage: &impl Storage) {
    with_session(storage, 0).await;
    storage.create_analysis(&new(1, 0)).await.unwrap();
    let (one, other) = join(claimed(storage, NODE, LONG), claimed(storage, OTHER_NODE, LONG)).await;
    let claim = match (one, other) {
        (Some(claim), None) | (None, Some(claim)) => claim,
        both => panic!("one of two gets it: {both:?}"),
    };
    assert_eq!(claim.attempt, 1);
    assert!(storage.note_analysis_progress(claim, 1).await.unwrap());
    let working = storage.analysis(TENANT, claim.analysis).await.unwrap().unwrap();
    assert_eq!((working.parts_done, working.attempts), (1, 1));

    let before = storage.events(0, 100).await.unwrap().len();
    let event = done(EventType::AnalysisComplete);
    assert!(storage.complete_analysis(claim, "{\"a\":1}", at(70), &event).await.unwrap());
    assert!(!storage.complete_analysis(claim, "{\"a\":2}", at(71), &event).await.unwrap(), "once");
    let failed = storage.fail_analysis(claim, AnalysisFailure::Timeout, "Late.", at(71), &event).await;
    assert_eq!(failed, Ok(false));
    let stored = storage.analysis(TENANT, claim.analysis).await.unwrap().unwrap();
    assert_eq!(stored.state, AnalysisState::Completed { at: at(70), result: "{\"a\":1}".into() });
    let events = storage.events(0, 100).await.unwrap();
    assert_eq!(events.len(), before + 1);
    assert_eq!(events.last().unwrap().1.event_type, EventType::AnalysisComplete);
    assert_eq!(claimed(storage, NODE, Duration::ZERO).await, None, "nothing is left to do");
}

pub async fn an_analysis_is_taken_over_from_a_node_that_died(storage: &impl Storage) {
    with_session(storage, 0).await;
    storage.create_analysis(&new(1, 0)).await.unwrap();
    let dead = claimed(storage, NODE, LONG).await.unwrap();
    assert_eq!(claimed(storage, OTHER_NODE, LONG).await, None);
    let alive = claimed(storage, OTHER_NODE, Duration::ZERO).await.unwrap();
    assert_eq!((alive.analysis, alive.attempt), (dead.analysis, 2));
    // Who was only thought dead has nothing to say any more.
    let event = done(EventType::AnalysisComplete);
    assert!(!storage.note_analysis_progress(dead, 1).await.unwrap());
    assert!(!storage.release_analysis(dead, Duration::ZERO, true).await.unwrap());
    assert!(!storage.complete_analysis(dead, "{}", at(70), &event).await.unwrap());
    assert!(storage.complete_analysis(alive, "{}", at(70), &event).await.unwrap());
}

pub async fn an_analysis_is_tried_again_after_its_delay(storage: &impl Storage) {
    with_session(storage, 0).await;
    storage.create_analysis(&new(1, 0)).await.unwrap();
    let claim = claimed(storage, NODE, LONG).await.unwrap();
    assert!(storage.release_analysis(claim, Duration::ZERO, true).await.unwrap());
    let claim = claimed(storage, NODE, LONG).await.unwrap();
    assert_eq!(claim.attempt, 2);
    assert!(storage.release_analysis(claim, Duration::ZERO, false).await.unwrap());
    let claim = claimed(storage, NODE, LONG).await.unwrap();
    assert_eq!(claim.attempt, 2, "who stops has not tried");
    assert!(storage.release_analysis(claim, LONG, true).await.unwrap());
    assert_eq!(claimed(storage, NODE, LONG).await, None, "it is not due yet");
}

pub async fn an_analysis_that_fails_gives_its_credit_back_once(storage: &impl Storage) {
    with_session(storage, 5).await;
    storage.create_analysis(&new(1, 1)).await.unwrap();
    let claim = claimed(storage, NODE, LONG).await.unwrap();
    let event = done(EventType::AnalysisFailed);
    let fail = || storage.fail_analysis(claim, AnalysisFailure::Timeout, "Too long.", at(70), &event);
    let (one, other) = join(fail(), fail()).await;
    assert_eq!([one.unwrap(), other.unwrap()].into_iter().filter(|failed| *failed).count(), 1);
    let stored = storage.analysis(TENANT, claim.analysis).await.unwrap().unwrap();
    assert_eq!(stored.state.status(), AnalysisStatus::Failed);
    let message = "Too long.".into();
    assert_eq!(stored.state, AnalysisState::Failed { at: at(70), failure: AnalysisFailure::Timeout, message });
    let balance = storage.credit_balance(TENANT.organization).await.unwrap().unwrap();
    assert_eq!((balance.remaining, balance.used), (5, 0));
    let ledger = storage.ledger(TENANT.organization, 0, 100).await.unwrap();
    let refund = ledger.last().unwrap();
    assert_eq!((refund.kind, refund.amount), (LedgerKind::Refund, 1));
    assert_eq!(refund.object, Some(claim.analysis.to_string()));
    assert_eq!(refund.request, Some(RequestId::from_bits(1)));
    let events = storage.events(0, 100).await.unwrap();
    assert_eq!(events.iter().filter(|(_, event)| event.event_type == EventType::AnalysisFailed).count(), 1);
}

fn profile(number: u128, name: &str) -> ComplianceProfile {
    ComplianceProfile {
        id: ComplianceProfileId::from_bits(number),
        tenant: TENANT,
        name: name.into(),
        rules: format!("[{number}]"),
        created_at: at(1),
        updated_at: at(1),
    }
}

pub async fn compliance_profiles_are_kept_by_name(storage: &impl Storage) {
    begin(storage).await;
    let one = profile(1, "Übliche");
    assert_eq!(storage.create_compliance_profile(&one).await.unwrap(), StoreProfile::Stored(one.clone()));
    assert_eq!(storage.create_compliance_profile(&profile(2, "Übliche")).await.unwrap(), StoreProfile::NameTaken);
    storage.create_compliance_profile(&profile(3, "Strict")).await.unwrap();
    assert_eq!(storage.compliance_profile(TENANT, one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(storage.compliance_profile_named(TENANT, "Übliche").await.unwrap(), Some(one.clone()));
    let page = storage.compliance_profiles(TENANT, &PageRequest::newest(1)).await.unwrap();
    assert!(page.has_more && page.items == [profile(3, "Strict")]);

    let update = |name: Option<&'static str>, rules: Option<&'static str>| {
        storage.update_compliance_profile(TENANT, one.id, name, rules, at(9))
    };
    assert_eq!(update(Some("Strict"), None).await.unwrap(), StoreProfile::NameTaken);
    let changed = ComplianceProfile { name: "Usual".into(), rules: "[9]".into(), updated_at: at(9), ..one.clone() };
    assert_eq!(update(Some("Usual"), Some("[9]")).await.unwrap(), StoreProfile::Stored(changed.clone()));
    assert_eq!(update(Some("Usual"), None).await.unwrap(), StoreProfile::Stored(changed.clone()), "its own name");
    assert_eq!(storage.compliance_profile(TENANT, one.id).await.unwrap(), Some(changed));

    for stranger in STRANGERS {
        assert_eq!(storage.compliance_profile(stranger, one.id).await.unwrap(), None);
        assert_eq!(storage.compliance_profile_named(stranger, "Usual").await.unwrap(), None);
        assert_eq!(storage.compliance_profiles(stranger, &PageRequest::newest(9)).await.unwrap().items, []);
        let update = storage.update_compliance_profile(stranger, one.id, Some("Mine"), None, at(9)).await;
        assert_eq!(update.unwrap(), StoreProfile::NotFound);
        assert!(!storage.delete_compliance_profile(stranger, one.id).await.unwrap());
    }
    assert!(storage.delete_compliance_profile(TENANT, one.id).await.unwrap());
    assert!(!storage.delete_compliance_profile(TENANT, one.id).await.unwrap());
    assert_eq!(storage.compliance_profile(TENANT, one.id).await.unwrap(), None);
}

pub async fn a_tenant_has_only_so_many_compliance_profiles(storage: &impl Storage) {
    begin(storage).await;
    for number in 0..ComplianceProfile::PER_TENANT_MAX {
        let stored = storage.create_compliance_profile(&profile(number.into(), &format!("{number}"))).await.unwrap();
        assert!(matches!(stored, StoreProfile::Stored(_)));
    }
    assert_eq!(storage.create_compliance_profile(&profile(999, "one more")).await.unwrap(), StoreProfile::TooMany);
    let elsewhere = ComplianceProfile { tenant: STRANGERS[0], ..profile(999, "one more") };
    let stored = storage.create_compliance_profile(&elsewhere).await.unwrap();
    assert!(matches!(stored, StoreProfile::Stored(_)), "another tenant has its own");
}

/// An analysis of session 1, which must be there, and a profile.
pub(super) async fn fill(storage: &impl Storage) {
    storage.create_analysis(&new(1, 0)).await.unwrap();
    storage.create_compliance_profile(&profile(1, "Übliche")).await.unwrap();
}
