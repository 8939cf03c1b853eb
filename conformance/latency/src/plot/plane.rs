//! What a plot is: a plane with axes, and the layers on it.

use super::scale::Scale;

/// A plane with layers on it, the first one undermost.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// What is seen, in a sentence, for those who do not see it.
    pub(crate) label: String,
    /// To the right.
    pub(crate) x: Axis,
    /// Upwards.
    pub(crate) y: Axis,
    /// What is on it.
    pub(crate) layers: Vec<Layer>,
}

/// One direction.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// What it is, with its unit.
    pub(crate) title: String,
    /// From where to where.
    pub(crate) scale: Scale,
    /// Instead of round numbers.
    pub(crate) ticks: Option<Vec<(f64, String)>>,
}

/// One thing on the plane.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// In the legend, unless it is empty.
    pub(crate) name: String,
    /// Its colour.
    pub(crate) ink: Ink,
    /// Its form.
    pub(crate) shape: Shape,
}

/// A colour by its meaning; the style sheet knows which, and gives each line a dash of its own besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Of the first series.
    A,
    /// Of the second.
    B,
    /// Of the third.
    C,
    /// Of the fourth.
    D,
    /// What must be noticed.
    Bad,
    /// What is only for comparison.
    Quiet,
}

/// A form. Places are in the axes' units.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// From point to point.
    Line(Vec<(f64, f64)>),
    /// Level from each point to the next.
    Step(Vec<(f64, f64)>),
    /// Single marks.
    Marks(Mark, Vec<Spot>),
    /// An upright bar from a low to a high.
    Interval {
        /// Where.
        x: f64,
        /// From.
        low: f64,
        /// To.
        high: f64,
        /// What it says when it is pointed at.
        told: String,
    },
    /// Everything between two heights.
    Band(f64, f64),
    /// Everything between two places from left to right, with what it says.
    Span(f64, f64, String),
    /// A height.
    Level(f64),
    /// A place from left to right, with what it says.
    Moment(f64, String),
}

/// The form of a mark; series differ by it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Filled.
    Round,
    /// Hollow.
    Diamond,
    /// For what failed.
    Cross,
}

/// One mark's place; one that says something is never left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spot {
    /// Where.
    pub(crate) at: (f64, f64),
    /// What it says when it is pointed at; empty for nothing.
    pub(crate) told: String,
}

impl Ink {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::D => "d",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

impl Mark {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Round => "dot",
            Self::Diamond | Self::Cross => "sign",
        }
    }
}
