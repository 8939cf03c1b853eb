//! The mathematics of a latency gate: is the candidate slower than the baseline, and how sure can one be?
//!
//! Two runs of the same program seconds apart differ by a few percent on any machine, so the unit of evidence is a
//! [`Block`]: both programs, run side by side on the same requests. Each block yields one log ratio of a quantile;
//! [`interval`] says where the true ratio lies, [`judge`] decides on several metrics at once, at looks that a [`LookSchedule`]
//! fixes beforehand, [`calibrate`] measures the noise of a host, and [`change_points`] reads histories.
//!
//! Pure: no clock, no files, no threads. The same input and seed give the same output on every machine. Nothing
//! panics; what cannot be computed is an [`Error`] or `None`. Knows nothing of who measured.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod block;
mod change;
mod distributions;
mod error;
mod estimate;
mod floor;
mod gate;
mod holm;
mod order;
mod plan;
mod resample;

pub use block::{Block, Samples, log_ratio, log_ratios};
pub use change::{ChangePoint, change_points};
pub use distributions::student_t_quantile;
pub use error::Error;
pub use estimate::{Estimate, Method, interval};
pub use floor::{Floor, calibrate};
pub use gate::{Figure, Finding, Judgement, Verdict, judge};
pub use holm::{Step, adjusted, step_down};
pub use order::{hodges_lehmann, median, quantile};
pub use plan::LookSchedule;
