//! The flags, and what was given for each.

use std::collections::BTreeMap;

/// One flag: what it is called, here and in the environment, and for what.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) variable: Option<&'static str>,
    /// Whether a value follows it.
    pub(crate) valued: bool,
    pub(crate) of: Of,
    /// Whether it can be given several times.
    pub(crate) several: bool,
}

/// The program's jobs, by the word that names each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Serve,
    Stats,
    Top,
    Healthcheck,
}

/// Which of the jobs a flag is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Any,
    Serve,
    /// Serve, and healthcheck, which finds the server by it.
    Server,
    /// All that may read an engine.
    Reader,
    /// Stats and top.
    Watch,
    Stats,
    Healthcheck,
}

impl Job {
    /// The job of this word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        match word {
            "stats" => Some(Self::Stats),
            "top" => Some(Self::Top),
            "healthcheck" => Some(Self::Healthcheck),
            _ => None,
        }
    }

    pub(crate) fn takes(self, of: Of) -> bool {
        match of {
            Of::Any => true,
            Of::Serve => self == Self::Serve,
            Of::Server => matches!(self, Self::Serve | Self::Healthcheck),
            Of::Reader => self != Self::Healthcheck,
            Of::Watch => matches!(self, Self::Stats | Self::Top),
            Of::Stats => self == Self::Stats,
            Of::Healthcheck => self == Self::Healthcheck,
        }
    }
}

impl Of {
    /// Where a flag may stand.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Any => "anywhere",
            Self::Serve => "without a command",
            Self::Server => "without a command or after healthcheck",
            Self::Reader => "without a command or after stats or top",
            Self::Watch => "after kentros stats or kentros top",
            Self::Stats => "after kentros stats",
            Self::Healthcheck => "after kentros healthcheck",
        }
    }
}

pub(crate) const FLAGS: [Flag; 20] = [
    flag("addr", Some("KENTROS_ADDR"), Of::Server),
    flag("base", Some("KENTROS_BASE"), Of::Server),
    flag("docker-host", Some("KENTROS_DOCKER_HOST"), Of::Reader),
    flag("interval", Some("KENTROS_INTERVAL"), Of::Reader),
    flag("demo", Some("KENTROS_DEMO"), Of::Serve),
    flag("log-level", Some("KENTROS_LOG_LEVEL"), Of::Any),
    flag("log-format", Some("KENTROS_LOG_FORMAT"), Of::Any),
    flag("project", None, Of::Watch),
    flag("url", None, Of::Watch),
    flag("token", Some("KENTROS_TOKEN"), Of::Reader),
    flag("token-file", Some("KENTROS_TOKEN_FILE"), Of::Reader),
    switch("no-auth", Of::Serve),
    several("allow-host", "KENTROS_ALLOW_HOST"),
    several("allow-origin", "KENTROS_ALLOW_ORIGIN"),
    several("trust-proxy", "KENTROS_TRUST_PROXY"),
    flag("max-clients", Some("KENTROS_MAX_CLIENTS"), Of::Serve),
    flag("max-clients-per-address", Some("KENTROS_MAX_CLIENTS_PER_ADDRESS"), Of::Serve),
    switch("once", Of::Stats),
    switch("json", Of::Stats),
    switch("ready", Of::Healthcheck),
];

const fn flag(name: &'static str, variable: Option<&'static str>, of: Of) -> Flag {
    Flag { name, variable, valued: true, of, several: false }
}

const fn several(name: &'static str, variable: &'static str) -> Flag {
    Flag { name, variable: Some(variable), valued: true, of: Of::Serve, several: true }
}

const fn switch(name: &'static str, of: Of) -> Flag {
    Flag { name, variable: None, valued: false, of, several: false }
}

/// The values as they came, by flag, each with the name it came under, for the error that names it.
#[derive(Default)]
pub(crate) struct Given(BTreeMap<&'static str, Value>);

pub(crate) struct Value {
    /// The flag, or the variable.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Value {
    pub(crate) fn is_on_the_command_line(&self) -> bool {
        self.name.starts_with("--")
    }
}

impl Given {
    /// Takes a value from the command line: the last one counts, or all, with commas between.
    pub(crate) fn flag(&mut self, flag: &Flag, text: &str) {
        let name = format!("--{}", flag.name);
        let before = self.0.remove(flag.name).filter(|_| flag.several);
        let text = before.map(|before| before.text + ",").unwrap_or_default() + text;
        self.0.insert(flag.name, Value { name, text });
    }

    /// Takes a value from the environment.
    pub(crate) fn variable(&mut self, flag: &Flag, variable: &str, text: String) {
        self.0.insert(flag.name, Value { name: variable.to_owned(), text });
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.0.contains_key(flag)
    }

    pub(crate) fn get(&self, flag: &str) -> Option<&Value> {
        self.0.get(flag)
    }

    pub(crate) fn text(&self, flag: &str) -> Option<String> {
        self.get(flag).map(|value| value.text.clone())
    }

    /// The value of a flag, understood.
    ///
    /// # Errors
    /// A sentence that names the flag or variable, what was given, and what is wanted.
    pub(crate) fn read<T>(
        &self,
        flag: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        match self.get(flag) {
            None => Ok(default),
            Some(Value { name, text }) => {
                parse(text).map_err(|wanted| format!("{name} {text:?}: {wanted}"))
            }
        }
    }

    /// The values of a flag that can be given several times, once `check` has found each good.
    ///
    /// # Errors
    /// A sentence that names the flag or variable and the value.
    pub(crate) fn list(
        &self,
        flag: &str,
        check: impl Fn(&str) -> Result<(), kentros::Error>,
    ) -> Result<Vec<String>, String> {
        let Some(Value { name, text }) = self.get(flag) else { return Ok(Vec::new()) };
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        values
            .map(|value| match check(value) {
                Ok(()) => Ok(value.to_owned()),
                Err(error) => Err(format!("{name} {error}")),
            })
            .collect()
    }
}
