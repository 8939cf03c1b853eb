//! What a side of a comparison can be, as people write it.

use std::{fmt, path::PathBuf, str::FromStr};

use wire::Address;

use crate::{
    cli::call::refuse,
    exit::Exit,
    target::{ContainerSpec, Start, TargetFile},
};

/// One side of a comparison.
#[derive(Clone, Debug)]
pub enum Side {
    /// It runs already.
    Address(Address),
    /// It is started from a command.
    Command(String),
    /// It is started in a container: the rest of a `docker run`.
    Container(String),
    /// A file says how it is reached or started.
    File(PathBuf),
    /// It was measured earlier, and is here.
    Saved(PathBuf),
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or(("", text));
        match (kind, rest.trim()) {
            ("cmd", "") => Err("expected a command after cmd:".to_owned()),
            ("container", "") => Err("expected an image after container:".to_owned()),
            ("saved", "") => Err("expected a recording or a directory after saved:".to_owned()),
            ("file", "") => Err("expected a target file after file:".to_owned()),
            ("file", path) => Ok(Self::File(path.into())),
            ("cmd", command) => Ok(Self::Command(command.to_owned())),
            ("container", run) => Ok(Self::Container(run.to_owned())),
            ("saved", _) => Ok(Self::Saved(rest.into())),
            _ => text.parse().map(Self::Address).map_err(|error| {
                format!("{error}, or cmd:COMMAND, container:IMAGE, file:TARGET or, for compare, saved:PATH")
            }),
        }
    }
}

/// The name in reports.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Command(command) => f.write_str(command),
            Self::Container(run) => write!(f, "container:{run}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Saved(path) => write!(f, "saved:{}", path.display()),
        }
    }
}

impl Side {
    /// Its address, where it has one before it is started.
    pub(super) fn address(&self) -> Option<&Address> {
        match self {
            Self::Address(address) => Some(address),
            _ => None,
        }
    }

    /// Reads what can be wrong before anything is started; the error is said already.
    pub(super) fn read(&self, port: u16) -> Result<(), Exit> {
        if matches!(self, Self::Saved(_)) { Ok(()) } else { self.described(port).map(|_| ()) }
    }

    /// How it comes to run, and its file where it has one; the error is said already. A token that is made for the
    /// target is another one each time that this is asked.
    pub(super) fn described(&self, port: u16) -> Result<(Start, Option<TargetFile>), Exit> {
        match self {
            Self::Address(address) => Ok((Start::address(std::slice::from_ref(address)), None)),
            Self::Command(command) => Ok((Start::command(command, &[]), None)),
            Self::Container(run) => Ok((Start::container(container(run, port)?), None)),
            Self::File(path) => {
                let file = TargetFile::read(path).map_err(|bad| refuse(Exit::Usage, &bad))?;
                Ok((file.start.clone(), Some(file)))
            }
            Self::Saved(path) => {
                let why = format!("{} is a recording, and nothing can be asked of it", path.display());
                Err(refuse(Exit::Usage, &why))
            }
        }
    }
}

/// The words after `container:`; the error is said already.
fn container(run: &str, port: u16) -> Result<ContainerSpec, Exit> {
    ContainerSpec::parse(run, &[port], |name| std::env::var(name).ok())
        .map_err(|bad| refuse(Exit::Usage, &format!("container: {bad}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_read_as_they_are_written() {
        for text in
            ["container:-e A=b image:1 serve", "saved:a/b.gz", "file:a.toml", "localhost:1", "unix:///a"]
        {
            assert_eq!(text.parse::<Side>().unwrap().to_string(), text);
        }
        assert_eq!("cmd:a 'b c'".parse::<Side>().unwrap().to_string(), "a 'b c'");
        for text in ["", "cmd:", "container: ", "saved:", "file:", "nonsense"] {
            assert!(text.parse::<Side>().is_err(), "{text}");
        }
    }
}
