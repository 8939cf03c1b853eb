//! W3C Trace Context: every call of a check carries the check's trace id, so that its spans can be found in a target's
//! own traces.

use http::{HeaderName, HeaderValue};
use uuid::Uuid;

/// A check's trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    id: Uuid,
}

impl Trace {
    /// A trace that no other check has, in this run or in another.
    pub(super) fn new() -> Self {
        Self { id: Uuid::new_v4() }
    }

    /// As reports show it: 32 hexadecimal digits.
    pub(super) fn id(self) -> String {
        self.id.simple().to_string()
    }

    /// The header of one call, with a span of its own; sampled, so that the target keeps it.
    pub(super) fn header(self) -> (HeaderName, HeaderValue) {
        let (span, _) = Uuid::new_v4().as_u64_pair();
        let value = format!("00-{}-{:016x}-01", self.id(), span.max(1));
        let value = HeaderValue::try_from(value).expect("hexadecimal digits and dashes are a header's value");
        (HeaderName::from_static("traceparent"), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_check_share_the_trace_and_not_the_span() {
        let trace = Trace::new();
        let parts = || {
            let (name, value) = trace.header();
            assert_eq!(name, "traceparent");
            value.to_str().unwrap().split('-').map(str::to_owned).collect::<Vec<_>>()
        };
        let (first, second) = (parts(), parts());
        assert_eq!([first[0].as_str(), &first[1], &first[3]], ["00", &trace.id(), "01"]);
        assert_eq!((first[1].len(), first[2].len()), (32, 16));
        assert_eq!(first[1], second[1]);
        assert_ne!(first[2], second[2]);
    }
}
