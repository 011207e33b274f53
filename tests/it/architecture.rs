//! The structure of the source: layers, file length, threads, and what the library must not do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The layers of the library, from top to bottom. A module may only import from layers below its
/// own; the modules of the last layer may also import each other. `a/b` is the folder `b` of `a`.
const LAYERS: &[&[&str]] = &[
    &["docker"],
    &["docker/sampling"],
    &["docker/inventory"],
    &["docker/engine"],
    &["stats"],
    &["server"],
    &["hub"],
    &["connection", "http"],
    &[
        "counters",
        "error",
        "interest",
        "limits",
        "lock",
        "message",
        "poller",
        "printable",
        "rate_limited",
        "retry",
        "threads",
    ],
];

/// The maximum length of a Rust file, in lines. A longer file usually holds more than one idea.
const MAX_LINES: usize = 420;

/// Returns every Rust file below `src`, relative to the root of the repository.
pub(crate) fn sources() -> Vec<PathBuf> {
    rust_files("src")
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Reports whether a file below `src` is compiled only for tests.
pub(crate) fn is_of_tests(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.ends_with("_tests.rs") || ["fuzz.rs", "random.rs", "outbox_model.rs"].contains(&name)
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Returns the text of a file up to its `mod tests`.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// Returns the code of a file without its tests and comments.
fn code(file: &Path) -> String {
    let text = read(file);
    let code = without_tests(&text);
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| line.split(" // ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Returns the files of the library and their code.
fn library() -> Vec<(PathBuf, String)> {
    let files = sources().into_iter().filter(|file| {
        let name = file.to_str().unwrap();
        !name.starts_with("src/bin") && !is_of_tests(file) && name != "src/lib.rs"
    });
    files.map(|file| (file.clone(), code(&file))).collect()
}

#[test]
fn no_file_is_too_long() {
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for file in rust_files(folder) {
            let lines = read(&file).lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines: split it", file.display());
        }
    }
}

/// The segments of a path, as in `["stats", "payload", "Container"]`.
type Segments = Vec<String>;

/// Returns the paths in `code` that begin with `crate` or `super`. A use tree such as
/// `super::{a, b::C}` is two paths.
fn paths(code: &str) -> Vec<Segments> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            let inside = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            // `pub(in crate::hub)` is not an import.
            if !before.ends_with(inside) && !before.ends_with("(in ") {
                expand(&code[at..], Vec::new(), &mut paths);
            }
        }
    }
    paths
}

/// Adds the paths of the use tree at the start of `tree`, each below `parent`.
fn expand(tree: &str, mut parent: Segments, paths: &mut Vec<Segments>) {
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let (segment, rest) = tree.split_at(end);
    parent.push(segment.to_owned());
    match rest.strip_prefix("::") {
        None => paths.push(parent),
        Some(rest) => match rest.strip_prefix('{') {
            None => expand(rest, parent, paths),
            Some(list) => {
                for branch in branches(list) {
                    expand(branch.trim(), parent.clone(), paths);
                }
            }
        },
    }
}

/// Splits `a, b::{c, d}} ...` at the commas of its own level, up to the closing brace.
fn branches(list: &str) -> Vec<&str> {
    let (mut branches, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                branches.push(&list[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    branches
}

/// Returns the module path of a file: `src/hub/mod.rs` is `["hub"]`.
fn module_path(file: &Path) -> Segments {
    let file = file.with_extension("");
    let path = file.iter().skip(1).map(|segment| segment.to_str().unwrap().to_owned());
    path.filter(|segment| segment != "mod").collect()
}

/// Resolves `path`, as written in the module `at`, to a path from the root of the crate.
fn resolve(at: &[String], path: &[String], reexports: &BTreeMap<String, Segments>) -> Segments {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let path: Segments = if supers > 0 {
        let parent = at.iter().take(at.len().saturating_sub(supers));
        parent.chain(&path[supers..]).cloned().collect()
    } else {
        path[1..].to_vec()
    };
    reexports.get(&path[0]).cloned().unwrap_or(path)
}

/// Returns the items that `lib.rs` exports, each with its path from the root of the crate.
fn reexports(lib: &str) -> BTreeMap<String, Segments> {
    let exported = paths(lib).into_iter().map(|path| path[1..].to_vec());
    exported.map(|path| (path.last().unwrap().clone(), path)).collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns the entry of [`LAYERS`] that a path belongs to, or the name that is missing there.
fn module_of(path: &[String]) -> String {
    let folder = path.iter().take(2).cloned().collect::<Vec<_>>().join("/");
    if layer(&folder).is_some() { folder } else { path[0].clone() }
}

/// The modules that each module imports, with a file that does.
type Imports = BTreeMap<String, BTreeMap<String, PathBuf>>;

fn imports(files: &[(PathBuf, String)], reexports: &BTreeMap<String, Segments>) -> Imports {
    let mut imports = Imports::new();
    for (file, code) in files {
        let at = module_path(file);
        for path in paths(code) {
            let (from, to) = (module_of(&at), module_of(&resolve(&at, &path, reexports)));
            if from != to {
                imports.entry(from).or_default().insert(to, file.clone());
            }
        }
    }
    imports
}

/// Returns a line for each import from the same layer or one above.
fn upward(imports: &Imports) -> Vec<String> {
    let mut found = Vec::new();
    for (from, others) in imports {
        for (to, file) in others {
            let allowed = match (layer(from), layer(to)) {
                (Some(from), Some(to)) => from < to || from == to && from == LAYERS.len() - 1,
                _ => false,
            };
            if !allowed {
                found.push(format!("{}: {from} must not import {to}", file.display()));
            }
        }
    }
    found
}

/// Returns every module that `module` imports, directly or not.
fn reachable<'a>(imports: &'a Imports, module: &str) -> BTreeSet<&'a str> {
    let mut reachable = BTreeSet::new();
    let mut next: Vec<&str> = imports.get(module).into_iter().flatten().map(|i| &**i.0).collect();
    while let Some(module) = next.pop() {
        if reachable.insert(module) {
            next.extend(imports.get(module).into_iter().flatten().map(|i| &**i.0));
        }
    }
    reachable
}

#[test]
fn every_module_is_in_exactly_one_layer() {
    let listed: Vec<&str> = LAYERS.iter().copied().flatten().copied().collect();
    let unique: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(listed.len(), unique.len(), "a module is listed twice: {listed:?}");
    for (file, _) in library() {
        let path = module_path(&file);
        // A folder of a module that is split into folders needs an entry of its own.
        let split = listed.iter().any(|module| module.starts_with(&format!("{}/", path[0])));
        let in_folder = file.iter().count() > 3;
        let module = if split && in_folder { path[..2].join("/") } else { path[0].clone() };
        assert!(layer(&module).is_some(), "{} is in no layer: add {module}", file.display());
    }
}

#[test]
fn modules_import_only_from_the_layers_below() {
    let imports = imports(&library(), &reexports(&read("src/lib.rs")));
    assert!(imports["server"].contains_key("hub") && imports["stats"].contains_key("server"));
    assert_eq!(upward(&imports), Vec::<String>::new());
    for module in imports.keys() {
        assert!(!reachable(&imports, module).contains(&**module), "{module} is in a cycle");
    }
}

#[test]
fn an_import_from_a_higher_layer_is_reported() {
    let reexports =
        reexports("use crate::error::Error; use crate::server::{Access, config::ServerConfig};");
    let check = |file: &str, code: &str| {
        let files = [(PathBuf::from(file), code.to_owned())];
        upward(&imports(&files, &reexports)).join("\n")
    };
    let upward = [
        ("src/hub/mod.rs", "use crate::server::Server;", "hub must not import server"),
        ("src/hub/mod.rs", "use crate::{Error, ServerConfig};", "hub must not import server"),
        ("src/hub/a/b.rs", "use crate::{error, stats::{a, b}};", "hub must not import stats"),
        ("src/hub/a.rs", "fn f() -> crate::Access {}", "hub must not import server"),
        ("src/http/head.rs", "use super::super::hub::Hub;", "http must not import hub"),
        ("src/http/mod.rs", "use crate::connection::frame;", "http must not import connection"),
        ("src/error.rs", "use crate::elsewhere::X;", "error must not import elsewhere"),
        (
            "src/docker/engine/client.rs",
            "use super::super::sampling::Sampler;",
            "docker/engine must not import docker/sampling",
        ),
        (
            "src/docker/engine/mod.rs",
            "use super::inventory::{List, Watch};",
            "docker/engine must not import docker/inventory",
        ),
        (
            "src/docker/inventory/list.rs",
            "use crate::docker::DockerSource;",
            "docker/inventory must not import docker",
        ),
    ];
    for (file, code, message) in upward {
        assert_eq!(check(file, code), format!("{file}: {message}"), "{code}");
    }
    let downward = [
        ("src/server/mod.rs", "use crate::{Error, hub::{Hub, HubHandle}};"),
        ("src/server/mod.rs", "use super::http::head; use crate::Access;"),
        ("src/docker/sampling/direct.rs", "use super::super::engine::X; use super::podman::Y;"),
        ("src/docker/mod.rs", "use crate::docker::{engine::X, sampling};"),
        ("src/error.rs", "use crate::message::Message;"),
        ("src/hub/a.rs", "pub(in crate::hub) fn f() { super::g() }"),
    ];
    for (file, code) in downward {
        assert_eq!(check(file, code), "", "{code}");
    }
}

#[test]
fn the_hub_and_the_connections_know_nothing_about_containers() {
    for (file, code) in library() {
        if !["hub", "connection"].contains(&module_of(&module_path(&file)).as_str()) {
            continue;
        }
        let code = code.to_lowercase();
        for foreign in ["container", "engine", "docker", "metric", "history", "snapshot"] {
            assert!(!code.contains(foreign), "{} names {foreign}", file.display());
        }
    }
}

#[test]
fn the_library_does_not_read_the_environment_or_exit() {
    for (file, code) in library() {
        for forbidden in ["std::env", "env::var", "process::exit", "process::abort"] {
            assert!(!code.contains(forbidden), "{}: {forbidden}", file.display());
        }
    }
}

/// Returns the names of all threads in the code, with the file that spawns each.
fn thread_names() -> BTreeMap<String, PathBuf> {
    let mut names = BTreeMap::new();
    for file in sources().into_iter().filter(|file| !is_of_tests(file)) {
        let code = code(&file);
        let unnamed = code.contains("thread::spawn(") || code.contains("thread::scope(");
        assert!(!unnamed, "{} spawns a thread without a name", file.display());
        let spawns = ["threads::spawn", "periodic::spawn", "Builder::new()"];
        if !spawns.iter().any(|spawn| code.contains(spawn)) {
            continue;
        }
        for quoted in code.split('"').skip(1).step_by(2) {
            let name = quoted.replace("{n}", "<n>").replace("{id}", "<id>").replace("{}", "<id>");
            let prefixes = ["kentros-", "client-", "stats-", "top-"];
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                names.insert(name, file.clone());
            }
        }
    }
    names
}

#[test]
fn the_documented_threads_are_those_in_the_code() {
    let document = read("docs/architecture.md");
    let rows = document.lines().skip_while(|line| !line.starts_with("| thread |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let documented: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let threads = thread_names();
    let in_code: BTreeSet<&str> = threads.keys().map(String::as_str).collect();
    assert_eq!(documented, in_code, "docs/architecture.md on the left: {threads:#?}");
}
