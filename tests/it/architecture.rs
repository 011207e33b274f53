//! The README's Architecture, held to the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The most lines of a file: more is more than one noun.
const LONGEST: usize = 420;

/// Every Rust file below `src`, from the root on.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Whether a file is built for tests alone.
pub(crate) fn is_of_tests(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.ends_with("_tests.rs") || ["fuzz.rs", "random.rs", "outbox_model.rs"].contains(&name)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// The section of the README.
fn architecture() -> String {
    let readme = read("README.md");
    let (_, after) = readme.split_once("## Architecture\n").unwrap();
    after.split_once("\n## ").unwrap().0.to_owned()
}

/// What stands in backticks or as a link's target.
fn named(text: &str) -> Vec<String> {
    let ticks = text.split('`').skip(1).step_by(2);
    let links = text.split("](").skip(1).filter_map(|link| link.split(')').next());
    ticks.chain(links).flat_map(each).collect()
}

/// `a/{b,c}.rs` is two paths.
fn each(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(a, rest)| Some((a, rest.split_once('}')?))) {
        Some((before, (names, after))) if path.starts_with("src/") => {
            names.split(',').map(|name| format!("{before}{name}{after}")).collect()
        }
        _ => vec![path.to_owned()],
    }
}

#[test]
fn every_path_of_the_readme_exists() {
    let readme = read("README.md") + &read("CONTRIBUTING.md");
    let folders = ["src/", "tests/", "examples/", "benches/", "docs/", "deploy/", ".ci/"];
    let paths: BTreeSet<String> = named(&readme)
        .into_iter()
        .filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
        .filter(|path| !path.contains(' ') && !path.contains('*'))
        .collect();
    assert!(paths.len() > 20, "{paths:#?}");
    for path in paths {
        assert!(Path::new(ROOT).join(&path).exists(), "{path} is named and is not there");
    }
}

#[test]
fn every_file_is_in_the_architecture() {
    let architecture = architecture();
    let (_, table) = architecture.split_once("| where | what |").unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.split(" | ").next()).collect();
    let named = named(&rows.join("\n"));
    // Tests stand beside what they test.
    for file in sources().into_iter().filter(|file| !is_of_tests(file)) {
        let file = file.to_str().unwrap();
        let known = named.iter().any(|name| match name.strip_suffix('/') {
            Some(_) => file.starts_with(name.as_str()),
            None => file == name,
        });
        assert!(known || file == "src/lib.rs", "{file} is in no row of the README's table");
    }
}

#[test]
fn no_file_is_more_than_one_noun() {
    for file in sources() {
        let lines = read(&file).lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines: split it", file.display());
    }
}

/// A file without the tests at its end.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// The code of a file, without its tests and comments.
fn code(file: &Path) -> String {
    let text = read(file);
    let code = without_tests(&text);
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| line.split(" // ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The library's files.
fn library() -> impl Iterator<Item = PathBuf> {
    sources().into_iter().filter(|file| {
        let name = file.to_str().unwrap();
        !name.starts_with("src/bin") && !is_of_tests(file) && name != "src/lib.rs"
    })
}

/// The first names in what follows `crate::`: one, or those of a list.
fn first_names(path: &str) -> Vec<&str> {
    let end = if path.starts_with('{') { ';' } else { '\n' };
    let path = path.split(end).next().unwrap().trim_start_matches('{');
    let parts = path.split(if end == ';' { ',' } else { '\n' });
    let name = |part: &str| part.find(|c: char| !c.is_alphanumeric() && c != '_');
    parts
        .map(str::trim)
        .map(|part| &part[..name(part).unwrap_or(part.len())])
        .filter(|name| !name.is_empty())
        .collect()
}

/// The module of the crate's root that a file belongs to.
fn module_of(file: &Path) -> String {
    file.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The modules that each module of the library imports.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let lib = read("src/lib.rs");
    // What stands at the root comes from a module.
    let mut from = BTreeMap::new();
    for exported in lib.split("pub use crate::").skip(1) {
        let exported = exported.split(';').next().unwrap();
        let module = exported.split("::").next().unwrap();
        for name in exported.split(|c: char| !c.is_alphanumeric()) {
            from.insert(name.to_owned(), module.to_owned());
        }
    }
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in library() {
        let module = module_of(&file);
        let code = code(&file);
        for name in code.split("crate::").skip(1).flat_map(first_names) {
            let other = from.get(name).map_or(name, String::as_str);
            if other != module {
                imports.entry(module.clone()).or_default().insert(other.to_owned());
            }
        }
    }
    imports
}

/// All that a module imports, and what that imports, and so on.
fn reached(imports: &BTreeMap<String, BTreeSet<String>>, module: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![module.to_owned()];
    while let Some(module) = next.pop() {
        for other in imports.get(&module).into_iter().flatten() {
            if reached.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    reached
}

/// The layers of the library, from the top down. A module imports only from layers below its own;
/// the small parts of the last layer may use each other.
const LAYERS: &[&[&str]] = &[
    &["docker"],
    &["stats"],
    &["server"],
    &["hub"],
    &["connection", "http"],
    &[
        "counters",
        "error",
        "interest",
        "limits",
        "message",
        "poller",
        "rate_limited",
        "retry",
        "threads",
    ],
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| panic!("{module} is in no layer"))
}

#[test]
fn every_module_is_in_a_layer_and_imports_only_from_below() {
    let modules: BTreeSet<String> = library().map(|file| module_of(&file)).collect();
    let listed: BTreeSet<String> =
        LAYERS.iter().flat_map(|layer| layer.iter().map(|&module| module.to_owned())).collect();
    assert_eq!(modules, listed, "modules on the left, layers on the right");
    let imports = imports();
    assert!(imports["server"].contains("hub") && imports["stats"].contains("server"));
    for (module, others) in &imports {
        for other in others {
            let (above, below) = (layer(module), layer(other));
            let may = above < below || above == below && above == LAYERS.len() - 1;
            assert!(may, "{module} must not import {other}");
        }
        assert!(!reached(&imports, module).contains(module), "{module} imports what imports it");
    }
}

#[test]
fn the_hub_and_the_connections_know_nothing_of_what_is_published() {
    for file in library().filter(|file| ["hub", "connection"].contains(&module_of(file).as_str())) {
        let code = code(&file).to_lowercase();
        for foreign in ["container", "engine", "docker", "metric", "history", "snapshot"] {
            assert!(!code.contains(foreign), "{} names {foreign}", file.display());
        }
    }
}

#[test]
fn the_library_reads_no_environment_and_never_exits() {
    for file in library() {
        let code = code(&file);
        for forbidden in ["std::env", "env::var", "process::exit", "process::abort"] {
            assert!(!code.contains(forbidden), "{}: {forbidden}", file.display());
        }
    }
}

/// The names of the threads in the code: the first argument of what spawns them.
fn spawned() -> BTreeMap<String, PathBuf> {
    let mut names = BTreeMap::new();
    for file in sources() {
        let code = code(&file);
        if is_of_tests(&file) {
            continue;
        }
        // A thread without a name would be spawned like this.
        let bare = code.contains("thread::spawn(") || code.contains("thread::scope(");
        assert!(!bare, "{} spawns a thread without a name", file.display());
        let spawns = ["threads::spawn", "periodic::spawn", "Builder::new()"]
            .iter()
            .any(|s| code.contains(s));
        for quoted in code.split('"').skip(1).step_by(2) {
            let name = quoted.replace("{n}", "<n>").replace("{id}", "<id>").replace("{}", "<id>");
            let prefixes = ["kentros-", "client-", "stats-", "top-"];
            if spawns && prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                names.insert(name, file.clone());
            }
        }
    }
    names
}

#[test]
fn every_thread_is_in_the_readmes_table_and_the_other_way_round() {
    let architecture = architecture();
    let rows = architecture.lines().skip_while(|line| !line.starts_with("| thread |")).skip(2);
    let cells =
        rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').nth(1).unwrap());
    let listed: BTreeSet<String> = cells.flat_map(named).collect();
    let spawned = spawned();
    let in_code: BTreeSet<String> = spawned.keys().cloned().collect();
    assert_eq!(listed, in_code, "README on the left, code on the right: {spawned:#?}");
}
