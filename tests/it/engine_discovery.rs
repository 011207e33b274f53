//! The search for the engine, with a real Podman whose socket is not the first standard one.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;

use crate::binary::{Running, kentros, run};
use crate::harness::podman::Podman;
use crate::harness::raw::get;
use crate::harness::real_engine::{skip, unique};
use crate::harness::{Ws, dial};

const FIRST: &str = "unix:///var/run/docker.sock";

/// Two folders for sockets, removed on drop: of the system, and of the user.
struct SocketFolders(PathBuf);

impl SocketFolders {
    fn new() -> Self {
        let root = std::env::temp_dir().join(unique("kentros-discovery"));
        fs::create_dir_all(root.join("user")).unwrap();
        Self(root)
    }

    fn user(&self) -> PathBuf {
        self.0.join("user")
    }

    /// `kentros ARGS`, for which `first` is at `/var/run/docker.sock`, in a mount namespace of its
    /// own. It has no privilege to open what its user may not open.
    fn kentros(&self, first: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]).arg(
            "run=$(readlink -f /var/run) && mount -t tmpfs tmpfs \"$run\" && \
             touch \"$run/docker.sock\" && mount --bind \"$0\" \"$run/docker.sock\" && \
             exec setpriv --bounding-set -dac_override,-dac_read_search \"$@\"",
        );
        command.arg(first).arg(kentros(&[]).get_program()).args(args);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("XDG_RUNTIME_DIR", self.user());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for SocketFolders {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_first_socket_without_an_engine_does_not_hide_podman() {
    let test = "a_first_socket_without_an_engine_does_not_hide_podman";
    let namespace = Command::new("unshare").args(["--mount", "true"]).status();
    if !geteuid().is_root() || !namespace.is_ok_and(|status| status.success()) {
        return skip(test, "mount namespace", "only root can create one");
    }
    let Some(podman) = Podman::find(test) else { return };
    let folders = SocketFolders::new();
    let path = |name: &str| folders.0.join(name);
    drop(UnixListener::bind(path("dead")).unwrap());
    let _forbidden = UnixListener::bind(path("forbidden")).unwrap();
    fs::set_permissions(path("forbidden"), Permissions::from_mode(0o0)).unwrap();
    let _hung = UnixListener::bind(path("hung")).unwrap();

    let only = folders.kentros(&path("dead"), &["stats", "--once"]);
    let (status, _, err) = run(only);
    assert_eq!(status, 1, "{err}");
    let user = format!("unix://{}/docker.sock", folders.user().display());
    let tried = format!("Tried {FIRST}: connection refused; {user}: no such socket; ");
    assert!(err.contains(&tried) && err.contains(&format!("Using {FIRST}. ")), "{err}");
    assert!(err.contains("error: cannot connect to the engine at unix:///var/run/"), "{err}");

    symlink(podman.socket(), folders.user().join("docker.sock")).unwrap();
    for (name, why) in [
        ("dead", "connection refused"),
        ("forbidden", "permission denied"),
        ("hung", "the engine does not respond"),
    ] {
        let warning =
            format!("using the engine at {user}, because no engine responds at {FIRST}: {why}");
        let (status, out, err) = run(folders.kentros(&path(name), &["stats", "--once", "--json"]));
        assert_eq!((status, out.as_str()), (0, "{}\n"), "{name}: {err}");
        assert!(err.contains(&warning), "{name}: {err}");
        // Without a terminal it exits, but it has found the engine before.
        let (_, _, err) = run(folders.kentros(&path(name), &["top"]));
        assert!(err.contains(&warning), "{name}: {err}");
        let hub = Running::start(folders.kentros(&path(name), &["--addr", "127.0.0.1:0"]));
        hub.line(&warning);
        let addr = hub.addr();
        let mut client = Ws::over(dial(addr), addr, "/ws/stats");
        client.find("container_stats");
        assert_eq!(get(addr, "/readyz").status, 200, "{name}");
    }
    // A configured engine is used as it is.
    let mut configured = folders.kentros(&path("dead"), &["stats", "--once"]);
    configured.env("DOCKER_HOST", FIRST);
    let (status, _, err) = run(configured);
    assert!(status == 1 && !err.contains("using the engine"), "{err}");
}
