//! Pages of other origins must not read the stats, nor make the server work.

use kentros::{HubConfig, Message, Server, ServerConfig};

use crate::harness::devtools::Browser;
use crate::harness::raw::get;
use crate::harness::{Served, one_each};

const TOKEN: &str = "6f1ed002ab5595859014ebf0951522d9";
const API: [&str; 4] =
    ["/api/v1/stats", "/api/v1/projects", "/api/v1/projects/shop/stats", "/metrics"];

fn served(config: ServerConfig) -> Served {
    let served = Served::with(HubConfig::default(), config);
    served.handle().publish_snapshot(one_each(&["shop"], 1)).unwrap();
    served.handle().broadcast(&Message::new("project_list", [""; 0]).latest()).unwrap();
    served
}

fn status(served: &Served, path: &str, fields: &str) -> u16 {
    served.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost:9001\r\n{fields}\r\n")).status
}

#[test]
fn the_api_refuses_requests_of_pages_of_other_origins() {
    let portal = "https://portal.example";
    let served = served(ServerConfig::default().allow_origin(portal).unwrap());
    let cases = [
        ("", true),
        ("Sec-Fetch-Site: none\r\n", true),
        ("Sec-Fetch-Site: same-origin\r\n", true),
        ("Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost:9001\r\n", true),
        ("Sec-Fetch-Site: cross-site\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", false),
        // A page on another port of the same host.
        ("Sec-Fetch-Site: same-site\r\n", false),
        ("Sec-Fetch-Site: same-site\r\nOrigin: http://localhost:9002\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: null\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: https://portal.example\r\n", true),
        // A browser without Sec-Fetch-Site.
        ("Origin: https://evil.example\r\n", false),
        ("Origin: https://portal.example\r\n", true),
        // A page cannot send this header without the server's consent.
        ("Sec-Fetch-Site: cross-site\r\nAuthorization: Bearer x\r\n", true),
    ];
    for (fields, allowed) in cases {
        for path in API {
            let status = status(&served, path, fields);
            assert_eq!(status != 403, allowed, "{path} {fields:?}: {status}");
        }
        for path in ["/", "/app.js", "/healthz"] {
            assert_eq!(status(&served, path, fields), 200, "{path} {fields:?}");
        }
    }
}

#[test]
fn a_cookie_does_not_help_a_page_of_another_origin() {
    let token = kentros::Token::new(TOKEN).unwrap();
    let served = served(ServerConfig::default().with_access(kentros::Access::Token(token)));
    let form = format!("token={TOKEN}");
    let login = served.ask(&format!(
        "POST /login HTTP/1.1\r\nHost: localhost:9001\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    let cookie = login.field("set-cookie").split(';').next().unwrap().to_owned();
    let with_cookie = |site: &str| {
        status(&served, API[0], &format!("Cookie: {cookie}\r\nSec-Fetch-Site: {site}\r\n"))
    };
    assert_eq!(with_cookie("same-origin"), 200);
    // SameSite cookies are sent between ports of a host.
    assert_eq!(with_cookie("same-site"), 403);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\nSec-Fetch-Site: cross-site\r\n");
    assert_eq!(status(&served, API[0], &bearer), 200);
}

#[test]
fn chromium_names_the_origin_of_a_request() {
    let Some(browser) = Browser::find("chromium_names_the_origin_of_a_request") else { return };
    let served = served(ServerConfig::default());
    let port = served.addr().port();
    let other = Server::bind("127.0.0.1:0", served.handle(), ServerConfig::default()).unwrap();
    assert_eq!(get(served.addr(), API[0]).status, 200);
    let shown = |page: &mut crate::harness::devtools::Page| {
        page.until_navigated("the response", "!!document.body && document.body.innerText !== ''");
        page.eval("document.body.innerText").as_str().unwrap().to_owned()
    };
    let mut page = browser.page();
    // Typed by the user.
    page.goto(&format!("http://127.0.0.1:{port}{}", API[0]));
    assert!(shown(&mut page).contains("shop-web"));
    // From the server's own page.
    page.goto(&format!("http://127.0.0.1:{port}/"));
    let own = format!("fetch('{}').then((response) => response.status)", API[0]);
    assert_eq!(page.eval(&own), 200);
    // Another port of the same host, and another site.
    let other_port = format!("http://{}/healthz", other.local_addr());
    for url in [&other_port, "data:text/html,a page"] {
        page.goto(url);
        let target = format!("http://127.0.0.1:{port}{}", API[0]);
        let link = format!(
            "document.body.innerHTML = '<a href=\"{target}\">stats</a>'; \
             document.querySelector('a').click()"
        );
        page.eval(&link);
        page.until_navigated("the other page", &format!("location.href === '{target}'"));
        let text = shown(&mut page);
        assert!(text.contains("pages of other origins are not allowed"), "{url}: {text}");
    }
}
