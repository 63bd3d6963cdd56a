//! What happened in a run: how often, how long, and what must not have happened.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Violations whose text is kept; the others are counted.
const VIOLATIONS_MAX: usize = 50;

#[derive(Default)]
struct State {
    violations: Vec<String>,
    violations_count: u64,
    /// By table and row.
    counts: BTreeMap<&'static str, BTreeMap<String, u64>>,
    times: BTreeMap<&'static str, Vec<Duration>>,
}

/// Shared by all that takes part in a run.
pub(super) struct Report {
    began: Instant,
    state: Mutex<State>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One that is poisoned belongs to a run that has failed.
        self.state.lock().unwrap()
    }

    /// Since the beginning, for the lines of a run.
    pub(super) fn now(&self) -> String {
        format!("{:7.2} s", self.began.elapsed().as_secs_f64())
    }

    /// Something is not as it must be.
    pub(super) fn violation(&self, what: impl std::fmt::Display) {
        let text = format!("{} {what}", self.now());
        println!("VIOLATION {text}");
        let mut state = self.lock();
        state.violations_count += 1;
        if state.violations.len() < VIOLATIONS_MAX {
            state.violations.push(text);
        }
    }

    /// A violation unless it holds.
    pub(super) fn must(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(what());
        }
    }

    /// One more of a row of a table.
    pub(super) fn count(&self, table: &'static str, row: impl Into<String>) {
        self.add(table, row, 1);
    }

    /// So many more of it.
    pub(super) fn add(&self, table: &'static str, row: impl Into<String>, number: u64) {
        *self.lock().counts.entry(table).or_default().entry(row.into()).or_default() += number;
    }

    /// How long something took.
    pub(super) fn took(&self, what: &'static str, time: Duration) {
        self.lock().times.entry(what).or_default().push(time);
    }

    /// How many violations there are.
    pub(super) fn violations(&self) -> u64 {
        self.lock().violations_count
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        for (table, rows) in &state.counts {
            writeln!(f, "{table}")?;
            for (row, number) in rows {
                writeln!(f, "  {number:>8}  {row}")?;
            }
        }
        for (what, times) in &state.times {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
            let (half, most, nearly_all) = (at(0.5), at(0.99), at(0.999));
            writeln!(
                f,
                "{what}: {} times, 50 % {half:.0?}, 99 % {most:.0?}, 99.9 % {nearly_all:.0?}, at most {:.0?}",
                times.len(),
                at(1.0)
            )?;
        }
        writeln!(f, "violations: {}", state.violations_count)?;
        for violation in &state.violations {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
