//! Plots, as far as reports need them: from values to marks on a plane. Pure; `html/plot.html` puts them into SVG.
//!
//! Own code, because a report must follow its reader's light or dark mode, be read aloud and stay small. Of the crates,
//! `plotters` and `charts-rs` write colours as numbers and need fonts; `poloto` leaves colours to style sheets, but has no
//! intervals and no marks that say what they are. Drawings here hold classes instead of colours and text as text, and the
//! template engine escapes all of it.

mod draw;
mod layout;
mod path;
mod plane;
mod scale;
mod thin;

pub(super) use draw::{Drawing, Size};
pub(super) use plane::{Axis, Ink, Layer, Mark, Plot, Shape, Spot};
pub(super) use scale::{Scale, grouped};
