//! An engine behind TLS, like dockerd with `--tlsverify`: socat in front of the fake engine, with
//! certificates made for each test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kentros::{DockerHost, DockerSource, Mode, StatsSource};

use crate::harness::docker::{is_quarter, read, until_cpu};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};
use crate::harness::report_skipped;

/// A folder of certificates. It is removed on drop.
struct Certificates(PathBuf);

impl Certificates {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("kentros-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let certificates = Self(folder);
        certificates.openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca-key.pem -out ca.pem",
        );
        std::fs::write(certificates.0.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
        for (key, cert) in [("server-key.pem", "server.pem"), ("key.pem", "cert.pem")] {
            certificates.openssl(&format!(
                "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {key} -out request.pem"
            ));
            certificates.openssl(&format!(
                "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile names -out {cert}"
            ));
        }
        certificates
    }

    fn openssl(&self, args: &str) {
        let made = Command::new("openssl").args(args.split(' ')).current_dir(&self.0).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// socat, which accepts TLS on a free port and forwards to the engine's socket.
struct TlsProxy {
    socat: Child,
    host: DockerHost,
}

impl TlsProxy {
    fn start(certificates: &Path, socket: &Path) -> Self {
        let listen = "OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=server.pem,key=server-key.pem,cafile=ca.pem,verify=1";
        let mut socat = Command::new("socat")
            .args(["-d", "-d", listen, &format!("UNIX-CONNECT:{}", socket.display())])
            .current_dir(certificates)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(socat.stderr.take().unwrap());
        let mut lines = log.lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("listening on")).expect("socat listens");
        let port = line.rsplit_once(':').unwrap().1.to_owned();
        // Keep reading: socat would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { socat, host: format!("tcp://localhost:{port}").parse().unwrap() }
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        let _ = self.socat.kill();
        let _ = self.socat.wait();
    }
}

/// Whether socat and openssl are installed. Without them the test is skipped, or fails if required.
fn have_tools() -> bool {
    let have = ["socat", "openssl"].iter().all(|tool| {
        let tool = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        tool.is_ok_and(|found| found.status.success())
    });
    if !have {
        assert!(std::env::var_os("KENTROS_TEST_TLS").is_none_or(|v| v != "require"));
        report_skipped("the engine behind TLS", "needs both socat and openssl");
    }
    have
}

#[test]
fn an_engine_behind_tls_is_read_with_the_files_of_docker_cert_path() {
    if !have_tools() {
        return;
    }
    let certificates = Certificates::new("good");
    let engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    let proxy = TlsProxy::start(&certificates.0, engine.path());

    let host = proxy.host.clone().with_tls(&certificates.0).unwrap();
    let reading = read(&mut DockerSource::new(host)).unwrap();
    assert!(reading.row(&id).memory_usage.is_some());

    // The streams of an older engine use separate connections.
    let older = FakeEngine::start(Kind::Stream);
    let ids: Vec<String> =
        (0..20).map(|n| older.add(FakeContainer::new(&format!("c{n}"), "shop"))).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let stream_proxy = TlsProxy::start(&certificates.0, older.path());
    let host = stream_proxy.host.clone().with_tls(&certificates.0).unwrap();
    let mut source = DockerSource::new(host);
    let reading = until_cpu(&older, &mut source, &ids);
    assert!(ids.iter().all(|id| is_quarter(reading.cpu(id))), "{reading:?}");
    assert_eq!(source.engine_info().mode, Some(Mode::Stream));

    let error = read(&mut DockerSource::new(proxy.host.clone())).unwrap_err();
    assert!(!error.is_empty(), "a connection without TLS must fail");

    let other_authority = Certificates::new("other");
    let host = proxy.host.clone().with_tls(&other_authority.0).unwrap();
    let error = read(&mut DockerSource::new(host)).unwrap_err();
    assert!(
        error.contains("certificate"),
        "a certificate of another authority must be rejected: {error}"
    );
}

#[test]
fn a_missing_certificate_file_is_named() {
    let host: DockerHost = "tcp://localhost:1".parse().unwrap();
    let error = host.with_tls(Path::new("/nowhere")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}
