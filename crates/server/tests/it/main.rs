//! The built program as its users have it: the command line, a server that is started, asked, killed and started again.

mod call;
mod commands;
mod crash;
mod process;
mod shutdown;
mod start;
