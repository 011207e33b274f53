//! Finds the container engine: `DOCKER_HOST`, then the docker context, as the docker CLI does, then
//! the first standard socket that responds.

use std::path::{Path, PathBuf};
use std::{fs, io};

use kentros::{DockerHost, DockerSource, StatsSource as _};
use serde::Deserialize;

/// What the options depend on besides the arguments. Tests replace it.
pub(crate) struct Environment<'a> {
    /// Returns the value of a variable that is set.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// Pings the engine at a standard socket.
    pub(crate) ping: &'a dyn Fn(&DockerHost) -> PingOutcome,
    /// Takes a warning. Logging starts only once the options are parsed.
    pub(crate) warn: &'a dyn Fn(String),
}

/// The result of a ping at a standard socket.
#[derive(Clone, Debug)]
pub(crate) enum PingOutcome {
    Responds,
    NoSuchSocket,
    /// The socket exists, but no engine responds, for this reason.
    Fails(String),
}

/// Pings the engine at `host`. Takes at most the two seconds of any call to an engine.
pub(crate) fn ping(host: &DockerHost) -> PingOutcome {
    let Err(error) = DockerSource::new(host.clone()).health_check() else {
        return PingOutcome::Responds;
    };
    let io_error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io_error.map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => PingOutcome::NoSuchSocket,
        Some(kind) => PingOutcome::Fails(kind.to_string()),
        None => PingOutcome::Fails(error.to_string().replace(&format!(" at {host}"), "")),
    }
}

/// The address of an engine and where it was configured.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DiscoveredEngine {
    pub(crate) host: String,
    /// The flag, variable or docker context with the address, for error messages.
    pub(crate) set_by: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`, if the engine uses TLS.
    pub(crate) certificates: Option<PathBuf>,
}

/// Finds the engine if `--docker-host` is not set.
///
/// # Errors
/// The selected docker context cannot be read.
pub(crate) fn discover(environment: &Environment<'_>) -> Result<DiscoveredEngine, String> {
    if let Some(host) = (environment.variable)("DOCKER_HOST") {
        return Ok(with_address(host, "DOCKER_HOST", environment));
    }
    if let Some(engine) = from_docker_context(environment)? {
        return Ok(engine);
    }
    let host = first_that_responds(environment).to_string();
    Ok(DiscoveredEngine { host, set_by: "standard socket".into(), certificates: None })
}

/// The first standard socket whose engine responds. If none does, the first that exists, because
/// its engine may start later. Warns of the sockets that exist and do not respond.
fn first_that_responds(environment: &Environment<'_>) -> DockerHost {
    let (mut tried, mut existing) = (Vec::new(), Vec::new());
    for host in standard_sockets(environment) {
        match (environment.ping)(&host) {
            PingOutcome::Responds => {
                if !existing.is_empty() {
                    let failed = existing.iter().map(|(host, why)| format!("{host}: {why}"));
                    let failed = failed.collect::<Vec<_>>().join("; ");
                    (environment.warn)(format!(
                        "using the engine at {host}, because no engine responds at {failed}"
                    ));
                }
                return host;
            }
            PingOutcome::NoSuchSocket => tried.push(format!("{host}: no such socket")),
            PingOutcome::Fails(why) => {
                tried.push(format!("{host}: {why}"));
                existing.push((host, why));
            }
        }
    }
    let host = existing.into_iter().next().map(|(host, _)| host).unwrap_or_default();
    (environment.warn)(format!(
        "no container engine responds. Tried {}. Using {host}. Set another engine with \
         --docker-host or DOCKER_HOST",
        tried.join("; ")
    ));
    host
}

/// The engine at an address from a flag or variable. As in the docker CLI, `DOCKER_TLS_VERIFY` and
/// `DOCKER_CERT_PATH` enable TLS.
pub(crate) fn with_address(
    host: String,
    set_by: &str,
    environment: &Environment<'_>,
) -> DiscoveredEngine {
    let verify = (environment.variable)("DOCKER_TLS_VERIFY").is_some();
    let certificates = verify.then(|| certificate_folder(environment)).flatten();
    DiscoveredEngine { host, set_by: set_by.to_owned(), certificates }
}

fn certificate_folder(environment: &Environment<'_>) -> Option<PathBuf> {
    match (environment.variable)("DOCKER_CERT_PATH") {
        Some(path) => Some(PathBuf::from(path)),
        None => docker_config_folder(environment),
    }
}

/// The standard sockets in order of preference: Docker, rootless Docker, Docker Desktop, `OrbStack`,
/// Colima, Rancher Desktop, Podman, rootless Podman.
fn standard_sockets(environment: &Environment<'_>) -> Vec<DockerHost> {
    let variable = |name| (environment.variable)(name).map(PathBuf::from);
    let (home, runtime) = (variable("HOME"), variable("XDG_RUNTIME_DIR"));
    let under = |folder: &Option<PathBuf>, path: &str| folder.as_ref().map(|f| f.join(path));
    [
        Some(PathBuf::from("/var/run/docker.sock")),
        under(&runtime, "docker.sock"),
        under(&home, ".docker/run/docker.sock"),
        under(&home, ".orbstack/run/docker.sock"),
        under(&home, ".colima/default/docker.sock"),
        under(&home, ".rd/docker.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
        under(&runtime, "podman/podman.sock"),
    ]
    .into_iter()
    .flatten()
    // A relative folder has no sockets.
    .filter_map(|path| format!("unix://{}", path.display()).parse().ok())
    .collect()
}

fn docker_config_folder(environment: &Environment<'_>) -> Option<PathBuf> {
    let variable = environment.variable;
    variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")))
}

/// `config.json` of the docker CLI.
#[derive(Deserialize)]
struct DockerCliConfig {
    #[serde(rename = "currentContext", default)]
    current_context: String,
}

/// `contexts/meta/<digest of the name>/meta.json` of the docker CLI.
#[derive(Deserialize)]
struct DockerContextMeta {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: ContextEndpoints,
}

#[derive(Default, Deserialize)]
struct ContextEndpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
}

/// The engine of the context in `DOCKER_CONTEXT`, or of the one selected by `docker context use`.
/// Returns `None` for the context `default`.
fn from_docker_context(environment: &Environment<'_>) -> Result<Option<DiscoveredEngine>, String> {
    let folder = docker_config_folder(environment);
    let (name, set_by) = if let Some(name) = (environment.variable)("DOCKER_CONTEXT") {
        (name, "DOCKER_CONTEXT")
    } else {
        let config = folder.as_ref().and_then(|f| fs::read(f.join("config.json")).ok());
        let config = config.and_then(|text| serde_json::from_slice::<DockerCliConfig>(&text).ok());
        (config.map(|config| config.current_context).unwrap_or_default(), "current docker context")
    };
    if name.is_empty() || name == "default" {
        return Ok(None);
    }
    let set_by = format!("{set_by} {name:?}");
    let not_found = || {
        format!(
            "{set_by}: no such docker context. List them with `docker context ls`, or set the \
             engine with --docker-host"
        )
    };
    let folder = folder.ok_or_else(not_found)?.join("contexts");
    // The folders are named by a digest: look for the name in the files.
    let entries = fs::read_dir(folder.join("meta")).map_err(|_| not_found())?;
    for entry in entries.flatten() {
        let Ok(text) = fs::read(entry.path().join("meta.json")) else { continue };
        let Ok(meta) = serde_json::from_slice::<DockerContextMeta>(&text) else { continue };
        if meta.name == name {
            let host = meta.endpoints.docker.map(|docker| docker.host).unwrap_or_default();
            if host.is_empty() {
                return Err(format!(
                    "{set_by}: the context has no docker host. Set the engine with --docker-host"
                ));
            }
            let tls = folder.join("tls").join(entry.file_name()).join("docker");
            let certificates = tls.is_dir().then_some(tls);
            return Ok(Some(DiscoveredEngine { host, set_by, certificates }));
        }
    }
    Err(not_found())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A temporary folder, removed on drop.
    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kentros-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Discovers an engine where the standard sockets have these outcomes and no others exist.
    /// Returns it with the warnings and the sockets pinged.
    fn discover_with(
        variables: &[(&str, &str)],
        sockets: &[(&str, PingOutcome)],
    ) -> (Result<DiscoveredEngine, String>, Vec<String>, Vec<String>) {
        let variable = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        let (warnings, pinged) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let ping = |host: &DockerHost| {
            let path = host.to_string().trim_start_matches("unix://").to_owned();
            let outcome = sockets.iter().find(|(p, _)| *p == path).map(|(_, o)| o.clone());
            pinged.borrow_mut().push(path);
            outcome.unwrap_or(PingOutcome::NoSuchSocket)
        };
        let warn = |warning| warnings.borrow_mut().push(warning);
        let found = discover(&Environment { variable: &variable, ping: &ping, warn: &warn });
        (found, warnings.into_inner(), pinged.into_inner())
    }

    /// Discovers a configured engine, without pinging one.
    fn discovered(variables: &[(&str, &str)]) -> Result<DiscoveredEngine, String> {
        let (found, warnings, pinged) = discover_with(variables, &[]);
        assert!(warnings.is_empty() && pinged.is_empty(), "{warnings:?} {pinged:?}");
        found
    }

    #[test]
    fn docker_host_takes_precedence() {
        let engine = discovered(&[("DOCKER_HOST", "tcp://a:1"), ("DOCKER_CONTEXT", "x")]).unwrap();
        assert_eq!((engine.host.as_str(), engine.set_by.as_str()), ("tcp://a:1", "DOCKER_HOST"));
        assert_eq!(engine.certificates, None);
        let tls = [
            ("DOCKER_HOST", "tcp://a:1"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certs"),
        ];
        assert_eq!(discovered(&tls).unwrap().certificates, Some("/certs".into()));
    }

    #[test]
    fn a_docker_context_is_found_by_its_name() {
        let root = TempDir::new("context");
        let config = root.0.display().to_string();
        root.write("config.json", r#"{"auths":{},"currentContext":"far"}"#);
        root.write(
            "contexts/meta/0f/meta.json",
            r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:2","SkipTLSVerify":false}}}"#,
        );
        root.write(
            "contexts/meta/1f/meta.json",
            r#"{"Name":"near","Endpoints":{"docker":{"Host":"unix:///n"}}}"#,
        );
        root.write("contexts/tls/1f/docker/ca.pem", "");
        let config = ("DOCKER_CONFIG", config.as_str());
        assert_eq!(discovered(&[config]).unwrap().host, "tcp://far:2");
        let near = discovered(&[config, ("DOCKER_CONTEXT", "near")]).unwrap();
        assert_eq!(near.host, "unix:///n");
        assert_eq!(near.certificates, Some(root.0.join("contexts/tls/1f/docker")));
        let (default, _, pinged) = discover_with(&[config, ("DOCKER_CONTEXT", "default")], &[]);
        assert_eq!(default.unwrap().host, "unix:///var/run/docker.sock");
        assert!(!pinged.is_empty());
        let error = discovered(&[config, ("DOCKER_CONTEXT", "gone")]).unwrap_err();
        assert!(error.starts_with("DOCKER_CONTEXT \"gone\": no such docker context"), "{error}");
    }

    const DOCKER: &str = "/var/run/docker.sock";
    const ROOTLESS: &str = "/run/user/7/docker.sock";
    const COLIMA: &str = "/home/me/.colima/default/docker.sock";
    const PODMAN: &str = "/run/podman/podman.sock";

    fn fails(why: &str) -> PingOutcome {
        PingOutcome::Fails(why.to_owned())
    }

    /// Discovers an engine among these sockets and returns its socket and the warnings.
    fn socket(sockets: &[(&str, PingOutcome)]) -> (String, Vec<String>) {
        let home = [("HOME", "/home/me"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let (found, warnings, _) = discover_with(&home, sockets);
        (found.unwrap().host.trim_start_matches("unix://").to_owned(), warnings)
    }

    #[test]
    fn the_first_standard_socket_that_responds_is_used() {
        use PingOutcome::Responds;
        let all =
            [(PODMAN, Responds), (COLIMA, Responds), (ROOTLESS, Responds), (DOCKER, Responds)];
        for count in 1..=all.len() {
            let sockets = &all[..count];
            assert_eq!(socket(sockets), (sockets[count - 1].0.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn a_socket_without_an_engine_does_not_hide_a_later_one() {
        let sockets = [
            (DOCKER, fails("permission denied")),
            (ROOTLESS, fails("connection refused")),
            (COLIMA, PingOutcome::Responds),
            (PODMAN, PingOutcome::Responds),
        ];
        let (found, warnings) = socket(&sockets);
        assert_eq!(found, COLIMA);
        assert_eq!(
            warnings,
            ["using the engine at unix:///home/me/.colima/default/docker.sock, because no engine \
              responds at unix:///var/run/docker.sock: permission denied; \
              unix:///run/user/7/docker.sock: connection refused"]
        );
    }

    #[test]
    fn without_a_response_the_first_existing_socket_is_used_and_all_are_listed() {
        let (found, warnings) = socket(&[(COLIMA, fails("a")), (PODMAN, fails("b"))]);
        assert_eq!((found.as_str(), warnings.len()), (COLIMA, 1));
        for part in [
            "Tried unix:///var/run/docker.sock: no such socket; ",
            "; unix:///home/me/.colima/default/docker.sock: a; ",
            "; unix:///run/podman/podman.sock: b; ",
            "Using unix:///home/me/.colima/default/docker.sock. ",
        ] {
            assert!(warnings[0].contains(part), "{part}: {warnings:?}");
        }
        let (found, warnings) = socket(&[]);
        assert_eq!(found, DOCKER);
        assert_eq!(warnings[0].matches("no such socket").count(), 8, "{warnings:?}");
    }

    #[test]
    fn a_relative_folder_has_no_sockets() {
        let (found, _, pinged) = discover_with(&[("HOME", "me"), ("XDG_RUNTIME_DIR", ".")], &[]);
        assert_eq!(found.unwrap().host, "unix:///var/run/docker.sock");
        assert_eq!(pinged, [DOCKER, PODMAN]);
    }

    #[test]
    fn a_ping_says_why_a_socket_does_not_respond() {
        let root = TempDir::new("ping");
        let at = |name: &str| -> DockerHost {
            format!("unix://{}", root.0.join(name).display()).parse().unwrap()
        };
        assert!(matches!(ping(&at("absent")), PingOutcome::NoSuchSocket));
        drop(UnixListener::bind(root.0.join("dead")).unwrap());
        let outcome = ping(&at("dead"));
        assert!(
            matches!(&outcome, PingOutcome::Fails(why) if why == "connection refused"),
            "{outcome:?}"
        );
        // It accepts no connection, so it never responds.
        let _hung = UnixListener::bind(root.0.join("hung")).unwrap();
        let outcome = ping(&at("hung"));
        let expected = "the engine does not respond";
        assert!(matches!(&outcome, PingOutcome::Fails(why) if why == expected), "{outcome:?}");
    }
}
