//! `deploy/alerts.yml` and `deploy/grafana.json`: their metrics exist, and Prometheus accepts them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::docker::serve_engine;
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};
use crate::harness::until;

fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

/// The expressions in the panels of the dashboard, with values for Grafana's variables.
fn expressions() -> Vec<String> {
    let dashboard = fs::read_to_string(deployed("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    expressions
        .map(|expr| expr.replace("$__rate_interval", "1m").replace("$project", "a|b"))
        .collect()
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| {
        ["container_", "kentros_", "machine_"].iter().any(|prefix| word.starts_with(prefix))
            && !word.starts_with("container_label_")
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn the_alerts_and_the_dashboard_use_only_metrics_of_a_scrape() {
    let engine = FakeEngine::start(Kind::Direct);
    engine.add(FakeContainer::new("web", "shop"));
    engine.add(FakeContainer::oom_killed("job", "shop"));
    let served = serve_engine(engine.host());
    let alerts = fs::read_to_string(deployed("alerts.yml")).unwrap();
    let used = metrics(&(alerts + &expressions().join("\n")));
    assert!(used.len() >= 12, "{used:?}");
    // The variable for the project.
    let dashboard = fs::read_to_string(deployed("grafana.json")).unwrap();
    assert!(dashboard.contains("label_values(container_last_seen, "));
    let mut missing = BTreeSet::new();
    until("a scrape with all metrics", || {
        let scrape = served.get("/metrics").body;
        let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let all: BTreeSet<String> =
            types.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        let now = used.difference(&all).cloned().collect();
        if missing != now {
            println!("not in a scrape: {now:?}");
            missing = now;
        }
        missing.is_empty()
    });
    let scrape = served.get("/metrics").body;
    let of_job = |name: &str| {
        let mut lines = scrape.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines
            .find(|line| line.contains("name=\"job\""))
            .map(|line| line.rsplit(' ').next().unwrap())
    };
    assert_eq!(of_job("kentros_container_oom_killed"), Some("1"), "a stopped container too");
    assert_eq!(of_job("kentros_container_exit_code"), Some("137"));
    assert_eq!(of_job("container_last_seen"), None, "it has no sample");
}

#[test]
fn promtool_accepts_the_alerts_and_the_expressions_of_the_dashboard() {
    const TEST: &str = "promtool_accepts_the_alerts_and_the_expressions_of_the_dashboard";
    let mut version = Command::new("promtool");
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        let required = std::env::var("KENTROS_TEST_PROMETHEUS").is_ok_and(|v| v == "require");
        assert!(!required, "{TEST} needs promtool");
        crate::harness::report_skipped(TEST, "no promtool");
        return;
    }
    // JSON is YAML.
    let record = |(n, expr)| serde_json::json!({"record": format!("panel_{n}"), "expr": expr});
    let rules: Vec<Value> = expressions().into_iter().enumerate().map(record).collect();
    assert!(rules.len() > 10);
    let rules = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let name = format!("kentros-dashboard-{}.yml", std::process::id());
    let panels = std::env::temp_dir().join(name);
    fs::write(&panels, rules.to_string()).unwrap();
    for file in [deployed("alerts.yml"), panels.clone()] {
        let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|out| String::from_utf8(out).unwrap()).concat();
        assert!(output.status.success(), "{}: {text}", file.display());
    }
    fs::remove_file(panels).unwrap();
}
