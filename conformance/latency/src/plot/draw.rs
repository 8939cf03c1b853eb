//! What is left of a plot when it is drawn: paths and texts with classes.

use serde::Serialize;

use super::{
    layout::Frame,
    path,
    plane::{Ink, Layer, Plot, Shape},
    thin::thin,
};

/// The size of a drawing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// The class by which the style sheet chooses.
    pub(super) name: &'static str,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Size {
    /// A page's width.
    pub(crate) const WIDE: Self = Self { name: "wide", width: 1040.0, height: 330.0 };
    /// Half of it.
    pub(crate) const HALF: Self = Self { name: "wide", width: 508.0, height: 290.0 };
    /// Made for the width of a telephone.
    pub(crate) const NARROW: Self = Self { name: "narrow", width: 360.0, height: 290.0 };
}

/// What the template puts on the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Drawing {
    pub(super) size: &'static str,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) label: String,
    pub(super) paths: Vec<Path>,
    pub(super) texts: Vec<Text>,
    /// Marks for which there was no room.
    pub(crate) left_out: usize,
}

/// One stroke or area.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Path {
    pub(super) class: String,
    pub(super) d: String,
    /// Shown when it is pointed at; empty for nothing.
    pub(super) told: String,
}

/// One line of text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Text {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) anchor: &'static str,
    pub(super) words: String,
}

impl Plot {
    /// Draws the plot at this size.
    pub(crate) fn draw(&self, size: Size) -> Drawing {
        let label = self.label.clone();
        let mut drawing = Drawing { size: size.name, width: size.width, label, ..Drawing::default() };
        let frame = Frame::around(self, size, &mut drawing);
        for Layer { ink, shape, .. } in &self.layers {
            shape.draw(*ink, &frame, size, &mut drawing);
        }
        drawing
    }
}

impl Shape {
    fn draw(&self, ink: Ink, frame: &Frame, size: Size, drawing: &mut Drawing) {
        let places = |points: &[(f64, f64)]| -> Vec<_> { points.iter().map(|p| frame.at(*p)).collect() };
        match self {
            Self::Line(points) => drawing.path("line", ink, path::line(&places(points)), ""),
            Self::Step(points) => drawing.path("line", ink, path::step(&places(points)), ""),
            Self::Marks(mark, spots) => {
                let (silent, telling): (Vec<_>, Vec<_>) = spots.iter().partition(|spot| spot.told.is_empty());
                let silent: Vec<_> = silent.iter().map(|spot| frame.at(spot.at)).collect();
                let kept = thin(&silent, (size.width * MARKS_PER_PIXEL) as usize);
                drawing.left_out += silent.len() - kept.len();
                drawing.path(mark.class(), ink, path::marks(*mark, &kept), "");
                for spot in telling {
                    drawing.path(mark.class(), ink, path::marks(*mark, &[frame.at(spot.at)]), &spot.told);
                }
            }
            Self::Interval { x, low, high, told } => {
                let ((x, from), (_, to)) = (frame.at((*x, *low)), frame.at((*x, *high)));
                drawing.path("interval", ink, path::interval(x, from, to), told);
            }
            Self::Band(low, high) => {
                let (top, bottom) = (frame.y(*high), frame.y(*low));
                drawing.path("area", ink, path::area(frame.left, top, frame.right, bottom), "");
            }
            Self::Span(from, to, told) => {
                let (left, right) = (frame.x(*from), frame.x(*to));
                let right = right.max(left + THINNEST);
                drawing.path("area", ink, path::area(left, frame.top, right, frame.bottom), told);
            }
            Self::Level(at) => {
                let y = frame.y(*at);
                drawing.path("level", ink, path::line(&[(frame.left, y), (frame.right, y)]), "");
            }
            Self::Moment(at, told) => {
                let x = frame.x(*at);
                drawing.path("level", ink, path::line(&[(x, frame.top), (x, frame.bottom)]), told);
            }
        }
    }

    /// The same, as small as a legend has room for.
    pub(super) fn sample(&self, ink: Ink, x: f64, y: f64, width: f64, drawing: &mut Drawing) {
        let middle = x + width / 2.0;
        let flat = path::line(&[(x, y), (x + width, y)]);
        match self {
            Self::Line(_) | Self::Step(_) => drawing.path("line", ink, flat, ""),
            Self::Level(_) => drawing.path("level", ink, flat, ""),
            Self::Moment(..) => {
                drawing.path("level", ink, path::line(&[(middle, y - 7.0), (middle, y + 7.0)]), "");
            }
            Self::Marks(mark, _) => drawing.path(mark.class(), ink, path::marks(*mark, &[(middle, y)]), ""),
            Self::Interval { .. } => {
                drawing.path("interval", ink, path::interval(middle, y - 6.0, y + 6.0), "");
            }
            Self::Band(..) | Self::Span(..) => {
                drawing.path("area", ink, path::area(x, y - 6.0, x + width, y + 6.0), "");
            }
        }
    }
}

impl Drawing {
    pub(super) fn path(&mut self, class: &str, ink: Ink, d: String, told: &str) {
        if !d.is_empty() {
            self.paths.push(Path { class: format!("{class} {}", ink.class()), d, told: told.to_owned() });
        }
    }
}

/// More lie upon each other.
const MARKS_PER_PIXEL: f64 = 1.6;
/// Of a span that would be too thin to see.
const THINNEST: f64 = 2.0;
