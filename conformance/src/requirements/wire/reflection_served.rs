//! WIRE-004.

use crate::{
    exemplar::Behaviour,
    probe::{Probe, Reflection, quote, refused},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Server reflection (grpc.reflection.v1, v1alpha tolerated) is served, because the seed's own check
    /// `grpcurl -plaintext HOST AiInference/Health` carries no proto file.
    ///
    /// # Why it matters
    /// The documented way to see whether a backend is compatible is one grpcurl line. Without reflection it fails
    /// with "server does not support the reflection API", and an operator at night has nothing.
    ///
    /// # How it is checked
    /// The list of services and the file that holds the service's symbol are asked for, by v1 and then by v1alpha.
    /// The service must be listed, its description must hold its methods, and a schema must be built from it as strictly
    /// as Go's protobuf, on which grpcurl stands, builds one: names that are names and resolve, imports that are there, map
    /// entries that are called after their fields.
    ///
    /// # What a violation looks like
    /// UNIMPLEMENTED to both reflection services; a list that does not name the service; or a description that grpcurl
    /// refuses with "failed to resolve symbol".
    ///
    /// # References
    /// Contract, WIRE-004; the interface contract, "Verify the connection"; gRPC Server Reflection Protocol.
    id: "WIRE-004",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "server reflection is served",
    check: check,
    mutant: NoReflection, fault: "no reflection service", seen_as: "reflection is not served",
}

async fn check(probe: &Probe) -> Judgement {
    let service = probe.dialect().service();
    let reflected = match probe.reflect(service).await? {
        Reflection::Served(reflected) => reflected,
        Reflection::Absent(answers) => {
            let answers: Vec<_> = answers.iter().map(|(by, end)| format!("{by} {}", end.told())).collect();
            return probe.assert(false, || format!("reflection is not served: {}", answers.join("; ")));
        }
    };
    probe.assert(reflected.services.iter().any(|s| s == service), || {
        format!("{} lists {}, and not {service}", reflected.by, few(&reflected.services))
    })?;
    let methods: Vec<&str> = reflected
        .files
        .iter()
        .flat_map(|f| &f.service)
        .flat_map(|s| &s.method)
        .map(prost_types::MethodDescriptorProto::name)
        .collect();
    for method in ["StreamPredict", "Control", "Health"] {
        probe.assert(methods.contains(&method), || match reflected.error.as_str() {
            "" => {
                let methods = few(&methods);
                format!("{} describes {service} with the methods {methods}, without {method}", reflected.by)
            }
            error => format!("{} does not describe {service}: {error}", reflected.by),
        })?;
    }
    let files = reflected.files;
    let why = tokio::task::spawn_blocking(move || refused(&files)).await;
    let why = why.map_err(|error| NotPassed::Harness(format!("building the schema broke: {error}")))?;
    probe.assert(why.is_none(), || {
        format!(
            "grpcurl cannot build a schema from what {} describes: {}",
            reflected.by,
            quote(&why.unwrap_or_default(), 400)
        )
    })
}

/// The first of a list that may be long.
fn few<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<_> = names.iter().take(8).map(|name| quote(name.as_ref(), 60)).collect();
    let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") + &more }
}

#[derive(Default)]
struct NoReflection;

impl Behaviour for NoReflection {
    fn reflection(&self) -> Option<Vec<Vec<u8>>> {
        None
    }
}
