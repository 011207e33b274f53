//! The dashboard: an HTML page, a stylesheet and JavaScript modules, embedded in the binary.

use tungstenite::Bytes;

use crate::server::routes::{Route, RouteOrigin, Routes};

/// Embeds a file without its comments and most of its whitespace. The compiler does it, so there is
/// no build step.
macro_rules! include_minified {
    ($file:literal) => {{
        const SOURCE: &[u8] = include_bytes!($file);
        const LENGTH: usize = minify::<0>(SOURCE, Language::of($file)).1;
        static MINIFIED: [u8; LENGTH] = minify::<LENGTH>(SOURCE, Language::of($file)).0;
        &MINIFIED
    }};
}

/// The language of a file, which decides where a space has a meaning.
#[derive(Clone, Copy)]
enum Language {
    Html,
    Css,
    JavaScript,
}

impl Language {
    const fn of(file: &str) -> Self {
        match file.as_bytes() {
            [.., b'.', b'j', b's'] => Self::JavaScript,
            [.., b'.', b'c', b's', b's'] => Self::Css,
            _ => Self::Html,
        }
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of each file.
static FILES: [(&str, &str, &[u8]); 15] = [
    ("/", HTML, include_minified!("index.html")),
    ("/style.css", CSS, include_minified!("style.css")),
    ("/theme.js", JS, include_minified!("theme.js")),
    ("/app.js", JS, include_minified!("app.js")),
    ("/choices.js", JS, include_minified!("choices.js")),
    ("/clock.js", JS, include_minified!("clock.js")),
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
        let body = Bytes::from_static(body);
        let page = Route::Page { content_type: content_type.into(), body };
        routes.add(path, page, RouteOrigin::Default);
    }
}

/// Returns the first `N` bytes of the minified `source`, and its full length. Removes indentation,
/// empty lines, comments at the start of a line, redundant spaces, and the newline after `;`, `{`, `}`
/// and `,`. The modules end each statement with one of these.
#[allow(clippy::indexing_slicing)] // `get` is not const, and this runs in the compiler
const fn minify<const N: usize>(source: &[u8], language: Language) -> ([u8; N], usize) {
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
                // The quotation mark of the string at `at`, or 0. A template contains text and code.
                let mut quote = if line_contains(source, at, b'`') { b'`' } else { 0 };
                loop {
                    let newline = source[at] == b'\n';
                    let terminated =
                        at > from && matches!(source[at - 1], b';' | b'{' | b'}' | b',');
                    comment |= at > from && source[at] == b'/' && source[at - 1] == b'/';
                    let removed = newline && terminated && !comment
                        || source[at] == b' '
                            && is_redundant_space(source, at, language, quote != 0);
                    quote = match (source[at], quote) {
                        (b'\'' | b'"', 0) => source[at],
                        (mark, _) if mark == quote && quote != b'`' => 0,
                        _ => quote,
                    };
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

#[allow(clippy::indexing_slicing)] // as above
const fn line_contains(source: &[u8], mut at: usize, byte: u8) -> bool {
    while source[at] != b'\n' && source[at] != byte {
        at += 1;
    }
    source[at] == byte
}

/// Whether a space inside a line can be removed. That is the case beside `=`, which no text on the page
/// contains, and in code beside punctuation that no regular expression of the page has beside a space.
#[allow(clippy::indexing_slicing)] // as above
const fn is_redundant_space(source: &[u8], at: usize, language: Language, text: bool) -> bool {
    let (before, after) = (source[at - 1], source[at + 1]);
    let arrow = before == b'>' && source[at - 2] == b'=';
    let beside_punctuation = match language {
        Language::Html => false,
        Language::Css => {
            matches!(before, b':' | b';' | b'{' | b',') || matches!(after, b'{' | b'}')
        }
        Language::JavaScript => !text && (is_punctuation(before) || is_punctuation(after)),
    };
    before == b'=' || after == b'=' || arrow || beside_punctuation
}

const fn is_punctuation(byte: u8) -> bool {
    matches!(byte, b',' | b';' | b':' | b'?' | b'{' | b'}' | b'<' | b'>' | b'&' | b'|')
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

    /// The browser's clock may be wrong, so `clock.js` derives every time from the server's.
    #[test]
    fn only_the_clock_module_reads_a_clock() {
        for (path, _, body) in FILES {
            let code = std::str::from_utf8(body).unwrap();
            for read in ["Date.now", "Date()", "performance", "new Date"] {
                let allowed = path == "/clock.js" && matches!(read, "performance" | "new Date");
                assert!(allowed || !code.contains(read), "{path}: {read}");
            }
        }
    }

    #[test]
    fn comments_and_whitespace_are_removed() {
        let source =
            "/* a\n * b */\nlet x = () => 1;\n\n  /** c */\n  // d\n  y('//'); // e;\n  z() }\nw\n";
        assert_eq!(minified(source, Language::JavaScript), "let x=()=>1;y('//');// e;\nz()}w\n");
        assert_eq!(minified("a :is(b, c) { d: 0 0; }\n", Language::Css), "a :is(b,c){d:0 0;}");
        assert_eq!(minified("<p>a, b </p>\n", Language::Html), "<p>a, b </p>\n");
    }

    #[test]
    fn strings_templates_and_regular_expressions_are_kept() {
        for (source, expected) in [
            ("f(a, b ? 'c, d' : { e: \"f, ' g\" }) && h;", "f(a,b?'c, d':{e:\"f, ' g\"})&&h;"),
            ("x(`a, ${b ? c : `d, e`}`, f);", "x(`a, ${b ? c : `d, e`}`, f);"),
            ("x(/ (a|\\d+) .*b$/, c);", "x(/ (a|\\d+) .*b$/,c);"),
            ("a - -b + +c;", "a - -b + +c;"),
        ] {
            assert_eq!(minified(&format!("{source}\n"), Language::JavaScript), expected);
        }
    }

    fn minified(source: &str, language: Language) -> String {
        let (kept, length) = minify::<100>(source.as_bytes(), language);
        String::from_utf8(kept[..length].to_vec()).unwrap()
    }
}
