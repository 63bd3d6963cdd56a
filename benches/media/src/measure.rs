//! What is measured: delays in buckets, and what the kernel counts of a process.

use std::fs;

/// Delays in steps of 10 µs up to 2 s.
pub(crate) struct Delays {
    buckets: Vec<u32>,
    count: u64,
    max_us: u64,
    late: u64,
}

const STEP_US: u64 = 10;
const BUCKETS: usize = 200_000;
/// A frame that took longer than it lasts is late.
pub(crate) const LATE_US: u64 = 20_000;

impl Delays {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_us: 0, late: 0 }
    }

    pub(crate) fn add(&mut self, us: u64) {
        let bucket = usize::try_from(us / STEP_US).unwrap_or(usize::MAX).min(BUCKETS - 1);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
        self.late += u64::from(us > LATE_US);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1_000.0
    }

    /// The delay that this part (0 to 1) of all did not exceed, in ms.
    pub(crate) fn quantile_ms(&self, part: f64) -> f64 {
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return (bucket as u64 + 1) as f64 * STEP_US as f64 / 1_000.0;
            }
        }
        self.max_ms()
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_s: f64,
    pub(crate) rss_kb: u64,
}

/// Reads it from /proc; zeros when the process is gone.
pub(crate) fn usage(pid: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in brackets, may have blanks: fields are counted after it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss_kb = rss.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    let hz = rustix::param::clock_ticks_per_second().max(1);
    Usage { cpu_s: (ticks(11) + ticks(12)) as f64 / hz as f64, rss_kb }
}

/// How many runnable tasks the machine had in the last minute: a measurement beside others' work says so.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut delays = Delays::new();
        for us in (0..1_000).map(|n| n * 100) {
            delays.add(us);
        }
        assert!((delays.quantile_ms(0.5) - 49.91).abs() < 0.2, "{}", delays.quantile_ms(0.5));
        assert!((delays.quantile_ms(0.99) - 98.91).abs() < 0.2);
        assert_eq!((delays.count(), delays.late()), (1_000, 799));
        delays.add(10_000_000);
        assert!((delays.max_ms() - 10_000.0).abs() < 0.1);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(usage(std::process::id()).rss_kb > 100);
        assert_eq!(usage(u32::MAX).rss_kb, 0);
    }
}
