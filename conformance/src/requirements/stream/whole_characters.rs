//! STREAM-011.

use ai_inference_proto::GenerationRequest;

use crate::{
    exemplar::{Behaviour, Conformant, Script},
    probe::{Probe, quote, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A character is never split: no chunk holds U+FFFD that the whole text does not, for text in CJK, emoji with
    /// ZWJ, combining marks.
    ///
    /// # Why it matters
    /// A token is often a part of a character. A server that decodes token by token sends replacement characters to
    /// everyone who does not write English, and no later chunk can mend them.
    ///
    /// # How it is checked
    /// Greedy generations on prompts in Chinese, Japanese, Korean, emoji with ZWJ and combining marks. A chunk whose
    /// bytes are not UTF-8 by themselves is a split character. So is a chunk that ends with U+FFFD where the next begins
    /// with it, the two halves of one character each decoded alone, unless the texts also hold U+FFFD that stand alone:
    /// then the model produces stray bytes of its own, and three or more of them are inconclusive. Text without any
    /// character beyond ASCII leaves the check blind, and it says so. Halves of UTF-16 come as `?` at the end of a chunk
    /// and `?` at the beginning of the next: beside a joiner, a variation selector or a combining mark, which never
    /// belongs to a question mark, that is a split character too; many of them alone are inconclusive.
    ///
    /// # What a violation looks like
    /// `"水"` comes as `"\u{fffd}"` and `"\u{fffd}"`.
    ///
    /// # References
    /// Contract, STREAM-011; Unicode, section 3.9 (U+FFFD substitution); Protocol Buffers, "Scalar value types"
    /// (string is UTF-8).
    id: "STREAM-011",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a character is never split",
    check: check,
    mutant: CutsCharacters, fault: "multi-byte characters are cut at token borders", seen_as: "split",
}

const PROMPTS: [&str; 5] = [
    "用户：请用中文写一首关于春天和河水的长诗。\n助手：",
    "User: Write a long poem in Chinese: 春天的河水\nAssistant:",
    "ユーザー：日本語で長い物語を書いてください。\nアシスタント：",
    "User: Answer with many emoji only: 👩‍💻🏳️‍🌈👍🏽😀 emoji\nAssistant:",
    "User: Répète très souvent ces lettres: e\u{301} n\u{303} a\u{308} 한국어\nAssistant:",
];
const TOKENS: i64 = 48;
const REPLACEMENT: char = '\u{FFFD}';
/// A model may produce a stray byte now and then; more than this is not judged in silence.
const STRAY: usize = 3;
/// From so many pairs of question marks at chunk ends on, the check cannot judge: an ordinary answer has fewer.
const MANY_HALVES: usize = 12;

async fn check(probe: &Probe) -> Judgement {
    let mut beyond_ascii = 0;
    let mut split = Vec::new();
    let mut stray = 0;
    let mut halves = Vec::new();
    let mut joined = false;
    for prompt in PROMPTS {
        let mut request = probe.request(TOKENS);
        prompt.clone_into(&mut request.prompt);
        let generation = probe.predict(request).await?;
        // A strict decoder refuses a string that is not UTF-8: half a character was sent as it is.
        let readable = !matches!(&generation.end, End::Malformed(why) if why.contains("UTF-8"));
        probe.assert(readable, || {
            format!(
                "a character was split on the wire in the answer to {}: {}",
                quote(prompt, 40),
                generation.end
            )
        })?;
        generation.served()?;
        let chunks: Vec<&str> = generation.text_bearing().map(|r| r.message.chunk.as_str()).collect();
        beyond_ascii += chunks.iter().filter(|c| !c.is_ascii()).count();
        for pair in chunks.windows(2) {
            if pair[0].ends_with(REPLACEMENT) && pair[1].starts_with(REPLACEMENT) {
                split.push(format!("{} and {}", quote(pair[0], 30), quote(pair[1], 30)));
            }
        }
        for pair in chunks.windows(2) {
            if pair[0].ends_with('?') && pair[1].starts_with('?') {
                halves.push(format!("{} and {}", quote(pair[0], 30), quote(pair[1], 30)));
            }
        }
        let text = generation.text();
        joined |= joins_question_marks(&text);
        let runs = text.split(|c| c != REPLACEMENT).filter(|run| !run.is_empty());
        stray += runs.filter(|run| run.chars().count() == 1).count();
    }
    probe.assert(split.is_empty() || stray > 0, || {
        format!("a character was split between the chunks {} ({} times in all)", split[0], split.len())
    })?;
    probe.assert(halves.len() < STRAY || !joined, || {
        format!(
            "a character was split into halves of UTF-16 between the chunks {} ({} times in all)",
            halves[0],
            halves.len()
        )
    })?;
    if halves.len() >= MANY_HALVES {
        return Err(NotPassed::Inconclusive(format!(
            "{} times a chunk ends with a question mark and the next begins with one: the model's own, or halves of \
             characters beyond the basic plane",
            halves.len()
        )));
    }
    if beyond_ascii == 0 {
        return Err(NotPassed::Inconclusive(
            "the model answered every prompt in ASCII: nothing could be split".into(),
        ));
    }
    if stray + split.len() >= STRAY {
        return Err(NotPassed::Inconclusive(format!(
            "the text holds {} U+FFFD: the model's own stray bytes, or characters that the server broke",
            stray + split.len()
        )));
    }
    Ok(())
}

/// Whether a mark that only ever follows a character of its own kind follows a question mark.
fn joins_question_marks(text: &str) -> bool {
    let marks = |c: char| matches!(c, '\u{200D}' | '\u{FE0F}' | '\u{20E3}');
    text.chars()
        .zip(text.chars().skip(1))
        .any(|(a, b)| (a == '?' && marks(b)) || (a == '\u{200D}' && b == '?'))
}

/// Decodes each half of a character alone, as a server that detokenises token by token does.
#[derive(Default)]
struct CutsCharacters;

impl Behaviour for CutsCharacters {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let mut script = Conformant.speak(request);
        let halves = |token: String| {
            let cut = if token.is_ascii() { token.len() } else { 1 };
            let (head, tail) = token.as_bytes().split_at(cut);
            let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            [lossy(head), lossy(tail)].into_iter().filter(|half| !half.is_empty())
        };
        script.tokens = script.tokens.into_iter().flat_map(halves).collect();
        script
    }
}
