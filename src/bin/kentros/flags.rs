//! The command-line flags, and the values given for them.

use std::collections::BTreeMap;

/// A flag and its environment variable.
pub(crate) struct Flag {
    /// The name, without the leading dashes.
    pub(crate) name: &'static str,
    pub(crate) variable: Option<&'static str>,
    pub(crate) takes_value: bool,
    pub(crate) scope: FlagScope,
    /// Whether the values of repeated flags are collected. Otherwise the last one is used.
    pub(crate) repeatable: bool,
}

/// The subcommand on the command line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subcommand {
    /// No subcommand.
    Serve,
    Stats,
    Top,
    Healthcheck,
}

/// The subcommands that accept a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagScope {
    All,
    Serve,
    ServeHealthcheck,
    ServeStatsTop,
    StatsTop,
    Stats,
    Healthcheck,
}

impl Subcommand {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "stats" => Some(Self::Stats),
            "top" => Some(Self::Top),
            "healthcheck" => Some(Self::Healthcheck),
            _ => None,
        }
    }

    pub(crate) fn accepts(self, scope: FlagScope) -> bool {
        match scope {
            FlagScope::All => true,
            FlagScope::Serve => self == Self::Serve,
            FlagScope::ServeHealthcheck => matches!(self, Self::Serve | Self::Healthcheck),
            FlagScope::ServeStatsTop => self != Self::Healthcheck,
            FlagScope::StatsTop => matches!(self, Self::Stats | Self::Top),
            FlagScope::Stats => self == Self::Stats,
            FlagScope::Healthcheck => self == Self::Healthcheck,
        }
    }
}

impl FlagScope {
    /// Completes the error message "--flag is only valid".
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::All => "with any command",
            Self::Serve => "without a command",
            Self::ServeHealthcheck => "without a command or with `kentros healthcheck`",
            Self::ServeStatsTop => "without a command, with `kentros stats` or with `kentros top`",
            Self::StatsTop => "with `kentros stats` or `kentros top`",
            Self::Stats => "with `kentros stats`",
            Self::Healthcheck => "with `kentros healthcheck`",
        }
    }
}

pub(crate) const FLAGS: [Flag; 20] = [
    flag("addr", Some("KENTROS_ADDR"), FlagScope::ServeHealthcheck),
    flag("base", Some("KENTROS_BASE"), FlagScope::ServeHealthcheck),
    flag("docker-host", Some("KENTROS_DOCKER_HOST"), FlagScope::ServeStatsTop),
    flag("interval", Some("KENTROS_INTERVAL"), FlagScope::ServeStatsTop),
    flag("demo", Some("KENTROS_DEMO"), FlagScope::Serve),
    flag("log-level", Some("KENTROS_LOG_LEVEL"), FlagScope::All),
    flag("log-format", Some("KENTROS_LOG_FORMAT"), FlagScope::All),
    flag("project", None, FlagScope::StatsTop),
    flag("url", None, FlagScope::StatsTop),
    flag("token", Some("KENTROS_TOKEN"), FlagScope::ServeStatsTop),
    flag("token-file", Some("KENTROS_TOKEN_FILE"), FlagScope::ServeStatsTop),
    switch("no-auth", FlagScope::Serve),
    repeatable("allow-host", "KENTROS_ALLOW_HOST"),
    repeatable("allow-origin", "KENTROS_ALLOW_ORIGIN"),
    repeatable("trust-proxy", "KENTROS_TRUST_PROXY"),
    flag("max-clients", Some("KENTROS_MAX_CLIENTS"), FlagScope::Serve),
    flag("max-clients-per-address", Some("KENTROS_MAX_CLIENTS_PER_ADDRESS"), FlagScope::Serve),
    switch("once", FlagScope::Stats),
    switch("json", FlagScope::Stats),
    switch("ready", FlagScope::Healthcheck),
];

const fn flag(name: &'static str, variable: Option<&'static str>, scope: FlagScope) -> Flag {
    Flag { name, variable, takes_value: true, scope, repeatable: false }
}

const fn repeatable(name: &'static str, variable: &'static str) -> Flag {
    let scope = FlagScope::Serve;
    Flag { name, variable: Some(variable), takes_value: true, scope, repeatable: true }
}

const fn switch(name: &'static str, scope: FlagScope) -> Flag {
    Flag { name, variable: None, takes_value: false, scope, repeatable: false }
}

/// The unparsed values, by flag name.
#[derive(Default)]
pub(crate) struct ParsedFlags(BTreeMap<&'static str, FlagValue>);

pub(crate) struct FlagValue {
    /// The flag or variable that set the value, for error messages.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl FlagValue {
    pub(crate) fn is_from_command_line(&self) -> bool {
        self.name.starts_with("--")
    }
}

impl ParsedFlags {
    /// Sets a flag, or appends to a repeatable one with a comma.
    pub(crate) fn set_from_command_line(&mut self, flag: &Flag, text: &str) {
        let name = format!("--{}", flag.name);
        let previous = self.0.remove(flag.name).filter(|_| flag.repeatable);
        let text = previous.map(|previous| previous.text + ",").unwrap_or_default() + text;
        self.0.insert(flag.name, FlagValue { name, text });
    }

    pub(crate) fn set_from_environment(&mut self, flag: &Flag, variable: &str, text: String) {
        self.0.insert(flag.name, FlagValue { name: variable.to_owned(), text });
    }

    pub(crate) fn contains(&self, flag: &str) -> bool {
        self.0.contains_key(flag)
    }

    pub(crate) fn get(&self, flag: &str) -> Option<&FlagValue> {
        self.0.get(flag)
    }

    pub(crate) fn text(&self, flag: &str) -> Option<String> {
        self.get(flag).map(|value| value.text.clone())
    }

    /// Parses the value of a flag, or returns the default.
    ///
    /// # Errors
    /// A message that names the flag or variable, its value, and what is expected.
    pub(crate) fn parse_or<T>(
        &self,
        flag: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        match self.get(flag) {
            None => Ok(default),
            Some(FlagValue { name, text }) => {
                parse(text).map_err(|expected| format!("invalid {name} {text:?}: {expected}"))
            }
        }
    }

    /// Splits the value of a repeatable flag and validates each part.
    ///
    /// # Errors
    /// A message that names the flag or variable and the invalid part.
    pub(crate) fn parse_list(
        &self,
        flag: &str,
        validate: impl Fn(&str) -> Result<(), kentros::Error>,
    ) -> Result<Vec<String>, String> {
        let Some(FlagValue { name, text }) = self.get(flag) else { return Ok(Vec::new()) };
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        values
            .map(|value| match validate(value) {
                Ok(()) => Ok(value.to_owned()),
                // The library's error starts with the value.
                Err(error) => Err(format!("invalid {name} {error}")),
            })
            .collect()
    }
}
