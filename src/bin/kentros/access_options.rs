//! The access options: token, host names, origins, proxies and client limits.

use std::fmt;
use std::fs::File;
use std::io::Read as _;

use kentros::{Access, Error, ServerConfig, Token};

use crate::flag_values::parse_client_count;
use crate::flags::{FlagValue, ParsedFlags};

/// Longer token files are cut off. A token has at most 512 characters.
const MAX_TOKEN_FILE_BYTES: u64 = 4096;

/// Who may connect, and how many clients.
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
    /// Applies the options to the configuration of a server that listens on `addr`, and allows the
    /// host name in `addr`.
    pub(crate) fn apply_to(
        self,
        mut config: ServerConfig,
        addr: &str,
    ) -> Result<ServerConfig, Error> {
        // An IP address is not a valid host name, and needs no permission.
        if let Some((name, _)) = addr.rsplit_once(':')
            && let Ok(allowed) = config.clone().allow_host(name)
        {
            config = allowed;
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

/// The address is reachable from other machines, but neither a token nor `--no-auth` is set.
/// Replaces the library's error, which does not mention the flags.
#[derive(Debug)]
pub(crate) struct MissingTokenError {
    pub(crate) addr: String,
}

impl fmt::Display for MissingTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot listen on {} without a token: other machines can reach it. Set one with \
             --token-file or KENTROS_TOKEN_FILE, or allow everyone with --no-auth",
            self.addr
        )
    }
}

impl std::error::Error for MissingTokenError {}

/// Reads the access options from the flags.
///
/// # Errors
/// A message that names the flag or variable and what is expected.
pub(crate) fn parse_access(flags: &ParsedFlags) -> Result<AccessOptions, String> {
    let access = match (parse_token(flags)?, flags.contains("no-auth")) {
        (Some(token), false) => Access::Token(token),
        (None, true) => Access::Open,
        (None, false) => Access::Local,
        (Some(_), true) => {
            return Err("--no-auth cannot be used with a token. Remove one of them".into());
        }
    };
    let config = ServerConfig::default;
    let client_limit = |flag| flags.parse_or(flag, None, |text| parse_client_count(text).map(Some));
    Ok(AccessOptions {
        access,
        hosts: flags.parse_list("allow-host", |host| config().allow_host(host).map(drop))?,
        origins: flags
            .parse_list("allow-origin", |origin| config().allow_origin(origin).map(drop))?,
        proxies: flags.parse_list("trust-proxy", |proxy| config().trust_proxy(proxy).map(drop))?,
        max_clients: client_limit("max-clients")?,
        max_clients_per_address: client_limit("max-clients-per-address")?,
    })
}

/// Returns the token, if one is set. The command line takes precedence over the environment.
///
/// # Errors
/// A message that names the flag or variable. It never contains the token.
pub(crate) fn parse_token(flags: &ParsedFlags) -> Result<Option<Token>, String> {
    let (name, text) = match (flags.get("token"), flags.get("token-file")) {
        (Some(token), Some(file))
            if token.is_from_command_line() == file.is_from_command_line() =>
        {
            return Err(format!(
                "{} cannot be used with {}. Remove one of them",
                token.name, file.name
            ));
        }
        (Some(token), file) if file.is_none() || token.is_from_command_line() => {
            (token.name.clone(), token.text.clone())
        }
        (_, Some(file)) => read_token_file(file)?,
        (_, None) => return Ok(None),
    };
    Token::new(text).map(Some).map_err(|error| format!("invalid {name}: {error}"))
}

/// Returns the flag with its path, for error messages, and the trimmed content of the file.
fn read_token_file(FlagValue { name, text: path }: &FlagValue) -> Result<(String, String), String> {
    let name = format!("{name} {path:?}");
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| format!("cannot read {name}: {error}"))?;
    match text.trim() {
        "" => Err(format!("cannot read {name}: the file is empty. Write the token to it")),
        token => Ok((name, token.to_owned())),
    }
}
