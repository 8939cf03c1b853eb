//! Follows one answer and says what is wrong with it: trace, index, end and text. Pure.

use ai_inference_proto::GenerationResponse;

/// What has been seen of one answer.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    trace_id: &'a str,
    /// The text that the prompt gives alone.
    expected: &'a str,
    /// Bytes of it that came.
    came: usize,
    index: i64,
    ended: bool,
}

impl<'a> Follower<'a> {
    pub(crate) const fn new(trace_id: &'a str, expected: &'a str) -> Self {
        Self { trace_id, expected, came: 0, index: 0, ended: false }
    }

    /// Takes the next response.
    pub(crate) fn take(&mut self, response: &GenerationResponse) -> Result<(), String> {
        let GenerationResponse { trace_id, chunk, end_of_stream, index, .. } = response;
        if self.ended {
            return Err(format!("response {index} came after the last one"));
        }
        if trace_id != self.trace_id {
            return Err(format!("a response of {trace_id} came in the answer to {}", self.trace_id));
        }
        if *index != self.index {
            return Err(format!("index {index} came where {} was due", self.index));
        }
        let rest = self.expected.get(self.came..).unwrap_or_default();
        if !rest.starts_with(chunk.as_str()) {
            return Err(format!("{chunk:?} came at byte {} where {:?} was due", self.came, start(rest)));
        }
        self.came += chunk.len();
        self.index += 1;
        self.ended = *end_of_stream;
        Ok(())
    }

    /// The call has ended with OK: all must be there.
    pub(crate) fn finish(self) -> Result<(), String> {
        if !self.ended {
            return Err("the call ended with OK and without a last response".to_owned());
        }
        match self.expected.get(self.came..) {
            Some("") => Ok(()),
            rest => Err(format!("{:?} never came", start(rest.unwrap_or_default()))),
        }
    }
}

/// Enough to recognise it by.
fn start(text: &str) -> String {
    text.chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(trace_id: &str, index: i64, chunk: &str, end_of_stream: bool) -> GenerationResponse {
        let (trace_id, chunk) = (trace_id.to_owned(), chunk.to_owned());
        GenerationResponse { trace_id, chunk, end_of_stream, index, ..GenerationResponse::default() }
    }

    fn follow(responses: &[GenerationResponse]) -> Result<(), String> {
        let mut follower = Follower::new("a", "one two");
        responses.iter().try_for_each(|response| follower.take(response))?;
        follower.finish()
    }

    #[test]
    fn a_whole_answer_is_right() {
        assert_eq!(follow(&[response("a", 0, "one ", false), response("a", 1, "two", true)]), Ok(()));
    }

    #[test]
    fn every_fault_is_seen() {
        let one = || response("a", 0, "one ", false);
        let faults = [
            ("a stream's chunk in another", vec![response("b", 0, "one ", false)]),
            ("an index left out", vec![one(), response("a", 2, "two", true)]),
            ("another text", vec![one(), response("a", 1, "six", true)]),
            ("more text", vec![one(), response("a", 1, "two three", true)]),
            ("less text", vec![response("a", 0, "one ", true)]),
            ("no end", vec![one(), response("a", 1, "two", false)]),
            ("a response after the end", vec![response("a", 0, "one two", true), response("a", 1, "", true)]),
            ("nothing at all", vec![]),
        ];
        for (name, responses) in faults {
            assert!(follow(&responses).is_err(), "{name}");
        }
    }
}
