//! How `-H 'key: value'` is read: metadata that goes with every call.

use http::{HeaderName, HeaderValue};
use present::secrets::is_secret;

/// A key in lower case and its value, which is sensitive where the key is named like a secret.
pub(super) fn metadata(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let expected = "expected 'key: value', such as 'x-tenant: blue'";
    let (key, value) = text.split_once(':').filter(|(key, _)| !key.is_empty()).ok_or(expected)?;
    let key = key.trim();
    let name: HeaderName = key.parse().map_err(|_| format!("{key:?} is not a metadata key; {expected}"))?;
    if name == http::header::AUTHORIZATION {
        return Err("the token is given by --token or, better, by CONFORMANCE_TOKEN".to_owned());
    }
    if OURS.contains(&name.as_str()) || name.as_str().starts_with("grpc-") {
        return Err(format!("{name} is set by this program"));
    }
    let mut value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("the value of {name} holds characters that no header may have"))?;
    value.set_sensitive(is_secret(name.as_str()));
    Ok((name, value))
}

/// Keys that this program sets, besides all that begin with `grpc-`.
const OURS: [&str; 6] = ["connection", "content-type", "host", "te", "traceparent", "user-agent"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_value_are_metadata() {
        let (key, value) = metadata("X-Tenant: blue: sky ").unwrap();
        assert_eq!(
            (key.as_str(), value.to_str().unwrap(), value.is_sensitive()),
            ("x-tenant", "blue: sky", false)
        );
        let (_, value) = metadata("x-api-key:abc").unwrap();
        assert!(value.is_sensitive());
    }

    #[test]
    fn what_no_call_can_carry_is_refused_with_the_cure() {
        for (text, words) in [
            ("x-tenant", "expected 'key: value'"),
            (":path: /x", "expected 'key: value'"),
            ("x tenant: 1", "is not a metadata key"),
            ("Authorization: Bearer a", "CONFORMANCE_TOKEN"),
            ("grpc-timeout: 1S", "set by this program"),
            ("te: trailers", "set by this program"),
            ("x-tenant: a\nb", "characters that no header may have"),
        ] {
            let why = metadata(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
