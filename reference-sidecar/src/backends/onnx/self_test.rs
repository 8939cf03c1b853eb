//! What a model must prove before it serves: that its cache lies in the slots and nowhere else, and that an adapter
//! changes its own row only. Each of these fails without an error when a graph or a library is not what it seems.
//!
//! A handful of short steps, milliseconds for a small model. Compares logits by how far apart
//! they would be if the cache were lost, because an operator may compute one token in another order than several.

use std::sync::Arc;

use super::OnnxBackend;
use crate::{
    backends::{Backend, BackendError, Row},
    package::{AdaptedLayer, Adapter, LowRank},
};

/// Says what is wrong with the backend, whose slots must be free. Leaves them free. `to_the_end`: one step reads a whole slot's
/// cache.
pub(super) fn prove(backend: &mut OnnxBackend, to_the_end: bool) -> Result<(), String> {
    let capacity = backend.capacity();
    // A context that does not hold the prompt cannot serve anything either.
    let length = PROMPT.min(capacity.context.saturating_sub(2));
    if length < 4 {
        return Err(format!("a context of {} tokens is too short", capacity.context));
    }
    let prompt: Vec<i64> = (0..length).map(|at| ((at * 7919 + 13) % capacity.vocabulary) as i64).collect();
    let (head, last) = (&prompt[..length - 1], prompt[length - 1]);
    let (first, other) = (0, capacity.slots - 1);

    // Tables of positions may be shorter than the context that the configuration promises.
    if to_the_end {
        prefill(backend, first, capacity.context - 1, &[last])
            .map_err(|error| format!("at the end of model.context_length, {}, {error}", capacity.context))?;
    }
    let whole = prefill(backend, first, 0, &prompt)?;
    if whole.iter().any(|logit| !logit.is_finite()) {
        return Err("its logits are not finite".to_owned());
    }
    // What a lost cache would look like: the last token alone.
    let forgetful = distance(&whole, &prefill(backend, first, 0, &prompt[length - 1..])?);
    if forgetful < LEAST_SEEN {
        return Err("its logits do not depend on what came before the last token".to_owned());
    }
    let same = |found: &[f32], otherwise: &str| {
        let share = distance(&whole, found) / forgetful;
        if share <= MOST_SHARE { Ok(()) } else { Err(format!("{otherwise} ({share:.2} of a lost cache)")) }
    };
    // In two pieces, in the last slot: the second must see the first.
    prefill(backend, other, 0, &prompt[..length / 2])?;
    let pieces = prefill(backend, other, length / 2, &prompt[length / 2..])?;
    same(
        &pieces,
        "a prompt read in two pieces differs from one read whole: the KV cache is not kept in place",
    )?;
    // By a decode step over all slots, of which only the last is busy.
    prefill(backend, other, 0, head)?;
    let mut rows = vec![Row::default(); capacity.slots];
    rows[other] = Row { token: last, past: head.len() };
    let decoded = run(backend.decode(&rows))?[other * capacity.vocabulary..].to_vec();
    same(
        &decoded,
        "a token that is decoded differs from one that is read: the KV cache is not kept in its slot",
    )?;
    adapters(backend, &prompt, &whole)
}

/// A slot with an adapter computes with it, its neighbour without, and both without once it is gone.
fn adapters(backend: &mut OnnxBackend, prompt: &[i64], base: &[f32]) -> Result<(), String> {
    let layers = backend.adapted_layers().to_vec();
    if layers.is_empty() {
        return Ok(());
    }
    let adapter = Arc::new(noise(&layers));
    let other = backend.capacity().slots - 1;
    run(backend.adapt(0, Some(&adapter)))?;
    let changed = distance(base, &prefill(backend, 0, 0, prompt)?);
    if changed < LEAST_SEEN {
        return Err("an adapter changes nothing".to_owned());
    }
    let same = |found: &[f32], otherwise: &str| {
        if distance(base, found) <= MOST_SHARE * changed { Ok(()) } else { Err(otherwise.to_owned()) }
    };
    if other > 0 {
        same(&prefill(backend, other, 0, prompt)?, "an adapter changes a slot that has none")?;
    }
    run(backend.adapt(0, None))?;
    same(&prefill(backend, 0, 0, prompt)?, "an adapter stays in a slot that has it no more")
}

/// Large enough to be seen in half precision.
fn noise(layers: &[AdaptedLayer]) -> Adapter {
    let values = |len: usize| (0..len).map(|at| ((at * 31 + 7) % 17) as f32 / 17.0 - 0.5).collect();
    let low = |layer: &AdaptedLayer| LowRank {
        rank: layer.rank,
        a: values(layer.inputs * layer.rank),
        b: values(layer.rank * layer.outputs),
    };
    let layers = layers.iter().map(|layer| (layer.name.clone(), low(layer))).collect();
    Adapter { name: "self-test".to_owned(), layers }
}

fn prefill(backend: &mut OnnxBackend, slot: usize, past: usize, tokens: &[i64]) -> Result<Vec<f32>, String> {
    Ok(run(backend.prefill(slot, past, tokens))?.to_vec())
}

fn run<T>(ran: Result<T, BackendError>) -> Result<T, String> {
    ran.map_err(|error| format!("a step failed: {error}"))
}

/// Between two rows of logits, over the spread of the first: 0 for the same, about 1.4 for strangers.
fn distance(expected: &[f32], found: &[f32]) -> f32 {
    let mean = expected.iter().sum::<f32>() / expected.len() as f32;
    let spread: f32 = expected.iter().map(|logit| (logit - mean).powi(2)).sum();
    let apart: f32 = expected.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum();
    (apart / spread.max(f32::MIN_POSITIVE)).sqrt()
}

/// Tokens: more than a kernel's smallest block.
const PROMPT: usize = 24;

/// A distance that rounding cannot make.
const LEAST_SEEN: f32 = 0.01;

/// Of the distance that the fault would make. A model of 8 bits rounds otherwise when it reads than when it decodes:
/// 0.02 was seen; with a cache that is lost or mixed up it is about 1.
const MOST_SHARE: f32 = 0.3;
