//! A headless Chromium, controlled over the Chrome debugging protocol:
//! <https://chromedevtools.github.io/devtools-protocol/>.
//!
//! Without Chromium the tests report that they are skipped; with `KENTROS_TEST_BROWSER=require` they
//! fail. All tests share one browser, each with its own window and browser context.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use crossbeam_channel::bounded;
use serde_json::{Value, json};
use tungstenite::client::client_with_config;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message as Frame, WebSocket};

use super::{GUARD, RetryInterrupted, dial, until};

/// The names of Chromium in distributions.
const PROGRAMS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// Without a sandbox, because CI runs as root. Host names do not resolve, so that neither a page nor
/// Chromium itself reaches another host.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
];

/// A shell script that runs Chromium until standard input ends, then removes its profile. This
/// process holds the other end of the pipe, so Chromium ends with the tests however they end.
const KEEPER: &str = r#"
profile=$1; shift
mkdir -p "$profile"
TMPDIR=$profile "$@" --user-data-dir="$profile" about:blank </dev/null &
exec 2>/dev/null
cat >/dev/null
kill $!; wait $!
# Child processes of Chromium may still write.
until rm -rf "$profile"; do :; done
"#;

/// A running Chromium.
#[derive(Debug)]
pub(crate) struct Browser {
    /// Its URL for debugging, `ws://127.0.0.1:PORT/devtools/browser/ID`.
    url: String,
    /// Holds the pipe that keeps Chromium running.
    _keeper: Child,
}

impl Browser {
    /// The browser. Without one, reports that the test is skipped, or fails if it is required.
    pub(crate) fn find(test: &str) -> Option<&'static Self> {
        static FOUND: OnceLock<Result<Browser, String>> = OnceLock::new();
        match FOUND.get_or_init(Self::start) {
            Ok(browser) => Some(browser),
            Err(why) => {
                let required = std::env::var("KENTROS_TEST_BROWSER").is_ok_and(|v| v == "require");
                assert!(!required, "{test} needs a browser: {why}");
                super::report_skipped(test, &format!("no browser: {why}"));
                None
            }
        }
    }

    fn start() -> Result<Self, String> {
        let program = PROGRAMS.iter().find_map(|name| on_path(name));
        let program = program.ok_or_else(|| format!("none of {PROGRAMS:?} is installed"))?;
        let profile = std::env::temp_dir().join(format!("kentros-browser-{}", std::process::id()));
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(profile)
            .arg(&program)
            .args(FLAGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C must not end the script before it has removed the profile.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let stderr = BufReader::new(keeper.stderr.take().expect("a pipe"));
        let (found, url) = bounded(1);
        // Reads to the end, because a full pipe would block Chromium.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    let _ = found.try_send(url.to_owned());
                }
            }
        });
        let url = url.recv_timeout(GUARD);
        let url = url.map_err(|_| format!("{} printed no DevTools URL", program.display()))?;
        Ok(Self { url, _keeper: keeper })
    }

    /// Opens an empty window of 1280 by 800 pixels with an empty profile.
    pub(crate) fn page(&self) -> Page {
        let authority = self.url.trim_start_matches("ws://").split('/').next().expect("a URL");
        let stream = dial(authority.parse().expect("a URL"));
        // Longer than `Page::until` waits.
        stream.set_read_timeout(Some(2 * GUARD)).unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) =
            client_with_config(&self.url, RetryInterrupted(stream), Some(config)).unwrap();
        let mut page = Page { socket, session: None, calls: 0, events: Vec::new() };
        let context = page.call("Target.createBrowserContext", json!({"disposeOnDetach": true}));
        let context = &context["browserContextId"];
        let target = json!({"url": "about:blank", "newWindow": true, "browserContextId": context});
        let target = page.call("Target.createTarget", target);
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = page.call("Target.attachToTarget", target);
        page.session = Some(session["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.resize(1280, 800, 1.0);
        page
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A window and its events. It closes on drop.
#[derive(Debug)]
pub(crate) struct Page {
    socket: WebSocket<RetryInterrupted>,
    session: Option<String>,
    calls: u64,
    events: Vec<Value>,
}

impl Page {
    /// Calls a method. Keeps events that arrive in the meantime.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: impl Into<Value>) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method. Returns the browser's error if it fails.
    #[track_caller]
    fn try_call(&mut self, method: &str, params: impl Into<Value>) -> Result<Value, Value> {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": params.into()});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.socket.send(Frame::text(call.to_string())).unwrap();
        loop {
            let text = match self.socket.read() {
                Ok(Frame::Text(text)) => text,
                Ok(_) => continue,
                Err(error) => panic!("{method}: {error}"),
            };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.calls {
                let error = message["error"].take();
                return if error.is_null() { Ok(message["result"].take()) } else { Err(error) };
            }
            self.events.push(message);
        }
    }

    /// Opens a URL and waits until it is loaded.
    #[track_caller]
    pub(crate) fn goto(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {}", answer["errorText"]);
        self.eval(
            "document.readyState === 'complete'
                || new Promise((done) => addEventListener('load', () => done(true)))",
        );
    }

    /// Evaluates an expression in the page. Waits for a promise.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", params);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {}", thrown["exception"]["description"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true in a page to which the window navigates. It polls, because
    /// a page that unloads does not answer.
    #[track_caller]
    pub(crate) fn until_navigated(&mut self, what: &str, condition: &str) {
        until(what, || {
            let params = json!({"expression": condition, "returnByValue": true});
            let answer = self.try_call("Runtime.evaluate", params);
            answer.is_ok_and(|answer| answer["result"]["value"] == true)
        });
    }

    /// Waits until an expression is true, evaluating it at each animation frame. Returns its value.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, condition: &str) -> Value {
        let guard = GUARD.as_millis();
        let answer = self.eval(&format!(
            "new Promise((done) => {{
                const late = setTimeout(() => done({{ late: document.body.innerText }}), {guard});
                const look = () => {{
                    const value = {condition};
                    if (!value) return requestAnimationFrame(look);
                    clearTimeout(late);
                    done({{ value }});
                }};
                look();
            }})"
        ));
        if let Some(shown) = answer["late"].as_str() {
            let shown: String = shown.chars().take(2000).collect();
            panic!("{what}: not within {GUARD:?}; the page shows:\n{shown}");
        }
        answer["value"].clone()
    }

    /// Presses and releases a key: `Enter`, `ArrowDown`, `/`, ...
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowDown" => 40,
            other => u32::from(*other.as_bytes().first().expect("a key")),
        };
        let mut event = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        match key {
            "Enter" => event["text"] = json!("\r"),
            one if one.len() == 1 => event["text"] = json!(one),
            _ => {}
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event);
    }

    /// Types a text into the focused element.
    pub(crate) fn enter(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Reloads the page.
    pub(crate) fn reload(&mut self) {
        let url = self.eval("location.href");
        self.goto(url.as_str().expect("a URL"));
    }

    /// The number of messages of this type that the page has received.
    pub(crate) fn received(&mut self, kind: &str) -> usize {
        self.flush();
        let start = format!("{{\"type\":\"{kind}\"");
        let is = |event: &&Value| {
            event["method"] == "Network.webSocketFrameReceived"
                && event["params"]["response"]["payloadData"]
                    .as_str()
                    .is_some_and(|text| text.starts_with(&start))
        };
        self.events.iter().filter(is).count()
    }

    /// Resizes the window, in CSS pixels; `scale` is device pixels per CSS pixel.
    pub(crate) fn resize(&mut self, width: u32, height: u32, scale: f64) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Sets the preferred color scheme: `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Takes a screenshot as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"}));
        base64(answer["data"].as_str().expect("a picture"))
    }

    /// A performance metric of Chromium. The domain `Performance` must be enabled.
    pub(crate) fn metric(&mut self, name: &str) -> f64 {
        let answer = self.call("Performance.getMetrics", json!({}));
        let metrics = answer["metrics"].as_array().expect("metrics");
        let metric = metrics.iter().find(|metric| metric["name"] == name);
        metric.and_then(|metric| metric["value"].as_f64()).expect(name)
    }

    /// The URLs that the page has requested.
    pub(crate) fn requests(&mut self) -> Vec<String> {
        self.flush();
        let events = self.events.iter().filter_map(|event| match event["method"].as_str()? {
            "Network.requestWillBeSent" => event["params"]["request"]["url"].as_str(),
            "Network.webSocketCreated" => event["params"]["url"].as_str(),
            _ => None,
        });
        events.map(str::to_owned).collect()
    }

    /// The errors so far: errors and warnings on the console, exceptions, and reports of the browser,
    /// such as a violation of the Content Security Policy or a failed request.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.flush();
        let events = self.events.iter().filter(|event| {
            let params = &event["params"];
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => {
                    matches!(params["type"].as_str(), Some("error" | "warning" | "assert"))
                }
                Some("Log.entryAdded") => {
                    matches!(params["entry"]["level"].as_str(), Some("error" | "warning"))
                }
                _ => false,
            }
        });
        events.map(|event| event["params"].to_string()).collect()
    }

    /// Waits for pending events. They arrive before the response to a later call.
    fn flush(&mut self) {
        self.eval("0");
    }
}

fn base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len()), 0_u32, 0);
    for letter in text.bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
        }
    }
    bytes
}
