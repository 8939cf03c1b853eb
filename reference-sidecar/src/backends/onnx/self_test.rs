//! What a model must prove before it serves: that its cache lies in the slots and nowhere else, and that an adapter
//! changes its own row only. Each of these fails without an error when a graph or a library is not what it seems.
//!
//! A handful of short steps, milliseconds for a small model. Compares logits with a tolerance, because an operator may
//! compute one token in another order than several.

use std::sync::Arc;

use super::OnnxBackend;
use crate::{
    backends::{Backend, BackendError, Row},
    models::{AdaptedLayer, Adapter, LowRank},
};

/// Says what is wrong with the backend, whose slots must be free. Leaves them free.
pub(super) fn prove(backend: &mut OnnxBackend) -> Result<(), String> {
    let capacity = backend.capacity();
    // A context that does not hold the prompt cannot serve anything either.
    let length = PROMPT.min(capacity.context.saturating_sub(2));
    if length < 4 {
        return Err(format!("a context of {} tokens is too short", capacity.context));
    }
    let prompt: Vec<i64> = (0..length).map(|at| ((at * 7919 + 13) % capacity.vocabulary) as i64).collect();
    let (head, last) = (&prompt[..length - 1], prompt[length - 1]);
    let (first, other) = (0, capacity.slots - 1);

    let whole = prefill(backend, first, 0, &prompt)?;
    if whole.iter().any(|logit| !logit.is_finite()) {
        return Err("its logits are not finite".to_owned());
    }
    // In two pieces, in the last slot: the second must see the first.
    prefill(backend, other, 0, &prompt[..length / 2])?;
    let pieces = prefill(backend, other, length / 2, &prompt[length / 2..])?;
    same(
        &whole,
        &pieces,
        "a prompt read in two pieces differs from one read whole: the KV cache is not kept in place",
    )?;
    // Without its head, so that the comparison above is known to see something.
    let headless = prefill(backend, first, 0, &prompt[length / 2..])?;
    if same(&whole, &headless, "").is_err() {
        // By a decode step over all slots, of which only the last is busy.
        prefill(backend, other, 0, head)?;
        let mut rows = vec![Row::default(); capacity.slots];
        rows[other] = Row { token: last, past: head.len() };
        let decoded = run(backend.decode(&rows))?[other * capacity.vocabulary..].to_vec();
        same(
            &whole,
            &decoded,
            "a token that is decoded differs from one that is read: the slots are not kept apart",
        )?;
    } else {
        tracing::warn!("the model's logits do not depend on what came before: its cache cannot be tested");
    }
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
    let changed = prefill(backend, 0, 0, prompt)?;
    if same(base, &changed, "").is_ok() {
        return Err("an adapter changes nothing".to_owned());
    }
    if other > 0 {
        let plain = prefill(backend, other, 0, prompt)?;
        same(base, &plain, "an adapter changes a slot that has none")?;
    }
    run(backend.adapt(0, None))?;
    let plain = prefill(backend, 0, 0, prompt)?;
    same(base, &plain, "an adapter stays in a slot that has it no more")
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

/// The logits agree, by the distance between them over their spread.
fn same(expected: &[f32], found: &[f32], otherwise: &str) -> Result<(), String> {
    let mean = expected.iter().sum::<f32>() / expected.len() as f32;
    let spread: f32 = expected.iter().map(|logit| (logit - mean).powi(2)).sum();
    let distance: f32 = expected.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum();
    let ratio = (distance / spread.max(f32::MIN_POSITIVE)).sqrt();
    if ratio <= TOLERANCE { Ok(()) } else { Err(format!("{otherwise} (distance {ratio:.3})")) }
}

/// Tokens: more than a kernel's smallest block.
const PROMPT: usize = 24;

/// Between half-precision kernels of different shape 0.002 was seen, between a cache and none more than 0.3.
const TOLERANCE: f32 = 0.05;
