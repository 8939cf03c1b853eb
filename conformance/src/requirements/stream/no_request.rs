//! STREAM-009.

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{exemplar::Behaviour, probe::Probe, requirement::Judgement};

crate::requirement! {
    /// # Requirement
    /// A stream that is half-closed with no request ends with INVALID_ARGUMENT.
    ///
    /// # Why it matters
    /// A client that opened a stream and sent nothing has a bug. OK would tell it that an empty text is the model's
    /// answer.
    ///
    /// # How it is checked
    /// A stream is opened and half-closed. It must end with INVALID_ARGUMENT; then the server must still serve.
    ///
    /// # What a violation looks like
    /// OK without any response; or a hang.
    ///
    /// # References
    /// Contract, STREAM-009.
    id: "STREAM-009",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a stream without a request is INVALID_ARGUMENT",
    check: check,
    mutant: EmptyIsOk, fault: "a stream without a request ends OK", seen_as: "OK",
}

async fn check(probe: &Probe) -> Judgement {
    let mut stream = probe.stream().await?;
    stream.half_close();
    let generation = stream.finish(GenerationRequest::default()).await;
    generation.refused(&[Code::InvalidArgument], "a stream half-closed without a request")?;
    probe.assert(true, String::new)?;
    probe.still_serves("a stream without a request").await
}

#[derive(Default)]
struct EmptyIsOk;

impl Behaviour for EmptyIsOk {
    fn no_request(&self) -> Result<(), Status> {
        Ok(())
    }
}
