//! Takes the README's screenshots, from a real run on a real engine that runs nothing else:
//! `DOCKER_HOST=... cargo test --test it pictures -- --ignored`. Make them smaller with `pngquant`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kentros::DockerSource;

use crate::harness::dashboard::{cell, open, serve};
use crate::harness::devtools::Browser;
use crate::harness::real_engine::{RealContainer, RealEngine};

const HEALTHY: &str = "--health-cmd true --health-interval 3s";
const UNHEALTHY: &str = "--health-cmd false --health-interval 1s --health-retries 1";

/// Project, service, limits, health check and script. The first container serves the others.
const CONTAINERS: [(&str, &str, &str, &str, &str); 12] = [
    ("shop", "web", "-m 128m --cpus 0.5", HEALTHY, "serve 4; hold 23; work 900 0.3"),
    ("shop", "api", "-m 512m --cpus 1", HEALTHY, "hold 212; (fetch 0.3 &); work 4000 0.3"),
    ("shop", "cache", "-m 256m", "", "hold 237; (fetch 2 &); work 40 0.5"),
    (
        "shop",
        "db",
        "-m 1g --cpus 1",
        HEALTHY,
        "hold 487; (fetch 0.9 &); (store 8 2 &); work 2000 0.4",
    ),
    (
        "shop",
        "worker",
        "-m 256m --cpus 0.75",
        "",
        "hold 143; (fetch 0.5 &); (store 2 3 &); work 9000 0",
    ),
    (
        "blog",
        "app",
        "-m 512m --cpus 0.5",
        HEALTHY,
        "hold 188; (fetch 2 &); (store 1 5 &); work 1500 0.3",
    ),
    ("blog", "db", "-m 512m", HEALTHY, "hold 236; (fetch 3 &); (store 3 4 &); work 800 0.5"),
    ("blog", "migrate", "-m 64m", "", "exit 0"),
    ("blog", "web", "-m 64m", HEALTHY, "hold 6; (fetch 3 &); work 10 0.9"),
    ("metrics", "alerts", "-m 64m", UNHEALTHY, "hold 18; (fetch 4 &); work 10 0.7"),
    ("metrics", "grafana", "-m 256m", "", "hold 97; (fetch 4 &); (store 1 6 &); work 400 0.6"),
    (
        "metrics",
        "prometheus",
        "-m 512m --cpus 0.5",
        "",
        "hold 301; (fetch 1 &); (store 2 1 &); work 1200 0.5",
    ),
];

/// The functions of the scripts above, with sizes in MiB and times in seconds.
const SCRIPT: &str = "
    serve() { dd if=/dev/urandom of=/page bs=1M count=$1; httpd -p 80 -h /; }
    hold() { dd if=/dev/zero of=/dev/shm/held bs=1M count=$1; }
    work() { while :; do dd if=/dev/zero of=/dev/null bs=1M count=$1; sleep $2; done; }
    fetch() { while :; do wget -q -O /dev/null http://$WEB/page; sleep $1; done; }
    store() {
        while :; do
            dd if=/dev/zero of=/stored bs=1M count=$1 oflag=direct
            dd if=/stored of=/dev/null bs=512k count=1 iflag=direct
            sleep $2
        done
    }
    exec 2>/dev/null
";

#[test]
#[ignore = "overwrites the screenshots of the README"]
fn take_screenshots() {
    let browser = Browser::find("take_screenshots").expect("a browser");
    let engine = RealEngine::find("take_screenshots").expect("an engine");
    let [reads, writes] = io_limits(&engine);
    let mut address = String::from("WEB=");
    let mut containers: Vec<RealContainer> = Vec::new();
    for (project, service, limits, health, script) in CONTAINERS {
        let name = format!("{project}-{service}-1");
        let mut options = vec!["--name", &name, "--shm-size", "1g"];
        options.extend(["--env", &address, &reads, &writes]);
        options.extend(limits.split(' ').chain(health.split_whitespace()));
        let script = format!("{SCRIPT}{script}");
        let command = ["/bin/sh", "-c", &script];
        let container = engine.start_with(project, service, &options, &command);
        if containers.is_empty() {
            let template = "WEB={{.NetworkSettings.IPAddress}}";
            address = engine.docker(&["inspect", "--format", template, &name]).trim().to_owned();
        }
        containers.push(container);
    }
    let served = serve(Duration::from_secs(1), DockerSource::new(engine.host.clone()));
    let mut page = open(browser, &served);
    page.resize(1280, 1000, 1.25);
    page.call("Emulation.setScrollbarsHidden", serde_json::json!({"hidden": true}));
    for container in &containers {
        let (state, traffic) = (cell(&container.id, "state"), cell(&container.id, "network"));
        let there =
            format!("{state} === 'exited' || /\\b\\d{{2,3}}(\\.\\d)?MB|GB/.test({traffic})");
        page.until(&container.name, &there);
    }
    // On a busy machine it gets little CPU.
    let worker = &containers[4];
    page.until("a busy worker", &format!("parseFloat({}) > 20", cell(&worker.id, "cpu .left")));
    // The charts show two minutes: about 100 samples of an engine that needs 1.1 s for each.
    for points in (10..=90).step_by(10) {
        let line = "document.querySelector('#summary .cpu .line').getAttribute('d')";
        page.until("a line", &format!("{line}?.match(/L/g)?.length > {points}"));
    }
    for (scheme, file) in [("light", "docs/dashboard.png"), ("dark", "docs/dashboard-dark.png")] {
        page.prefer(scheme);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::create_dir_all(file.parent().expect("a folder")).unwrap();
        fs::write(file, page.picture()).unwrap();
    }
}

/// Limits on the engine's disk that no container reaches. Linux counts a container's I/O only with
/// limits.
fn io_limits(engine: &RealEngine) -> [String; 2] {
    let root = engine.docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let args = ["-vno", "SOURCE", "--target", root.trim()];
    let found = Command::new("findmnt").args(args).output().expect("findmnt");
    let disk = String::from_utf8(found.stdout).unwrap();
    ["read", "write"].map(|what| format!("--device-{what}-bps={}:4gb", disk.trim()))
}
