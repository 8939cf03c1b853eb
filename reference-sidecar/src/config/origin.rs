//! Where a value comes from: a flag, the environment, the file, or nowhere.

use std::{collections::HashMap, fmt};

use clap::{ArgMatches, parser::ValueSource};

/// Which options were given on the command line and in the environment, by id. clap knows; a struct of values does not.
#[derive(Debug, Default)]
pub struct Given(HashMap<String, Origin>);

/// Where a value comes from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl Given {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let origin = |id: &str| match matches.value_source(id)? {
            ValueSource::CommandLine => Some(Origin::Flag),
            ValueSource::EnvVariable => Some(Origin::Environment),
            _ => None,
        };
        // The ids of flattened groups are among them; they are no values.
        let ids = matches.ids().map(clap::Id::as_str);
        Self(ids.filter_map(|id| Some((id.to_owned(), origin(id)?))).collect())
    }

    pub(super) fn get(&self, id: &str) -> Option<Origin> {
        self.0.get(id).copied()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}
