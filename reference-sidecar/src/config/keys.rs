//! `reference-sidecar config`: what holds and where each value comes from, as a file that `--config` would read.
//!
//! [`KEYS`] is the one ordered list of keys; the printed file and the guide's table follow from it, and a test holds
//! that no flag is missing in it.

use std::path::Path;

use toml::Value;

use super::{ConfigError, ResolvedServe, Serve, file::File, origin::Origin};

/// A key of the file.
struct Key {
    path: &'static str,
    /// Its option on the command line, by id.
    option: &'static str,
    /// `None`: not set, which is a value too.
    value: fn(&ResolvedServe) -> Option<Value>,
}

/// Keys of tables last, as TOML asks.
const KEYS: &[Key] = &[
    Key {
        path: "listen",
        option: "listen",
        value: |config| Some(config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().into()),
    },
    Key { path: "models", option: "models", value: |config| shown(Some(&config.models)) },
    Key {
        path: "default_model",
        option: "default_model",
        value: |config| config.default_model.clone().map(Value::from),
    },
    Key { path: "adapters", option: "adapters", value: |config| shown(config.adapters.as_deref()) },
    Key { path: "slots", option: "slots", value: |config| config.slots.map(number) },
    Key { path: "queue", option: "queue", value: |config| Some(number(config.queue)) },
    Key { path: "token_env", option: "token_env", value: |config| config.token_env.clone().map(Value::from) },
    Key { path: "connections", option: "connections", value: |config| Some(number(config.connections)) },
    Key { path: "tls_cert", option: "tls_cert", value: |config| shown(config.tls_cert.as_deref()) },
    Key { path: "tls_key", option: "tls_key", value: |config| shown(config.tls_key.as_deref()) },
    Key {
        path: "tls_client_ca",
        option: "tls_client_ca",
        value: |config| shown(config.tls_client_ca.as_deref()),
    },
    Key {
        path: "grace",
        option: "grace",
        value: |config| Some(humantime::format_duration(config.grace).to_string().into()),
    },
    Key {
        path: "reader_patience",
        option: "reader_patience",
        value: |config| Some(humantime::format_duration(config.reader_patience).to_string().into()),
    },
    Key {
        path: "metrics_listen",
        option: "metrics_listen",
        value: |config| config.metrics_listen.as_ref().map(|address| address.as_str().into()),
    },
    Key { path: "log", option: "log", value: |config| Some(config.log.as_str().into()) },
    Key { path: "log_format", option: "log_format", value: |config| Some(config.log_format.name().into()) },
    Key {
        path: "onnx.provider",
        option: "provider",
        value: |config| Some(config.onnx.provider.to_string().into()),
    },
    Key { path: "onnx.threads", option: "threads", value: |config| Some(number(config.onnx.threads)) },
    Key { path: "onnx.kernels", option: "kernels", value: |config| Some(config.onnx.kernels.name().into()) },
    Key {
        path: "onnx.onnxruntime",
        option: "onnxruntime",
        value: |config| shown(config.onnx.library.as_deref()),
    },
];

/// The configuration that `serve` with these options would have, as TOML with comments. No secret is in it: of the token
/// only the name of its variable.
pub fn explain(mut raw: Serve) -> Result<String, ConfigError> {
    let file = raw.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
    let given = std::mem::take(&mut raw.given);
    let config = ResolvedServe::new(raw.or(file.values))?;
    let (mut lines, mut table) = (Vec::new(), "");
    for Key { path, option, value } in KEYS {
        let (group, name) = path.rsplit_once('.').unwrap_or(("", path));
        if group != table {
            table = group;
            lines.push(format!("\n[{group}]"));
        }
        let in_file = || file.keys.iter().any(|key| key == path).then_some(Origin::File);
        let origin = given.get(option).or_else(in_file).unwrap_or(Origin::Default);
        lines.push(match value(&config) {
            Some(value) => format!("{name} = {value} # {origin}"),
            None => format!("# {name} is not set"),
        });
    }
    Ok(lines.join("\n") + "\n")
}

fn shown(path: Option<&Path>) -> Option<Value> {
    path.map(|path| path.display().to_string().into())
}

fn number(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::config::{Command, command, parse_from};

    fn serve(args: &[&str]) -> Serve {
        match parse_from(["reference-sidecar", "config"].iter().chain(args)).unwrap() {
            Command::Config(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_printed_is_a_file_that_says_the_same() {
        let args = [
            "--listen=127.0.0.1:0",
            "--models=m",
            "--slots=3",
            "--grace=90s",
            "--threads=2",
            "--log-format=json",
        ];
        let printed = explain(serve(&args)).unwrap();
        assert!(
            printed.contains("slots = 3 # flag") && printed.contains("queue = 1024 # default"),
            "{printed}"
        );
        let read = File::parse(&printed).unwrap().values;
        let again = ResolvedServe::new(read).unwrap();
        assert_eq!(again.slots, Some(3));
        for Key { path, value, .. } in KEYS {
            let first = ResolvedServe::new(serve(&args)).unwrap();
            assert_eq!(value(&again), value(&first), "{path}");
        }
    }

    #[test]
    fn each_value_tells_where_it_comes_from() {
        let path = std::env::temp_dir().join(format!("sidecar-keys-{}.toml", std::process::id()));
        fs::write(&path, "queue = 7\nslots = 5\n[onnx]\nthreads = 9\n").unwrap();
        let printed = explain(serve(&["--config", path.to_str().unwrap(), "--slots=2"]));
        fs::remove_file(&path).unwrap();
        let printed = printed.unwrap();
        for line in
            ["slots = 2 # flag", "queue = 7 # file", "threads = 9 # file", "grace = \"30s\" # default"]
        {
            assert!(printed.contains(line), "{line} is not in\n{printed}");
        }
    }

    #[test]
    fn every_option_of_serve_is_a_key_and_every_key_an_option() {
        let keys: BTreeSet<_> = KEYS.iter().map(|key| key.option).collect();
        let command = command();
        let arguments = command.find_subcommand("serve").unwrap().get_arguments();
        let options: BTreeSet<_> = arguments.map(|arg| arg.get_id().as_str()).collect();
        let options: BTreeSet<_> = options.difference(&["config", "help"].into()).copied().collect();
        assert_eq!(keys, options);
    }

    #[test]
    fn the_guide_has_a_row_for_every_key() {
        let guide = include_str!("../../../docs/guides/sidecar.md");
        let command = command();
        let mut missing = Vec::new();
        for key in KEYS {
            let mut arguments = command.find_subcommand("serve").unwrap().get_arguments();
            let argument = arguments.find(|argument| argument.get_id() == key.option).unwrap();
            let help = argument.get_help().unwrap().to_string();
            let (help, default) = help.split_once(" [default: ").expect("the help tells the default");
            let default = default.trim_end_matches(']');
            let (flag, variable) = (argument.get_long().unwrap(), argument.get_env().unwrap().display());
            let row = format!("| `{}` | `--{flag}` | `{variable}` | {default} | {help} |", key.path);
            if !guide.contains(&row) {
                missing.push(row);
            }
        }
        assert!(missing.is_empty(), "docs/guides/sidecar.md lacks these rows:\n{}", missing.join("\n"));
    }
}
