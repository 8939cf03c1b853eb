//! What a plot is: a plane with axes, and the layers on it.

use super::scale::Scale;

/// A plane with layers on it, the first one undermost.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// What is seen, in a sentence, for those who do not see it.
    pub(crate) label: String,
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// The layers of the plot.
    pub(crate) layers: Vec<Layer>,
}

/// One axis of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// What it is, with its unit.
    pub(crate) title: String,
    /// The range of the axis.
    pub(crate) scale: Scale,
    /// The ticks to show instead of round numbers.
    pub(crate) ticks: Option<Vec<(f64, String)>>,
}

/// One thing on the plane.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// In the legend, unless it is empty.
    pub(crate) name: String,
    /// Colour of the layer.
    pub(crate) ink: Ink,
    /// What the layer draws.
    pub(crate) shape: Shape,
}

/// A colour by its meaning; the style sheet knows which, and gives each line a dash of its own besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Colour of the first series.
    A,
    /// Colour of the second series.
    B,
    /// Colour of the third series.
    C,
    /// Colour of the fourth series.
    D,
    /// What must be noticed.
    Bad,
    /// What is only for comparison.
    Quiet,
}

/// A form. Places are in the axes' units.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// A line from point to point.
    Line(Vec<(f64, f64)>),
    /// Level from each point to the next.
    Step(Vec<(f64, f64)>),
    /// Separate marks.
    Marks(Mark, Vec<Spot>),
    /// An upright bar from a low to a high.
    Interval {
        /// Horizontal position.
        x: f64,
        /// Lower end of the bar.
        low: f64,
        /// Upper end of the bar.
        high: f64,
        /// What it says when it is pointed at.
        told: String,
    },
    /// Everything between two heights.
    Band(f64, f64),
    /// Everything between two places from left to right, with what it says.
    Span(f64, f64, String),
    /// A horizontal line at this height.
    Level(f64),
    /// A place from left to right, with what it says.
    Moment(f64, String),
}

/// The form of a mark; series differ by it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A filled circle.
    Round,
    /// A hollow diamond.
    Diamond,
    /// A cross, for requests that failed.
    Cross,
}

/// One mark's place; one that says something is never left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spot {
    /// Position: horizontal, then vertical.
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
