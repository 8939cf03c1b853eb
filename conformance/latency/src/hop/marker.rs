//! What every message carries, so that both ends know which one it is: whatever a proxy does to ids and framing.

/// Number of a message, and of its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) generation: u32,
    pub(super) index: u32,
}

impl Mark {
    /// A chunk's text, exactly `length` bytes long.
    pub(super) fn text(self, length: usize) -> String {
        let mut text = format!("{:010}:{:010}:", self.generation, self.index);
        text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
        text
    }
}

/// The marks of a message's text: one, or several where messages were merged; `None` where it is not made of whole ones.
pub(super) fn marks(text: &[u8], length: usize) -> Option<Vec<Mark>> {
    if length < LEAST || !text.len().is_multiple_of(length) {
        return None;
    }
    text.chunks(length).map(mark).collect()
}

fn mark(text: &[u8]) -> Option<Mark> {
    let (head, rest) = text.split_at_checked(LEAST)?;
    let (generation, index) = std::str::from_utf8(head).ok()?.strip_suffix(':')?.split_once(':')?;
    let padded = rest.iter().all(|byte| *byte == b'.');
    padded.then_some(Mark { generation: generation.parse().ok()?, index: index.parse().ok()? })
}

/// The prompt that asks for a generation.
pub(super) fn prompt(generation: u32) -> String {
    format!("{ASK}{generation:010}]")
}

/// Which generation a prompt asks for, whatever a proxy has put around it.
pub(super) fn asked(prompt: &str) -> Option<u32> {
    let (_, rest) = prompt.split_once(ASK)?;
    rest.split_once(']')?.0.parse().ok()
}

const ASK: &str = "[hop ";
/// Two numbers of ten digits and their colons.
pub(super) const LEAST: usize = 22;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_are_read_as_they_were_written(generation: u32, index: u32, length in LEAST..200) {
            let (one, next) = (Mark { generation, index }, Mark { generation, index: index.wrapping_add(1) });
            prop_assert_eq!(one.text(length).len(), length);
            let merged = one.text(length) + &next.text(length);
            prop_assert_eq!(marks(merged.as_bytes(), length), Some(vec![one, next]));
            prop_assert_eq!(marks(&merged.as_bytes()[1..], length), None, "cut");
            prop_assert_eq!(asked(&format!("User: {}\nAssistant:", prompt(generation))), Some(generation));
        }

        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>, length in 0_usize..64) {
            let _ = marks(&text, length);
            let _ = asked(&String::from_utf8_lossy(&text));
        }
    }
}
