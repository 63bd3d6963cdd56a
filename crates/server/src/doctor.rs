//! `kallglot doctor`: what the speech engines need on this machine, and what is missing.

use std::io::Write as _;
use std::process::ExitCode;

/// Prints every check. Fails when something is missing.
pub(crate) fn run(json: bool) -> ExitCode {
    let checks = kallglot_engine_classic::check();
    let complete = checks.iter().all(|check| check.ok);
    let mut out = std::io::stdout();
    if json {
        let list: Vec<_> = checks
            .iter()
            .map(|check| serde_json::json!({ "what": check.what, "ok": check.ok, "advice": check.advice }))
            .collect();
        let _ = writeln!(out, "{}", serde_json::json!({ "ok": complete, "checks": list }));
    } else {
        for check in &checks {
            let _ = writeln!(out, "{} {}", if check.ok { "ok     " } else { "MISSING" }, check.what);
            if !check.ok {
                let _ = writeln!(out, "        {}", check.advice);
            }
        }
    }
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
