//! What others build on: every public item, as `docs/public-api.txt` lists it.
//!
//! The list is read from the sources, which rustfmt keeps in one shape; and a `pub` that others
//! cannot reach is a fault there (the lint `unreachable_pub`), so that all that says so is public.
//! Where a change is meant, `KENTROS_WRITE_API=1` writes it anew, and the changelog says what changes for whom.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::architecture::{ROOT, is_of_tests, sources, without_tests};

/// One public item.
#[derive(Debug, Default)]
struct Item {
    /// As the list has it: its path, its signature, its attributes that matter to others.
    line: String,
    /// Its documentation.
    docs: String,
    /// What must be shown in an example; fields, variants and a trait's methods need not.
    wants: Option<Wanted>,
}

/// In which example an item must be.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// One of its own.
    Own,
    /// Any that calls this function.
    Called(String),
}

/// The block that an item stands in.
#[derive(Debug)]
enum Within {
    /// Of a public type, whose name this is: an inherent `impl`, or the fields of a struct.
    Type(String),
    Enum(String),
    Trait(String),
    /// Nothing in it is anybody's business.
    Other,
}

/// Every public item of one file.
fn items_of(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut within = Within::Other;
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
            if ["#[derive", "#[non_exhaustive]", "#[must_use]", "#[cfg(feature"]
                .iter()
                .any(|a| code.starts_with(a))
            {
                attributes.push(' ');
                attributes.push_str(code);
            }
            continue;
        }
        if indent == 0 && line == "}" {
            within = Within::Other;
        }
        let (mut item, wants) = match (&within, indent, code.strip_prefix("pub ")) {
            (_, 0, Some(rest)) => {
                (format!("pub {rest}"), (!rest.starts_with("use ")).then_some(Wanted::Own))
            }
            (Within::Type(name), 4, Some(rest)) => (format!("{name}: pub {rest}"), called(rest)),
            (Within::Enum(name), 4, None) if code.starts_with(char::is_alphabetic) => {
                (format!("{name}::{code}"), None)
            }
            (Within::Trait(name), 4, None) if code.starts_with("fn ") => {
                (format!("{name}: {code}"), None)
            }
            (_, 0, None) if code.starts_with("impl") => (code.to_owned(), None),
            _ => (String::new(), None),
        };
        let (docs, attributes) = (std::mem::take(&mut docs), std::mem::take(&mut attributes));
        if item.is_empty() {
            continue;
        }
        // On to the end of the signature, or to the end of a list of names.
        let ends: &[char] = match item.split([' ', '<']).next() {
            Some("impl") => &['{'],
            _ if item.starts_with("pub use") => &[';'],
            _ => &['{', ';', ',', '}'],
        };
        let opens = |item: &str| item.matches('(').count() > item.matches(')').count();
        while !item.ends_with(ends) || opens(&item) {
            let Some(next) = lines.next() else { break };
            let next = next.trim();
            item.push_str(if item.ends_with('(') || next.starts_with(')') { "" } else { " " });
            item.push_str(next);
        }
        let opened = item.ends_with('{');
        let item = item.trim_end_matches("{}").trim_end_matches(['{', ';', ',', ' ']);
        let mut item = item.replace(",)", ")");
        item = item.replace("(mut ", "(").replace(", mut ", ", ");
        if item.starts_with("pub struct") && !item.contains("(pub ") {
            // What a tuple has inside is its own business.
            item.truncate(item.find('(').unwrap_or(item.len()));
        }
        if indent == 0 && opened {
            within = block(&item);
        }
        if item.starts_with("impl") && !item.contains(" for ") {
            continue;
        }
        items.push(Item { line: format!("{item}{attributes}"), docs, wants });
    }
    items
}

/// The name of a function.
fn called(rest: &str) -> Option<Wanted> {
    let name = rest.trim_start_matches("const ").strip_prefix("fn ")?;
    Some(Wanted::Called(name.split(['(', '<']).next()?.to_owned()))
}

/// The examples in this documentation.
fn examples(docs: &str) -> String {
    docs.split("```").skip(1).step_by(2).collect()
}

/// What an item that ends in a brace opens.
fn block(item: &str) -> Within {
    let name = |rest: &str| rest.split([' ', '<', ':', '(']).next().unwrap_or_default().to_owned();
    let words = [("pub struct ", 0), ("impl ", 0), ("pub enum ", 1), ("pub trait ", 2)];
    let found = words.iter().find_map(|(word, kind)| Some((item.strip_prefix(word)?, kind)));
    match found {
        Some((rest, _)) if rest.contains(" for ") => Within::Other,
        Some((rest, 0)) => Within::Type(name(rest)),
        Some((rest, 1)) => Within::Enum(name(rest)),
        Some((rest, _)) => Within::Trait(name(rest)),
        None => Within::Other,
    }
}

/// The items of all files, in order. Implementations for what is not public are no part of it.
fn items() -> Vec<Item> {
    let files =
        sources().into_iter().filter(|file| !file.starts_with("src/bin") && !is_of_tests(file));
    let mut items: Vec<Item> = files
        .flat_map(|file| items_of(&fs::read_to_string(Path::new(ROOT).join(file)).unwrap()))
        .collect();
    let types: BTreeSet<String> = items
        .iter()
        .filter_map(|item| match block(item.line.split(" #[").next()?) {
            Within::Type(name) | Within::Enum(name) | Within::Trait(name) => Some(name),
            Within::Other => None,
        })
        .collect();
    // A module hands on to the root what the root lists.
    items.retain(|item| item.line != "pub mod fuzz");
    items.retain(|item| !item.line.contains("pub use ") || item.line.contains("pub use crate::"));
    items.retain(|item| {
        let Some((implemented, by)) = item.line.split_once(" for ") else { return true };
        let by = by.split(['<', ' ']).next().unwrap_or_default();
        // A public trait for all that have some other one.
        let all = implemented.starts_with("impl<") && by.len() == 1;
        !item.line.starts_with("impl") || types.contains(by) || all
    });
    items.sort_by(|a, b| a.line.cmp(&b.line));
    items
}

#[test]
fn the_public_items_are_those_of_the_list() {
    let file = Path::new(ROOT).join("docs/public-api.txt");
    let lines: Vec<String> = items().into_iter().map(|item| item.line).collect();
    let now = lines.join("\n") + "\n";
    if std::env::var_os("KENTROS_WRITE_API").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let listed = fs::read_to_string(&file).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    let now: BTreeSet<&str> = now.lines().collect();
    let (gone, new): (Vec<_>, Vec<_>) =
        (listed.difference(&now).collect(), now.difference(&listed).collect());
    assert!(gone.is_empty() && new.is_empty(), "gone: {gone:#?}, new: {new:#?}; see {file:?}");
}

#[test]
fn each_public_item_has_an_example() {
    let items = items();
    assert!(items.len() > 100, "{}", items.len());
    let all: String = items.iter().map(|item| examples(&item.docs)).collect();
    let without: Vec<&str> = items
        .iter()
        .filter(|item| match &item.wants {
            None => false,
            Some(Wanted::Own) => examples(&item.docs).is_empty(),
            Some(Wanted::Called(name)) => {
                let calls = [format!(".{name}("), format!("::{name}("), format!(".{name}::<")];
                !calls.iter().any(|call| all.contains(call))
            }
        })
        .map(|item| item.line.as_str())
        .collect();
    assert_eq!(without, Vec::<&str>::new());
}

#[test]
fn a_signature_is_read_whole_and_what_is_private_is_not() {
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
    let lines: Vec<String> = items_of(text).into_iter().map(|item| item.line).collect();
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
    assert_eq!(items_of(text)[0].wants, Some(Wanted::Own));
    assert_eq!(items_of(text)[2].wants, Some(Wanted::Called("long".into())));
}

/// What may go to another thread, and be used from several: no list of signatures tells.
#[test]
fn what_is_shared_between_threads_may_be() {
    fn may_go<T: Send>() {}
    fn may_be_shared<T: Send + Sync>() {}
    may_be_shared::<kentros::Client>();
    may_be_shared::<kentros::Connector>();
    may_be_shared::<kentros::Error>();
    may_be_shared::<kentros::Hub>();
    may_be_shared::<kentros::HubHandle>();
    may_be_shared::<kentros::Interest>();
    may_be_shared::<kentros::Message>();
    may_be_shared::<kentros::Request>();
    may_be_shared::<kentros::Response>();
    may_be_shared::<kentros::Server>();
    may_be_shared::<kentros::ServerConfig>();
    may_be_shared::<kentros::Snapshot>();
    may_be_shared::<kentros::Streamer>();
    may_go::<kentros::DockerSource>();
    may_go::<kentros::Listener>();
}
