//! What alerts and their rules promise.

use std::time::Duration;

use kallglot_core::alert::{Alert, AlertRule, Comparison, Metric, RULES_MAX, Resolution};
use kallglot_core::audit::AuditAction;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{AlertId, AlertRuleId, ApiKeyId, EventId, NodeId, PersonId};
use kallglot_core::usage::Route;

use super::example::{NODE, STRANGERS, TENANT, at, begin, change, event};
use crate::{AlertStep, AuditFilter, ClaimedRule, PageRequest, Storage};

const MINUTE: Duration = Duration::from_secs(60);
const OTHER_NODE: NodeId = NodeId::from_bits(2);

/// A rule with nothing left at its default; a larger number is a newer one.
fn rule(number: u128) -> AlertRule {
    AlertRule {
        id: AlertRuleId::from_bits(number),
        tenant: TENANT,
        name: format!("Åsa's \"rule\" {number}"),
        metric: Metric::Errors,
        key: Some(ApiKeyId::from_bits(1)),
        route: Some(Route { method: "POST".into(), route: "/v1/sessions".into() }),
        code: Some("rate_limit_exceeded".into()),
        comparison: Comparison::Below,
        threshold: 12,
        window_minutes: 5,
        mail_members: true,
        mail_to: vec!["a@example.com".into(), "b@example.com".into()],
        webhook: true,
        enabled: true,
        created_at: at(20),
        updated_at: at(20),
        firing: None,
    }
}

fn alert(number: u128, second: i64) -> Alert {
    let of = rule(1);
    Alert {
        id: AlertId::from_bits(number),
        tenant: TENANT,
        rule: of.id,
        condition: of.condition(),
        rule_name: of.name,
        metric: of.metric,
        value: 7,
        fired_at: at(second),
        resolved_at: None,
        resolution: None,
    }
}

fn told(event_type: EventType, number: u128) -> Event {
    Event { id: EventId::from_bits(number), ..event(event_type, "") }
}

async fn claimed(storage: &impl Storage, node: NodeId, lapses_after: Duration) -> Vec<ClaimedRule> {
    storage.claim_alert_rules(node, lapses_after, 10).await.unwrap()
}

/// Rule 1 with alert 1, which began at 30 s.
async fn with_alert(storage: &impl Storage) {
    begin(storage).await;
    assert!(storage.create_alert_rule(&rule(1), &change(50, 20)).await.unwrap());
    let claim = claimed(storage, NODE, MINUTE).await.remove(0);
    let event = told(EventType::AlertFired, 60);
    let fires = AlertStep::Fires(alert(1, 30));
    assert!(storage.settle_alert_rule(&claim, &fires, Some(&event), Duration::ZERO).await.unwrap());
}

/// Something in every table, for a storage in which person 1 is.
pub(super) async fn fill(storage: &impl Storage) {
    assert!(storage.create_alert_rule(&rule(1), &change(500, 20)).await.unwrap());
    let claim = claimed(storage, NODE, MINUTE).await.remove(0);
    storage.settle_alert_rule(&claim, &AlertStep::Fires(alert(1, 30)), None, Duration::ZERO).await.unwrap();
    storage.alerts_seen(TENANT, PersonId::from_bits(1), at(40)).await.unwrap();
}

async fn events(storage: &impl Storage) -> Vec<EventType> {
    let all = storage.events(0, 1000).await.unwrap().into_iter().map(|(_, event)| event.event_type);
    all.filter(|event_type| matches!(event_type, EventType::AlertFired | EventType::AlertResolved)).collect()
}

pub async fn alert_rules_are_kept_and_changed(storage: &impl Storage) {
    begin(storage).await;
    for number in [1, 2] {
        assert!(storage.create_alert_rule(&rule(number), &change(50 + number, 20)).await.unwrap());
    }
    assert_eq!(storage.alert_rules(TENANT).await.unwrap(), [rule(1), rule(2)]);
    assert_eq!(storage.alert_rule(TENANT, rule(1).id).await.unwrap(), Some(rule(1)));
    let new = AlertRule {
        name: "new".into(),
        metric: Metric::CreditsRemaining,
        key: None,
        route: None,
        code: None,
        comparison: Comparison::Above,
        threshold: -1,
        window_minutes: 60,
        mail_members: false,
        mail_to: vec![],
        webhook: false,
        enabled: false,
        updated_at: at(30),
        ..rule(1)
    };
    let resolved = told(EventType::AlertResolved, 70);
    for stranger in STRANGERS {
        assert_eq!(storage.alert_rules(stranger).await.unwrap(), []);
        assert_eq!(storage.alert_rule(stranger, rule(1).id).await.unwrap(), None);
        let theirs = AlertRule { tenant: stranger, ..new.clone() };
        assert_eq!(storage.update_alert_rule(&theirs, &resolved, &change(55, 30)).await.unwrap(), None);
        assert!(!storage.delete_alert_rule(stranger, rule(1).id, &resolved, &change(55, 30)).await.unwrap());
    }
    for number in [56, 57] {
        let now = storage.update_alert_rule(&new, &resolved, &change(number, 30)).await.unwrap();
        assert_eq!(now, Some(new.clone()));
    }
    assert_eq!(storage.alert_rules(TENANT).await.unwrap(), [new, rule(2)]);
    assert!(storage.delete_alert_rule(TENANT, rule(2).id, &resolved, &change(58, 40)).await.unwrap());
    assert!(!storage.delete_alert_rule(TENANT, rule(2).id, &resolved, &change(59, 40)).await.unwrap());
    assert_eq!(storage.alert_rules(TENANT).await.unwrap().len(), 1);
    assert_eq!(events(storage).await, []);
    let log = storage.audit_log(TENANT.organization, &AuditFilter::default(), &PageRequest::newest(10)).await.unwrap();
    let actions: Vec<AuditAction> = log.items.iter().map(|entry| entry.action).collect();
    use AuditAction::{AlertRuleCreated, AlertRuleDeleted, AlertRuleUpdated};
    assert_eq!(actions[..4], [AlertRuleDeleted, AlertRuleUpdated, AlertRuleCreated, AlertRuleCreated]);
    assert_eq!(log.items[1].changes["threshold"], ("12".to_owned(), "-1".to_owned()));
}

pub async fn a_tenant_has_only_so_many_alert_rules(storage: &impl Storage) {
    begin(storage).await;
    for number in 1..=u128::from(RULES_MAX) {
        assert!(storage.create_alert_rule(&rule(number), &change(100 + number, 20)).await.unwrap());
    }
    assert!(!storage.create_alert_rule(&rule(999), &change(999, 20)).await.unwrap());
    assert_eq!(storage.alert_rules(TENANT).await.unwrap().len(), RULES_MAX as usize);
}

pub async fn a_rule_is_looked_at_by_one_node(storage: &impl Storage) {
    begin(storage).await;
    storage.create_alert_rule(&rule(1), &change(50, 20)).await.unwrap();
    storage.create_alert_rule(&AlertRule { enabled: false, ..rule(2) }, &change(51, 20)).await.unwrap();
    let (mine, theirs) =
        futures_util::future::join(claimed(storage, NODE, MINUTE), claimed(storage, OTHER_NODE, MINUTE)).await;
    assert_eq!(mine.len() + theirs.len(), 1, "one has it, and one that is switched off nobody has");
    let first = mine.into_iter().chain(theirs).next().unwrap();
    assert_eq!(first.rule, rule(1));

    let second = claimed(storage, OTHER_NODE, Duration::ZERO).await.remove(0);
    let fires = AlertStep::Fires(alert(1, 30));
    assert!(!storage.settle_alert_rule(&first, &fires, None, MINUTE).await.unwrap(), "the claim has lapsed");
    assert!(storage.settle_alert_rule(&second, &AlertStep::Stays, None, MINUTE).await.unwrap());
    assert!(!storage.settle_alert_rule(&second, &fires, None, MINUTE).await.unwrap(), "it has been given back");
    assert_eq!(claimed(storage, NODE, MINUTE).await, [], "it is not due");
    assert_eq!(storage.alerts(TENANT, None, &PageRequest::newest(10)).await.unwrap().items, []);
}

pub async fn an_alert_begins_and_ends_once(storage: &impl Storage) {
    with_alert(storage).await;
    assert_eq!(storage.alerts(TENANT, None, &PageRequest::newest(10)).await.unwrap().items, [alert(1, 30)]);
    let claim = claimed(storage, NODE, MINUTE).await.remove(0);
    assert_eq!(claim.rule.firing, Some(alert(1, 30).id));
    assert!(storage.settle_alert_rule(&claim, &AlertStep::Stays, None, Duration::ZERO).await.unwrap());
    let claim = claimed(storage, NODE, MINUTE).await.remove(0);
    let over = AlertStep::Resolves(alert(1, 30).id, at(90), Resolution::Recovered);
    let event = told(EventType::AlertResolved, 61);
    for first in [true, false] {
        assert_eq!(storage.settle_alert_rule(&claim, &over, Some(&event), MINUTE).await.unwrap(), first);
    }
    assert_eq!(events(storage).await, [EventType::AlertFired, EventType::AlertResolved]);
    let ended = Alert { resolved_at: Some(at(90)), resolution: Some(Resolution::Recovered), ..alert(1, 30) };
    let of_rule = storage.alerts(TENANT, Some(rule(1).id), &PageRequest::newest(10)).await.unwrap();
    assert_eq!(of_rule.items, std::slice::from_ref(&ended));
    assert_eq!(storage.alerts(TENANT, Some(rule(2).id), &PageRequest::newest(10)).await.unwrap().items, []);
    for stranger in STRANGERS {
        assert_eq!(storage.alerts(stranger, None, &PageRequest::newest(10)).await.unwrap().items, []);
    }
    assert_eq!(storage.alert_rule(TENANT, rule(1).id).await.unwrap().unwrap().firing, None);
}

pub async fn a_changed_rule_ends_its_alert(storage: &impl Storage) {
    with_alert(storage).await;
    let claim = claimed(storage, NODE, MINUTE).await.remove(0);
    let resolved = told(EventType::AlertResolved, 62);
    let off = AlertRule { enabled: false, updated_at: at(40), ..rule(1) };
    storage.update_alert_rule(&off, &resolved, &change(51, 40)).await.unwrap();
    assert!(!storage.settle_alert_rule(&claim, &AlertStep::Stays, None, MINUTE).await.unwrap());
    let ended = Alert { resolved_at: Some(at(40)), resolution: Some(Resolution::RuleChanged), ..alert(1, 30) };
    assert_eq!(
        storage.alerts(TENANT, None, &PageRequest::newest(10)).await.unwrap().items,
        std::slice::from_ref(&ended)
    );
    let (_, event) = storage.events(0, 100).await.unwrap().pop().unwrap();
    assert_eq!((event.event_type, &event.object), (EventType::AlertResolved, &ended.id.to_string()));
    assert_eq!(event.detail, ended.detail());
    assert!(storage.delete_alert_rule(TENANT, off.id, &resolved, &change(52, 50)).await.unwrap());
    assert_eq!(storage.alerts(TENANT, None, &PageRequest::newest(10)).await.unwrap().items, [ended]);
    assert_eq!(events(storage).await.len(), 2);
}

pub async fn who_has_not_seen_an_alert_is_known(storage: &impl Storage) {
    with_alert(storage).await;
    super::people::fill(storage).await;
    let people = [1, 2].map(PersonId::from_bits);
    assert_eq!(storage.alerts_unseen(TENANT, people[0]).await.unwrap(), (1, None));
    storage.alerts_seen(TENANT, people[0], at(40)).await.unwrap();
    storage.alerts_seen(TENANT, people[0], at(10)).await.unwrap();
    assert_eq!(storage.alerts_unseen(TENANT, people[0]).await.unwrap(), (0, Some(at(40))));
    assert_eq!(storage.alerts_unseen(TENANT, people[1]).await.unwrap(), (1, None), "each has seen what they have seen");
    assert_eq!(storage.alerts_unseen(STRANGERS[0], people[1]).await.unwrap(), (0, None));
}
