//! A child process that measures on request: a line of JSON in, a line of JSON out.
//!
//! Its first line says who it is, once its model is loaded. Then it waits on its standard input, which costs nothing.

use std::{
    env,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    engine::{Kind, Measured, Task},
    options::{Options, Role},
};

/// A running child; ends when its standard input closes, and is killed if that takes it long.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// What it says of itself: name, version, threads.
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct Ready {
    ready: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Failed { error: String },
    Done(T),
}

impl Peer {
    /// A peer engine, written in Python.
    pub(crate) fn python(kind: Kind, options: &Options) -> anyhow::Result<Self> {
        let python = options.python.as_ref().context("needs --python (ci/throughput sets it)")?;
        let (script, model) = match kind {
            Kind::Genai => ("genai.py", options.genai_package.as_ref().context("needs --genai-package")?),
            Kind::LlamaCpp => ("llama.py", options.gguf.as_ref().context("needs --gguf")?),
            Kind::Sidecar | Kind::Backend | Kind::Bare => bail!("{kind} is not written in Python"),
        };
        let mut command = Command::new(python);
        command.arg(options.peers.join(script)).arg(model);
        command.args(["--threads", &options.threads.to_string()]);
        command.args(["--streams", &options.slots()?.to_string()]);
        command.args(["--context", &(options.prompt + options.tokens).to_string()]);
        Self::start(command)
    }

    /// This program in another role.
    pub(crate) fn ourselves(
        role: Role,
        package: &std::path::Path,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--role", role.name(), "--threads", &options.threads.to_string()]);
        command.args(["--streams", &options.slots()?.to_string()]);
        command.arg("--package").arg(package);
        Self::start(command)
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("it has no standard output")?;
        let output = BufReader::new(output).lines();
        let mut peer = Self { child, input, output, name: String::new() };
        let Ready { ready } = peer.read().context("it did not start; see its output above")?;
        peer.name = ready;
        Ok(peer)
    }

    /// The id of the peer's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs one measurement and waits for its result.
    pub(crate) fn measure(&mut self, task: &Task) -> anyhow::Result<Measured> {
        let mut line = serde_json::to_string(task)?;
        line.push('\n');
        let input = self.input.as_mut().context("it has no standard input")?;
        input.write_all(line.as_bytes())?;
        input.flush()?;
        match self.read()? {
            Answer::Done(measured) => Ok(measured),
            Answer::Failed { error } => bail!("{error}"),
        }
    }

    fn read<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.output.next().context("it has ended; see its output above")??;
        serde_json::from_str(&line).with_context(|| format!("cannot understand its answer {line:?}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
