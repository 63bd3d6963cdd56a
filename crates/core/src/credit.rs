//! Credits (contract section 7): an append-only ledger per organization; the balance is the sum of its entries and never negative.

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::{Offset, TimeZone};

use crate::id::{OrganizationId, RequestId};
use crate::session::named;

named! {
    /// Why an entry stands in the ledger.
    LedgerKind {
        /// Credits were given.
        Grant = "grant",
        /// A request was paid for.
        Spend = "spend",
        /// A spend was given back.
        Refund = "refund",
        /// Credits expired.
        Expiry = "expiry",
    }
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Its place in the ledger of all organizations; grows.
    pub sequence: i64,
    /// Whose.
    pub organization: OrganizationId,
    /// Why.
    pub kind: LedgerKind,
    /// How much it adds to the balance: negative for spends and expiries, never 0.
    pub amount: i64,
    /// The balance after it: the sum of this entry and all before.
    pub balance_after: i64,
    /// The request that it is for; none for what an operator does.
    pub request: Option<RequestId>,
    /// The id of what was paid for.
    pub object: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// How an organization's credits stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreditBalance {
    /// The last ledger entry that is counted, 0 for none: of two balances the one with the greater number is the newer.
    pub sequence: i64,
    /// What is left.
    pub remaining: i64,
    /// What was spent, less what was refunded, in the billing period.
    pub used: i64,
    /// The billing period that `used` belongs to.
    pub period: BillingPeriod,
}

impl CreditBalance {
    /// What was spent in the period of `now`: nothing once a new period has begun.
    pub fn used_at(&self, now: Timestamp) -> i64 {
        if BillingPeriod::of(now) == self.period { self.used } else { 0 }
    }
}

/// A billing period: a calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BillingPeriod {
    /// Months since January of the year 0.
    months: i32,
}

impl BillingPeriod {
    /// The period that `at` lies in.
    pub fn of(at: Timestamp) -> Self {
        let date = Offset::UTC.to_datetime(at).date();
        Self { months: i32::from(date.year()) * 12 + i32::from(date.month()) - 1 }
    }

    /// Its number: months since January of the year 0.
    pub const fn number(self) -> i32 {
        self.months
    }

    /// The period of this number.
    pub const fn from_number(number: i32) -> Self {
        Self { months: number }
    }

    /// The first moment of it.
    pub fn begins_at(self) -> Timestamp {
        let year = i16::try_from(self.months.div_euclid(12)).unwrap_or(i16::MAX).clamp(-9999, 9999);
        let month = i8::try_from(self.months.rem_euclid(12)).unwrap_or(0) + 1;
        date(year, month, 1).to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
    }

    /// The first moment after it.
    pub fn ends_at(self) -> Timestamp {
        Self { months: self.months + 1 }.begins_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_calendar_month() {
        let at: Timestamp = "2026-12-31T23:59:59.999Z".parse().unwrap();
        let period = BillingPeriod::of(at);
        assert_eq!(period.begins_at().to_string(), "2026-12-01T00:00:00Z");
        assert_eq!(period.ends_at().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(BillingPeriod::of(period.begins_at()), period);
        assert!(BillingPeriod::of(period.ends_at()) > period);
    }

    #[test]
    fn what_was_used_last_month_is_not_used_this_month() {
        let november: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let december: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let balance = CreditBalance { sequence: 1, remaining: 5, used: 3, period: BillingPeriod::of(november) };
        assert_eq!((balance.used_at(november), balance.used_at(december)), (3, 0));
    }
}
