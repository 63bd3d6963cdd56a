//! What requests come to, counted: how many, how they ended, how long they took, how near they came to their rate limit.
//!
//! Everything here is added up: the counts of two halves of a time, or of two nodes, merged in any order are the counts of the whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::error_code::ErrorCode;
use crate::id::ApiKeyId;
use crate::request_record::RequestRecord;
use crate::session::Tenant;

/// How long usage is kept by the minute, in hours.
pub const MINUTES_KEPT_H: i64 = 48;
/// How long usage is kept by the hour, in days: thirteen months.
pub const HOURS_KEPT_DAYS: i64 = 396;
/// The share of a limit that counts as all of it, in thousandths.
pub const WHOLE_PERMILLE: u32 = 1000;

/// How finely usage is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slice {
    /// By the minute, for [`MINUTES_KEPT_H`].
    Minute,
    /// By the hour, for [`HOURS_KEPT_DAYS`].
    Hour,
}

impl Slice {
    /// Its length in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
        }
    }

    /// Where the slice that `at` lies in begins.
    pub fn of(self, at: Timestamp) -> Timestamp {
        let seconds = self.seconds();
        Timestamp::from_second(at.as_second().div_euclid(seconds) * seconds).unwrap_or(at)
    }
}

/// Buckets per doubling. A bucket's ends are at most a sixteenth apart.
const BUCKETS_PER_DOUBLING: u32 = 16;
const BUCKET_BITS: u32 = BUCKETS_PER_DOUBLING.ilog2();
/// The bucket of the longest time that there is.
const LAST_BUCKET: u16 = bucket_of(u32::MAX);

/// Up to 16 µs each value has its own bucket, from there on each doubling has 16 of one width.
#[allow(clippy::cast_possible_truncation)] // At most 463.
const fn bucket_of(value_us: u32) -> u16 {
    if value_us < BUCKETS_PER_DOUBLING {
        return value_us as u16;
    }
    let above = value_us.ilog2() - BUCKET_BITS;
    (above * BUCKETS_PER_DOUBLING + (value_us >> above)) as u16
}

/// The longest time that belongs to a bucket.
fn end_of(bucket: u16) -> u32 {
    let (bucket, per_doubling) = (u64::from(bucket), u64::from(BUCKETS_PER_DOUBLING));
    let end = if bucket < per_doubling {
        bucket
    } else {
        let above = bucket / per_doubling - 1;
        ((per_doubling + bucket % per_doubling + 1) << above) - 1
    };
    u32::try_from(end).unwrap_or(u32::MAX)
}

/// How long requests took: a histogram with log-linear buckets, of which only those are kept that have something in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies(BTreeMap<u16, u64>);

impl Latencies {
    /// Counts one of so many microseconds.
    pub fn add(&mut self, latency_us: u32) {
        *self.0.entry(bucket_of(latency_us)).or_default() += 1;
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            let here = self.0.entry(*bucket).or_default();
            *here = here.saturating_add(*count);
        }
    }

    /// Within so many microseconds lie so many thousandths of all: what is told is at most a sixteenth more than the exact value. None
    /// when nothing was counted.
    pub fn quantile_us(&self, permille: u32) -> Option<u32> {
        let all: u64 = self.0.values().fold(0, |all, count| all.saturating_add(*count));
        let rank = (u128::from(all) * u128::from(permille.min(1000))).div_ceil(1000).max(1);
        let mut seen = 0u128;
        for (bucket, count) in &self.0 {
            seen += u128::from(*count);
            if seen >= rank {
                return Some(end_of(*bucket));
            }
        }
        None
    }

    /// The buckets that have something in them, in order, each with its count: to be stored.
    pub fn buckets(&self) -> impl Iterator<Item = (u16, u64)> {
        self.0.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// Of [`Self::buckets`]; none when there is no such bucket.
    pub fn of_buckets(buckets: impl IntoIterator<Item = (u16, u64)>) -> Option<Self> {
        let buckets: BTreeMap<u16, u64> = buckets.into_iter().collect();
        buckets.keys().all(|bucket| *bucket <= LAST_BUCKET).then_some(Self(buckets))
    }
}

/// What requests of one kind come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many.
    pub requests: u64,
    /// How many by the answer's status.
    pub by_status: BTreeMap<u16, u64>,
    /// How many by the registry's name of the refusal or failure.
    pub by_code: BTreeMap<Cow<'static, str>, u64>,
    /// How long they took.
    pub latencies: Latencies,
    /// The highest share of a request limit that was used up after one of them, in thousandths.
    pub pressure_permille: u32,
}

impl Counts {
    /// Counts a request.
    pub fn add(&mut self, record: &RequestRecord) {
        self.requests += 1;
        *self.by_status.entry(record.status).or_default() += 1;
        if let Some(code) = &record.code {
            *self.by_code.entry(code.clone()).or_default() += 1;
        }
        self.latencies.add(record.latency_us);
        let pressure = record.limits.map_or(0, |limits| {
            let used = u64::from(limits.rate_limit.saturating_sub(limits.rate_remaining));
            let share = (used * u64::from(WHOLE_PERMILLE)).checked_div(u64::from(limits.rate_limit));
            u32::try_from(share.unwrap_or(0)).unwrap_or(WHOLE_PERMILLE)
        });
        self.pressure_permille = self.pressure_permille.max(pressure);
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        for (status, count) in &other.by_status {
            let here = self.by_status.entry(*status).or_default();
            *here = here.saturating_add(*count);
        }
        for (code, count) in &other.by_code {
            let here = self.by_code.entry(code.clone()).or_default();
            *here = here.saturating_add(*count);
        }
        self.latencies.merge(&other.latencies);
        self.pressure_permille = self.pressure_permille.max(other.pressure_permille);
    }

    fn with_status(&self, from: u16) -> u64 {
        self.by_status.range(from..).fold(0, |all, (_, count)| all.saturating_add(*count))
    }

    /// How many had this error code.
    pub fn with_code(&self, code: &str) -> u64 {
        self.by_code.get(code).copied().unwrap_or(0)
    }

    /// The counts without what makes them large.
    pub fn totals(&self) -> Totals {
        Totals {
            requests: self.requests,
            errors: self.with_status(400),
            failures: self.with_status(500),
            rate_limited: self.with_code(ErrorCode::RateLimitExceeded.as_str()),
            pressure_permille: self.pressure_permille,
        }
    }
}

/// [`Counts`] in five numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many requests.
    pub requests: u64,
    /// How many of them were refused or failed: a status of 400 or more.
    pub errors: u64,
    /// How many of them failed by the server's fault: a status of 500 or more.
    pub failures: u64,
    /// How many were refused by a rate limit.
    pub rate_limited: u64,
    /// The highest share of a request limit that was used up, in thousandths.
    pub pressure_permille: u32,
}

impl Totals {
    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.failures = self.failures.saturating_add(other.failures);
        self.rate_limited = self.rate_limited.saturating_add(other.rate_limited);
        self.pressure_permille = self.pressure_permille.max(other.pressure_permille);
    }
}

/// A method and a route, such as `GET /v1/sessions/{id}`. There are as many as the server has, never as many as clients can think of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The method.
    pub method: Cow<'static, str>,
    /// The route, not the path.
    pub route: Cow<'static, str>,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.route)
    }
}

/// What requests come to, route by route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// By route, only those that were asked for.
    pub routes: BTreeMap<Route, Counts>,
}

impl Usage {
    /// Counts a request.
    pub fn add(&mut self, record: &RequestRecord) {
        let route = Route { method: record.method.clone(), route: record.route.clone() };
        self.routes.entry(route).or_default().add(record);
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (route, counts) in &other.routes {
            match self.routes.get_mut(route) {
                Some(here) => here.merge(counts),
                None => {
                    self.routes.insert(route.clone(), counts.clone());
                }
            }
        }
    }

    /// All routes together.
    pub fn all(&self) -> Counts {
        let mut all = Counts::default();
        self.routes.values().for_each(|counts| all.merge(counts));
        all
    }
}

/// What one key's requests of one minute come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMinute {
    /// Whose.
    pub tenant: Tenant,
    /// Which key's.
    pub key: ApiKeyId,
    /// Where the minute begins.
    pub at: Timestamp,
    /// What they come to.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_lie_side_by_side_and_are_narrow() {
        let mut last = None;
        for bucket in 0..=LAST_BUCKET {
            let end = end_of(bucket);
            assert_eq!(bucket_of(end), bucket);
            if let Some(last) = last {
                assert_eq!(bucket_of(last + 1), bucket, "no value lies between two buckets");
                assert!(u64::from(end - last) * 16 <= u64::from(end) + 16, "{bucket} is as wide as {}", end - last);
            }
            last = Some(end);
        }
        assert_eq!(last, Some(u32::MAX));
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(Latencies::default().quantile_us(500), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_values_to_a_sixteenth(
            mut values in prop::collection::vec(any::<u32>(), 1..300), permille in 0u32..=1000, cut: usize,
        ) {
            let (mut left, mut right) = (Latencies::default(), Latencies::default());
            let cut = cut % values.len();
            values[..cut].iter().for_each(|value| left.add(*value));
            values[cut..].iter().for_each(|value| right.add(*value));
            left.merge(&right);
            values.sort_unstable();
            let rank = (values.len() * permille as usize).div_ceil(1000).max(1);
            let (exact, told) = (u64::from(values[rank - 1]), u64::from(left.quantile_us(permille).unwrap()));
            prop_assert!(told >= exact && told <= exact + exact / 16, "{told} for {exact}");
            prop_assert_eq!(Latencies::of_buckets(left.buckets()), Some(left));
        }
    }
}
