//! The built program as its users have it: the command line, a server that is started, asked, killed and started again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on must fail at once")]

mod after_call;
mod call;
mod commands;
mod crash;
mod crash_gate;
mod crash_recording;
mod deploy;
mod fault_run;
mod load;
mod process;
mod secrets;
mod shutdown;
mod start;
mod traces;
mod transfer;
mod webhooks;
