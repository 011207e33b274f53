//! A base path behind a proxy: the snippets for nginx and Caddy in `docs/deployment.md`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kentros::{HubConfig, ServerConfig};
use tungstenite::ClientRequestBuilder;
use tungstenite::client::client;

use crate::harness::raw::{Answer, ask, handshake};
use crate::harness::{
    RetryInterrupted, Served, dial, one_each, report_skipped, until, unused_addr,
};

pub(crate) const BASE: &str = "/stats";

fn served() -> Served {
    let config = ServerConfig::default().base(BASE).trust_proxy("127.0.0.1").unwrap();
    let served = Served::with(HubConfig::default(), config);
    served.handle().publish_snapshot(one_each(&["shop"], 1)).unwrap();
    served
}

#[test]
fn everything_is_below_the_base_path() {
    let served = served();
    check_all(served.addr());
    for path in ["/", "/ws/stats", "/healthz", "/statsx", "/statshealthz", "/stats//", "/other"] {
        assert_eq!(served.get(path).status, 404, "{path}");
    }
}

#[test]
fn nginx_serves_it_with_the_documented_configuration() {
    let config = |folder: &Path, port: u16, upstream: SocketAddr| {
        let location = snippet("nginx").replace("127.0.0.1:9001", &upstream.to_string());
        nginx_config(folder, port, &location)
    };
    let test = "nginx_serves_it_with_the_documented_configuration";
    check_behind(test, config, run_nginx, check_behind_base);
}

/// nginx then uses HTTP/1.0, which is enough for everything but WebSockets.
#[test]
fn nginx_with_a_bare_proxy_pass_serves_http() {
    let config = |folder: &Path, port: u16, upstream: SocketAddr| {
        nginx_config(folder, port, &format!("location / {{ proxy_pass http://{upstream}; }}\n"))
    };
    check_behind("nginx_with_a_bare_proxy_pass_serves_http", config, run_nginx, |addr| {
        for path in ["/stats/", "/stats/app.js", "/stats/healthz", "/stats/metrics"] {
            assert_eq!(get(addr, path).status, 200, "{path}");
        }
        let handshake = handshake().replace("/ws/stats", "/stats/ws/stats");
        let answer =
            ask(addr, &handshake.replace("Connection: Upgrade", "Connection: close, upgrade"));
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains("proxy_http_version 1.1;"), "{answer:?}");
    });
}

pub(crate) fn nginx_config(folder: &Path, port: u16, location: &str) -> String {
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    format!(
        "daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}server {{\nlisten 127.0.0.1:{port};\n{location}}}\n}}\n",
        temporary.concat()
    )
}

pub(crate) fn run_nginx(file: &Path, folder: &Path) -> Command {
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(folder).args(["-e", "stderr", "-c"]).arg(file);
    nginx
}

#[test]
fn caddy_serves_it_with_the_documented_configuration() {
    let config = |_: &Path, port: u16, upstream: SocketAddr| {
        let site = snippet("caddy").replace("127.0.0.1:9001", &upstream.to_string());
        let here = format!("http://127.0.0.1:{port}");
        format!("{{\nadmin off\ndefault_bind 127.0.0.1\n}}\n{}", site.replace("example.com", &here))
    };
    check_behind(
        "caddy_serves_it_with_the_documented_configuration",
        config,
        run_caddy,
        check_behind_base,
    );
}

pub(crate) fn run_caddy(file: &Path, folder: &Path) -> Command {
    let mut caddy = Command::new("caddy");
    caddy.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    caddy
}

/// Checks that the page, its assets, the API and the WebSocket are below the path.
/// A proxy passes only the base path.
fn check_behind_base(addr: SocketAddr) {
    check_all(addr);
    assert_ne!(get(addr, "/elsewhere").status, 307);
}

fn check_all(addr: SocketAddr) {
    let redirect = get(addr, BASE);
    assert_eq!((redirect.status, redirect.field("location")), (307, "/stats/"));
    assert_eq!(get(addr, &format!("{BASE}?q=web")).field("location"), "/stats/?q=web");
    let page = get(addr, "/stats/");
    assert_eq!(page.status, 200, "{page:?}");
    let assets: Vec<&str> = page
        .body
        .split(['"', '\''])
        .filter(|text| [".js", ".css"].iter().any(|end| text.ends_with(end)))
        .collect();
    assert!(assets.len() > 1, "{}", page.body);
    for asset in assets {
        assert!(!asset.starts_with('/'), "{asset} must be relative to the page");
        assert_eq!(get(addr, &format!("/stats/{asset}")).status, 200, "{asset}");
    }
    assert_eq!(get(addr, "/stats/api/v1/projects/shop/stats").status, 200);
    assert_eq!(get(addr, "/stats/healthz").status, 200);
    let url = format!("ws://{addr}/stats/ws/stats").parse().unwrap();
    // The Origin that a browser sends.
    let request = ClientRequestBuilder::new(url).with_header("Origin", format!("http://{addr}"));
    let (mut socket, _) = client(request, RetryInterrupted(dial(addr))).unwrap();
    while !socket.read().unwrap().to_text().unwrap().contains("\"container_stats\"") {}
}

/// Sends `Connection: close`, without which proxies keep the connection open.
#[track_caller]
fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"))
}

/// The block of this language in the deployment guide.
pub(crate) fn snippet(language: &str) -> String {
    let guide = include_str!("../../docs/deployment.md");
    let (_, after) = guide.split_once(&format!("```{language}\n")).unwrap();
    after.split_once("```").unwrap().0.to_owned()
}

/// A running proxy and its files, removed on drop.
pub(crate) struct Proxy {
    child: Child,
    folder: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Proxy {
    /// Starts a proxy and waits until it listens on `addr`.
    fn start(mut command: Command, folder: PathBuf, addr: SocketAddr) -> io::Result<Self> {
        let log = folder.join("log");
        let stderr = fs::File::create(&log)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn()?;
        let mut proxy = Self { child, folder };
        until("the proxy to listen", || {
            if let Some(status) = proxy.child.try_wait().unwrap() {
                panic!("{status}: {}", fs::read_to_string(&log).unwrap());
            }
            TcpStream::connect(addr).is_ok()
        });
        Ok(proxy)
    }
}

/// Checks everything through a proxy.
fn check_behind(
    test: &str,
    config: impl Fn(&Path, u16, SocketAddr) -> String,
    run: impl Fn(&Path, &Path) -> Command,
    check: impl Fn(SocketAddr),
) {
    let served = served();
    if let Some((_proxy, addr)) = start_proxy(test, served.addr(), config, run) {
        check(addr);
    }
}

/// Starts a proxy. `config` makes its configuration from its folder, its port and the upstream
/// address. Without the program, the test is skipped, or fails if it is required.
pub(crate) fn start_proxy(
    test: &str,
    upstream: SocketAddr,
    config: impl Fn(&Path, u16, SocketAddr) -> String,
    run: impl Fn(&Path, &Path) -> Command,
) -> Option<(Proxy, SocketAddr)> {
    let (_reserved, addr) = unused_addr();
    let folder = std::env::temp_dir().join(format!("{test}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config");
    fs::write(&file, config(&folder, addr.port(), upstream)).unwrap();
    match Proxy::start(run(&file, &folder), folder.clone(), addr) {
        Ok(proxy) => Some((proxy, addr)),
        Err(error) => {
            fs::remove_dir_all(&folder).unwrap();
            let how = std::env::var("KENTROS_TEST_PROXIES").unwrap_or_default();
            assert_ne!(how, "require", "{test}: {error}");
            report_skipped(test, &error.to_string());
            None
        }
    }
}
