//! Pages from templates: a template says how a page looks, and every value passes the engine's automatic escaping.

use std::io;

use minijinja::{Environment, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

/// The style that all pages share, as the template `base.css`.
pub const BASE_STYLE: (&str, &str) = ("base.css", include_str!("html/base.css"));

/// Fills the page `name` of `templates`, each a name and its text. The names' endings turn automatic escaping on.
pub fn render(templates: &[(&str, &str)], name: &str, page: impl Serialize) -> io::Result<String> {
    let mut engine = Environment::new();
    let syntax =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(io::Error::other)?;
    engine.set_syntax(syntax);
    for (name, text) in templates {
        engine.add_template(name, text).map_err(io::Error::other)?;
    }
    let template = engine.get_template(name).map_err(io::Error::other)?;
    template.render(Serde(page)).map_err(io::Error::other)
}
