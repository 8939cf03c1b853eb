//! Our operators against ONNX Runtime's, on a real model in eight bits.

mod support;

use reference_sidecar::{
    backends::{
        Backend as _, Row,
        onnx::{Kernels, OnnxBackend, OnnxOptions, Provider, Runtime},
    },
    package::Package,
    text::Tokenizer,
};

const SLOTS: usize = 12;
const TOKENS: usize = 8;

/// A model that was made, by these operators; `None` where it was not.
fn backend(model: &str, made_by: &str, kernels: Kernels) -> Option<(Package, OnnxBackend)> {
    let package = Package::open(&support::cached(model, made_by)?).unwrap();
    let options = OnnxOptions { provider: Provider::Cpu, slots: Some(SLOTS), threads: 2, kernels };
    let backend = OnnxBackend::load(&Runtime::load(None).unwrap(), &package, options).unwrap();
    Some((package, backend))
}

fn eight_bits(kernels: Kernels) -> Option<(Package, OnnxBackend)> {
    backend("smollm2", "ci/models smollm2", kernels)
}

fn prompts(package: &Package) -> Vec<Vec<i64>> {
    let tokenizer = Tokenizer::open(package.tokenizer()).unwrap();
    let animals = ["cat", "dog", "small red hen that lives by the sea", "fox"];
    let text = |number: usize| format!("Story number {number} is about a {} and", animals[number % 4]);
    (0..SLOTS).map(|number| tokenizer.encode(&text(number)).unwrap()).collect()
}

fn best(logits: &[f32]) -> i64 {
    let mut best = 0;
    for (at, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = at;
        }
    }
    best as i64
}

/// Eight bits are a few percent off, with any kernels; the difference between two ways to round says nothing.
#[test]
fn they_are_no_further_from_exact_than_onnx_runtimes() {
    let exact = backend("smollm2-fp32", "ci/models smollm2 --variant fp32", Kernels::OnnxRuntime);
    let (Some((package, mut exact)), Some((_, theirs)), Some((_, ours))) =
        (exact, eight_bits(Kernels::OnnxRuntime), eight_bits(Kernels::Own))
    else {
        return;
    };
    let (mut backends, mut errors, mut square) = ([theirs, ours], [0.0; 2], 0.0);
    for prompt in prompts(&package) {
        let mut token = best(exact.prefill(0, 0, &prompt).unwrap());
        for backend in &mut backends {
            backend.prefill(0, 0, &prompt).unwrap();
        }
        for step in 0..TOKENS {
            let row = [Row { token, past: prompt.len() + step }];
            let expected = exact.decode(&row).unwrap();
            for (backend, error) in backends.iter_mut().zip(&mut errors) {
                let found = backend.decode(&row).unwrap();
                *error += found.iter().zip(&*expected).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            }
            square += expected.iter().map(|logit| f64::from(*logit).powi(2)).sum::<f64>();
            token = best(expected);
        }
    }
    let [theirs, ours] = errors.map(|error| (error / square).sqrt());
    assert!(theirs > 0.001, "eight bits cannot be that exact ({theirs}); was it the right model?");
    assert!(ours < 1.2 * theirs, "logits are off by {ours} of their size, ONNX Runtime's by {theirs}");
}

#[test]
fn a_sequence_is_the_same_to_the_last_bit_alone_in_a_batch_and_read_in_pieces() {
    if !kernels::available() {
        // ONNX Runtime's operators compute then, which promise no such thing.
        eprintln!("SKIPPED: this processor has no AVX-512 VNNI, so our operators do not run on it");
        return;
    }
    let Some((package, mut ours)) = eight_bits(Kernels::Own) else { return };
    let vocabulary = ours.capacity().vocabulary;
    let prompts = prompts(&package);
    let mut alone = Vec::new();
    for prompt in &prompts {
        let mut logits = ours.prefill(0, 0, prompt).unwrap().to_vec();
        for step in 0..TOKENS {
            let row = Row { token: best(&logits), past: prompt.len() + step };
            logits = ours.decode(&[row]).unwrap().to_vec();
        }
        alone.push(logits);
    }
    let mut rows = Vec::new();
    for (slot, prompt) in prompts.iter().enumerate() {
        let (first, rest) = prompt.split_at(1 + slot % (prompt.len() - 1));
        ours.prefill(slot, 0, first).unwrap();
        rows.push(Row { token: best(ours.prefill(slot, first.len(), rest).unwrap()), past: prompt.len() });
    }
    let mut logits = Vec::new();
    for _ in 0..TOKENS {
        logits = ours.decode(&rows).unwrap().to_vec();
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(vocabulary)) {
            *row = Row { token: best(logits), past: row.past + 1 };
        }
    }
    for (slot, (together, alone)) in logits.chunks_exact(vocabulary).zip(&alone).enumerate() {
        assert!(together == &alone[..], "sequence {slot} differs from the same one alone");
    }
}
