//! The dashboard: an HTML page, a stylesheet and JavaScript modules, embedded in the binary.

use crate::server::routes::{Route, RouteOrigin, Routes};

/// Embeds a file without its comments and most of its whitespace. The compiler does it, so there is
/// no build step.
macro_rules! include_minified {
    ($file:literal) => {{
        const SOURCE: &[u8] = include_bytes!($file);
        const LENGTH: usize = minify::<0>(SOURCE, is_css($file)).1;
        static MINIFIED: [u8; LENGTH] = minify::<LENGTH>(SOURCE, is_css($file)).0;
        &MINIFIED
    }};
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of each file.
static FILES: [(&str, &str, &[u8]); 14] = [
    ("/", HTML, include_minified!("index.html")),
    ("/style.css", CSS, include_minified!("style.css")),
    ("/theme.js", JS, include_minified!("theme.js")),
    ("/app.js", JS, include_minified!("app.js")),
    ("/choices.js", JS, include_minified!("choices.js")),
    ("/columns.js", JS, include_minified!("columns.js")),
    ("/controls.js", JS, include_minified!("controls.js")),
    ("/detail.js", JS, include_minified!("detail.js")),
    ("/dom.js", JS, include_minified!("dom.js")),
    ("/format.js", JS, include_minified!("format.js")),
    ("/connection.js", JS, include_minified!("connection.js")),
    ("/model.js", JS, include_minified!("model.js")),
    ("/rows.js", JS, include_minified!("rows.js")),
    ("/tracks.js", JS, include_minified!("tracks.js")),
];

/// Adds the pages as defaults, which other pages may replace.
pub(crate) fn add_pages(routes: &mut Routes) {
    for (path, content_type, body) in FILES {
        let page = Route::Page { content_type: content_type.into(), body: body.into() };
        routes.add(path, page, RouteOrigin::Default);
    }
}

/// Returns the first `N` bytes of the minified `source`, and its full length. Removes indentation,
/// empty lines, comments at the start of a line, redundant spaces, and the newline after `;`, `{`, `}`
/// and `,`. The modules end each statement with one of these.
#[allow(clippy::indexing_slicing)] // `get` is not const, and this runs in the compiler
const fn minify<const N: usize>(source: &[u8], css: bool) -> ([u8; N], usize) {
    let (mut kept, mut length, mut at) = ([0; N], 0, 0);
    while at < source.len() {
        let two = (source[at], if at + 1 < source.len() { source[at + 1] } else { 0 });
        match two {
            (b' ' | b'\n', _) => at += 1,
            (b'/', b'*') => {
                at += 4;
                while !(source[at - 2] == b'*' && source[at - 1] == b'/') {
                    at += 1;
                }
            }
            (b'/', b'/') => {
                while source[at] != b'\n' {
                    at += 1;
                }
            }
            _ => {
                let from = at;
                // The newline after a trailing `//` comment must stay.
                let mut comment = false;
                loop {
                    let newline = source[at] == b'\n';
                    let terminated =
                        at > from && matches!(source[at - 1], b';' | b'{' | b'}' | b',');
                    comment |= at > from && source[at] == b'/' && source[at - 1] == b'/';
                    let removed = newline && terminated && !comment
                        || source[at] == b' ' && is_redundant_space(source, at, css);
                    if !removed {
                        if length < N {
                            kept[length] = source[at];
                        }
                        length += 1;
                    }
                    at += 1;
                    if newline {
                        break;
                    }
                }
            }
        }
    }
    (kept, length)
}

/// Whether a space inside a line can be removed. That is the case beside `=`, which no text on the page
/// contains, and in CSS beside punctuation.
#[allow(clippy::indexing_slicing)] // as above
const fn is_redundant_space(source: &[u8], at: usize, css: bool) -> bool {
    let (before, after) = (source[at - 1], source[at + 1]);
    let arrow = before == b'>' && source[at - 2] == b'=';
    before == b'='
        || after == b'='
        || arrow
        || css && (matches!(before, b':' | b';' | b'{' | b',') || matches!(after, b'{' | b'}'))
}

const fn is_css(file: &str) -> bool {
    matches!(file.as_bytes(), [.., b'.', b'c', b's', b's'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_is_under_60_kilobytes() {
        let sizes = FILES.map(|(path, _, body)| (path, body.len()));
        let sum: usize = sizes.iter().map(|(_, size)| size).sum();
        assert!(sum < 60_000, "{sum} bytes: {sizes:?}");
    }

    /// The page may be served below a base path, and must not load anything from elsewhere.
    #[test]
    fn every_url_is_relative_and_refers_to_an_embedded_file() {
        let mut urls = 0;
        for (path, _, body) in FILES {
            let body = std::str::from_utf8(body).unwrap();
            for before in ["src=\"", "href=\"", "from './"] {
                for rest in body.split(before).skip(1) {
                    let url = rest.split(['"', '\'']).next().unwrap();
                    let embedded = FILES.iter().any(|(file, ..)| *file == format!("/{url}"));
                    assert!(embedded || url.starts_with("data:"), "{path}: {url}");
                    urls += 1;
                }
            }
            let without_svg = body.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_svg.contains("://"), "{path}");
        }
        assert!(urls >= FILES.len(), "{urls} URLs");
    }

    #[test]
    fn comments_and_whitespace_are_removed() {
        let source = b"/* a\n * b */\nlet x = () => 1;\n\n  /** c */\n  // d\n  y('//'); // e;\n  z() }\nw\n";
        let (kept, length) = minify::<39>(source, false);
        assert_eq!(
            std::str::from_utf8(&kept),
            Ok("let x=()=>1;y('//'); // e;\nz() }w\n\0\0\0\0\0")
        );
        assert_eq!(length, 34);
        let (kept, _) = minify::<18>(b"a :is(b, c) { d: 0 0; }\n", true);
        assert_eq!(std::str::from_utf8(&kept), Ok("a :is(b,c){d:0 0;}"));
    }
}
