//! ERROR-009.

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{Generation, Probe, quote, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// An adapter path that leaves the adapter root (`../`, absolute) is refused and tells nothing about the file system.
    ///
    /// # Why it matters
    /// The adapter is a name that a client writes. Where it is used as a path as it is, a client can make the server read any
    /// file, or find out which files there are.
    ///
    /// # How it is checked
    /// Requests name adapters that leave any root: absolute paths, and many times `../` before them, some of them behind a plain
    /// name or with a backslash, to files and folders that a host has (`/etc/passwd`, `/tmp`) and to others of the same length
    /// that no host has. Each must be refused with NOT_FOUND, INVALID_ARGUMENT or PERMISSION_DENIED before any response. Each pair
    /// of an existing and a missing path must have the same status code, and the same message once names and numbers are taken
    /// out of it; a message that changes from one call to the next is not compared. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// "no such file" for a path that is not there, and "not an adapter" for one that is; or the base model's text.
    ///
    /// # References
    /// Contract, ERROR-009 and ERROR-008; CWE-22 (path traversal) and CWE-203 (observable discrepancy).
    id: "ERROR-009",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an adapter path that leaves its root is refused and tells nothing",
    check: check,
    mutant: TellsWhatIsThere, fault: "the message says whether the file exists", seen_as: "tells which files there are",
}

/// A path that hosts have, and one of the same length that none has.
const PAIRS: [(&str, &str); 3] =
    [("/etc/passwd", "/etc/passw7"), ("/tmp", "/tm9"), ("/etc/hosts", "/etc/h0sts")];
/// What stands before them; enough steps up from any root.
const BEFORE: [&str; 4] = [
    "",
    "../../../../../../../../../..",
    "adapter/../../../../../../../../../../..",
    r"..\..\..\..\..\..\..\..",
];
const ACCEPTED: [Code; 3] = [Code::NotFound, Code::InvalidArgument, Code::PermissionDenied];

async fn check(probe: &Probe) -> Judgement {
    for before in BEFORE {
        for (there, missing) in PAIRS {
            let slashes =
                |path: &str| if before.contains('\\') { path.replace('/', r"\") } else { path.to_owned() };
            let (there, missing) = (slashes(there), slashes(missing));
            let of_there = refusal(probe, &format!("{before}{there}")).await?;
            let of_missing = refusal(probe, &format!("{before}{missing}")).await?;
            let again = refusal(probe, &format!("{before}{there}")).await?;
            if of_there.told != again.told {
                continue; // it says something else each time
            }
            probe.assert(of_there.told == of_missing.told, || {
                format!(
                    "the adapter {} was answered {}, and {} was answered {}: the difference tells which files there are",
                    quote(&of_there.adapter, 80),
                    of_there.end,
                    quote(&of_missing.adapter, 80),
                    of_missing.end
                )
            })?;
        }
    }
    probe.still_serves("adapters that leave their root").await
}

/// How one adapter was refused.
struct Refusal {
    adapter: String,
    end: End,
    /// The code and the message without names and numbers.
    told: (Option<Code>, String),
}

async fn refusal(probe: &Probe, adapter: &str) -> Result<Refusal, NotPassed> {
    let request = GenerationRequest { adapter: adapter.to_owned(), ..probe.request(4) };
    let Generation { request, responses, end } = probe.predict(request).await?;
    if end.is_full() {
        return Err(NotPassed::Inconclusive(format!(
            "a request with an adapter {}: nothing was looked at",
            end.told()
        )));
    }
    let refused = end.code().is_some_and(|code| ACCEPTED.contains(&code)) && responses.is_empty();
    probe.assert(refused, || {
        format!(
            "the adapter {} {} after {} responses, not NOT_FOUND or INVALID_ARGUMENT before any",
            quote(adapter, 80),
            end.told(),
            responses.len()
        )
    })?;
    let message = match &end {
        End::Status(status) => without_names(&status.message, adapter, request.trace_id()),
        _ => String::new(),
    };
    Ok(Refusal { adapter: adapter.to_owned(), told: (end.code(), message), end })
}

/// A message in which the path, its parts, the trace_id and all numbers are left out: what is left is what the server says.
fn without_names(message: &str, adapter: &str, trace_id: &str) -> String {
    let mut message =
        message.replace(trace_id, "").replace(adapter, "").replace(&adapter.replace('\\', r"\\"), "");
    for part in adapter.split(['/', '\\']).filter(|part| part.chars().any(char::is_alphanumeric)) {
        message = message.replace(part, "");
    }
    message.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Looks whether the file is there before it refuses.
#[derive(Default)]
struct TellsWhatIsThere;

impl Behaviour for TellsWhatIsThere {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let path = std::path::Path::new("/").join(request.adapter.trim_start_matches("../"));
        if !request.adapter.is_empty() && path.exists() {
            return Err(Status::not_found("the adapter has no adapter_config.json"));
        }
        state.admit(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_message_has_no_names() {
        let left = |message: &str, adapter: &str| without_names(message, adapter, "trace-1");
        assert_eq!(
            left("adapter /etc/passwd not found (trace-1, 17 ms)", "/etc/passwd"),
            left("adapter /etc/passw7 not found (trace-1, 4 ms)", "/etc/passw7")
        );
        assert_eq!(
            left("no 'passwd' in /root", "../etc/passwd"),
            left("no 'passw7' in /root", "../etc/passw7")
        );
        assert_ne!(left("/tmp is a directory", "/tmp"), left("/tm9 is not there", "/tm9"));
    }
}
