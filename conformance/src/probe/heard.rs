//! What the target tells beside the text of its generations, looked through for leaks as it comes: one store for a whole
//! run, bounded, to which the probes of all checks report.
//!
//! Talks to: [`super::leaks`], which finds. What is no leak at all is told to it: what the client itself has sent, and what
//! is public by the run.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use present::secrets::Redactor;
use wire::{STATUS_MESSAGE, quote};

use super::{Endpoint, leaks};

/// Bytes of one text that are looked through.
const LONGEST: usize = 64 << 10;
/// Different findings that are kept; the first is what a reader needs.
const MOST_FINDINGS: usize = 64;
/// Texts that are known to be innocent and not looked through again.
const MOST_INNOCENT: usize = 4096;
/// Names that are public, and the bytes of one.
const MOST_PUBLIC: usize = 256;
const LONGEST_PUBLIC: usize = 512;
/// Requests of a check that are kept, and the bytes of one: a server that repeats them says nothing of itself.
const MOST_SENT: usize = 32;
const LONGEST_SENT: usize = 4096;
/// Shorter secrets are found in ordinary words.
const SHORTEST_SECRET: usize = 8;
/// Characters around a finding that a reason shows.
const BEFORE: usize = 60;
const SHOWN: usize = 200;

/// The store of a run; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    store: Arc<Mutex<Store>>,
}

#[derive(Debug, Default)]
struct Store {
    findings: Vec<Finding>,
    innocent: HashSet<u64>,
    public: BTreeSet<String>,
}

/// One leak, and where it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    check: &'static str,
    call: String,
    place: String,
    what: &'static str,
    path: String,
    excerpt: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, call, place, what, excerpt, .. } = self;
        write!(f, "{place} of a call of {call} (in the check {check}) carries {what}: {excerpt}")
    }
}

/// What kind of words a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// Of an error, or metadata: neither traces, secrets nor paths may be in it.
    OfError,
    /// Of an answer that is no error: a path may be what was asked for.
    OfAnswer,
}

impl Heard {
    /// What was found so far, without the paths that are public.
    pub fn leaks(&self) -> Vec<Finding> {
        let store = self.lock();
        let public = |path: &str| !path.is_empty() && store.public.iter().any(|name| name.contains(path));
        store.findings.iter().filter(|finding| !public(&finding.path)).cloned().collect()
    }

    /// A name that everyone may know, such as a model's or an address.
    pub(super) fn publish(&self, name: &str) {
        let mut store = self.lock();
        if store.public.len() < MOST_PUBLIC && (1..=LONGEST_PUBLIC).contains(&name.len()) {
            store.public.insert(name.to_owned());
        }
    }

    fn add(&self, finding: Finding) {
        let mut store = self.lock();
        let known = store.findings.iter().any(|f| {
            (f.what, &f.place, &f.path, &f.call)
                == (finding.what, &finding.place, &finding.path, &finding.call)
        });
        if !known && store.findings.len() < MOST_FINDINGS {
            store.findings.push(finding);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One check's ears.
#[derive(Debug)]
pub(super) struct Ears {
    heard: Heard,
    check: &'static str,
    secrets: Vec<String>,
    redactor: Redactor,
    sent: Mutex<VecDeque<Vec<u8>>>,
}

impl Ears {
    pub(super) fn new(heard: Heard, check: &'static str, endpoint: &Endpoint) -> Self {
        heard.publish(&endpoint.model);
        for address in &endpoint.addresses {
            heard.publish(&address.to_string());
        }
        let (sensitive, open): (Vec<_>, Vec<_>) =
            endpoint.metadata.iter().map(|(_, value)| value).partition(|value| value.is_sensitive());
        open.iter().filter_map(|value| value.to_str().ok()).for_each(|value| heard.publish(value));
        let values = sensitive.iter().filter_map(|value| value.to_str().ok());
        let secrets: Vec<_> =
            endpoint.token.as_deref().into_iter().chain(values).map(str::to_owned).collect();
        let secrets: Vec<_> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET).collect();
        let redactor = Redactor::new(secrets.iter().map(String::as_str));
        Self { heard, check, secrets, redactor, sent: Mutex::default() }
    }

    pub(super) fn store(&self) -> &Heard {
        &self.heard
    }

    /// The client has sent this.
    pub(super) fn sent(&self, message: &[u8]) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push_back(message[..message.len().min(LONGEST_SENT)].to_vec());
        if sent.len() > MOST_SENT {
            sent.pop_front();
        }
    }

    /// The target has told this, under this name, about a call.
    pub(super) fn hear(&self, call: &str, name: &str, text: &str, words: Words) {
        let mut hasher = DefaultHasher::new();
        (name, text, words == Words::OfError).hash(&mut hasher);
        let hash = hasher.finish();
        if self.heard.lock().innocent.contains(&hash) {
            return;
        }
        let decoded = name.ends_with("-bin").then(|| from_base64(text));
        let text = decoded.as_deref().unwrap_or(text);
        let text = &text[..text.floor_char_boundary(LONGEST)];
        let found = self.find(call, text, words);
        if found.is_empty() {
            let mut store = self.heard.lock();
            if store.innocent.len() < MOST_INNOCENT {
                store.innocent.insert(hash);
            }
        }
        for leaks::Leak { what, at, path } in found {
            let place = match name {
                STATUS_MESSAGE => "the status message".to_owned(),
                wire::HTTP_BODY => wire::HTTP_BODY.to_owned(),
                name => quote(name, 60),
            };
            let excerpt = quote(around(text, at), SHOWN);
            let call = call.to_owned();
            self.heard.add(Finding { check: self.check, call, place, what, path, excerpt });
        }
    }

    fn find(&self, call: &str, text: &str, words: Words) -> Vec<leaks::Leak> {
        if let Some(at) = self.secret(text) {
            return vec![leaks::Leak { what: "a secret that the client sent", at, path: String::new() }];
        }
        if let Some(trace) = leaks::trace(text) {
            return vec![trace];
        }
        if words == Words::OfAnswer {
            return Vec::new();
        }
        let mut paths = leaks::paths(text);
        paths.retain(|leak| !call.contains(&leak.path) && !self.was_sent(&leak.path));
        paths
    }

    fn was_sent(&self, path: &str) -> bool {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().any(|message| message.windows(path.len()).any(|part| part == path.as_bytes()))
    }

    /// Where a secret stands in the text, in whatever encoding. A longer word that only holds it, such as a wrong token
    /// that begins like the right one, is another word.
    fn secret(&self, text: &str) -> Option<usize> {
        let mut plain = text.to_owned();
        for secret in &self.secrets {
            let longer =
                |at: usize| plain[at + secret.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
            if let Some((at, _)) = plain.match_indices(secret.as_str()).find(|(at, _)| !longer(*at)) {
                return Some(at);
            }
            plain = plain.replace(secret.as_str(), "");
        }
        let redacted = self.redactor.text(&plain);
        (redacted != plain).then(|| redacted.bytes().zip(plain.bytes()).take_while(|(a, b)| a == b).count())
    }
}

/// The text near a place.
fn around(text: &str, at: usize) -> &str {
    &text[text.floor_char_boundary(at.saturating_sub(BEFORE))..]
}

/// What a binary value says, as far as it is text. Both alphabets, with padding or without.
fn from_base64(text: &str) -> String {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ears(heard: &Heard) -> Ears {
        let endpoint = Endpoint {
            addresses: vec!["unix:///tmp/public.sock".parse().unwrap()],
            tls: wire::Tls::default(),
            dialect: ai_inference_proto::Dialect::Contract,
            documented: ai_inference_proto::Dialect::Contract,
            model: String::new(),
            token: Some("s3cret-token".to_owned()),
            metadata: vec![],
            prompts: vec![],
            patience: std::time::Duration::from_secs(1),
            instances: None,
            seen: crate::probe::Seen::default(),
        };
        Ears::new(heard.clone(), "ERROR-001", &endpoint)
    }

    fn found(texts: &[(&str, &str)]) -> Vec<String> {
        let heard = Heard::default();
        let ears = ears(&heard);
        ears.sent(b"\x1a\x0b/etc/passwd");
        for (name, text) in texts {
            ears.hear("/AiInference/Control", name, text, Words::OfError);
        }
        heard.leaks().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_leak_is_kept_once_and_says_where_it_was_heard() {
        let leak = (STATUS_MESSAGE, "no file /home/a/b");
        let found = found(&[leak, leak]);
        assert_eq!(
            found,
            [
                "the status message of a call of /AiInference/Control (in the check ERROR-001) carries a path of the server's \
              host: \"no file /home/a/b\""
            ]
        );
    }

    #[test]
    fn what_the_client_sent_and_what_is_public_is_no_leak() {
        let message = "unknown adapter /etc/passwd on unix:///tmp/public.sock";
        assert_eq!(found(&[(STATUS_MESSAGE, message)]), Vec::<String>::new());
        assert_eq!(found(&[(STATUS_MESSAGE, "no /srv/adapters/etc/passwd")]).len(), 1);
    }

    #[test]
    fn secrets_are_found_and_longer_words_are_not() {
        assert_eq!(found(&[("x-echo", "Bearer s3cret-token")]).len(), 1);
        assert_eq!(found(&[("x-echo", "czNjcmV0LXRva2Vu")]).len(), 1, "in base64");
        assert_eq!(found(&[("x-echo", "no token s3cret-tokenx")]), Vec::<String>::new());
    }

    #[test]
    fn binary_metadata_is_read() {
        // A message with the text "Traceback (most recent call last)".
        let details = "CiFUcmFjZWJhY2sgKG1vc3QgcmVjZW50IGNhbGwgbGFzdCk";
        assert_eq!(found(&[("grpc-status-details-bin", details)]).len(), 1);
    }
}
