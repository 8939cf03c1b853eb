//! How a target is reached and asked, the same for every command that has one.

use std::path::Path;

use ai_inference_proto::Dialect;
use http::{HeaderName, HeaderValue};
use present::text;

use super::{
    metadata::metadata,
    patience::{interrupted, interrupted_again, told, watch_signals},
    token::token,
};
use crate::{
    exit::Exit,
    target::{Start, StartError, Target, TargetFile},
};

/// Keys and values that go with a call.
pub(super) type Metadata = Vec<(HeaderName, HeaderValue)>;

/// What goes with every call.
#[derive(Clone, Debug, clap::Args)]
pub struct CallArgs {
    /// The wire dialect: auto asks for `contract` first, then `cy.llm`
    #[arg(long, value_name = "DIALECT", default_value = "auto", value_parser = dialect)]
    pub dialect: DialectChoice,
    /// The model to use [default: the one that list_models names; of several the first, and in `bench` the endpoint's own]
    #[arg(long, value_name = "ID")]
    pub model: Option<String>,
    /// Bearer token for StreamPredict and Control; better given by the environment than on the command line
    #[arg(long, value_name = "TOKEN", env = "CONFORMANCE_TOKEN", hide_env_values = true, value_parser = token)]
    pub token: Option<String>,
    /// Metadata to send with every call, such as 'x-tenant: blue'; repeatable
    #[arg(short = 'H', long, value_name = "KEY: VALUE", value_parser = metadata)]
    pub metadata: Vec<(HeaderName, HeaderValue)>,
}

impl CallArgs {
    /// What goes with every call of the benchmark, the token with it; a refusal is said already.
    pub(super) fn with_token(&self, token: Option<&str>) -> Result<Metadata, Exit> {
        let value = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
        let value =
            value.map_err(|_| refuse(Exit::Usage, &"the token holds characters that no header may have"))?;
        let bearer = value.map(|mut value| {
            value.set_sensitive(true);
            (http::header::AUTHORIZATION, value)
        });
        Ok(bearer.into_iter().chain(self.metadata.clone()).collect())
    }

    /// What a target file says and no option does.
    pub(super) fn layer_over(&mut self, file: &TargetFile) {
        self.dialect.0 = self.dialect.0.or(file.dialect);
        self.model = self.model.take().or_else(|| file.model.clone());
    }
}

/// `auto`, or a dialect by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialectChoice(pub(super) Option<Dialect>);

/// The target, started if need be; the error is said already.
pub(super) async fn reach(start: Start, log: &Path) -> Result<Target, Exit> {
    watch_signals();
    let mut target = Target::start(start, log).await.map_err(|error| refuse_start(&error))?;
    let ready = tokio::select! {
        ready = told("waiting for the target to start", target.ready()) => ready.map_err(|error| refuse_start(&error)),
        () = interrupted() => Err(Exit::Interrupted),
    };
    match ready {
        Ok(()) => Ok(target),
        Err(exit) => {
            stop(target.stop()).await;
            Err(exit)
        }
    }
}

/// Stops what was started for the run. A second signal does not wait for it to end by itself.
pub(super) async fn stop(stopping: impl Future<Output = ()>) {
    tokio::select! {
        () = told("waiting for the target to stop", stopping) => {}
        () = interrupted_again() => {} // what was started is killed with its future
    }
}

fn refuse_start(error: &StartError) -> Exit {
    let exit = if error.is_about_output() { Exit::Usage } else { Exit::Unreachable };
    refuse(exit, error)
}

/// Says why the command ends. The words may quote a target, so that they are made safe for a terminal and a CI log.
pub(super) fn refuse(exit: Exit, why: &dyn std::fmt::Display) -> Exit {
    let why = text::visible_lines(&format!("error: {why}")).join("\n");
    eprintln!("{}", text::inert(&why));
    exit
}

pub(super) fn dialect(name: &str) -> Result<DialectChoice, String> {
    if name == "auto" {
        return Ok(DialectChoice(None));
    }
    name.parse()
        .map(|dialect| DialectChoice(Some(dialect)))
        .map_err(|_| "expected auto, contract or cy.llm".to_owned())
}
