//! The dashboard: a page, its style and its modules, which stand in the binary.

use crate::server::routes::{Route, RouteOrigin, Routes};

/// A file without its comments and its indentation: what a reader needs and a browser does not.
/// The compiler does it, so that there is no build step.
macro_rules! lean {
    ($file:literal) => {{
        const SOURCE: &[u8] = include_bytes!($file);
        const LENGTH: usize = lean::<0>(SOURCE).1;
        static LEAN: [u8; LENGTH] = lean::<LENGTH>(SOURCE).0;
        &LEAN
    }};
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of each file.
static FILES: [(&str, &str, &[u8]); 14] = [
    ("/", HTML, lean!("index.html")),
    ("/style.css", CSS, lean!("style.css")),
    ("/theme.js", JS, lean!("theme.js")),
    ("/app.js", JS, lean!("app.js")),
    ("/choices.js", JS, lean!("choices.js")),
    ("/columns.js", JS, lean!("columns.js")),
    ("/controls.js", JS, lean!("controls.js")),
    ("/detail.js", JS, lean!("detail.js")),
    ("/dom.js", JS, lean!("dom.js")),
    ("/format.js", JS, lean!("format.js")),
    ("/link.js", JS, lean!("link.js")),
    ("/model.js", JS, lean!("model.js")),
    ("/rows.js", JS, lean!("rows.js")),
    ("/tracks.js", JS, lean!("tracks.js")),
];

/// Adds the pages, which others may replace.
pub(crate) fn add_pages(routes: &mut Routes) {
    for (path, content_type, body) in FILES {
        let page = Route::Page { content_type: content_type.into(), body: body.into() };
        routes.add(path, page, RouteOrigin::Default);
    }
}

/// The first `N` bytes of what is left of `source`, and how many there are: without what stands
/// before the first word of a line, comments that begin there, empty lines, and the end of a line
/// where a mark before it ends the same: each statement of the modules ends with one.
#[allow(clippy::indexing_slicing)] // `get` is not const, and the compiler runs it
const fn lean<const N: usize>(source: &[u8]) -> ([u8; N], usize) {
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
                // To the end of such a comment the line may not go on.
                let mut comment = false;
                loop {
                    let ends = source[at] == b'\n';
                    let marked = at > from && matches!(source[at - 1], b';' | b'{' | b'}' | b',');
                    comment |= at > from && source[at] == b'/' && source[at - 1] == b'/';
                    if comment || !(ends && marked) {
                        if length < N {
                            kept[length] = source[at];
                        }
                        length += 1;
                    }
                    at += 1;
                    if ends {
                        break;
                    }
                }
            }
        }
    }
    (kept, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_under_60_kilobytes() {
        let sizes = FILES.map(|(path, _, body)| (path, body.len()));
        let sum: usize = sizes.iter().map(|(_, size)| size).sum();
        assert!(sum < 60_000, "{sum} bytes: {sizes:?}");
    }

    /// The page may stand below a path, and everything it loads is in the binary.
    #[test]
    fn every_address_is_relative_and_of_a_file_that_is_there() {
        let mut addresses = 0;
        for (path, _, body) in FILES {
            let body = std::str::from_utf8(body).unwrap();
            for before in ["src=\"", "href=\"", "from './"] {
                for rest in body.split(before).skip(1) {
                    let address = rest.split(['"', '\'']).next().unwrap();
                    let here = FILES.iter().any(|(file, ..)| *file == format!("/{address}"));
                    assert!(here || address.starts_with("data:"), "{path} names {address}");
                    addresses += 1;
                }
            }
            let foreign = body.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("://"), "{path}");
        }
        assert!(addresses >= FILES.len(), "{addresses} addresses");
    }

    #[test]
    fn comments_and_indentation_stay_in_the_source() {
        let source = b"/* a\n * b */\nlet x;\n\n  /** c */\n  // d\n  y('//'); // e;\n  z() }\nw\n";
        let (kept, length) = lean::<31>(source);
        assert_eq!(std::str::from_utf8(&kept), Ok("let x;y('//'); // e;\nz() }w\n\0\0\0"));
        assert_eq!(length, 28);
    }
}
