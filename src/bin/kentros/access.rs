//! Who may come in, by the flags.

use std::fmt;
use std::fs::File;
use std::io::Read as _;

use kentros::{Access, Error, ServerConfig, Token};

use crate::flags::{Given, Value};
use crate::values::clients;

/// The longest file that is read for a token.
const MAX_FILE: u64 = 4096;

/// What the flags say about who may come in, and how many.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessOptions {
    access: Access,
    hosts: Vec<String>,
    origins: Vec<String>,
    proxies: Vec<String>,
    max_clients: Option<usize>,
    max_clients_per_address: Option<usize>,
}

impl AccessOptions {
    /// The same as settings of a server at this address, to whose name it answers.
    pub(crate) fn applied(
        self,
        mut config: ServerConfig,
        addr: &str,
    ) -> Result<ServerConfig, Error> {
        // What is no name is an address, or will be refused as one.
        if let Some((name, _)) = addr.rsplit_once(':')
            && let Ok(named) = config.clone().allow_host(name)
        {
            config = named;
        }
        for host in &self.hosts {
            config = config.allow_host(host)?;
        }
        for origin in &self.origins {
            config = config.allow_origin(origin)?;
        }
        for proxy in &self.proxies {
            config = config.trust_proxy(proxy)?;
        }
        config.access = self.access;
        config.max_clients = self.max_clients.unwrap_or(config.max_clients);
        config.max_clients_per_address = self.max_clients_per_address;
        Ok(config)
    }
}

/// Other machines could connect to this address, and nobody said who may: the library's error in
/// the words of the flags.
#[derive(Debug)]
pub(crate) struct Exposed(pub(crate) String);

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is open to other machines, and no token is set: set one (--token-file or \
             KENTROS_TOKEN_FILE), or let everyone in (--no-auth)",
            self.0
        )
    }
}

impl std::error::Error for Exposed {}

/// # Errors
/// A sentence that names the flag or variable and what it may be.
pub(crate) fn read(given: &Given) -> Result<AccessOptions, String> {
    let access = match (token(given)?, given.has("no-auth")) {
        (Some(token), false) => Access::Token(token),
        (None, true) => Access::Open,
        (None, false) => Access::Local,
        (Some(_), true) => {
            return Err("--no-auth lets in everyone, and a token is set: choose one".into());
        }
    };
    let config = ServerConfig::default;
    Ok(AccessOptions {
        access,
        hosts: given.list("allow-host", |host| config().allow_host(host).map(drop))?,
        origins: given.list("allow-origin", |origin| config().allow_origin(origin).map(drop))?,
        proxies: given.list("trust-proxy", |proxy| config().trust_proxy(proxy).map(drop))?,
        max_clients: given.read("max-clients", None, |text| clients(text).map(Some))?,
        max_clients_per_address: given
            .read("max-clients-per-address", None, |text| clients(text).map(Some))?,
    })
}

/// The token, where one is given.
///
/// # Errors
/// A sentence that names the flag or variable, and does not repeat the token.
pub(crate) fn token(given: &Given) -> Result<Option<Token>, String> {
    let (name, text) = match (given.get("token"), given.get("token-file")) {
        (Some(direct), Some(file))
            if direct.is_on_the_command_line() == file.is_on_the_command_line() =>
        {
            return Err(format!("{} and {}: one is enough", direct.name, file.name));
        }
        (Some(direct), file) if file.is_none() || direct.is_on_the_command_line() => {
            (direct.name.clone(), direct.text.clone())
        }
        (_, Some(file)) => contents(file)?,
        (_, None) => return Ok(None),
    };
    Token::new(text).map(Some).map_err(|error| format!("{name}: {error}"))
}

/// What the file holds, without blanks and newlines around it, and its name for errors.
fn contents(Value { name, text: path }: &Value) -> Result<(String, String), String> {
    let name = format!("{name} {path:?}");
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    read.map_err(|error| format!("{name}: the token cannot be read: {error}"))?;
    match text.trim() {
        "" => Err(format!("{name}: the file is empty, and should hold the token")),
        token => Ok((name, token.to_owned())),
    }
}
