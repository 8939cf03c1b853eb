//! Where the plane lies in its picture: the legend above, the axes' numbers beside and below.

use super::{
    draw::{Drawing, Size, Text},
    path::{self, tenth},
    plane::{Axis, Ink, Layer, Plot},
};

/// The plane's edges in pixels, and the way from values to pixels.
pub(super) struct Frame<'a> {
    plot: &'a Plot,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl<'a> Frame<'a> {
    /// Draws legend and axes, and leaves the plane to the layers.
    pub(super) fn around(plot: &'a Plot, size: Size, drawing: &mut Drawing) -> Self {
        let above = legend(plot, size, drawing) + LINE;
        let y_ticks = plot.y.ticks((size.height / TICK_HEIGHT) as usize);
        let widest = y_ticks.iter().map(|(_, label)| columns(label)).fold(0.0, f64::max);
        let frame = Self {
            plot,
            left: widest + 10.0,
            right: size.width - RIGHT,
            top: above + 8.0,
            bottom: above + 8.0 + size.height - BELOW - 2.0 * LINE,
        };
        drawing.height = frame.bottom + BELOW;
        frame.y_axis(&y_ticks, above, drawing);
        frame.x_axis(drawing);
        frame
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.plot.x.scale.place(value) * (self.right - self.left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.bottom - self.plot.y.scale.place(value) * (self.bottom - self.top)
    }

    pub(super) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x(x), self.y(y))
    }

    fn y_axis(&self, ticks: &[(f64, String)], above: f64, drawing: &mut Drawing) {
        drawing.text(0.0, above - 4.0, "start", &self.plot.y.title);
        for (value, label) in apart(ticks, |value| self.y(value), |_| LINE - 3.0) {
            let y = self.y(value);
            drawing.path("grid", Ink::Quiet, path::line(&[(self.left, y), (self.right, y)]), "");
            drawing.text(self.left - 6.0, y + 4.0, "end", &label);
        }
    }

    fn x_axis(&self, drawing: &mut Drawing) {
        drawing.path(
            "axis",
            Ink::Quiet,
            path::line(&[(self.left, self.bottom), (self.right, self.bottom)]),
            "",
        );
        let ticks = self.plot.x.ticks(((self.right - self.left) / TICK_WIDTH) as usize);
        for (value, label) in apart(&ticks, |value| self.x(value), |label| columns(label) + 8.0) {
            let (x, half) = (self.x(value), columns(&label) / 2.0);
            drawing.path("axis", Ink::Quiet, path::line(&[(x, self.bottom), (x, self.bottom + 5.0)]), "");
            // A label at an edge stays inside the picture.
            let x = x.clamp(half, (self.right + RIGHT - half).max(half));
            drawing.text(x, self.bottom + 19.0, "middle", &label);
        }
        drawing.text(self.right, self.bottom + BELOW - 6.0, "end", &self.plot.x.title);
    }
}

impl Axis {
    fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        self.ticks.clone().unwrap_or_else(|| self.scale.ticks(most))
    }
}

impl Drawing {
    fn text(&mut self, x: f64, y: f64, anchor: &'static str, words: &str) {
        self.texts.push(Text { x: tenth(x), y: tenth(y), anchor, words: words.to_owned() });
    }
}

/// From left to right, in as many rows as it takes; says how high it is.
fn legend(plot: &Plot, size: Size, drawing: &mut Drawing) -> f64 {
    let (mut x, mut y) = (0.0, 0.0);
    for Layer { name, ink, shape } in plot.layers.iter().filter(|layer| !layer.name.is_empty()) {
        let width = SAMPLE + 6.0 + columns(name) + 18.0;
        if y == 0.0 || x + width > size.width {
            (x, y) = (0.0, y + LINE);
        }
        shape.sample(*ink, x, y - 4.0, SAMPLE, drawing);
        drawing.text(x + SAMPLE + 6.0, y, "start", name);
        x += width;
    }
    if y > 0.0 { y + 6.0 } else { 0.0 }
}

/// As many as keep a distance: all, or every second, or every third, counted from the last.
fn apart(
    ticks: &[(f64, String)],
    place: impl Fn(f64) -> f64,
    room: impl Fn(&str) -> f64,
) -> Vec<(f64, String)> {
    let far = |a: &(f64, String), b: &(f64, String)| {
        (place(a.0) - place(b.0)).abs() >= f64::midpoint(room(&a.1), room(&b.1))
    };
    let every = |stride: usize| ticks.iter().rev().step_by(stride);
    let fits = |stride: &usize| every(*stride).zip(every(*stride).skip(1)).all(|(a, b)| far(a, b));
    let stride = (1..ticks.len()).find(fits).unwrap_or(ticks.len().max(1));
    let mut kept: Vec<_> = every(stride).cloned().collect();
    kept.reverse();
    kept
}

/// About how wide a text is: a digit of DejaVu Sans, which is wider than most, because the reader's font is unknown.
fn columns(text: &str) -> f64 {
    text.chars().map(|c| if c > '\u{2e7f}' { 12.5 } else { 7.7 }).sum()
}

/// Height of a row of text.
const LINE: f64 = 18.0;
/// For the axis' numbers and title.
const BELOW: f64 = 44.0;
const RIGHT: f64 = 12.0;
/// Length of a line in the legend.
const SAMPLE: f64 = 26.0;
/// A number on the axis, on the average.
const TICK_WIDTH: f64 = 75.0;
const TICK_HEIGHT: f64 = 48.0;

#[cfg(test)]
mod tests {
    use super::{
        super::{
            plane::{Mark, Shape, Spot},
            scale::Scale,
        },
        *,
    };

    fn plot() -> Plot {
        let axis = |title: &str, high| Axis {
            title: title.to_owned(),
            scale: Scale::linear(0.0, high),
            ticks: None,
        };
        let dot = Shape::Marks(Mark::Round, vec![Spot { at: (5.0, 50.0), told: "the one".to_owned() }]);
        let layer = |name: &str, shape| Layer { name: name.to_owned(), ink: Ink::A, shape };
        let layers = vec![layer("dots", dot), layer("", Shape::Line(vec![(0.0, 0.0), (10.0, 100.0)]))];
        Plot { label: "a plot".to_owned(), x: axis("seconds", 10.0), y: axis("ms", 100.0), layers }
    }

    #[test]
    fn everything_lies_inside_the_picture() {
        for size in [Size::WIDE, Size::HALF, Size::NARROW] {
            let drawing = plot().draw(size);
            assert!(drawing.texts.iter().all(|text| (0.0..=drawing.width).contains(&text.x)), "{drawing:?}");
            assert!(drawing.texts.iter().all(|text| (0.0..=drawing.height).contains(&text.y)), "{drawing:?}");
            let names = drawing.texts.iter().filter(|text| text.words == "dots").count();
            assert_eq!(names, 1, "a layer without a name is not in the legend");
            assert!(drawing.paths.iter().any(|path| path.told == "the one"));
        }
    }

    #[test]
    fn labels_keep_apart_and_the_last_one_stays() {
        let ticks: Vec<_> = (0..100).map(|n| (f64::from(n), format!("number {n}"))).collect();
        let kept = apart(&ticks, |value| value * 10.0, columns);
        assert_eq!(kept.last().unwrap().1, "number 99");
        assert!(kept.windows(2).all(|pair| (pair[1].0 - pair[0].0) * 10.0 >= 50.0), "{kept:?}");
        assert!(kept.len() > 8);
    }
}
