//! `--slow` and `--safe`.

use crate::runner::Kinds;

/// Which kinds of checks a run asks (contract, section 13).
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct KindArgs {
    /// Also run checks that need more than ten seconds; without it they are skipped
    #[arg(long)]
    pub slow: bool,
    /// Run no check that loads, floods, unloads or restarts the target: others use it
    #[arg(long)]
    pub safe: bool,
}

impl From<KindArgs> for Kinds {
    fn from(args: KindArgs) -> Self {
        Self { slow: args.slow, safe: args.safe }
    }
}
