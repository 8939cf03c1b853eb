//! Pages from templates: `html/*.html` says how they look, and every value passes the engine's automatic escaping.

use std::io;

use minijinja::{Environment, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

/// Fills a page. The names' endings turn automatic escaping on.
pub(crate) fn render(name: &str, page: impl Serialize) -> io::Result<String> {
    let mut templates = Environment::new();
    let syntax =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(io::Error::other)?;
    templates.set_syntax(syntax);
    for (name, text) in TEMPLATES {
        templates.add_template(name, text).map_err(io::Error::other)?;
    }
    let template = templates.get_template(name).map_err(io::Error::other)?;
    template.render(Serde(page)).map_err(io::Error::other)
}

const TEMPLATES: [(&str, &str); 7] = [
    ("base.css", include_str!("html/base.css")),
    ("report.html", include_str!("html/report.html")),
    ("plot.html", include_str!("html/plot.html")),
    ("bench.html", include_str!("html/bench.html")),
    ("bench-run.html", include_str!("html/bench-run.html")),
    ("bench-comparison.html", include_str!("html/bench-comparison.html")),
    ("bench-history.html", include_str!("html/bench-history.html")),
];
