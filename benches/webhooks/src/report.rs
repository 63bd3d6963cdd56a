//! What became of everything, as the database says, and what it cost.

use std::path::Path;

use rusqlite::Connection;

use crate::{Failure, Measure};

/// CPU time of a process so far: its own and the system's for it.
pub(crate) fn cpu_ms(process: u32) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = text.rsplit_once(") ").ok_or("no name")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // Linux counts in hundredths of a second on every machine that this runs on.
    Ok(ticks * 10)
}

/// Most memory that a process has had.
pub(crate) fn memory_kb(process: u32) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find(|line| line.starts_with("VmHWM")).ok_or("no VmHWM")?;
    Ok(line.split_ascii_whitespace().nth(1).ok_or("no number")?.parse()?)
}

/// Prints how all deliveries stand, and fails unless each is there.
pub(crate) fn accounts(data: &Path, args: &Measure, cpu_ms: u64, memory_kb: u64, requests: u64) -> Result<(), Failure> {
    let database = Connection::open(data.join("kallglot.db"))?;
    let count = |sql: &str| database.query_row(sql, (), |row| row.get::<_, i64>(0));
    let all = count("SELECT count(*) FROM deliveries WHERE event_type = 'session.created'")?;
    let attempts = count("SELECT count(*) FROM delivery_attempts")?;
    for status in ["succeeded", "pending", "failed"] {
        println!("  {status}: {}", count(&format!("SELECT count(*) FROM deliveries WHERE status = '{status}'"))?);
    }
    let healthy = args.slow + args.fail + args.hang;
    let open = count(&format!(
        "SELECT count(*) FROM deliveries JOIN webhooks ON webhooks.id = webhook_id \
         WHERE status <> 'succeeded' AND CAST(description AS INTEGER) >= {healthy}"
    ))?;
    println!("deliveries in the database: {all} of {}, attempts {attempts}", args.deliveries);
    println!("healthy endpoints' deliveries that have not succeeded: {open}");
    let per = |count: u64| cpu_ms as f64 * 1000.0 / count.max(1) as f64;
    println!(
        "server: {:.1} s of CPU, {:.0} µs for each event that was stored and request that was made, {} MB at most",
        cpu_ms as f64 / 1000.0,
        per(requests),
        memory_kb / 1024
    );
    if all != args.deliveries as i64 || open != 0 {
        return Err("not everything is accounted for".into());
    }
    Ok(())
}
