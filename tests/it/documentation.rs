//! README and `docs`: paths, links, flags and JSON are those of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kentros::{
    Container, ContainerStats, EngineState, EngineStatus, Project, ProjectStatus, ProjectTotals,
    StatusContainer,
};
use serde_json::Value;

use crate::architecture::{ROOT, read};

/// README, the other documents of the root, and all of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).into();
    for entry in fs::read_dir(Path::new(ROOT).join("docs")).unwrap() {
        let file = Path::new("docs").join(entry.unwrap().file_name());
        if file.extension().is_some_and(|extension| extension == "md") {
            documents.push(file);
        }
    }
    documents
}

/// Returns the code blocks of a document in this language.
fn blocks(document: &Path, language: &str) -> Vec<String> {
    let text = read(document);
    let start = format!("```{language}\n");
    let blocks = text.split(&start).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Returns a document without its code blocks.
fn prose(document: &Path) -> String {
    read(document).split("```").step_by(2).collect()
}

/// Returns the anchor that a heading has on code hosts.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    for document in documents() {
        let text = prose(&document);
        for link in text.split("](").skip(1).filter_map(|link| link.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            let shown = format!("{}: {link}", document.display());
            assert!(Path::new(ROOT).join(&target).exists(), "{shown} does not exist");
            let known =
                || prose(&target).lines().any(|l| l.starts_with('#') && anchor(l) == heading);
            assert!(heading.is_empty() || known(), "{shown} has no such heading");
        }
    }
}

#[test]
fn named_paths_exist() {
    let folders = ["src/", "tests/", "examples/", "benches/", "docs/", "deploy/", "fuzz/", ".ci/"];
    let mut checked = 0;
    for document in documents() {
        let text = prose(&document);
        for path in text.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| path.starts_with(folder));
            if is_path && !path.contains([' ', '*', '{']) {
                let there = Path::new(ROOT).join(path).exists();
                assert!(there, "{} names {path}, which does not exist", document.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} paths are named");
}

/// Returns the words in `text` that begin with `prefix`, such as `--addr`.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = |word: &&str| {
        word.strip_prefix(prefix).is_some_and(|name| name.starts_with(char::is_alphabetic))
    };
    text.split(|c| !inside(c)).filter(name).map(str::to_owned).collect()
}

#[test]
fn every_flag_and_variable_is_documented() {
    let help = Command::new(env!("CARGO_BIN_EXE_kentros")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let text = read("docs/configuration.md");
    for prefix in ["--", "KENTROS_"] {
        let (documented, in_help) = (words(&text, prefix), words(&help, prefix));
        assert!(in_help.len() > 10, "{help}");
        // The build's own flags are not in the help text.
        let build = ["--features", "--release"].map(str::to_owned).into();
        let documented: BTreeSet<String> = documented.difference(&build).cloned().collect();
        assert_eq!(documented, in_help, "docs/configuration.md on the left");
    }
}

/// Returns the field names of a JSON object.
fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn json_blocks_are_json_and_have_the_fields_of_the_wire() {
    let first = |payload: &Value| payload.as_object().unwrap().values().next().unwrap().clone();
    let own = |value: Result<Value, _>| value.unwrap();
    let mut kinds = BTreeSet::new();
    for document in documents() {
        for block in blocks(&document, "json") {
            let message: Value = serde_json::from_str(&block)
                .unwrap_or_else(|error| panic!("{}: {error}: {block}", document.display()));
            let Some(kind) = message["type"].as_str() else { continue };
            let payload = &message["payload"];
            let (documented, mut expected) = match kind {
                "container_stats" => {
                    (first(payload), own(serde_json::to_value(ContainerStats::default())))
                }
                "project_stats" => {
                    (first(payload), own(serde_json::to_value(ProjectTotals::default())))
                }
                "project_list" => {
                    (payload[0].clone(), own(serde_json::to_value(Project::default())))
                }
                "project_status" => {
                    (payload.clone(), own(serde_json::to_value(ProjectStatus::default())))
                }
                "engine_status" => (
                    payload.clone(),
                    own(serde_json::to_value(EngineStatus::new(EngineState::Connected))),
                ),
                _ => continue,
            };
            if kind == "container_stats" {
                // It is left out where it is empty.
                expected["unavailable"] = Value::Null;
            }
            assert_eq!(fields(&documented), fields(&expected), "{kind}");
            let inner = match kind {
                "project_list" => Some((
                    documented["containers"][0].clone(),
                    own(serde_json::to_value(Container::default())),
                )),
                "project_status" => Some((
                    documented["container"].clone(),
                    own(serde_json::to_value(StatusContainer::default())),
                )),
                _ => None,
            };
            if let Some((documented, expected)) = inner {
                assert_eq!(fields(&documented), fields(&expected), "{kind}");
            }
            kinds.insert(kind.to_owned());
        }
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[test]
fn deployments_limit_memory_and_processes() {
    // One thread for each of 12,000 clients, and 64 for routes.
    let enough = |limit: &str| limit.trim().parse::<u32>().is_ok_and(|n| n > 12_064);
    let unit = read("deploy/kentros.service");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert!(setting("MemoryMax=").ends_with('G') && enough(setting("TasksMax=")));
    let compose = read("compose.yaml");
    let (kentros, proxy) = compose.split_once("\n  socket-proxy:\n").unwrap();
    for service in [kentros, proxy] {
        let setting = |name: &str| service.split_once(name).unwrap().1.lines().next().unwrap();
        assert!(setting("mem_limit:").ends_with(['m', 'g']), "{service}");
        assert!(!setting("pids_limit:").is_empty(), "{service}");
    }
    assert!(enough(kentros.split_once("pids_limit:").unwrap().1.lines().next().unwrap()));
    for part in ["every GET below /containers", "logs", "export", "environment variables"] {
        assert!(proxy.contains(part), "{part}");
    }
}
