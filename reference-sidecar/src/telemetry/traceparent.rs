//! W3C trace context: a caller's `traceparent` and `tracestate`. Read strictly, as the recommendation asks; what is not
//! exactly right is as good as not there, and the call goes on without it.

use std::fmt;

use tonic::metadata::MetadataMap;

/// The caller's span, which is to be the parent of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace's id, never zero.
    pub trace_id: u128,
    /// The parent span's id, never zero.
    pub span_id: u64,
    /// Bit 0: the caller samples.
    pub flags: u8,
    /// For other vendors, to be handed on as it is; may be empty.
    pub state: String,
}

impl TraceParent {
    /// What a call's metadata says. A header that is there twice says nothing.
    pub fn of(metadata: &MetadataMap) -> Option<Self> {
        let mut given = metadata.get_all("traceparent").iter();
        let parent = Self::parse(given.next()?.to_str().ok()?)?;
        if given.next().is_some() {
            return None;
        }
        // Several lines are one list.
        let states = metadata.get_all("tracestate").iter().map(|value| value.to_str().unwrap_or_default());
        let state = states.filter(|state| !state.is_empty()).collect::<Vec<_>>().join(",");
        Some(Self { state: if state.len() > LONGEST_STATE { String::new() } else { state }, ..parent })
    }

    /// `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`; a later version may have more behind a further dash.
    fn parse(text: &str) -> Option<Self> {
        let (known, rest) = text.split_at_checked("00-".len() + 33 + 17 + 2)?;
        let mut parts = known.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32)?;
        let span_id = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let rest_is_right = rest.is_empty() || (version > 0 && rest.starts_with('-'));
        if parts.next().is_some() || version == 0xff || trace_id == 0 || span_id == 0 || !rest_is_right {
            return None;
        }
        let (span_id, flags) = (u64::try_from(span_id).ok()?, u8::try_from(flags).ok()?);
        Some(Self { trace_id, span_id, flags, state: String::new() })
    }
}

/// The trace's id, as logs show it.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace_id)
    }
}

/// Exactly so many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let right = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(right) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// What every vendor must hand on; a longer one may be dropped.
const LONGEST_STATE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_recommendations_own_example_is_read() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!(parent.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((parent.span_id, parent.flags), (0xb7ad_6b71_6920_3331, 1));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = GOOD.replacen("00", "cc", 1);
        assert!(TraceParent::parse(&later).is_some());
        assert!(TraceParent::parse(&format!("{later}-what-the-future-is-like")).is_some());
        assert!(TraceParent::parse(&format!("{later}.what")).is_none());
    }

    #[test]
    fn what_is_not_exactly_right_is_ignored() {
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace('-', "_"),
            &format!("{GOOD}-more"),
            &format!("{GOOD} "),
            &format!(" {GOOD}"),
            &GOOD[..GOOD.len() - 1],
            &GOOD.replace("0af7", "0xf7"),
            &GOOD.replace("0af7", "+af7"),
            &GOOD.replace("0af7", "0ä7"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c8031-9cb7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn metadata_may_say_it_once() {
        let mut metadata = MetadataMap::new();
        assert_eq!(TraceParent::of(&metadata), None);
        metadata.insert("traceparent", GOOD.parse().unwrap());
        metadata.append("tracestate", "a=1".parse().unwrap());
        metadata.append("tracestate", "b=2".parse().unwrap());
        assert_eq!(TraceParent::of(&metadata).unwrap().state, "a=1,b=2");
        metadata.append("traceparent", GOOD.parse().unwrap());
        assert_eq!(TraceParent::of(&metadata), None);
    }
}
