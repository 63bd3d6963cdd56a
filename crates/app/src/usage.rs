//! Usage over a period, as charts show it: in steps without holes, oldest first, of which the last is under way.
//!
//! Requests come out of the rollups and so may be a few seconds old; sessions and credits are asked for as they are.

use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::session::Tenant;
use kallglot_core::usage::{Counts, Route, Slice, Totals, Usage};
use kallglot_storage::{CreditFlow, SESSION_SPANS_MAX, SessionSpan, Span, StorageError};

use crate::App;

/// How far back is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// An hour, minute by minute.
    Hour,
    /// A day, hour by hour.
    Day,
    /// Seven days, in steps of six hours.
    Week,
    /// Thirty days (UTC), day by day.
    Month,
}

impl Period {
    /// Every one, the shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The period of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }

    /// How many steps it has.
    pub const fn steps(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 24,
            Self::Week => 28,
            Self::Month => 30,
        }
    }

    /// The length of a step, in seconds.
    pub const fn step_s(self) -> u32 {
        match self {
            Self::Hour => 60,
            Self::Day => 60 * 60,
            Self::Week => 6 * 60 * 60,
            Self::Month => 24 * 60 * 60,
        }
    }

    const fn slice(self) -> Slice {
        match self {
            Self::Hour => Slice::Minute,
            Self::Day | Self::Week | Self::Month => Slice::Hour,
        }
    }

    /// Where the step that `at` lies in begins.
    fn step_of(self, at: Timestamp) -> Timestamp {
        let step_s = i64::from(self.step_s());
        Timestamp::from_second(at.as_second().div_euclid(step_s) * step_s).unwrap_or(at)
    }

    /// Where its steps begin, when the last one is under way at `now`.
    pub fn beginnings(self, now: Timestamp) -> Vec<Timestamp> {
        let last = self.step_of(now);
        let back = |steps: usize| SignedDuration::from_secs(i64::from(self.step_s()) * steps as i64);
        (0..self.steps()).rev().filter_map(|steps| last.checked_sub(back(steps)).ok()).collect()
    }

    /// From the beginning of its first step to just after `now`.
    pub fn span(self, now: Timestamp) -> Span {
        let from = self.beginnings(now).first().copied().unwrap_or(now);
        Span { from, to: now.checked_add(SignedDuration::from_micros(1)).unwrap_or(now) }
    }
}

/// What requests come to in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    /// Step by step: where it begins and what its requests come to.
    pub steps: Vec<(Timestamp, Counts)>,
    /// All of them, by route.
    pub all: Usage,
}

/// How many sessions there were at a time in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConcurrentSessions {
    /// Where the step begins.
    pub at: Timestamp,
    /// Most at one time.
    pub max: u32,
    /// On average over the step; over what has passed of it, for the last one.
    pub average: f64,
}

impl App {
    /// What the tenant's requests come to: of all its keys, or of one; of all routes, or of one.
    ///
    /// # Errors
    /// Storage's.
    pub async fn usage(
        &self,
        tenant: Tenant,
        key: Option<ApiKeyId>,
        route: Option<&Route>,
        period: Period,
    ) -> Result<UsageReport, StorageError> {
        let now = self.clock.now();
        let slices = self.storage.usage(tenant, key, period.slice(), period.span(now)).await?;
        let mut steps: Vec<(Timestamp, Counts)> =
            period.beginnings(now).into_iter().map(|at| (at, Counts::default())).collect();
        let mut all = Usage::default();
        for (at, mut usage) in slices {
            usage.routes.retain(|here, _| route.is_none_or(|wanted| here == wanted));
            all.merge(&usage);
            if let Ok(place) = steps.binary_search_by_key(&period.step_of(at), |(at, _)| *at) {
                steps[place].1.merge(&usage.all());
            }
        }
        Ok(UsageReport { steps, all })
    }

    /// As [`Self::usage`], in five numbers for each step, which is much faster: for a sparkline.
    ///
    /// # Errors
    /// Storage's.
    pub async fn usage_totals(
        &self,
        tenant: Tenant,
        key: Option<ApiKeyId>,
        period: Period,
    ) -> Result<Vec<(Timestamp, Totals)>, StorageError> {
        let now = self.clock.now();
        let slices = self.storage.usage_totals(tenant, key, period.slice(), period.span(now)).await?;
        let mut steps: Vec<(Timestamp, Totals)> =
            period.beginnings(now).into_iter().map(|at| (at, Totals::default())).collect();
        for (at, totals) in &slices {
            if let Ok(place) = steps.binary_search_by_key(&period.step_of(*at), |(at, _)| *at) {
                steps[place].1.merge(totals);
            }
        }
        Ok(steps)
    }

    /// What each key's requests come to, those of the `limit` (at most 1000) with most requests first.
    ///
    /// # Errors
    /// Storage's.
    pub async fn usage_by_key(
        &self,
        tenant: Tenant,
        period: Period,
        limit: u32,
    ) -> Result<Vec<(ApiKeyId, Totals)>, StorageError> {
        self.storage.usage_by_key(tenant, period.slice(), period.span(self.clock.now()), limit).await
    }

    /// How many of the tenant's sessions there were at a time, step by step; and whether all were counted, which they are unless the period
    /// has more than [`SESSION_SPANS_MAX`] of them: then the oldest are missing.
    ///
    /// # Errors
    /// Storage's.
    pub async fn concurrent_sessions(
        &self,
        tenant: Tenant,
        period: Period,
    ) -> Result<(Vec<ConcurrentSessions>, bool), StorageError> {
        let now = self.clock.now();
        let span = period.span(now);
        let sessions = self.storage.session_spans(tenant, span, SESSION_SPANS_MAX).await?;
        let complete = sessions.len() < SESSION_SPANS_MAX as usize;
        Ok((at_a_time(&sessions, &period.beginnings(now), span.to), complete))
    }

    /// What became of the organization's credits, step by step. Its environments have them together.
    ///
    /// # Errors
    /// Storage's.
    pub async fn credit_flows(
        &self,
        organization: OrganizationId,
        period: Period,
    ) -> Result<Vec<CreditFlow>, StorageError> {
        let now = self.clock.now();
        let found = self.storage.credit_flows(organization, period.span(now), period.step_s()).await?;
        let flow = |at| found.iter().find(|flow| flow.at == at).copied();
        let none = |at| CreditFlow { at, spent: 0, granted: 0, expired: 0 };
        Ok(period.beginnings(now).into_iter().map(|at| flow(at).unwrap_or_else(|| none(at))).collect())
    }
}

/// How many sessions there were at a time in each of the steps that begin at `beginnings`, the last of which goes up to `to`.
pub(crate) fn at_a_time(sessions: &[SessionSpan], beginnings: &[Timestamp], to: Timestamp) -> Vec<ConcurrentSessions> {
    // When one more or one less was there; who leaves makes room for who comes in the same moment.
    let mut changes: Vec<(Timestamp, i64)> = Vec::with_capacity(2 * sessions.len());
    for session in sessions {
        changes.push((session.created_at, 1));
        changes.extend(session.ended_at.map(|at| (at.max(session.created_at), -1)));
    }
    changes.sort_unstable();
    let mut changes = changes.into_iter().peekable();
    let (mut there, mut steps) = (0i64, Vec::with_capacity(beginnings.len()));
    for (place, from) in beginnings.iter().enumerate() {
        let end = beginnings.get(place + 1).copied().unwrap_or(to);
        while let Some((_, change)) = changes.next_if(|(at, _)| at <= from) {
            there += change;
        }
        let (mut max, mut since, mut sum_us) = (there, *from, 0i128);
        while let Some((at, change)) = changes.next_if(|(at, _)| *at < end) {
            sum_us += i128::from(there) * at.duration_since(since).as_micros();
            (there, since) = (there + change, at);
            max = max.max(there);
        }
        sum_us += i128::from(there) * end.duration_since(since).as_micros();
        let length_us = end.duration_since(*from).as_micros().max(1);
        #[allow(clippy::cast_precision_loss)] // To be shown with one digit.
        let average = sum_us as f64 / length_us as f64;
        steps.push(ConcurrentSessions { at: *from, max: u32::try_from(max).unwrap_or(0), average });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn session(from: i64, to: Option<i64>) -> SessionSpan {
        SessionSpan { created_at: second(from), ended_at: to.map(second) }
    }

    #[test]
    fn sessions_are_counted_as_they_come_and_go() {
        let sessions = [session(-50, Some(60)), session(0, Some(30)), session(30, Some(45)), session(100, None)];
        let steps = at_a_time(&sessions, &[second(0), second(60), second(120)], second(150));
        let told: Vec<(u32, f64)> = steps.iter().map(|step| (step.max, step.average)).collect();
        // 60 s of the first, 30 s of the second and 15 s of the third; who ends when the next one comes is not there beside it.
        assert_eq!(told, [(2, 105.0 / 60.0), (1, 20.0 / 60.0), (1, 1.0)]);
    }

    #[test]
    fn a_period_has_steps_without_holes_up_to_now() {
        for period in Period::ALL {
            let now = second(1_750_000_000);
            let beginnings = period.beginnings(now);
            assert_eq!(beginnings.len(), period.steps());
            let step = i64::from(period.step_s());
            assert!(beginnings.windows(2).all(|pair| pair[1].as_second() - pair[0].as_second() == step));
            let last = beginnings[beginnings.len() - 1];
            assert!(last <= now && now.as_second() - last.as_second() < step && last.as_second() % step == 0);
            assert_eq!(Period::parse(period.as_str()), Some(period));
        }
    }
}
