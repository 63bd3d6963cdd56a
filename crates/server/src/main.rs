//! `kallglot`: the command line (contract section 14).

mod backends;
mod call;
mod command;
mod config;
mod demo;
mod doctor;
mod engines;
mod key;
mod listen;
mod migrate;
mod org;
mod pepper;
mod platform;
mod portal;
mod request;
mod serve;
mod single_sign_on;
mod smtp;
mod telemetry;
mod transfer;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kallglot_app::people::portal_url;
use kallglot_engine_classic::WorkerKind;

use crate::command::Context;
use crate::config::{Config, ConfigError};
use crate::platform::{SystemClock, SystemRandom, peppers};

/// Two people who share no language talk on a call; each hears the other in their own language.
#[derive(Parser)]
#[command(
    name = "kallglot",
    version,
    after_help = "Examples:
  kallglot demo                                      hear what it does, in a minute
  kallglot org create --name Acme                    make an organization
  kallglot key create --org ORG --env test           make an API key for it
  kallglot serve                                     run the server on 127.0.0.1:8080
  kallglot call --key KEY --file speech.wav --from en --to es --out heard.wav
  kallglot listen --key KEY --forward-to http://localhost:3000/webhooks"
)]
struct CommandLine {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// Settings file; `kallglot settings` prints one with all defaults
    #[arg(long, global = true, value_name = "FILE", env = "KALLGLOT_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of the database, the secrets and all else that lasts
    #[arg(long, global = true, value_name = "DIR", env = "KALLGLOT_DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Print JSON for machines
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Show a real call, translated live, on a server of its own
    Demo(demo::DemoArgs),
    /// Make a call: stream recordings or the microphone, hear the translation
    Call(call::CallArgs),
    /// Bring test events to your own machine, as webhooks
    Listen(listen::ListenArgs),
    /// Organizations
    Org(org::OrgArgs),
    /// API keys
    Key(key::KeyArgs),
    /// Why a request was refused
    Request(request::RequestArgs),
    /// Accounts of the Developer Portal: links to the first one and to new passwords
    Portal(portal::PortalArgs),
    /// The secret in the hash of every API key
    Pepper(pepper::PepperArgs),
    /// Bring the shared database's schema up to date
    Migrate(migrate::MigrateArgs),
    /// Write everything that the database holds to a file
    Export(transfer::ExportArgs),
    /// Read such a file into an empty database, and prove that nothing differs
    Import(transfer::ImportArgs),
    /// Check what speech recognition, translation and synthesis need on this machine
    Doctor,
    /// Print all settings with their defaults
    Settings,
    /// A speech worker, started by the server
    #[command(hide = true)]
    EngineWorker {
        /// What it does
        kind: WorkerKind,
    },
}

#[derive(Args)]
struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where clients reach the server, as in https://api.example.com
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

fn main() -> ExitCode {
    let CommandLine { common, command } = CommandLine::parse();
    // A worker is a process of its own without an async runtime: its libraries keep global state.
    if let Command::EngineWorker { kind } = command {
        return kallglot_engine_classic::worker_main(kind);
    }
    let config = match settings(&common, &command) {
        Ok(config) => config,
        Err(error) => {
            fail(&common, &error);
            return ExitCode::from(2);
        }
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.as_ref().map(|config| config.worker_threads).filter(|threads| *threads > 0) {
        runtime.worker_threads(threads);
    }
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(run(common, command, config)),
        Err(error) => fail(&common, &error),
    }
}

/// The settings, for the commands that need them.
fn settings(common: &Common, command: &Command) -> Result<Option<Config>, ConfigError> {
    if matches!(command, Command::Call(_) | Command::Listen(_) | Command::Demo(_) | Command::Settings | Command::Doctor)
    {
        return Ok(None);
    }
    let variables = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    Config::load(common.config.as_deref(), variables).map(Some)
}

async fn run(common: Common, command: Command, config: Option<Config>) -> ExitCode {
    match command {
        Command::Call(args) => return call::run(args, common.json).await,
        Command::Listen(args) => return listen::run(args, common.json).await,
        Command::Demo(args) => return demo::run(args, &common.data_dir_given(), common.json).await,
        Command::Settings => {
            let _ = std::io::stdout().write_all(config::DEFAULTS.as_bytes());
            return ExitCode::SUCCESS;
        }
        Command::Doctor => return doctor::run(common.json),
        _ => {}
    }
    let done = match command {
        Command::Serve(args) => {
            let Some(mut config) = config else { return ExitCode::FAILURE };
            config.listen = args.listen.unwrap_or(config.listen);
            config.public_url = args.public_url.unwrap_or(config.public_url);
            let _telemetry = match telemetry::start(&config.log, &config.traces) {
                Ok(telemetry) => telemetry,
                Err(error) => {
                    fail(&common, &error);
                    return ExitCode::from(2);
                }
            };
            serve::run(&config, &common.data_dir).await.map_err(|error| error.to_string())
        }
        Command::Migrate(args) => {
            let Some(config) = config else { return ExitCode::FAILURE };
            migrate::run(&args, &config, common.json).await.map_err(|error| error.to_string())
        }
        Command::Export(args) => {
            let Some(config) = config else { return ExitCode::FAILURE };
            let done = transfer::export(&args, &config, &common.data_dir, common.json).await;
            done.map_err(|error| error.to_string())
        }
        Command::Import(args) => {
            let Some(config) = config else { return ExitCode::FAILURE };
            let done = transfer::import(&args, &config, &common.data_dir, common.json).await;
            done.map_err(|error| error.to_string())
        }
        command => {
            let Some(config) = config else { return ExitCode::FAILURE };
            on_database(command, &common, &config).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&common, &error),
    }
}

/// The commands that work on the database, whether a server runs on it or not.
async fn on_database(command: Command, common: &Common, config: &Config) -> Result<(), String> {
    let storage = backends::storage(config, &common.data_dir).await.map_err(|error| error.to_string())?;
    let secrets_dir = config.secrets_dir(&common.data_dir);
    let peppers = peppers(&secrets_dir).map_err(|error| error.to_string())?;
    // A key that is made here has to work on the nodes.
    backends::check_peppers(config, storage.as_ref(), &peppers).await.map_err(|error| error.to_string())?;
    let mut out = std::io::stdout();
    let mut context = Context {
        storage: storage.as_ref(),
        peppers: &peppers,
        clock: &SystemClock,
        random: &SystemRandom,
        json: common.json,
        out: &mut out,
    };
    let done = match command {
        Command::Org(args) => org::run(args, &mut context).await,
        Command::Key(args) => key::run(args, &mut context).await,
        Command::Request(args) => request::run(args, &mut context).await,
        Command::Portal(args) => portal::run(args, &portal_url(&config.public_url(config.listen)), &mut context).await,
        Command::Pepper(args) => pepper::run(args, &secrets_dir, &mut context).await,
        _ => Ok(()),
    };
    let closed = storage.close().await;
    done.map_err(|error| error.to_string())?;
    closed.map_err(|error| error.to_string())
}

impl Common {
    /// The data folder if it was named, on the command line or in the environment.
    fn data_dir_given(&self) -> Option<&Path> {
        (self.data_dir != Path::new("./data")).then_some(self.data_dir.as_path())
    }
}

fn fail(common: &Common, error: &dyn std::fmt::Display) -> ExitCode {
    let text = if common.json {
        format!("{}\n", serde_json::json!({ "error": { "message": error.to_string() } }))
    } else {
        format!("error: {error}\n")
    };
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}
