//! Several addresses are one endpoint's doors: whether the same server is behind all of them.

use std::{collections::BTreeMap, sync::Arc};

use present::text::visible;

use crate::probe::{Endpoint, Probe};

/// What a server says of itself that does not change while it runs. What it does not say is not compared.
type Identity = BTreeMap<String, String>;

/// Asks the server behind each address who it is. Says that they are one endpoint's doors; two servers are an error.
pub(super) async fn one_server(endpoint: &Endpoint) -> Result<Option<String>, String> {
    let [first, others @ ..] = endpoint.addresses.as_slice() else { return Ok(None) };
    if others.is_empty() {
        return Ok(None);
    }
    let behind_first = identity(endpoint, 0).await;
    for (number, other) in others.iter().enumerate() {
        let behind_other = identity(endpoint, number + 1).await;
        if let Some(difference) = difference(&behind_first, &behind_other) {
            return Err(format!(
                "{first} and {other} are two different servers ({difference}). Several addresses are the doors of one \
                 endpoint, such as its Unix socket and its TCP port; judge two servers in two runs"
            ));
        }
    }
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    Ok(Some(format!("{first} and {} are taken as the doors of one endpoint", others.join(" and "))))
}

async fn identity(endpoint: &Endpoint, number: usize) -> Identity {
    let door = Endpoint { addresses: vec![endpoint.addresses[number].clone()], ..endpoint.clone() };
    let probe = Probe::new(Arc::new(door), 0);
    let mut identity = Identity::new();
    if let Ok(health) = probe.health(TRACE).await
        && let Ok(answer) = health.ok()
    {
        let metrics = &answer.metrics;
        let names: Vec<_> = metrics.keys().map(String::as_str).collect();
        identity.insert("the names of Health's metrics".to_owned(), names.join(", "));
        let constant = metrics.iter().filter(|(name, _)| CONSTANT.contains(&name.as_str()));
        identity.extend(constant.map(|(name, value)| (format!("Health's {name}"), value.clone())));
    }
    if let Ok(answer) = probe.control(TRACE, "list_models", &[]).await
        && let Ok(answer) = answer.ok()
        && let Some(models) = answer.payload.get("models")
    {
        let mut models: Vec<_> = models.split(',').map(str::trim).collect();
        models.sort_unstable();
        identity.insert("list_models".to_owned(), models.join(", "));
    }
    identity
}

/// The first thing that both say, and say differently.
fn difference(one: &Identity, other: &Identity) -> Option<String> {
    let (name, here, there) = one.iter().find_map(|(name, here)| {
        other.get(name).filter(|there| *there != here).map(|there| (name, here, there))
    })?;
    Some(format!("{name}: {:?} and {:?}", visible(here), visible(there)))
}

/// Metrics that name the server, and not what it is doing.
const CONSTANT: [&str; 6] = ["backend", "version", "instance", "hostname", "pid", "started_at"];
const TRACE: &str = "conformance-doors";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_say_is_compared() {
        let identity = |said: &[(&str, &str)]| -> Identity {
            said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let one = identity(&[("backend", "a"), ("version", "1")]);
        assert_eq!(difference(&one, &identity(&[("backend", "a")])), None);
        assert_eq!(
            difference(&one, &Identity::new()),
            None,
            "a server that does not answer is the checks' matter"
        );
        let found = difference(&one, &identity(&[("backend", "a"), ("version", "2")])).unwrap();
        assert_eq!(found, r#"version: "1" and "2""#);
    }
}
