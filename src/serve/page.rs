//! Paths of the page, dead letters and the state.
//!
//! The page is a few files beside this one, which are in the program: nothing is built, and the browser asks nobody else. All
//! that it shows it has from the other paths.

use axum::Router;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Service, letters, state};

/// What the browser may do with the page: run its own scripts, take its own style, ask this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Beside what each part is.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // Another version of the program has another page.
    (header::CACHE_CONTROL, "no-cache"),
];

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

/// Each part's path, its type, and what it is. Who may ask for the others is not asked for these.
const PARTS: [(&str, &str, &str); 15] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/api.js", SCRIPT, include_str!("page/api.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/format.js", SCRIPT, include_str!("page/format.js")),
    ("/page/graph.js", SCRIPT, include_str!("page/graph.js")),
    ("/page/icon.svg", DRAWING, include_str!("page/icon.svg")),
    ("/page/letters.js", SCRIPT, include_str!("page/letters.js")),
    ("/page/main.js", SCRIPT, include_str!("page/main.js")),
    ("/page/operators.js", SCRIPT, include_str!("page/operators.js")),
    ("/page/outputs.js", SCRIPT, include_str!("page/outputs.js")),
    ("/page/past.js", SCRIPT, include_str!("page/past.js")),
    ("/page/spark.js", SCRIPT, include_str!("page/spark.js")),
    ("/page/state.js", SCRIPT, include_str!("page/state.js")),
    ("/page/status.js", SCRIPT, include_str!("page/status.js")),
    ("/page/style.css", STYLE, include_str!("page/style.css")),
];

/// The paths.
pub(super) fn routes() -> Router<Service> {
    let parts = PARTS.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(async move || part(kind, text)))
    });
    parts.route("/v1/dead-letters", get(letters::answer)).route("/v1/state", get(state::answer))
}

fn part(kind: &'static str, text: &'static str) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], HEADERS, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_served_that_the_page_names_and_no_other() {
        let mut named: Vec<String> = vec!["/".to_owned()];
        for (path, _, text) in PARTS {
            // What the document names, and what modules import.
            for piece in text.split(['"', '\'', '`']) {
                if path == "/" && piece.starts_with("page/") {
                    named.push(format!("/{piece}"));
                } else if piece.starts_with("./") && piece.ends_with(".js") {
                    named.push(format!("/page{}", &piece[1..]));
                }
            }
        }
        named.sort();
        named.dedup();
        let mut served: Vec<&str> = PARTS.iter().map(|(path, ..)| *path).collect();
        served.sort_unstable();
        assert_eq!(served, named);
    }

    #[test]
    fn no_part_names_another_place_or_reads_data_as_html() {
        for (path, _, text) in PARTS {
            for word in
                ["://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style="]
            {
                let at = text.find(word).filter(|&at| !text[at..].starts_with("://www.w3.org/2000/svg"));
                assert_eq!(at, None, "{word} in {path}");
            }
        }
    }
}
