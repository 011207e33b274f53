//! Finds the container engine the way the docker CLI does: `DOCKER_HOST`, then the docker context,
//! then the standard sockets.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The environment variables and the file system. Tests replace both.
pub(crate) struct Environment<'a> {
    /// Returns the value of a variable that is set.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The root of the standard socket paths: `/` except in tests.
    pub(crate) root: &'a Path,
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
    let sockets = standard_sockets(environment);
    let existing = sockets.iter().find(|path| environment.under_root(path).exists());
    let path = existing.or(sockets.first());
    let path = path.map(|path| path.display().to_string()).unwrap_or_default();
    Ok(DiscoveredEngine {
        host: format!("unix://{path}"),
        set_by: "standard socket".into(),
        certificates: None,
    })
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
fn standard_sockets(environment: &Environment<'_>) -> Vec<PathBuf> {
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

impl Environment<'_> {
    fn under_root(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
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

    fn discovered(root: &TempDir, variables: &[(&str, &str)]) -> Result<DiscoveredEngine, String> {
        let variable = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        discover(&Environment { variable: &variable, root: &root.0 })
    }

    fn host(root: &TempDir, variables: &[(&str, &str)]) -> String {
        discovered(root, variables).unwrap().host
    }

    #[test]
    fn docker_host_takes_precedence() {
        let root = TempDir::new("host");
        let engine =
            discovered(&root, &[("DOCKER_HOST", "tcp://a:1"), ("DOCKER_CONTEXT", "x")]).unwrap();
        assert_eq!((engine.host.as_str(), engine.set_by.as_str()), ("tcp://a:1", "DOCKER_HOST"));
        assert_eq!(engine.certificates, None);
        let tls = [
            ("DOCKER_HOST", "tcp://a:1"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certs"),
        ];
        assert_eq!(discovered(&root, &tls).unwrap().certificates, Some("/certs".into()));
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
        assert_eq!(host(&root, &[config]), "tcp://far:2");
        let near = discovered(&root, &[config, ("DOCKER_CONTEXT", "near")]).unwrap();
        assert_eq!(near.host, "unix:///n");
        assert_eq!(near.certificates, Some(root.0.join("contexts/tls/1f/docker")));
        assert_eq!(
            host(&root, &[config, ("DOCKER_CONTEXT", "default")]),
            "unix:///var/run/docker.sock"
        );
        let error = discovered(&root, &[config, ("DOCKER_CONTEXT", "gone")]).unwrap_err();
        assert!(error.starts_with("DOCKER_CONTEXT \"gone\": no such docker context"), "{error}");
    }

    #[test]
    fn without_configuration_the_first_existing_socket_is_used() {
        let root = TempDir::new("sockets");
        let home = [("HOME", "/home/me"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(host(&root, &home), "unix:///var/run/docker.sock");
        root.write("run/podman/podman.sock", "");
        assert_eq!(host(&root, &home), "unix:///run/podman/podman.sock");
        root.write("home/me/.colima/default/docker.sock", "");
        assert_eq!(host(&root, &home), "unix:///home/me/.colima/default/docker.sock");
        root.write("run/user/7/docker.sock", "");
        assert_eq!(host(&root, &home), "unix:///run/user/7/docker.sock");
        root.write("var/run/docker.sock", "");
        assert_eq!(host(&root, &home), "unix:///var/run/docker.sock");
    }
}
