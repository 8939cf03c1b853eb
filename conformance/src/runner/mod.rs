//! Plan → executor → dispatcher: select requirements, run one, put all in one order.
//!
//! Talks to: the requirements, the probe. Emits [`crate::events`]; knows nothing of reports.

mod dispatcher;
mod executor;
mod pattern;
mod plan;
mod survey;

pub use dispatcher::{Conduct, conduct};
pub(crate) use pattern::{Pattern, nearest};
pub use plan::{BadSelection, Plan, Selection};
pub(crate) use plan::{contract, patterns};
pub use survey::{Surveyed, Unreachable, survey};
