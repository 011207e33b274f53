//! The public API: every public item, as `docs/public-api.txt` lists it, and with an example.
//!
//! The items are parsed from the sources line by line. That works because rustfmt gives every item
//! the same shape, and because the lint `unreachable_pub` rejects a `pub` that cannot be reached
//! from outside: whatever is marked `pub` is public.
//!
//! After an intended change, run with `KENTROS_WRITE_API=1` to rewrite the list, and add the change
//! to the changelog.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::str::Lines;

use crate::architecture::{ROOT, is_of_tests, sources, without_tests};

/// Attributes that are part of the API.
const API_ATTRIBUTES: [&str; 4] = ["#[derive", "#[non_exhaustive]", "#[must_use]", "#[cfg(feature"];

/// One public item.
#[derive(Debug, Default)]
struct Item {
    /// Its line in the list: path, signature and attributes.
    line: String,
    docs: String,
    /// `None` for items that need no example: fields, variants and the methods of a trait.
    example: Option<Example>,
}

/// The example that an item needs.
#[derive(Debug, PartialEq, Eq)]
enum Example {
    /// One in its own documentation.
    Own,
    /// Any example that calls this function.
    CallOf(String),
}

/// The block that contains the current line.
#[derive(Debug)]
enum Block {
    /// An inherent `impl`, or the fields of a struct, of this public type.
    Type(String),
    Enum(String),
    Trait(String),
    /// A block without public items.
    Other,
}

/// Parses the public items of one file.
fn parse_items(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut block = Block::Other;
    let (mut docs, mut attributes) = (String::new(), String::new());
    let mut lines = without_tests(text).lines();
    while let Some(line) = lines.next() {
        let (indent, code) = (line.len() - line.trim_start().len(), line.trim());
        if code.starts_with("///") {
            docs.push_str(code);
            docs.push('\n');
            continue;
        }
        if code.starts_with("#[") {
            if API_ATTRIBUTES.iter().any(|attribute| code.starts_with(attribute)) {
                attributes.push(' ');
                attributes.push_str(code);
            }
            continue;
        }
        if indent == 0 && line == "}" {
            block = Block::Other;
        }
        let docs = std::mem::take(&mut docs);
        let attributes = std::mem::take(&mut attributes);
        let Some((start, example)) = item_start(&block, indent, code) else { continue };
        let signature = read_signature(start, &mut lines);
        let item = normalize(&signature);
        if indent == 0 && signature.ends_with('{') {
            block = opened_block(&item);
        }
        if item.starts_with("impl") && !item.contains(" for ") {
            continue;
        }
        items.push(Item { line: format!("{item}{attributes}"), docs, example });
    }
    items
}

/// If this line starts a public item: its path and first line, and the example that it needs.
fn item_start(block: &Block, indent: usize, code: &str) -> Option<(String, Option<Example>)> {
    match (block, indent, code.strip_prefix("pub ")) {
        (_, 0, Some(rest)) => {
            let example = (!rest.starts_with("use ")).then_some(Example::Own);
            Some((format!("pub {rest}"), example))
        }
        (Block::Type(name), 4, Some(rest)) => {
            Some((format!("{name}: pub {rest}"), function_example(rest)))
        }
        (Block::Enum(name), 4, None) if code.starts_with(char::is_alphabetic) => {
            Some((format!("{name}::{code}"), None))
        }
        (Block::Trait(name), 4, None) if code.starts_with("fn ") => {
            Some((format!("{name}: {code}"), None))
        }
        (_, 0, None) if code.starts_with("impl") => Some((code.to_owned(), None)),
        _ => None,
    }
}

/// A function needs an example that calls it; a field needs none.
fn function_example(rest: &str) -> Option<Example> {
    let name = rest.trim_start_matches("const ").strip_prefix("fn ")?;
    Some(Example::CallOf(name.split(['(', '<']).next()?.to_owned()))
}

/// Joins the lines of an item up to the end of its signature, or of its list of names.
fn read_signature(start: String, lines: &mut Lines<'_>) -> String {
    let mut item = start;
    let ends: &[char] = match item.split([' ', '<']).next() {
        Some("impl") => &['{'],
        _ if item.starts_with("pub use") => &[';'],
        _ => &['{', ';', ',', '}'],
    };
    let is_open = |item: &str| item.matches('(').count() > item.matches(')').count();
    while !item.ends_with(ends) || is_open(&item) {
        let Some(next) = lines.next() else { break };
        let next = next.trim();
        item.push_str(if item.ends_with('(') || next.starts_with(')') { "" } else { " " });
        item.push_str(next);
    }
    item
}

/// A signature on one line, without what callers cannot see.
fn normalize(signature: &str) -> String {
    let item = signature.trim_end_matches("{}").trim_end_matches(['{', ';', ',', ' ']);
    let mut item = item.replace(",)", ")").replace("(mut ", "(").replace(", mut ", ", ");
    if item.starts_with("pub struct") && !item.contains("(pub ") {
        // The fields of a tuple struct are private.
        item.truncate(item.find('(').unwrap_or(item.len()));
    }
    item
}

/// The code blocks in this documentation.
fn code_blocks(docs: &str) -> String {
    docs.split("```").skip(1).step_by(2).collect()
}

/// The block that an item opens.
fn opened_block(item: &str) -> Block {
    let name = |rest: &str| rest.split([' ', '<', ':', '(']).next().unwrap_or_default().to_owned();
    let starts = [("pub struct ", 0), ("impl ", 0), ("pub enum ", 1), ("pub trait ", 2)];
    let found = starts.iter().find_map(|(start, kind)| Some((item.strip_prefix(start)?, kind)));
    match found {
        Some((rest, _)) if rest.contains(" for ") => Block::Other,
        Some((rest, 0)) => Block::Type(name(rest)),
        Some((rest, 1)) => Block::Enum(name(rest)),
        Some((rest, _)) => Block::Trait(name(rest)),
        None => Block::Other,
    }
}

/// The public items of the library, sorted.
fn public_items() -> Vec<Item> {
    let files =
        sources().into_iter().filter(|file| !file.starts_with("src/bin") && !is_of_tests(file));
    let mut items: Vec<Item> = files
        .flat_map(|file| parse_items(&fs::read_to_string(Path::new(ROOT).join(file)).unwrap()))
        .collect();
    let types: BTreeSet<String> = items
        .iter()
        .filter_map(|item| match opened_block(item.line.split(" #[").next()?) {
            Block::Type(name) | Block::Enum(name) | Block::Trait(name) => Some(name),
            Block::Other => None,
        })
        .collect();
    items.retain(|item| item.line != "pub mod fuzz");
    // The re-exports of the root start with `crate`. Those of modules only pass items on to it.
    items.retain(|item| !item.line.contains("pub use ") || item.line.contains("pub use crate::"));
    // An implementation counts if it is for a public type, or for every type with some trait.
    items.retain(|item| {
        let Some((implemented, by)) = item.line.split_once(" for ") else { return true };
        let by = by.split(['<', ' ']).next().unwrap_or_default();
        let is_blanket = implemented.starts_with("impl<") && by.len() == 1;
        !item.line.starts_with("impl") || types.contains(by) || is_blanket
    });
    items.sort_by(|a, b| a.line.cmp(&b.line));
    items
}

#[test]
fn the_public_api_matches_the_list() {
    let file = Path::new(ROOT).join("docs/public-api.txt");
    let lines: Vec<String> = public_items().into_iter().map(|item| item.line).collect();
    let now = lines.join("\n") + "\n";
    if std::env::var_os("KENTROS_WRITE_API").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let listed = fs::read_to_string(&file).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    let now: BTreeSet<&str> = now.lines().collect();
    let (removed, added): (Vec<_>, Vec<_>) =
        (listed.difference(&now).collect(), now.difference(&listed).collect());
    assert!(
        removed.is_empty() && added.is_empty(),
        "{file:?} is out of date: removed {removed:#?}, added {added:#?}"
    );
}

#[test]
fn every_public_item_has_an_example() {
    let items = public_items();
    assert!(items.len() > 100, "{}", items.len());
    let all: String = items.iter().map(|item| code_blocks(&item.docs)).collect();
    let without: Vec<&str> = items
        .iter()
        .filter(|item| match &item.example {
            None => false,
            Some(Example::Own) => code_blocks(&item.docs).is_empty(),
            Some(Example::CallOf(name)) => {
                let calls = [format!(".{name}("), format!("::{name}("), format!(".{name}::<")];
                !calls.iter().any(|call| all.contains(call))
            }
        })
        .map(|item| item.line.as_str())
        .collect();
    assert_eq!(without, Vec::<&str>::new());
}

#[test]
fn whole_public_signatures_are_parsed_and_private_items_skipped() {
    let text = "\
/// A thing.
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Thing {
    /// Shown.
    pub shown: Option<u32>,
    hidden: u32,
}

impl Thing {
    /// Long.
    #[must_use]
    pub fn long(
        mut self,
        first: impl Into<(u8, u8)>,
    ) -> Self {
        pub_call(self);
    }

    pub(crate) fn inner(&self) {}
}

impl fmt::Debug for Thing {
    fn fmt(&self) {}
}

pub enum Kind {
    /// One.
    One,
    Two(u8),
}

pub trait Does: Send {
    fn it(&mut self);
}
";
    let lines: Vec<String> = parse_items(text).into_iter().map(|item| item.line).collect();
    assert_eq!(
        lines,
        [
            "pub struct Thing #[derive(Clone)] #[non_exhaustive]",
            "Thing: pub shown: Option<u32>",
            "Thing: pub fn long(self, first: impl Into<(u8, u8)>) -> Self #[must_use]",
            "impl fmt::Debug for Thing",
            "pub enum Kind",
            "Kind::One",
            "Kind::Two(u8)",
            "pub trait Does: Send",
            "Does: fn it(&mut self)",
        ]
    );
    assert_eq!(parse_items(text)[0].example, Some(Example::Own));
    assert_eq!(parse_items(text)[2].example, Some(Example::CallOf("long".into())));
}

/// `Send` and `Sync` are automatic, so the list of signatures does not show them.
#[test]
fn public_types_are_send_and_sync() {
    fn is_send<T: Send>() {}
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<kentros::Client>();
    is_send_and_sync::<kentros::Connector>();
    is_send_and_sync::<kentros::Error>();
    is_send_and_sync::<kentros::Hub>();
    is_send_and_sync::<kentros::HubHandle>();
    is_send_and_sync::<kentros::Interest>();
    is_send_and_sync::<kentros::Message>();
    is_send_and_sync::<kentros::Request>();
    is_send_and_sync::<kentros::Response>();
    is_send_and_sync::<kentros::Server>();
    is_send_and_sync::<kentros::ServerConfig>();
    is_send_and_sync::<kentros::Snapshot>();
    is_send_and_sync::<kentros::Streamer>();
    is_send::<kentros::DockerSource>();
    is_send::<kentros::Listener>();
}
