//! The dashboard: three files that stand in the binary.

use crate::http::route::Routes;

const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("app.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("style.css")),
];

pub(crate) fn routes() -> Routes {
    let mut routes = Routes::default();
    for (path, content_type, body) in FILES {
        routes.page(path.to_owned(), content_type.into(), body.into());
    }
    routes
}
