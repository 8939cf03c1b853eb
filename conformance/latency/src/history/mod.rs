//! Results over time: one line of JSON each, and where their series changed. Pure.
//!
//! A series is of one host, one kind of result and one set of conditions; with any other, its values may differ for
//! reasons that are not the program's. What a plot needs is in [`Line`]: labels, values, changes.

mod entry;
mod series;
mod shown;

pub use entry::{Entry, Kind, NoEntry, parse};
pub use series::{Change, Line, Series, series};
