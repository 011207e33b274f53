//! Behind nginx and Caddy with TLS, configured as in `docs/deployment.md`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::access::{TOKEN, serve_demo, token_config};
use crate::base::{BASE, nginx_config, run_caddy, run_nginx, snippet, start_proxy};
use crate::harness::Served;
use crate::harness::raw::Answer;

/// A server with the documented flags.
fn served() -> Served {
    let config = token_config().base(BASE).allow_host("example.com").unwrap();
    serve_demo(config.trust_proxy("127.0.0.1").unwrap())
}

#[test]
fn behind_nginx_with_tls_the_cookie_is_secure_and_http_pages_are_rejected() {
    let config = |folder: &Path, port: u16, upstream: SocketAddr| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-subj", "/CN=example.com", "-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let location = snippet("nginx").replace("127.0.0.1:9001", &upstream.to_string());
        let folder_name = folder.display();
        let certificate = format!(
            "ssl_certificate {folder_name}/cert.pem;\nssl_certificate_key {folder_name}/key.pem;\n"
        );
        let listen = format!("listen 127.0.0.1:{port}");
        nginx_config(folder, port, &(certificate + &location))
            .replace(&listen, &format!("{listen} ssl"))
    };
    let served = served();
    let test = "behind_nginx_with_tls_the_cookie_is_secure";
    if let Some((_proxy, addr)) = start_proxy(test, served.addr(), config, run_nginx) {
        check(addr);
    }
}

#[test]
fn behind_caddy_with_tls_the_cookie_is_secure_and_http_pages_are_rejected() {
    let config = |_: &Path, port: u16, upstream: SocketAddr| {
        let site = snippet("caddy").replace("127.0.0.1:9001", &upstream.to_string());
        // A certificate of its own authority, on another port.
        format!(
            "{{\nadmin off\ndefault_bind 127.0.0.1\nlocal_certs\nskip_install_trust\n\
             auto_https disable_redirects\nhttps_port {port}\n}}\n{site}"
        )
    };
    let served = served();
    let test = "behind_caddy_with_tls_the_cookie_is_secure";
    if let Some((_proxy, addr)) = start_proxy(test, served.addr(), config, run_caddy) {
        check(addr);
    }
}

fn check(proxy: SocketAddr) {
    let origin = |scheme: &str| format!("Origin: {scheme}://example.com");
    let log_in = |fields: &[&str], token: &str| {
        let form = format!("token={token}");
        curl(proxy, "/login", fields, &["--data", &form])
    };
    let answer = log_in(&[&origin("https")], TOKEN);
    assert_eq!(answer.status, 303, "{answer:?}");
    let (cookie, attributes) = answer.field("set-cookie").split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/stats/; HttpOnly; SameSite=Strict; Secure");
    let page = curl(proxy, "/", &[&format!("Cookie: {cookie}")], &[]);
    assert_eq!(page.status, 200, "{page:?}");

    // Neither a page without TLS nor a forged header counts.
    let forged = "X-Forwarded-Proto: http";
    for fields in [&[origin("http").as_str()][..], &[origin("http").as_str(), forged]] {
        assert_eq!(log_in(fields, TOKEN).status, 403, "{fields:?}");
    }
    let handshake = [
        &format!("Authorization: Bearer {TOKEN}"),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        &origin("http"),
    ];
    assert_eq!(curl(proxy, "/ws/stats", &handshake, &[]).status, 403);

    // A client cannot forge its address.
    let guess = |n: u32| log_in(&[&format!("X-Forwarded-For: 10.0.0.{n}")], "wrong").status;
    assert!((0..100).any(|n| guess(n) == 429), "no guess is rejected with 429");
}

/// Sends a request for `https://example.com/stats...` to the proxy.
fn curl(proxy: SocketAddr, path: &str, fields: &[&str], args: &[&str]) -> Answer {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--include",
        "--http1.1",
        "--insecure",
        "--noproxy",
        "*",
    ]);
    curl.arg("--connect-to").arg(format!("example.com:443:{proxy}"));
    for field in fields {
        curl.args(["--header", field]);
    }
    let sent = curl.args(args).arg(format!("https://example.com{BASE}{path}")).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    Answer::parse(&String::from_utf8(sent.stdout).unwrap())
}
