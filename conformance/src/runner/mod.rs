//! Preflight → survey → plan → executor → dispatcher: see that the target can be judged, look at it, select requirements,
//! run one, put all in one order.
//!
//! Talks to: the requirements, the probe. Emits [`crate::events`]; knows nothing of reports.

mod asked;
mod dispatcher;
mod executor;
mod hanging;
mod names;
mod pattern;
mod plan;
mod preflight;
mod presence;
mod redact;
mod schedule;
mod survey;

pub use asked::Asked;
pub use dispatcher::{Conduct, conduct};
pub use executor::Kinds;
pub(crate) use pattern::{Pattern, nearest};
pub use plan::{BadSelection, Plan, Selection};
pub(crate) use plan::{contract, patterns};
pub use preflight::{Refusal, ready};
pub use survey::{Surveyed, Unreachable, survey};
