//! Tokens that come one by one to text that goes out in whole characters (STREAM-011).
//!
//! A tokenizer decodes lists, and a token's text may depend on the ones before it: a character's bytes are spread over
//! tokens, a first word loses its space. So each step decodes a window of the last tokens and hands out what is new.
//! Bytes that do not yet make a character decode to U+FFFD at the end, one for all of them or one for each (byte fallback),
//! which are held back; what stands before them can no longer change. Knows no tokenizer, only [`Decode`].

/// From tokens to text, all at once: bytes that make no character become U+FFFD.
pub trait Decode {
    /// The text of these tokens.
    fn decode(&self, tokens: &[u32]) -> String;
}

impl<F: Fn(&[u32]) -> String> Decode for F {
    fn decode(&self, tokens: &[u32]) -> String {
        self(tokens)
    }
}

/// The state of one text.
#[derive(Debug)]
pub struct Incremental<D> {
    decode: D,
    window: Vec<u32>,
    /// A place in the window where a character begins, behind which there is text: the window can be cut there.
    border: usize,
    /// How many bytes of the window's text are out.
    shown: usize,
}

impl<D: Decode> Incremental<D> {
    /// An empty text.
    pub const fn new(decode: D) -> Self {
        Self { decode, window: Vec::new(), border: 0, shown: 0 }
    }

    /// Takes a token; returns the text that it completes, which may be empty.
    pub fn push(&mut self, token: u32) -> String {
        self.window.push(token);
        let text = self.decode.decode(&self.window);
        let stable = complete(&text);
        let chunk = stable.get(self.shown..).unwrap_or_default().to_owned();
        self.shown = self.shown.max(stable.len());
        self.slide(stable.len() == text.len());
        chunk
    }

    /// The text has ended: what is complete of that which was held back. Bytes that never became a character are
    /// dropped, because a bound on tokens may cut anywhere.
    pub fn finish(self) -> String {
        let text = self.decode.decode(&self.window);
        complete(&text).get(self.shown..).unwrap_or_default().to_owned()
    }

    /// Cuts the window's front off, so that a step costs the same at the end of a long text as at its start.
    fn slide(&mut self, at_border: bool) {
        let cut = if self.window.len() >= FULL && at_border && self.border > 0 {
            self.border
        } else if self.window.len() >= OVERFULL {
            // No border for so long is no text but a run of bytes that are none; any cut is as good.
            self.window.len() - FULL / 2
        } else {
            0
        };
        if cut > 0 {
            self.window.drain(..cut);
            let text = self.decode.decode(&self.window);
            self.shown = complete(&text).len();
            self.border = 0;
        }
        if at_border && (self.border == 0 || self.window.len() <= FULL / 2) {
            self.border = self.window.len();
        }
    }
}

/// The text without the bytes at its end that make no character yet.
fn complete(text: &str) -> &str {
    text.trim_end_matches(char::REPLACEMENT_CHARACTER)
}

/// Tokens in the window at which it is cut at the next border.
const FULL: usize = 16;
/// Tokens in the window at which it is cut anyhow: more than the bytes of any character.
const OVERFULL: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A byte-level tokenizer: token `n` is a piece of one to three bytes of `TEXT`, or any one byte.
    fn decode(tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| piece(*token)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn piece(token: u32) -> Vec<u8> {
        match token {
            byte @ 0..256 => vec![byte as u8],
            token => {
                let (start, length) = ((token as usize - 256) % TEXT.len(), 1 + token as usize % 3);
                TEXT.as_bytes().iter().cycle().skip(start).take(length).copied().collect()
            }
        }
    }

    /// As sentencepiece does: the space before a text's first word is not shown.
    fn decode_words(tokens: &[u32]) -> String {
        let words: Vec<_> = tokens.iter().map(u32::to_string).collect();
        words.join(" ")
    }

    fn chunks(decode: impl Decode, tokens: impl IntoIterator<Item = u32>) -> Vec<String> {
        let mut text = Incremental::new(decode);
        let mut chunks: Vec<_> = tokens.into_iter().map(|token| text.push(token)).collect();
        chunks.push(text.finish());
        chunks
    }

    const TEXT: &str = "The 河流 of 👩\u{200d}💻 e\u{301} 👋🏽 🇨🇾 ends. ";

    proptest! {
        #[test]
        fn any_bytes_give_the_whole_text_less_an_unfinished_end(
            tokens in prop::collection::vec(0..600_u32, 0..300)
        ) {
            let whole = decode(&tokens);
            prop_assert_eq!(chunks(decode, tokens).concat(), complete(&whole));
        }

        #[test]
        fn a_character_is_never_split(cuts in prop::collection::vec(1..4_usize, 200)) {
            // The text over and over, cut anywhere: whole characters in, so no replacement out.
            let bytes: Vec<u8> = TEXT.bytes().cycle().take(TEXT.len() * 4).collect();
            let mut rest = &bytes[..];
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece.to_vec());
                rest = tail;
            }
            pieces.push(rest.to_vec());
            let decode = |tokens: &[u32]| {
                let bytes: Vec<u8> =
                    tokens.iter().flat_map(|token| pieces[*token as usize].clone()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let chunks = chunks(decode, 0..pieces.len() as u32);
            prop_assert!(chunks.iter().all(|chunk| !chunk.contains(char::REPLACEMENT_CHARACTER)));
            prop_assert_eq!(chunks.concat(), TEXT.repeat(4));
        }

        #[test]
        fn a_decoder_that_looks_at_the_start_is_shown_one(length in 0..100_u32) {
            let tokens: Vec<_> = (0..length).collect();
            prop_assert_eq!(chunks(decode_words, tokens.clone()).concat(), decode_words(&tokens));
        }
    }

    #[test]
    fn a_character_is_shown_as_soon_as_it_is_whole() {
        let tokens = "a河b".bytes().map(u32::from);
        assert_eq!(chunks(decode, tokens), ["a", "", "", "河", "b", ""]);
    }
}
