//! SAMPLING-004.

use ai_inference_proto::{Dialect, GenerationRequest};
use bytes::Bytes;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, Conformant},
    probe::{Probe, StreamItem},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A negative max_new_tokens (int32 on the wire) is INVALID_ARGUMENT.
    ///
    /// # Why it matters
    /// A -1 that is read as an unsigned number asks for four billion tokens: one careless client occupies a slot
    /// for days.
    ///
    /// # How it is checked
    /// Requests with max_new_tokens of -1 and of the smallest int32 must be refused with INVALID_ARGUMENT before
    /// any response; then the server must still serve. In `cy.llm` the field is unsigned and the requirement cannot
    /// be seen.
    ///
    /// # What a violation looks like
    /// Text comes, and goes on coming.
    ///
    /// # References
    /// Contract, SAMPLING-004; Protocol Buffers, "Encoding" (a negative int32 is ten bytes).
    id: "SAMPLING-004",
    level: Must,
    dialects: [Contract],
    since: "0.1.0",
    title: "a negative max_new_tokens is INVALID_ARGUMENT",
    check: check,
    mutant: ReadAsUnsigned, fault: "a negative bound is read as 4 billion", seen_as: "-1",
}

async fn check(probe: &Probe) -> Judgement {
    for bound in [-1, i64::from(i32::MIN)] {
        let request = probe.request(bound);
        let mut stream = probe.stream().await?;
        stream.send(&request);
        stream.half_close();
        let StreamItem::End(end) = stream.next().await else {
            stream.cancel(); // reading on could take for ever: the first response says it all
            return probe.assert(false, || format!("max_new_tokens = {bound} was served, not refused"));
        };
        probe.assert(end.code() == Some(Code::InvalidArgument), || {
            format!("max_new_tokens = {bound} {}, not INVALID_ARGUMENT", end.told())
        })?;
    }
    probe.still_serves("a negative max_new_tokens").await
}

#[derive(Default)]
struct ReadAsUnsigned;

impl Behaviour for ReadAsUnsigned {
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        let mut request = Conformant.decode(dialect, bytes)?;
        if let Some(sampling) = &mut request.sampling {
            sampling.max_new_tokens &= i64::from(u32::MAX);
        }
        Ok(request)
    }
}
