//! Mutations that know nothing of a format.

use rand::{RngExt as _, rngs::StdRng};

/// Changes some bytes; `other` is what may be spliced in.
pub fn mutate(rng: &mut StdRng, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=input.len());
        match rng.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            1 if at < input.len() => input[at] = *pick(rng, &EDGES),
            2 => input.truncate(at),
            3 => input.insert(at, rng.random()),
            4 if at < input.len() => {
                let end = rng.random_range(at..input.len());
                input.drain(at..end);
            }
            _ => {
                let start = rng.random_range(0..=other.len());
                let end = rng.random_range(start..=other.len());
                input.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
}

/// One of several.
pub fn pick<'a, T>(rng: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

const EDGES: [u8; 8] = [0, 1, 0x0a, 0x2a, 0x7f, 0x80, 0xc2, 0xff];
/// Of an input: larger ones are a matter of limits, which have tests.
const LONGEST: usize = 4096;
