//! Settings: embedded defaults, then the file, then the environment; validated before anything starts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use kallglot_core::api_key::ServerEnvironment;
use kallglot_core::egress::EgressPolicy;
use serde::Deserialize;
use toml::{Table, Value};

use crate::single_sign_on::PortalSettings;
use crate::smtp::MailSettings;

pub(crate) const DEFAULTS: &str = include_str!("default.toml");
const PREFIX: &str = "KALLGLOT_";
/// Variables with our prefix that are no settings but command-line arguments.
const ARGUMENTS: &[&str] =
    &["KALLGLOT_CONFIG", "KALLGLOT_DATA_DIR", "KALLGLOT_API_KEY", "KALLGLOT_SERVER", "KALLGLOT_PUBLIC_URL_FILE"];

/// What is wrong with the settings, in a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

/// All settings; `default.toml` says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: String,
    environment: String,
    pub(crate) hosts: std::collections::BTreeMap<String, String>,
    #[serde(deserialize_with = "networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "networks")]
    pub(crate) metrics_from: Vec<IpNet>,
    pub(crate) connections_max: usize,
    pub(crate) keys_cached_max: usize,
    pub(crate) worker_threads: usize,
    pub(crate) shutdown_max_s: u32,
    pub(crate) database_url: Hidden,
    pub(crate) redis_url: Hidden,
    pub(crate) database_connections_max: u32,
    pub(crate) node_url: String,
    secrets_dir: PathBuf,
    pub(crate) drain_s: u32,
    pub(crate) log: LogConfig,
    pub(crate) traces: TraceConfig,
    pub(crate) session: SessionConfig,
    pub(crate) recordings: RecordingsConfig,
    pub(crate) stream: StreamSettings,
    pub(crate) webhooks: WebhookSettings,
    pub(crate) mail: MailSettings,
    pub(crate) portal: PortalSettings,
    pub(crate) engine: Vec<EngineConfig>,
    pub(crate) endpointing: EndpointingConfig,
    pub(crate) classic: ClassicSettings,
    pub(crate) openai: OpenAiSettings,
    pub(crate) analysis: AnalysisSettings,
}

/// A text that may hold a password and is therefore not shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(String);

impl Hidden {
    /// The text.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "…" })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogConfig {
    pub(crate) filter: String,
    pub(crate) format: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceConfig {
    pub(crate) otlp_endpoint: String,
    pub(crate) sample_ratio: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionConfig {
    pub(crate) idle_s: u32,
    pub(crate) stream_token_s: u32,
}

/// Where recordings are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordingsConfig {
    pub(crate) url: String,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Hidden,
    pub(crate) path_style: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamSettings {
    pub(crate) ping_every_s: u32,
    pub(crate) idle_s: u32,
    pub(crate) write_max_s: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookSettings {
    #[serde(deserialize_with = "networks")]
    allow_networks: Vec<IpNet>,
    allow_http_in_test: bool,
    pub(crate) proxy: String,
    pub(crate) in_flight_max: usize,
}

impl WebhookSettings {
    /// Lets test endpoints be on this machine and speak plain HTTP.
    pub(crate) fn allow_this_machine(&mut self) {
        let own = ["127.0.0.0/8", "::1/128"].map(str::parse::<IpNet>);
        self.allow_networks.extend(own.into_iter().flatten());
        self.allow_http_in_test = true;
    }

    /// Where webhooks may be sent.
    pub(crate) fn egress(&self) -> EgressPolicy {
        EgressPolicy { allow_networks: self.allow_networks.clone(), allow_http_in_test: self.allow_http_in_test }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineConfig {
    pub(crate) name: String,
    pub(crate) recognizer: Part,
    pub(crate) translator: Part,
    pub(crate) synthesizer: Part,
}

/// Who does one part of an engine's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Classic,
    OpenAi,
    Scripted,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointingConfig {
    pub(crate) silence_ms: u32,
    pub(crate) utterance_max_ms: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassicSettings {
    pub(crate) recognizers_max: usize,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAiSettings {
    pub(crate) base_url: String,
    pub(crate) api_key: String,
    pub(crate) transcription_model: String,
    pub(crate) translation_model: String,
    pub(crate) speech_model: String,
    pub(crate) voice: String,
}

impl std::fmt::Debug for OpenAiSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiSettings").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnalysisSettings {
    pub(crate) at_once_max: usize,
    pub(crate) base_url: String,
    pub(crate) api_key: String,
    pub(crate) model: String,
    pub(crate) timeout_s: u32,
}

impl std::fmt::Debug for AnalysisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnalysisSettings").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Networks, or addresses as networks of their own.
fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: String| {
        let bare = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        text.parse().ok().or_else(bare).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is neither an address nor a network such as 10.0.0.0/8"))
        })
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(network).collect()
}

impl Config {
    /// Where clients reach a server that listens at `address`, without a slash at the end.
    pub(crate) fn public_url(&self, address: SocketAddr) -> String {
        match self.public_url.trim_end_matches('/') {
            "" => format!("http://{address}"),
            url => url.to_owned(),
        }
    }

    /// Reads the settings. `variables` are the process's environment.
    pub(crate) fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table: Table =
            DEFAULTS.parse().map_err(|error| ConfigError(format!("the built-in settings: {error}")))?;
        if let Some(path) = file {
            let name = path.display();
            let text = std::fs::read_to_string(path).map_err(|error| ConfigError(format!("{name}: {error}")))?;
            let own: Table = text.parse().map_err(|error| ConfigError(format!("{name}: {error}")))?;
            merge(&mut table, own);
        }
        for (name, value) in variables {
            if let Some(path) = name.strip_prefix(PREFIX)
                && !ARGUMENTS.contains(&name.as_str())
            {
                set(&mut table, path, &value).map_err(|problem| ConfigError(format!("{name}: {problem}")))?;
            }
        }
        let config: Self = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
            ConfigError(format!(
                "the settings are not as they must be: {}",
                error.to_string().trim().replace('\n', " ")
            ))
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Whether this is one of several nodes.
    pub(crate) fn is_shared(&self) -> bool {
        !self.database_url.0.is_empty()
    }

    /// The folder of the secrets.
    pub(crate) fn secrets_dir(&self, data_dir: &Path) -> PathBuf {
        if self.secrets_dir.as_os_str().is_empty() { data_dir.join("secrets") } else { self.secrets_dir.clone() }
    }

    /// Which keys are let in.
    pub(crate) fn environment(&self) -> ServerEnvironment {
        ServerEnvironment::parse(&self.environment).unwrap_or(ServerEnvironment::Any)
    }

    /// Which keys are let in at which host name.
    pub(crate) fn hosts(&self) -> std::collections::BTreeMap<String, ServerEnvironment> {
        let environment = |name: &String| ServerEnvironment::parse(name).unwrap_or(ServerEnvironment::Any);
        self.hosts.iter().map(|(host, name)| (host.to_ascii_lowercase(), environment(name))).collect()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, value: &dyn std::fmt::Display, allowed: &str| {
            Err(ConfigError(format!("`{key}` is {value}; it must be {allowed}.")))
        };
        if ServerEnvironment::parse(&self.environment).is_none() {
            return wrong("environment", &self.environment, "\"live\", \"test\" or \"any\"");
        }
        for (host, environment) in &self.hosts {
            if ServerEnvironment::parse(environment).is_none() {
                return wrong(&format!("hosts.{host}"), environment, "\"live\", \"test\" or \"any\"");
            }
        }
        for (key, value, least, most) in [
            ("connections_max", self.connections_max, 1, 1_000_000),
            ("keys_cached_max", self.keys_cached_max, 100, 10_000_000),
            ("worker_threads", self.worker_threads, 0, 1024),
            ("webhooks.in_flight_max", self.webhooks.in_flight_max, 16, 10_000),
            ("analysis.at_once_max", self.analysis.at_once_max, 0, 64),
        ] {
            if !(least..=most).contains(&value) {
                return wrong(key, &value, &format!("{least} to {most}"));
            }
        }
        for (key, url, schemes, example) in [
            (
                "database_url",
                &self.database_url,
                ["postgres://", "postgresql://"],
                "postgres://user:password@host/database",
            ),
            ("redis_url", &self.redis_url, ["redis://", "rediss://"], "redis://:password@host:6379"),
        ] {
            // The text itself may hold a password and is not repeated.
            if !url.0.is_empty() && !schemes.iter().any(|scheme| url.0.starts_with(scheme)) {
                return Err(ConfigError(format!("`{key}` must be empty or look like {example}.")));
            }
        }
        if self.database_url.0.is_empty() != self.redis_url.0.is_empty() {
            let text = "`database_url` and `redis_url` go together: set both for several nodes, or neither for one that runs alone.";
            return Err(ConfigError(text.into()));
        }
        if !self.node_url.is_empty() && !self.node_url.starts_with("http://") {
            return wrong("node_url", &self.node_url, "empty or an http:// address that the other nodes reach");
        }
        let proxy = self.webhooks.proxy.as_str();
        if !proxy.is_empty() && kallglot_webhooks::ProxyAddress::parse(proxy).is_none() {
            return wrong("webhooks.proxy", &proxy, "empty or like \"http://proxy.internal:3128\"");
        }
        if let Some(problem) = self.mail.problem().or_else(|| self.portal.oidc.problem()) {
            return Err(ConfigError(problem));
        }
        let url = self.recordings.url.as_str();
        let is_s3 = url.strip_prefix("s3://").is_some_and(|place| !place.is_empty() && !place.starts_with('/'));
        if !url.is_empty() && !is_s3 && !url.starts_with("file:///") {
            return wrong("recordings.url", &format!("{url:?}"), "empty, \"s3://bucket/prefix\" or \"file:///folder\"");
        }
        if is_s3 && (self.recordings.access_key_id.is_empty() || self.recordings.secret_access_key.0.is_empty()) {
            let text = "`recordings.url` names a bucket: set `recordings.access_key_id` and `recordings.secret_access_key` too.";
            return Err(ConfigError(text.into()));
        }
        if !["text", "json"].contains(&self.log.format.as_str()) {
            return wrong("log.format", &self.log.format, "\"text\" or \"json\"");
        }
        if !(0.0..=1.0).contains(&self.traces.sample_ratio) {
            return wrong("traces.sample_ratio", &self.traces.sample_ratio, "0.0 to 1.0");
        }
        let collector = self.traces.otlp_endpoint.as_str();
        if !collector.is_empty() && !collector.starts_with("http://") && !collector.starts_with("https://") {
            return wrong(
                "traces.otlp_endpoint",
                &collector,
                "empty, or an address that starts with http:// or https://",
            );
        }
        let url = self.public_url.as_str();
        if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
            return wrong("public_url", &url, "empty, or an address that starts with http:// or https://");
        }
        for (key, value, least, most) in [
            ("shutdown_max_s", self.shutdown_max_s, 1, 600),
            ("database_connections_max", self.database_connections_max, 2, 1000),
            ("drain_s", self.drain_s, 0, 600),
            ("session.idle_s", self.session.idle_s, 10, 86_400),
            ("stream.ping_every_s", self.stream.ping_every_s, 1, 3_600),
            ("stream.idle_s", self.stream.idle_s, 2, 7_200),
            ("stream.write_max_s", self.stream.write_max_s, 1, 600),
            ("analysis.timeout_s", self.analysis.timeout_s, 1, 600),
            ("endpointing.silence_ms", self.endpointing.silence_ms, 100, 3_000),
            ("endpointing.utterance_max_ms", self.endpointing.utterance_max_ms, 2_000, 120_000),
        ] {
            if !(least..=most).contains(&value) {
                return wrong(key, &value, &format!("{least} to {most}"));
            }
        }
        if self.stream.idle_s < 2 * self.stream.ping_every_s {
            return wrong("stream.idle_s", &self.stream.idle_s, "at least twice `stream.ping_every_s`");
        }
        if self.analysis.base_url.is_empty() != self.analysis.model.is_empty() {
            let text = "`analysis.base_url` and `analysis.model` go together: set both for summaries by a language model, or neither.";
            return Err(ConfigError(text.into()));
        }
        let token_s = self.session.stream_token_s;
        if token_s != 0 && !(10..=86_400).contains(&token_s) {
            return wrong("session.stream_token_s", &token_s, "0, or 10 to 86400");
        }
        for (index, engine) in self.engine.iter().enumerate() {
            if engine.name.is_empty() || self.engine[..index].iter().any(|other| other.name == engine.name) {
                return wrong("engine.name", &format!("\"{}\"", engine.name), "given, and different for each engine");
            }
            let parts = [engine.recognizer, engine.translator, engine.synthesizer];
            if parts.contains(&Part::OpenAi) && self.openai.base_url.is_empty() {
                return wrong("openai.base_url", &"empty", &format!("given, since engine \"{}\" uses it", engine.name));
            }
        }
        Ok(())
    }
}

/// Puts `own` over `table`. Tables are merged; all else, lists of tables too, is replaced.
fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Sets what a variable names: `SESSION__IDLE_S` is `session.idle_s`. Its default says of which type it is.
fn set(table: &mut Table, path: &str, text: &str) -> Result<(), String> {
    let path = path.to_ascii_lowercase();
    let mut keys: Vec<&str> = path.split("__").collect();
    let unknown = || format!("there is no setting `{}`", path.replace("__", "."));
    let last = keys.pop().ok_or_else(unknown)?;
    let mut table = table;
    for key in keys {
        table = table.get_mut(key).and_then(Value::as_table_mut).ok_or_else(unknown)?;
    }
    let value = table.get_mut(last).ok_or_else(unknown)?;
    *value = match value {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| format!("\"{text}\" is no whole number"))?),
        Value::Boolean(_) => {
            Value::Boolean(text.trim().parse().map_err(|_| format!("\"{text}\" is not true or false"))?)
        }
        Value::Float(_) => Value::Float(text.trim().parse().map_err(|_| format!("\"{text}\" is no number"))?),
        // Lists of texts, separated by commas; lists of tables are for files.
        Value::Array(items) if !items.iter().any(Value::is_table) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => return Err(format!("`{}` can only be set in a file", path.replace("__", "."))),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kallglot.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(&path), variables).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = Config::load(None, std::iter::empty()).unwrap();
        assert_eq!((config.listen.port(), config.session.idle_s, config.engine.len()), (8080, 1800, 1));
    }

    #[test]
    fn the_file_overrides_the_defaults_and_the_environment_the_file() {
        let config =
            load("[session]\nidle_s = 60\n[log]\nformat = 'json'", &[("KALLGLOT_SESSION__IDLE_S", "70")]).unwrap();
        assert_eq!((config.session.idle_s, config.log.format.as_str()), (70, "json"));
        assert_eq!(config.log.filter, "info");
    }

    #[test]
    fn a_wrong_value_names_its_key_its_value_and_what_is_allowed() {
        for (file, variables, expected) in [
            ("[session]\nidle_s = 5", &[][..], "`session.idle_s` is 5; it must be 10 to 86400."),
            ("environment = 'prod'", &[], "`environment` is prod; it must be \"live\", \"test\" or \"any\"."),
            ("", &[("KALLGLOT_SESSION__IDLE_S", "soon")], "KALLGLOT_SESSION__IDLE_S: \"soon\" is no whole number"),
            ("", &[("KALLGLOT_SESION__IDLE_S", "9")], "KALLGLOT_SESION__IDLE_S: there is no setting `sesion.idle_s`"),
        ] {
            assert_eq!(load(file, variables).unwrap_err(), expected);
        }
        assert!(load("[session]\nidl_s = 5", &[]).unwrap_err().contains("idl_s"));
        let error = load("[[engine]]\nname='a'\nrecognizer='openai'\ntranslator='classic'\nsynthesizer='classic'", &[]);
        assert!(error.unwrap_err().contains("openai.base_url"));
    }

    #[test]
    fn networks_are_given_as_such_or_as_addresses() {
        let config = load(
            "trusted_proxies = ['127.0.0.1', '10.0.0.0/8']\n[hosts]\n'API.example.com' = 'live'",
            &[("KALLGLOT_METRICS_FROM", "::1, 192.0.2.0/24"), ("KALLGLOT_TRACES__SAMPLE_RATIO", "0.25")],
        )
        .unwrap();
        let shown = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&config.trusted_proxies), ["127.0.0.1/32", "10.0.0.0/8"]);
        assert_eq!(shown(&config.metrics_from), ["::1/128", "192.0.2.0/24"]);
        assert_eq!(config.hosts().get("api.example.com"), Some(&ServerEnvironment::Live));
        assert!(load("trusted_proxies = ['proxy']", &[]).unwrap_err().contains("`proxy` is neither an address"));
        assert!(load("[hosts]\nx = 'prod'", &[]).unwrap_err().contains("`hosts.x` is prod"));
    }

    #[test]
    fn mail_is_off_or_whole_and_its_password_is_not_sent_in_clear() {
        assert!(!load("", &[]).unwrap().mail.is_set());
        let good = "[mail]\nhost = 'mail.example.com'\nfrom = 'Kallglot <kallglot@example.com>'\n";
        assert!(load(good, &[]).unwrap().mail.is_set());
        for (more, expected) in [
            ("port = 0", "`mail.port` is 0; it must be 1 to 65535"),
            ("username = 'kallglot'", "`mail.username` and `mail.password` go together"),
            ("username = 'u'\npassword = 'p'\nsecurity = 'none'", "would be sent in clear"),
            ("security = 'ssl'", "unknown variant `ssl`"),
        ] {
            let problem = load(&format!("{good}{more}"), &[]).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        let problem = load("[mail]\nhost = 'mail.example.com'\nfrom = 'kallglot'", &[]).unwrap_err();
        assert_eq!(problem, "`mail.from` is \"kallglot\"; it must be like \"Kallglot <kallglot@example.com>\".");
        let here = "[mail]\nhost = 'localhost'\nfrom = 'k@example.com'\nsecurity = 'none'";
        let own = [("KALLGLOT_MAIL__USERNAME", "u"), ("KALLGLOT_MAIL__PASSWORD", "verysecret")];
        let config = load(here, &own).unwrap();
        assert!(!format!("{config:?}").contains("verysecret"));
    }

    #[test]
    fn a_provider_is_off_or_whole_and_makes_no_owners() {
        let good = "[portal.oidc]\nname = 'Example'\nissuer = 'https://login.example.com'\nclient_id = 'k'\nclient_secret = 'verysecret'\n";
        assert!(!format!("{:?}", load(good, &[]).unwrap()).contains("verysecret"));
        for (more, expected) in [
            ("role = 'owner'", "`portal.oidc.role` must be"),
            ("organization = 'Example'", "`portal.oidc.organization` must be"),
        ] {
            let problem = load(&format!("{good}{more}"), &[]).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        for (file, expected) in [
            ("issuer = 'http://login.example.com'", "`portal.oidc.issuer` must be"),
            ("issuer = 'https://login.example.com/?x'", "`portal.oidc.issuer` must be"),
            ("issuer = 'https://login.example.com'", "set `portal.oidc.client_id`"),
        ] {
            let problem = load(&format!("[portal.oidc]\n{file}"), &[]).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let config = load("[openai]\napi_key = 'sk-verysecret'", &[]).unwrap();
        assert!(!format!("{config:?}").contains("verysecret"));
    }
}
