//! What `deploy/` and the operator's pages say is so: files can be read, settings, metrics, routes and commands exist, links lead
//! somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kallglot_core::error_code::ErrorCode;
use kallglot_testkit::soon;
use saphyr::{LoadableYamlNode as _, YamlOwned};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use toml::Table;

use crate::process::{Folder, Server};

const DEFAULTS: &str = include_str!("../../src/default.toml");
/// Variables of the command line, which are no settings.
const ARGUMENTS: [&str; 4] = ["KALLGLOT_CONFIG", "KALLGLOT_DATA_DIR", "KALLGLOT_API_KEY", "KALLGLOT_SERVER"];
const PAGES: [&str; 2] = ["docs/OPERATIONS.md", "docs/RUNBOOK.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder, as a path from the root.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The documents of a YAML file, as JSON.
fn yaml(path: &str) -> Vec<Value> {
    let documents = YamlOwned::load_from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    documents.iter().map(|document| json(document, path)).collect()
}

fn json(node: &YamlOwned, path: &str) -> Value {
    if let Some(list) = node.as_sequence() {
        return list.iter().map(|item| json(item, path)).collect();
    }
    if let Some(map) = node.as_mapping() {
        let name =
            |key: &YamlOwned| key.as_str().unwrap_or_else(|| panic!("{path}: a key is no text: {key:?}")).to_owned();
        let mut object = serde_json::Map::new();
        for (key, value) in map {
            object.insert(name(key), json(value, path));
        }
        return Value::Object(object);
    }
    if let Some(text) = node.as_str() {
        return text.into();
    }
    if let Some(number) = node.as_integer() {
        return number.into();
    }
    if let Some(truth) = node.as_bool() {
        return truth.into();
    }
    assert!(node.is_null(), "{path}: {node:?} is nothing that these files hold");
    Value::Null
}

/// Every text in a value.
fn texts(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(list) => list.iter().for_each(|item| texts(item, each)),
        Value::Object(map) => map.values().for_each(|item| texts(item, each)),
        _ => {}
    }
}

/// Words of these characters that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &'a str, belongs: fn(char) -> bool) -> impl Iterator<Item = &'a str> {
    text.split(move |c| !belongs(c)).filter(move |word| word.starts_with(prefix) && word.len() > prefix.len())
}

/// The names of all settings, as in `session.idle_s`, with their defaults.
fn settings() -> BTreeMap<String, toml::Value> {
    fn collect(prefix: &str, table: &Table, into: &mut BTreeMap<String, toml::Value>) {
        for (name, value) in table {
            match value {
                toml::Value::Table(inner) => collect(&format!("{prefix}{name}."), inner, into),
                value => drop(into.insert(format!("{prefix}{name}"), value.clone())),
            }
        }
    }
    let mut all = BTreeMap::new();
    collect("", &DEFAULTS.parse().unwrap(), &mut all);
    all
}

/// The setting that a variable names.
fn setting_of(variable: &str) -> String {
    variable.trim_start_matches("KALLGLOT_").to_ascii_lowercase().replace("__", ".")
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut code = false;
    for line in page.lines() {
        code ^= line.trim_start().starts_with("```");
        if code || !line.starts_with('#') {
            continue;
        }
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        assert!(found.insert(anchor), "two headings have the same anchor: {line}");
    }
    found
}

/// Every query of the alerts and of the dashboard.
fn queries() -> Vec<String> {
    let mut found = Vec::new();
    for rule in rules() {
        found.push(rule["expr"].as_str().unwrap().to_owned());
    }
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/kallglot.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        found.push(target["expr"].as_str().unwrap().to_owned());
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        texts(&variable["query"], &mut |text| found.push(text.to_owned()));
    }
    assert!(found.len() > 30, "the queries were not found");
    found
}

fn rules() -> Vec<Value> {
    let groups = yaml("deploy/prometheus/alerts.yaml")[0]["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

async fn get(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    body.to_owned()
}

#[test]
fn every_file_of_deploy_can_be_read() {
    let mut kinds = BTreeSet::new();
    for path in files("deploy") {
        let extension = Path::new(&path).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        kinds.insert(extension.to_owned());
        match extension {
            "yaml" => assert!(yaml(&path).iter().all(|document| document.is_object()), "{path}"),
            "json" => assert!(serde_json::from_str::<Value>(&read(&path)).unwrap().is_object(), "{path}"),
            "toml" => drop(read(&path).parse::<Table>().unwrap_or_else(|error| panic!("{path}: {error}"))),
            _ => assert!(!read(&path).is_empty(), "{path}"),
        }
        assert!(!path.ends_with(".yml"), "{path}: YAML files end with .yaml, so that this test reads them");
    }
    assert!(["yaml", "json", "toml"].iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
}

#[test]
fn every_setting_that_is_named_exists() {
    let (settings, mut seen) = (settings(), 0);
    let pages = PAGES.iter().map(|page| (*page).to_owned());
    for path in files("deploy").into_iter().chain(pages) {
        let text = read(&path);
        for variable in words(&text, "KALLGLOT_", |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            seen += 1;
            let known = ARGUMENTS.contains(&variable) || settings.contains_key(&setting_of(variable));
            assert!(known, "{path}: there is no setting for {variable}");
        }
    }
    assert!(seen > 20, "the variables were not found");
    fn known(prefix: &str, table: &Table, settings: &BTreeMap<String, toml::Value>) {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            match value {
                toml::Value::Table(inner) => known(&format!("{path}."), inner, settings),
                value => {
                    let default = settings.get(&path).unwrap_or_else(|| panic!("there is no setting {path}"));
                    assert_eq!(value.type_str(), default.type_str(), "{path}");
                }
            }
        }
    }
    known("", &read("deploy/kubernetes/kallglot.toml").parse().unwrap(), &settings);
}

#[test]
fn numbers_in_variables_are_numbers() {
    let (settings, mut numbers) = (settings(), 0);
    for path in files("deploy").iter().filter(|path| path.ends_with(".yaml")) {
        let mut look = |variable: &str, value: &Value| {
            let default = variable.strip_prefix("KALLGLOT_").and_then(|_| settings.get(&setting_of(variable)));
            if matches!(default, Some(toml::Value::Integer(_))) {
                numbers += 1;
                assert!(
                    value.as_str().is_some_and(|text| text.parse::<u32>().is_ok()),
                    "{path}: {variable} is {value}"
                );
            }
        };
        fn walk(value: &Value, look: &mut impl FnMut(&str, &Value)) {
            if let Value::Object(map) = value {
                map.iter().for_each(|(name, value)| look(name, value));
                map.values().for_each(|value| walk(value, look));
            } else if let Value::Array(list) = value {
                list.iter().for_each(|value| walk(value, look));
            }
        }
        yaml(path).iter().for_each(|document| walk(document, &mut look));
    }
    assert!(numbers > 3, "no numbers were found");
}

#[test]
fn a_server_that_stops_is_given_more_time_than_it_takes() {
    let number = |value: &toml::Value| value.as_integer().unwrap();
    let default = |name: &str| number(&settings()[name]);

    let kubernetes: Table = read("deploy/kubernetes/kallglot.toml").parse().unwrap();
    let takes_s = number(&kubernetes["drain_s"]) + number(&kubernetes["shutdown_max_s"]);
    let pod = &yaml("deploy/kubernetes/statefulset.yaml")[0]["spec"]["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() > takes_s);

    for (path, service, environment) in [
        ("deploy/compose.yaml", "/x-node", "/x-node-environment"),
        ("deploy/compose.alone.yaml", "/services/kallglot", "/services/kallglot/environment"),
    ] {
        let compose = &yaml(path)[0];
        let variables = compose.pointer(environment).unwrap();
        let or_default = |variable: &str, name: &str| {
            variables[variable].as_str().map_or_else(|| default(name), |text| text.parse().unwrap())
        };
        let takes_s =
            or_default("KALLGLOT_DRAIN_S", "drain_s") + or_default("KALLGLOT_SHUTDOWN_MAX_S", "shutdown_max_s");
        let given = compose.pointer(service).unwrap()["stop_grace_period"].as_str().unwrap();
        assert!(given.strip_suffix('s').unwrap().parse::<i64>().unwrap() > takes_s, "{path}");
    }

    let unit = read("deploy/systemd/kallglot.service");
    let given = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(given.parse::<i64>().unwrap() > default("drain_s") + default("shutdown_max_s"));
}

#[test]
fn the_image_is_built_with_the_compiler_that_the_workspace_asks_for() {
    let workspace: Table = read("Cargo.toml").parse().unwrap();
    let version = workspace["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(read("deploy/Dockerfile").contains(&format!("ARG RUST_VERSION={version}\n")));
}

#[test]
fn every_alert_says_how_bad_it_is_and_leads_to_its_page_of_the_runbook() {
    let anchors = anchors(&read("docs/RUNBOOK.md"));
    let rules = rules();
    assert!(rules.len() > 10);
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}: {severity:?}");
        for annotation in ["summary", "description"] {
            assert!(rule["annotations"][annotation].is_string(), "{name} has no {annotation}");
        }
        let link = rule["annotations"]["runbook_url"].as_str().unwrap_or_else(|| panic!("{name} has no runbook"));
        let anchor = link.strip_prefix("docs/RUNBOOK.md#").unwrap_or_else(|| panic!("{name}: {link}"));
        assert!(anchors.contains(anchor), "{name}: the runbook has no heading for #{anchor}");
    }
}

#[test]
fn links_of_the_operators_pages_lead_somewhere() {
    let mut links = 0;
    for page in PAGES {
        let text = read(page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(page) } else { root().join("docs").join(file) };
            assert!(target.exists(), "{page}: there is no {link}");
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(target).unwrap());
                assert!(there.contains(anchor), "{page}: {link} has no such heading");
            }
        }
    }
    assert!(links > 10, "the links were not found");
}

#[tokio::test]
async fn every_metric_and_label_that_is_asked_for_is_exposed() {
    let folder = Folder::new();
    let server = Server::start(&folder).await;
    // Counted once it was answered, so it shows from the second look on.
    get(&server, "/healthz").await;
    let exposition = get(&server, "/metrics").await;
    let document: Value = serde_json::from_str(&get(&server, "/openapi.json").await).unwrap();
    let routes: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();

    let mut exposed = BTreeSet::new();
    for (name, kind) in exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let endings = match kind {
            "counter" => &["_total"][..],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        exposed.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    for query in queries() {
        for metric in words(&query, "kallglot_", |c| c.is_ascii_alphanumeric() || c == '_') {
            assert!(exposed.contains(metric), "there is no {metric}, which this asks for: {query}");
        }
        // Exact values; patterns are left to the eye.
        for (label, value) in query.split(['{', ',', '}']).filter_map(|part| part.split_once("=\"")) {
            let value = value.trim_end_matches('"');
            assert!(label != "code" || ErrorCode::parse(value).is_some(), "there is no code {value}: {query}");
        }
        for route in query.split("route=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let known = routes.contains(route) || exposition.contains(&format!("route=\"{route}\""));
            assert!(known, "there is no route {route}: {query}");
        }
    }
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn every_command_of_the_operators_pages_exists() {
    let folder = Folder::new();
    let mut commands = BTreeSet::new();
    let texts = PAGES.map(read).join("\n");
    let mut code = false;
    for line in texts.lines() {
        let line = line.trim_start();
        code ^= line.starts_with("```");
        let starts = ["run --rm admin ", "exec kallglot kallglot ", "-- kallglot "];
        let found = starts.iter().find_map(|start| line.split_once(start).map(|(_, command)| command));
        if let Some(command) = found.or_else(|| line.strip_prefix("kallglot ")).filter(|_| code) {
            let is_word = |word: &&str| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            };
            let words: Vec<&str> = command.split(' ').take_while(is_word).take(2).collect();
            commands.insert(words.join(" "));
        }
    }
    assert!(commands.len() > 5, "the commands were not found: {commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let done = folder.run(&words).await;
        assert_eq!(done.code, Some(0), "kallglot {command}: {}", done.stderr);
    }
}
