//! What a container is: an image, what runs in it, and what it is given of this machine.
//!
//! Pure.

use super::secret::Secret;

/// What a container is.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    /// The image, with its tag.
    pub image: String,
    /// The arguments; without any, the image's own.
    pub command: Vec<String>,
    /// The program; without it, the image's own.
    pub entrypoint: Option<String>,
    /// Environment variables.
    pub env: Vec<(String, Secret)>,
    /// Folders and files of this machine.
    pub mounts: Vec<Mount>,
    /// The ports inside on which the endpoint listens. Each is published on a free port of the loopback interface.
    pub ports: Vec<u16>,
    /// The user inside.
    pub user: Option<String>,
    /// The network that it joins.
    pub network: Option<String>,
    /// Whether it sees all GPUs.
    pub gpus: bool,
}

/// A folder or file of this machine inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Path on this machine.
    pub from: String,
    /// Path in the container.
    pub to: String,
    /// Whether it cannot be changed inside.
    pub read_only: bool,
}

/// Why words describe no container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadContainer {
    /// A quote without its end.
    #[error("a quote in `{0}` has no end")]
    Quote(String),
    /// An option of `docker run` that is not understood here.
    #[error(
        "the option {0} is not understood: before the image there may be -e NAME[=VALUE], -v FROM:TO[:ro], \
         --entrypoint PROGRAM, --user USER, --network NETWORK and --gpus all"
    )]
    Option(String),
    /// An option without its value, or with one that it cannot have.
    #[error("{option} needs {expected}")]
    Value {
        /// The option as the user gave it.
        option: String,
        /// The value that is expected.
        expected: &'static str,
    },
    /// There is no image.
    #[error("there is no image in `{0}`")]
    NoImage(String),
}

impl ContainerSpec {
    /// The rest of a `docker run`: options, image, arguments. `variable` looks up what `-e NAME` passes on.
    pub fn parse(
        run: &str,
        ports: &[u16],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BadContainer> {
        let words = shlex::split(run).ok_or_else(|| BadContainer::Quote(run.to_owned()))?;
        let mut words = words.into_iter();
        let mut spec = Self { ports: ports.to_vec(), ..Self::default() };
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                spec.image = word;
                spec.command = words.collect();
                return Ok(spec);
            }
            let (option, given) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => {
                    (option.to_owned(), Some(value.to_owned()))
                }
                _ => (word, None),
            };
            let mut value = |expected| {
                let missing = BadContainer::Value { option: option.clone(), expected };
                given.clone().or_else(|| words.next()).ok_or(missing)
            };
            match option.as_str() {
                "-e" | "--env" => {
                    let text = value("NAME or NAME=VALUE")?;
                    match text.split_once('=') {
                        Some((name, value)) => spec.env.push((name.to_owned(), Secret::new(value))),
                        // As Docker does: one that is not set is not passed on.
                        None => spec.env.extend(variable(&text).map(|value| (text, Secret::new(&value)))),
                    }
                }
                "-v" | "--volume" => spec.mounts.push(mount(&value("FROM:TO or FROM:TO:ro")?)?),
                "--entrypoint" => spec.entrypoint = Some(value("a program")?),
                "-u" | "--user" => spec.user = Some(value("a user")?),
                "--network" => spec.network = Some(value("a network")?),
                "--gpus" if value("all")? == "all" => spec.gpus = true,
                "--gpus" => return Err(BadContainer::Value { option, expected: "all" }),
                "--rm" | "-d" | "--detach" | "--init" => {} // it is so anyway
                _ => return Err(BadContainer::Option(option)),
            }
        }
        Err(BadContainer::NoImage(run.to_owned()))
    }
}

fn mount(text: &str) -> Result<Mount, BadContainer> {
    let (text, read_only) = match text.strip_suffix(":ro") {
        Some(text) => (text, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    match text.split_once(':') {
        Some((from, to)) if !from.is_empty() && to.starts_with('/') => {
            Ok(Mount { from: from.to_owned(), to: to.to_owned(), read_only })
        }
        _ => Err(BadContainer::Value {
            option: "-v".to_owned(),
            expected: "FROM:TO or FROM:TO:ro, with TO absolute",
        }),
    }
}

/// The port that gRPC servers take unless something else is said.
pub const DEFAULT_PORT: u16 = 50051;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_docker_run_is_understood() {
        let set = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        let text =
            "--rm -e 'A=b c' -e TOKEN --env=NOT -v /m:/models:ro --gpus all me/server:1 serve --x 'y z'";
        let spec = ContainerSpec::parse(text, &[DEFAULT_PORT], set).unwrap();
        assert_eq!((spec.image.as_str(), spec.gpus), ("me/server:1", true));
        assert_eq!(spec.command, ["serve", "--x", "y z"]);
        let env: Vec<_> = spec.env.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        assert_eq!(env, [("A", "b c"), ("TOKEN", "s3cret")]);
        let models = Mount { from: "/m".into(), to: "/models".into(), read_only: true };
        assert_eq!(spec.mounts, [models]);
        assert!(!format!("{spec:?}").contains("s3cret"));
        for (bad, word) in [("", "no image"), ("-e", "-e needs"), ("--ipc host x", "--ipc"), ("'a", "quote")]
        {
            let error = ContainerSpec::parse(bad, &[1], set).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
        assert!(ContainerSpec::parse("-v a:b x", &[1], set).is_err());
    }
}
