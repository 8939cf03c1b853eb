//! What a target file means. Every field is looked at; the first that is wrong is the error.
//!
//! Pure. What lies outside of the file, such as credentials, is asked for through [`Around`].

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use toml::Spanned;
use wire::Address;

use super::{
    TargetFile,
    error::{BadTargetFile, Fault},
    raw::{Raw, RawContainer, RawKept, RawStart, RawStop, RawValue},
};
use crate::{
    target::{
        capability::Capability,
        container_spec::{ContainerSpec, DEFAULT_PORT, Mount},
        secret::Secret,
        start::{Readiness, Source, Start, Stop},
    },
    vocabulary::Role,
};

/// What a file may point to.
pub(super) struct Around<'a> {
    /// A variable of the environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    pub(super) file: &'a dyn Fn(&Path) -> io::Result<String>,
}

pub(super) fn resolve(
    path: &Path,
    text: &str,
    raw: Raw,
    around: &Around<'_>,
) -> Result<TargetFile, BadTargetFile> {
    let place = Place { path, text, around };
    let names = Role::ALL.map(|role| (role.to_string(), role));
    let roles = raw.roles.iter().map(|role| place.one_of("roles", role, &names)).collect::<Result<_, _>>()?;
    let addresses: Vec<Address> =
        raw.addresses.iter().map(|address| place.parsed("addresses", address)).collect::<Result<_, _>>()?;
    let dialect = raw.dialect.as_ref().filter(|dialect| dialect.get_ref() != "auto");
    let dialect = dialect
        .map(|dialect| {
            let parsed = dialect.get_ref().parse();
            parsed.map_err(|_| place.wrong("dialect", dialect, "auto, contract or cy.llm"))
        })
        .transpose()?;
    if let Some(url) = &raw.url
        && !["http://", "https://"].iter().any(|scheme| url.get_ref().starts_with(scheme))
    {
        return Err(place.wrong("url", url, "an address that begins with http:// or https://"));
    }
    let names = Capability::ALL.map(|capability| (capability.to_string(), capability));
    let capabilities = raw.capabilities.iter().map(|name| place.one_of("capabilities", name, &names));
    let capabilities = capabilities.collect::<Result<_, _>>()?;
    let start = place.start(&raw, addresses)?;
    Ok(TargetFile {
        path: path.to_owned(),
        name: raw.name.unwrap_or_else(|| file_name(path)),
        version: raw.version,
        url: raw.url.map(Spanned::into_inner),
        roles,
        dialect,
        model: raw.model,
        known_failures: raw.known_failures.map(|file| place.beside(file.get_ref())),
        capabilities,
        start,
    })
}

/// A target without a name is called as its file is.
fn file_name(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Where a field stands.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
    around: &'a Around<'a>,
}

impl Place<'_> {
    fn start(&self, raw: &Raw, addresses: Vec<Address>) -> Result<Start, BadTargetFile> {
        let mut env = Vec::new();
        let source = match &raw.start {
            None => Source::Address,
            Some(start) => {
                env = self.env(&start.get_ref().env)?;
                self.source(start)?
            }
        };
        let token = match &raw.credentials.token {
            None => None,
            Some(token) => {
                let (token, given_as) = self.token(token)?;
                if let Some(name) = given_as {
                    env.push((name, token.clone()));
                }
                Some(token)
            }
        };
        if matches!(source, Source::Address) && addresses.is_empty() {
            let why = "there is neither an address nor a start: addresses = [\"host:port\"], or [start] with a \
                       command or a container";
            return Err(BadTargetFile::new(self.path, None, Fault::Missing(why)));
        }
        let names = Readiness::NAMES.map(|(name, readiness)| (name.to_owned(), readiness));
        let readiness =
            raw.readiness.as_ref().map(|name| self.one_of("readiness", name, &names)).transpose()?;
        let wait = raw.wait.as_ref().map(|wait| self.duration("wait", wait)).transpose()?;
        let stop = self.stop(&raw.stop)?;
        let several = raw.start.as_ref().and_then(|start| start.get_ref().several.as_ref());
        let fixed = !addresses.is_empty() || !matches!(source, Source::Command { .. });
        if let Some(several) = several.filter(|several| *several.get_ref() && fixed) {
            let expected = "false, unless a command is started that takes free addresses and prints them";
            return Err(self.wrong("start.several", several, expected));
        }
        Ok(Start {
            source,
            addresses,
            wait,
            readiness,
            stop,
            token,
            env,
            several: several.is_some_and(|several| *several.get_ref()),
            folder: None,
            beside: false,
            prints: None,
        })
    }

    fn source(&self, start: &Spanned<RawStart>) -> Result<Source, BadTargetFile> {
        let RawStart { command, container, directory, .. } = start.get_ref();
        let either = "[start] has a command or a container, and not both";
        match (command, container) {
            (Some(line), None) if line.get_ref().trim().is_empty() => {
                Err(self.wrong("start.command", line, "a command line"))
            }
            (Some(line), None) => Ok(Source::Command {
                line: line.get_ref().clone(),
                directory: Some(self.beside(directory.as_ref().map_or(".", |folder| folder.get_ref()))),
            }),
            (None, Some(container)) => Ok(Source::Container(Box::new(self.container(container)?))),
            _ => Err(self.fault(start.span(), Fault::Missing(either))),
        }
    }

    fn container(&self, raw: &RawContainer) -> Result<ContainerSpec, BadTargetFile> {
        if raw.image.get_ref().trim().is_empty() {
            return Err(self.wrong("start.container.image", &raw.image, "an image, such as me/server:1"));
        }
        let mut mounts = Vec::new();
        for mount in &raw.mounts {
            if !mount.to.get_ref().starts_with('/') {
                return Err(self.wrong("start.container.mounts.to", &mount.to, "an absolute path"));
            }
            let from = self.beside(mount.from.get_ref());
            let from = std::path::absolute(&from).unwrap_or(from).display().to_string();
            mounts.push(Mount { from, to: mount.to.get_ref().clone(), read_only: mount.read_only });
        }
        let mut ports = Vec::new();
        for port in &raw.ports {
            match u16::try_from(*port.get_ref()) {
                Ok(number) if number > 0 => ports.push(number),
                _ => return Err(self.wrong("start.container.ports", port, "a port from 1 to 65535")),
            }
        }
        if ports.is_empty() {
            ports.push(DEFAULT_PORT);
        }
        Ok(ContainerSpec {
            image: raw.image.get_ref().clone(),
            command: raw.command.clone(),
            entrypoint: raw.entrypoint.clone(),
            env: Vec::new(), // what every kind of start is given
            mounts,
            ports,
            user: raw.user.clone(),
            network: raw.network.clone(),
            gpus: raw.gpus,
        })
    }

    fn stop(&self, raw: &RawStop) -> Result<Stop, BadTargetFile> {
        let mut stop = Stop::default();
        if let Some(signal) = &raw.signal {
            stop.signal =
                self.one_of("stop.signal", signal, &SIGNALS.map(|(name, s)| (name.to_owned(), s)))?;
        }
        if let Some(grace) = &raw.grace {
            stop.grace = self.duration("stop.grace", grace)?;
        }
        Ok(stop)
    }

    fn env(&self, raw: &BTreeMap<String, Spanned<RawValue>>) -> Result<Vec<(String, Secret)>, BadTargetFile> {
        let mut env = Vec::new();
        for (name, value) in raw {
            let field = format!("start.env.{name}");
            let text = match value.get_ref() {
                RawValue::Text(text) => Secret::new(text),
                RawValue::Kept(RawKept { fresh: Some(_), .. }) => {
                    let why = "`fresh` is for credentials.token".to_owned();
                    return Err(self.fault(value.span(), Fault::Credential { field, why }));
                }
                RawValue::Kept(kept) => self.kept(&field, kept, value.span())?,
            };
            env.push((name.clone(), text));
        }
        Ok(env)
    }

    /// The token, and the variable in which the target is given it, if it was made for this run.
    fn token(&self, raw: &Spanned<RawValue>) -> Result<(Secret, Option<String>), BadTargetFile> {
        let field = "credentials.token";
        match raw.get_ref() {
            RawValue::Text(_) => {
                let why = "a token does not stand in this file; expected { env = \"NAME\" }, { file = \"PATH\" } or \
                           { fresh = \"NAME\" }"
                    .to_owned();
                Err(self.fault(raw.span(), Fault::Credential { field: field.to_owned(), why }))
            }
            RawValue::Kept(RawKept { env: None, file: None, fresh: Some(name) }) => {
                Ok((Secret::new(&uuid::Uuid::new_v4().to_string()), Some(name.clone())))
            }
            RawValue::Kept(kept) => Ok((self.kept(field, kept, raw.span())?, None)),
        }
    }

    fn kept(&self, field: &str, kept: &RawKept, place: Range<usize>) -> Result<Secret, BadTargetFile> {
        let wrong =
            |why: String| self.fault(place.clone(), Fault::Credential { field: field.to_owned(), why });
        let text = match (&kept.env, &kept.file, &kept.fresh) {
            (Some(name), None, None) => (self.around.variable)(name)
                .ok_or_else(|| wrong(format!("the environment variable {name} is not set")))?,
            (None, Some(file), None) => {
                let file = self.beside(file);
                (self.around.file)(&file)
                    .map_err(|error| wrong(format!("{} cannot be read: {error}", file.display())))?
            }
            _ => return Err(wrong("expected either env or file".to_owned())),
        };
        let secret = Secret::new(&text);
        if secret.reveal().is_empty() {
            return Err(wrong("what it names is empty".to_owned()));
        }
        if secret.reveal().contains(['\n', '\r', '\0']) {
            return Err(wrong("what it names has more than one line".to_owned()));
        }
        Ok(secret)
    }

    /// A path as the file means it: from the folder that the file lies in.
    fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn duration(&self, field: &'static str, text: &Spanned<String>) -> Result<Duration, BadTargetFile> {
        let read = humantime::parse_duration(text.get_ref()).ok().filter(|duration| !duration.is_zero());
        read.ok_or_else(|| self.wrong(field, text, "a time, such as 60s or 2m"))
    }

    fn parsed(&self, field: &'static str, text: &Spanned<String>) -> Result<Address, BadTargetFile> {
        text.get_ref().parse().map_err(|_| {
            self.wrong(field, text, "unix:///path, host:port, http://host:port or https://host:port")
        })
    }

    fn one_of<T: Copy>(
        &self,
        field: &'static str,
        name: &Spanned<String>,
        names: &[(String, T)],
    ) -> Result<T, BadTargetFile> {
        let found = names.iter().find(|(known, _)| known == name.get_ref());
        found.map(|(_, meant)| *meant).ok_or_else(|| {
            let known: Vec<_> = names.iter().map(|(known, _)| known.as_str()).collect();
            self.wrong(field, name, &format!("one of {}", known.join(", ")))
        })
    }

    fn wrong<T: ToString>(&self, field: &'static str, found: &Spanned<T>, expected: &str) -> BadTargetFile {
        let fault = Fault::Value { field, found: found.get_ref().to_string(), expected: expected.to_owned() };
        self.fault(found.span(), fault)
    }

    fn fault(&self, place: Range<usize>, fault: Fault) -> BadTargetFile {
        BadTargetFile::at(self.path, self.text, place, fault)
    }
}

const SIGNALS: [(&str, Signal); 4] =
    [("TERM", Signal::TERM), ("INT", Signal::INT), ("QUIT", Signal::QUIT), ("HUP", Signal::HUP)];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TargetFile, String> {
        let around = Around {
            variable: &|name| (name == "TOKEN").then(|| "from-env\n".to_owned()),
            file: &|path| match path.to_str() {
                Some("a/token.txt") => Ok("from-file\r\n".to_owned()),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
        };
        TargetFile::parse(Path::new("a/b.toml"), text, &around).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_file_is_understood() {
        let target = read(
            r#"
            name = "backend"
            version = "1.2"
            url = "https://example.org/backend"
            roles = ["server", "proxy"]
            addresses = ["unix:///tmp/a.sock", "127.0.0.1:1"]
            dialect = "cy.llm"
            model = "m"
            wait = "90s"
            readiness = "http2"
            known_failures = "known.toml"
            capabilities = ["unload", "tls"]
            credentials.token = { file = "token.txt" }
            [start]
            command = "server --x"
            directory = ".."
            env = { A = "b", T = { env = "TOKEN" } }
            [stop]
            signal = "INT"
            grace = "3s"
            "#,
        )
        .unwrap();
        assert_eq!((target.name.as_str(), target.version.as_deref()), ("backend", Some("1.2")));
        assert_eq!(target.roles, [Role::Server, Role::Proxy]);
        assert_eq!(target.known_failures.as_deref(), Some(Path::new("a/known.toml")));
        assert_eq!(
            target.capabilities.into_iter().collect::<Vec<_>>(),
            [Capability::Tls, Capability::Unload]
        );
        let start = target.start;
        assert_eq!((start.addresses.len(), start.wait), (2, Some(Duration::from_secs(90))));
        assert_eq!(start.token.unwrap().reveal(), "from-file", "without its newline");
        let env: Vec<_> = start.env.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        assert_eq!(env, [("A", "b"), ("T", "from-env")]);
        assert_eq!((start.stop.signal, start.stop.grace), (Signal::INT, Duration::from_secs(3)));
        assert!(
            matches!(start.source, Source::Command { directory: Some(folder), .. } if folder == Path::new("a/.."))
        );
    }

    #[test]
    fn a_container_is_understood() {
        let target = read(
            "credentials.token = { fresh = \"SERVER_TOKEN\" }\n[start.container]\nimage = \"me/server:1\"\n\
             command = [\"serve\"]\nports = [8001]\nmounts = [{ from = \"/m\", to = \"/models\", read_only = true }]",
        )
        .unwrap();
        let Source::Container(spec) = target.start.source else { panic!("{:?}", target.start) };
        assert_eq!((spec.image.as_str(), spec.ports.as_slice()), ("me/server:1", &[8001][..]));
        assert_eq!(spec.mounts, [Mount { from: "/m".into(), to: "/models".into(), read_only: true }]);
        assert_eq!(target.start.env[0].0, "SERVER_TOKEN");
        assert_eq!(
            Some(&target.start.env[0].1),
            target.start.token.as_ref(),
            "both sides know the fresh token"
        );
    }

    #[test]
    fn an_error_names_file_line_and_what_was_expected() {
        for (text, words) in [
            ("", "a/b.toml: there is neither an address nor a start"),
            ("\naddresses = [\"nowhere\"]", "a/b.toml:2: addresses is \"nowhere\"; expected unix:///path"),
            ("addresses = []\nrole = \"server\"", "a/b.toml:2: unknown field `role`, expected one of `name`"),
            (
                "roles = [\n  \"server\",\n  \"serer\",\n]",
                "a/b.toml:3: roles is \"serer\"; expected one of server, proxy",
            ),
            ("capabilities = [\"fly\"]", "a/b.toml:1: capabilities is \"fly\"; expected one of adapters"),
            ("dialect = \"grpc\"", "a/b.toml:1: dialect is \"grpc\"; expected auto, contract or cy.llm"),
            ("addresses = [\"a:1\"]\nwait = \"soon\"", "a/b.toml:2: wait is \"soon\"; expected a time"),
            ("addresses = [\"a:1\"]\nwait = \"0s\"", "a/b.toml:2: wait is \"0s\"; expected a time"),
            (
                "addresses = [\"a:1\"]\nreadiness = \"yes\"",
                "a/b.toml:2: readiness is \"yes\"; expected one of printed",
            ),
            (
                "addresses = [\"a:1\"]\nstop.signal = \"KILL\"",
                "a/b.toml:2: stop.signal is \"KILL\"; expected one of TERM",
            ),
            (
                "[start]\ncommand = \"a\"\ncontainer = { image = \"b\" }",
                "a/b.toml:1: [start] has a command or a container",
            ),
            (
                "addresses = [\"127.0.0.1:1\"]\n[start]\ncommand = \"a\"\nseveral = true",
                "a/b.toml:4: start.several",
            ),
            ("\n[start]\nenv = {}", "a/b.toml:2: [start] has a command or a container"),
            (
                "[start.container]\nimage = \"a\"\nports = [0]",
                "a/b.toml:3: start.container.ports is \"0\"; expected a port",
            ),
            ("name = 3", "a/b.toml:1: invalid type: integer `3`, expected a string"),
            ("url = \"ftp://x\"", "a/b.toml:1: url is \"ftp://x\"; expected an address"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(words), "{text}\n{error}");
        }
    }

    #[test]
    fn a_credential_is_named_by_its_place_and_never_shown() {
        let with = |token: &str| read(&format!("addresses = [\"a:1\"]\ncredentials.token = {token}"));
        assert_eq!(with("{ env = \"TOKEN\" }").unwrap().start.token.unwrap().reveal(), "from-env");
        for (token, words) in [
            ("\"s3cret\"", "a/b.toml:2: credentials.token: a token does not stand in this file"),
            ("{ env = \"NOT\" }", "a/b.toml:2: credentials.token: the environment variable NOT is not set"),
            ("{ file = \"no\" }", "a/b.toml:2: credentials.token: a/no cannot be read"),
            (
                "{ env = \"TOKEN\", file = \"x\" }",
                "a/b.toml:2: credentials.token: expected either env or file",
            ),
            ("{ var = \"TOKEN\" }", "a/b.toml:2: unknown field `var`"),
        ] {
            let error = with(token).unwrap_err();
            assert!(error.starts_with(words) && !error.contains("s3cret"), "{token}\n{error}");
        }
        let error = read("credentials = \"s3cret\"").unwrap_err();
        assert!(error.contains("expected a table") && !error.contains("s3cret"), "{error}");
    }
}
