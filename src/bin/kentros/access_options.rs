//! The access options: token, host names, origins, proxies and client limits.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kentros::{Access, Error, ServerConfig, Token};
use rustix::process::geteuid;

use crate::flag_values::parse_client_count;
use crate::flags::{FlagValue, ParsedFlags};

/// Longer token files are cut off. A token has at most 512 characters.
const MAX_TOKEN_FILE_BYTES: u64 = 4096;
/// Folders of container secrets, which have mode 0444 or 0644. Users outside the container cannot
/// read them, and their mode cannot be changed.
const SECRET_FOLDERS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// Who may connect, and how many clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessOptions {
    access: Access,
    /// A warning about the token file.
    pub(crate) warning: Option<String>,
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
    let (token, warning) = read_token(flags)?.unzip();
    let access = match (token, flags.contains("no-auth")) {
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
        warning: warning.flatten(),
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
    Ok(read_token(flags)?.map(|(token, _)| token))
}

/// The token, and a warning about its file.
fn read_token(flags: &ParsedFlags) -> Result<Option<(Token, Option<String>)>, String> {
    let (name, text, warning) = match (flags.get("token"), flags.get("token-file")) {
        (Some(token), Some(file))
            if token.is_from_command_line() == file.is_from_command_line() =>
        {
            return Err(format!(
                "{} cannot be used with {}. Remove one of them",
                token.name, file.name
            ));
        }
        (Some(token), file) if file.is_none() || token.is_from_command_line() => {
            (token.name.clone(), token.text.clone(), None)
        }
        (_, Some(file)) => read_token_file(file)?,
        (_, None) => return Ok(None),
    };
    let token = Token::new(text).map_err(|error| format!("invalid {name}: {error}"))?;
    Ok(Some((token, warning)))
}

/// Returns the flag with its path, for error messages, the trimmed content of the file, and a
/// warning if other users can read it.
fn read_token_file(
    FlagValue { name, text: path }: &FlagValue,
) -> Result<(String, String, Option<String>), String> {
    let name = format!("{name} {path:?}");
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        file.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text)?;
        Ok(metadata)
    });
    let metadata = read.map_err(|error| format!("cannot read {name}: {error}"))?;
    match text.trim() {
        "" => Err(format!("cannot read {name}: the file is empty. Write the token to it")),
        token => Ok((name, token.to_owned(), file_warning(path, &metadata))),
    }
}

fn file_warning(path: &str, metadata: &Metadata) -> Option<String> {
    let is_own = metadata.uid() == geteuid().as_raw();
    let mode = metadata.mode() & 0o7777;
    let is_secret = SECRET_FOLDERS.iter().any(|folder| Path::new(path).starts_with(folder));
    let is_risk = metadata.is_file() && is_readable_by_others(mode, is_own) && !is_secret;
    is_risk.then(|| {
        let fix = if is_own { "" } else { "make the user that runs kentros its owner, and " };
        format!(
            "the token file {path:?} has mode {mode:04o}: other users can read it. To fix this, \
             {fix}run `chmod 600` on it"
        )
    })
}

/// Whether other users than kentros's can read a file of this mode. If the file belongs to another
/// user, such as root, kentros reads it through its group.
fn is_readable_by_others(mode: u32, is_own: bool) -> bool {
    mode & 0o004 != 0 || (is_own && mode & 0o040 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_for_one_user_or_for_the_group_that_kentros_is_in() {
        for (mode, own, of_another) in [
            (0o400, false, false),
            (0o600, false, false),
            (0o700, false, false),
            (0o640, true, false),
            (0o440, true, false),
            (0o644, true, true),
            (0o444, true, true),
            (0o604, true, true),
        ] {
            assert_eq!(is_readable_by_others(mode, true), own, "{mode:o}");
            assert_eq!(is_readable_by_others(mode, false), of_another, "{mode:o}");
        }
    }
}
