//! Which engine: what the user names, else what the docker CLI would use, else the sockets that
//! engines usually have.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where to find the engine's files and what the environment says.
pub(crate) struct Surroundings<'a> {
    /// A variable of the environment, where it is set to something.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The root that socket paths start from: `/` outside tests.
    pub(crate) root: &'a Path,
}

/// An engine's address, and where it came from, for messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) host: String,
    pub(crate) by: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`, where the engine wants TLS.
    pub(crate) certificates: Option<PathBuf>,
}

/// The engine that `DOCKER_HOST`, the docker context or a usual socket names; the flag has been
/// looked at before.
///
/// # Errors
/// A context is named that cannot be read.
pub(crate) fn engine(around: &Surroundings<'_>) -> Result<Found, String> {
    let variable = around.variable;
    if let Some(host) = variable("DOCKER_HOST") {
        return Ok(named(host, "DOCKER_HOST", around));
    }
    if let Some(found) = context(around)? {
        return Ok(found);
    }
    let sockets = sockets(around);
    let first = sockets.iter().find(|path| around.at(path).exists()).or(sockets.first());
    let path = first.map(|path| path.display().to_string()).unwrap_or_default();
    Ok(Found { host: format!("unix://{path}"), by: "the usual sockets".into(), certificates: None })
}

/// The engine that a flag or variable names by its address: as with the docker CLI, the variables
/// say whether it wants TLS.
pub(crate) fn named(host: String, by: &str, around: &Surroundings<'_>) -> Found {
    let verify = (around.variable)("DOCKER_TLS_VERIFY").is_some();
    let certificates = verify.then(|| certificates(around)).flatten();
    Found { host, by: by.to_owned(), certificates }
}

/// The folder of the certificates of such an engine.
fn certificates(around: &Surroundings<'_>) -> Option<PathBuf> {
    match (around.variable)("DOCKER_CERT_PATH") {
        Some(path) => Some(PathBuf::from(path)),
        None => config_folder(around),
    }
}

/// The sockets of engines, in the order in which they are tried: the system's, the user's own,
/// desktop programs', Podman's.
fn sockets(around: &Surroundings<'_>) -> Vec<PathBuf> {
    let variable = |name| (around.variable)(name).map(PathBuf::from);
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

fn config_folder(around: &Surroundings<'_>) -> Option<PathBuf> {
    let variable = around.variable;
    variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")))
}

/// `config.json` of the docker CLI.
#[derive(Deserialize)]
struct Config {
    #[serde(rename = "currentContext", default)]
    current: String,
}

/// `contexts/meta/<digest of the name>/meta.json` of the docker CLI.
#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host", default)]
    host: String,
}

/// The engine of `DOCKER_CONTEXT`, or of the context that `docker context use` made the current.
/// `default` is none.
fn context(around: &Surroundings<'_>) -> Result<Option<Found>, String> {
    let folder = config_folder(around);
    let (name, by) = if let Some(name) = (around.variable)("DOCKER_CONTEXT") {
        (name, "DOCKER_CONTEXT")
    } else {
        let config = folder.as_ref().and_then(|f| fs::read(f.join("config.json")).ok());
        let config = config.and_then(|text| serde_json::from_slice::<Config>(&text).ok());
        (config.map(|config| config.current).unwrap_or_default(), "the current docker context")
    };
    if name.is_empty() || name == "default" {
        return Ok(None);
    }
    let by = format!("{by}, {name:?}");
    let missing = || {
        format!(
            "{by}, is not among the docker contexts: see docker context ls, or name the engine with --docker-host"
        )
    };
    let folder = folder.ok_or_else(missing)?.join("contexts");
    // The folder's name is a digest of the context's; the file says the name itself.
    let entries = fs::read_dir(folder.join("meta")).map_err(|_| missing())?;
    for entry in entries.flatten() {
        let Ok(text) = fs::read(entry.path().join("meta.json")) else { continue };
        let Ok(meta) = serde_json::from_slice::<Meta>(&text) else { continue };
        if meta.name == name {
            let host = meta.endpoints.docker.map(|docker| docker.host).unwrap_or_default();
            if host.is_empty() {
                return Err(format!(
                    "{by}, names no docker host: name the engine with --docker-host"
                ));
            }
            let tls = folder.join("tls").join(entry.file_name()).join("docker");
            let certificates = tls.is_dir().then_some(tls);
            return Ok(Some(Found { host, by, certificates }));
        }
    }
    Err(missing())
}

impl Surroundings<'_> {
    /// A path of the system, under the root.
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
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

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn find(root: &Folder, variables: &[(&str, &str)]) -> Result<Found, String> {
        let variable = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        engine(&Surroundings { variable: &variable, root: &root.0 })
    }

    fn host(root: &Folder, variables: &[(&str, &str)]) -> String {
        find(root, variables).unwrap().host
    }

    #[test]
    fn docker_host_wins_over_everything() {
        let root = Folder::new("host");
        let found = find(&root, &[("DOCKER_HOST", "tcp://a:1"), ("DOCKER_CONTEXT", "x")]).unwrap();
        assert_eq!((found.host.as_str(), found.by.as_str()), ("tcp://a:1", "DOCKER_HOST"));
        assert_eq!(found.certificates, None);
        let tls = [
            ("DOCKER_HOST", "tcp://a:1"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certs"),
        ];
        assert_eq!(find(&root, &tls).unwrap().certificates, Some("/certs".into()));
    }

    #[test]
    fn a_context_is_found_by_its_name() {
        let root = Folder::new("context");
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
        let near = find(&root, &[config, ("DOCKER_CONTEXT", "near")]).unwrap();
        assert_eq!(near.host, "unix:///n");
        assert_eq!(near.certificates, Some(root.0.join("contexts/tls/1f/docker")));
        assert_eq!(
            host(&root, &[config, ("DOCKER_CONTEXT", "default")]),
            "unix:///var/run/docker.sock"
        );
        let error = find(&root, &[config, ("DOCKER_CONTEXT", "gone")]).unwrap_err();
        assert!(error.starts_with("DOCKER_CONTEXT, \"gone\", is not among"), "{error}");
    }

    #[test]
    fn without_a_word_the_first_usual_socket_that_is_there() {
        let root = Folder::new("sockets");
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
