//! A request of a check as a grpcurl command, so that a person can send it by hand.
//!
//! Talks to: the dialect's schema. Shows nothing rather than a command that would send something else: requests with
//! unknown fields, broken messages and methods that the schema lacks have no command.

use ai_inference_proto::Dialect;
use prost_reflect::{DescriptorPool, DynamicMessage};
use wire::Address;

use super::{Endpoint, record::SentRequest};

/// The last request that holds what the reason quotes, or the last one.
pub(super) fn command(
    endpoint: &Endpoint,
    requests: &[SentRequest],
    reason: &str,
    reflected: bool,
) -> Option<String> {
    let shown: Vec<_> = requests.iter().filter_map(|request| Some((request, json(request)?))).collect();
    let quoted: Vec<_> = reason.split('"').skip(1).step_by(2).filter(|text| text.len() >= QUOTED).collect();
    let about = shown.iter().rev().find(|(_, json)| quoted.iter().any(|text| json.contains(text)));
    let (request, json) = about.or(shown.last())?;
    let (service, method) = service_and_method(&request.path)?;
    let mut words = vec!["grpcurl".to_owned()];
    words.extend(transport(endpoint));
    if !reflected {
        let (folder, file) = match Dialect::of_service(service)? {
            Dialect::Contract => ("proto/contract", "ai_inference.proto"),
            Dialect::CyLlm => ("proto/cy_llm", "ai_service.proto"),
        };
        words.push(format!("-import-path {folder} -proto {file}"));
    }
    if endpoint.token.is_some() {
        // Left to the environment, as everywhere: reports are shared.
        words.push("-H \"authorization: Bearer $CONFORMANCE_TOKEN\"".to_owned());
    }
    for (key, value) in &endpoint.metadata {
        let value = value.to_str().ok()?;
        words.push(format!("-H {}", quoted_for_shell(&format!("{key}: {value}"))));
    }
    words.push(format!("-d {}", quoted_for_shell(json)));
    words.push(address(endpoint.addresses.first()?));
    words.push(format!("{service}/{method}"));
    Some(words.join(" "))
}

/// The request in protobuf's JSON, if that is all of it.
fn json(request: &SentRequest) -> Option<String> {
    let (service, method) = service_and_method(&request.path)?;
    let pool = DescriptorPool::decode(Dialect::of_service(service)?.descriptor_set()).ok()?;
    let input = pool.get_service_by_name(service)?.methods().find(|m| m.name() == method)?.input();
    let message = DynamicMessage::decode(input, request.message.as_slice()).ok()?;
    if message.unknown_fields().next().is_some() {
        return None;
    }
    serde_json::to_string(&message).ok()
}

fn service_and_method(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.rsplit_once('/')
}

fn transport(endpoint: &Endpoint) -> Vec<String> {
    match endpoint.addresses.first() {
        Some(Address::Tls { .. }) => endpoint.tls.options().iter().filter_map(tls_option).collect(),
        Some(Address::Unix(_)) => vec!["-plaintext -unix".to_owned()],
        Some(Address::Tcp { .. }) | None => vec!["-plaintext".to_owned()],
    }
}

/// grpcurl's name for one of the suite's TLS options.
fn tls_option((option, value): &(&'static str, String)) -> Option<String> {
    let name = match *option {
        "--tls-ca" => "-cacert",
        "--tls-cert" => "-cert",
        "--tls-key" => "-key",
        "--tls-server-name" => "-servername",
        "--insecure" => return Some("-insecure".to_owned()),
        _ => return None,
    };
    Some(format!("{name} {}", quoted_for_shell(value)))
}

fn address(address: &Address) -> String {
    let host_and_port = |host: &str, port: u16| {
        if host.contains(':') { format!("'[{host}]:{port}'") } else { format!("{host}:{port}") }
    };
    match address {
        Address::Unix(path) => quoted_for_shell(&path.display().to_string()),
        Address::Tcp { host, port } | Address::Tls { host, port } => host_and_port(host, *port),
    }
}

fn quoted_for_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Shorter quotations are everywhere.
const QUOTED: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ai_inference_proto::contract;
    use prost::Message as _;
    use wire::Tls;

    use super::*;

    fn health(trace_id: &str) -> SentRequest {
        let message = contract::WorkerHealthRequest { trace_id: trace_id.to_owned() }.encode_to_vec();
        SentRequest { path: "/AiInference/Health".to_owned(), message }
    }

    fn endpoint(address: &str) -> Endpoint {
        Endpoint {
            addresses: vec![address.parse().unwrap()],
            tls: Tls::default(),
            dialect: Dialect::Contract,
            documented: Dialect::Contract,
            model: String::new(),
            token: None,
            metadata: vec![],
            prompts: vec![],
            patience: Duration::from_secs(1),
            instances: None,
            seen: crate::probe::Seen::default(),
        }
    }

    #[test]
    fn the_request_that_the_reason_quotes_is_shown() {
        let requests = [health("it's one"), health("two-2")];
        let shown = |reason| command(&endpoint("127.0.0.1:50051"), &requests, reason, true).unwrap();
        assert_eq!(
            shown("nothing is quoted"),
            "grpcurl -plaintext -d '{\"traceId\":\"two-2\"}' 127.0.0.1:50051 AiInference/Health"
        );
        assert!(shown("the answer carries \"it's one\"").contains("{\"traceId\":\"it'\\''s one\"}"));
    }

    #[test]
    fn socket_token_and_schema_are_named() {
        let with_token = Endpoint { token: Some("secret".into()), ..endpoint("unix:///run/a.sock") };
        let shown = command(&with_token, &[health("x")], "", false).unwrap();
        assert_eq!(
            shown,
            "grpcurl -plaintext -unix -import-path proto/contract -proto ai_inference.proto \
             -H \"authorization: Bearer $CONFORMANCE_TOKEN\" -d '{\"traceId\":\"x\"}' '/run/a.sock' AiInference/Health"
        );
    }

    #[test]
    fn what_grpcurl_would_not_send_alike_is_not_shown() {
        let mut unknown_field = health("x");
        unknown_field.message.extend([0xf8, 0x07, 0x01]);
        let mut broken = health("x");
        broken.message.pop();
        let elsewhere = SentRequest { path: "/AiInference/Nothing".to_owned(), ..health("x") };
        for request in [unknown_field, broken, elsewhere] {
            assert_eq!(command(&endpoint("127.0.0.1:1"), &[request], "", true), None);
        }
    }
}
