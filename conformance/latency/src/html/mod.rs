//! Reports as pages: self-contained, with plots, readable without scripts and without other text.
//!
//! Here is what is on them; the templates beside it say how it looks. What comes from outside is made visible here
//! and escaped by the templates.

mod against_load;
mod blocks;
mod comparison;
mod distribution;
mod history;
mod over_time;
mod run;
mod stalls;
mod words;

use std::fmt::Write as _;

use present::BASE_STYLE;
use serde::Serialize;

pub use comparison::comparison;
pub use history::{Series, history, history_of};
pub use run::run;

use super::plot::{Drawing, Plot, Size, grouped};

/// A plot with what a reader must know to read it.
#[derive(Serialize)]
struct Figure {
    heading: String,
    /// What it comes down to; empty where nothing does.
    said: String,
    caption: String,
    /// For wide pages and for narrow ones. None where there is nothing to draw; the caption says why.
    drawings: Vec<Drawing>,
}

impl Figure {
    fn new(heading: &str, caption: impl Into<String>, plot: &Plot, wide: Size) -> Self {
        let drawings = vec![plot.draw(wide), plot.draw(Size::NARROW)];
        let left_out = drawings.first().map_or(0, |drawing| drawing.left_out);
        let mut caption = caption.into();
        if left_out > 0 {
            let left_out = grouped(left_out as f64, 0);
            let _ = write!(
                caption,
                " Where marks lie too close, {left_out} of them are left out, but none at the edge."
            );
        }
        Self { heading: heading.to_owned(), said: String::new(), caption, drawings }
    }

    /// In its place, why there is none.
    fn none(heading: &str, why: &str) -> Self {
        let (heading, caption) = (heading.to_owned(), why.to_owned());
        Self { heading, said: String::new(), caption, drawings: Vec::new() }
    }
}

/// How pages look.
const TEMPLATES: [(&str, &str); 6] = [
    BASE_STYLE,
    ("plot.html", include_str!("plot.html")),
    ("bench.html", include_str!("bench.html")),
    ("bench-run.html", include_str!("bench-run.html")),
    ("bench-comparison.html", include_str!("bench-comparison.html")),
    ("bench-history.html", include_str!("bench-history.html")),
];

/// A label and its value, in a list.
type Fact = (&'static str, String);
