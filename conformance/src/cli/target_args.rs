//! Which target a command means: its file, and the options that lie over it.

use std::path::PathBuf;

use wire::Address;

use super::call::{CallArgs, refuse};
use crate::{
    exit::Exit,
    target::{ContainerSpec, DEFAULT_PORT, Secret, Source, Start, TargetFile},
};

/// Where the target is described, if not by its address alone.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// A TOML file that says what the target is, how it is started and stopped, and what it can do; options given
    /// beside it win
    #[arg(long, value_name = "FILE")]
    pub target_file: Option<PathBuf>,
    /// Start this container and remove it afterwards: the rest of a `docker run`, such as an image and its arguments. It
    /// is ready when an HTTP/2 server answers on its port
    #[arg(long, value_name = "IMAGE", allow_hyphen_values = true, conflicts_with_all = ["spawn", "target"])]
    pub container: Option<String>,
    /// The port inside the container on which it serves
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT, requires = "container")]
    pub container_port: u16,
}

impl TargetArgs {
    /// Whether nothing is described.
    pub(super) fn is_empty(&self) -> bool {
        self.target_file.is_none() && self.container.is_none()
    }

    /// The target file, and how the target comes to run; the error is said already. What the file says of the calls is
    /// filled into `call` where no option says it.
    pub(super) fn resolve(
        &self,
        targets: &[Address],
        spawn: Option<&str>,
        call: &mut CallArgs,
    ) -> Result<(Option<TargetFile>, Start), Exit> {
        let file = self.target_file.as_deref().map(TargetFile::read).transpose();
        let file = file.map_err(|bad| refuse(Exit::Usage, &bad))?;
        let mut start = match &file {
            Some(file) => file.start.clone(),
            None => Start::address(&[]),
        };
        if let Some(line) = spawn {
            start.source = Source::Command { line: line.to_owned(), directory: None };
        } else if let Some(run) = &self.container {
            let spec = ContainerSpec::parse(run, &[self.container_port], |name| std::env::var(name).ok());
            let spec = spec.map_err(|bad| refuse(Exit::Usage, &format!("--container: {bad}")))?;
            start.source = Source::Container(Box::new(spec));
        } else if !targets.is_empty() {
            start.source = Source::Address; // it runs already, there
        }
        if !targets.is_empty() {
            start.addresses = targets.to_vec();
        }
        if matches!(start.source, Source::Address) && start.addresses.is_empty() {
            let why = "no target is named: say where it is with --target, start it with --spawn or --container, or \
                       describe it with --target-file";
            return Err(refuse(Exit::Usage, &why));
        }
        if let Some(token) = &call.token {
            start.use_token(Secret::new(token));
        }
        if let Some(file) = &file {
            call.layer_over(file);
        }
        Ok((file, start))
    }

    /// The options as they were given, for the command that runs one check again.
    pub(super) fn words(&self) -> Vec<(&'static str, String)> {
        let file = self.target_file.as_ref().map(|file| ("--target-file", file.display().to_string()));
        let container = self.container.clone().map(|run| ("--container", run));
        let port = (self.container_port != DEFAULT_PORT)
            .then(|| ("--container-port", self.container_port.to_string()));
        file.into_iter().chain(container).chain(port).collect()
    }
}
