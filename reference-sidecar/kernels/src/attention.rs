//! Grouped-query attention over a cache that is written in place, as ONNX Runtime's `GroupQueryAttention` defines it:
//! packed projections, rotary embedding, causal.
//!
//! Each query's sums are made in one order whatever else is computed with it: in a prompt's chunk or alone, in a batch or
//! not, its result is the same to the last bit.

use ort::{
    Error,
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

use crate::{
    DOMAIN,
    attend::{Query, attend},
    int8::LANES,
    model::{Attribute, Node},
    shared::SharedMut,
};

/// The attention operator for ONNX Runtime.
pub(crate) struct Attention {
    pub(crate) threads: usize,
}

impl Attention {
    pub(crate) const NAME: &str = "CachedAttention";
    pub(crate) const HEADS: &str = "num_heads";
    pub(crate) const KV_HEADS: &str = "kv_num_heads";
    pub(crate) const INTERLEAVED: &str = "rotary_interleaved";
    pub(crate) const SCALE: &str = "scale";

    /// Ours for a node that asks for nothing else.
    pub(crate) fn instead_of(node: &Node) -> Option<Node> {
        let known = ["num_heads", "kv_num_heads", "do_rotary", "rotary_interleaved", "scale"];
        let plain = node.attribute.iter().all(|attribute| {
            // Others are fine where they say what is the default anyway.
            known.contains(&attribute.name.as_str())
                || match attribute.name.as_str() {
                    "softcap" => attribute.f.unwrap_or(0.0) == 0.0,
                    "local_window_size" => attribute.i == Some(-1),
                    "smooth_softmax" => attribute.i.unwrap_or(0) == 0,
                    _ => false,
                }
        });
        let packed = node.input(1).is_none() && node.input(2).is_none() && node.output.len() == 3;
        let (heads, kv_heads) = (node.int("num_heads")?, node.int("kv_num_heads")?);
        let scale = node.float("scale").filter(|scale| *scale > 0.0)?;
        let fits = plain
            && packed
            && node.int("do_rotary") == Some(1)
            && (9..node.input.len()).all(|at| node.input(at).is_none())
            && heads > 0
            && kv_heads > 0
            && heads % kv_heads == 0;
        if !fits {
            return None;
        }
        let input = [0, 3, 4, 5, 7, 8].map(|at| node.input(at).map(str::to_owned));
        Some(Node {
            input: input.into_iter().collect::<Option<_>>()?,
            output: node.output.clone(),
            name: node.name.clone(),
            op_type: Self::NAME.to_owned(),
            domain: DOMAIN.to_owned(),
            attribute: vec![
                Attribute::int(Self::HEADS, heads),
                Attribute::int(Self::KV_HEADS, kv_heads),
                Attribute::int(Self::INTERLEAVED, node.int("rotary_interleaved").unwrap_or(0)),
                Attribute::float(Self::SCALE, scale),
            ],
        })
    }
}

impl Operator for Attention {
    type Kernel<'a> = AttentionKernel;

    fn name(&self) -> &str {
        Self::NAME
    }

    /// Packed projections float `[B, S, (heads + 2 kv_heads) D]`; past keys and values float `[B, kv_heads, context, D]`;
    /// lengths with the new tokens, less one, int32 `[B]`; cosines and sines float `[context, D / 2]`.
    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        use TensorElementType::{Float32, Int32};
        [Float32, Float32, Float32, Int32, Float32, Float32].map(OperatorInput::required)
    }

    /// Attended float `[B, S, heads D]`; present keys and values, in the memory of the past ones.
    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [TensorElementType::Float32; 3].map(OperatorOutput::required)
    }

    fn create_kernel(&self, context: &KernelContext<'_>) -> ort::Result<AttentionKernel> {
        let missing = |name: &str| Error::new(format!("no attribute {name}"));
        let number = |name: &str| {
            context.get::<i64>(name).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| missing(name))
        };
        Ok(AttentionKernel {
            heads: number(Self::HEADS)?,
            kv_heads: number(Self::KV_HEADS)?,
            interleaved: number(Self::INTERLEAVED)? != 0,
            scale: context.get::<f32>(Self::SCALE).ok_or_else(|| missing(Self::SCALE))?,
            threads: self.threads,
            queries: Vec::new(),
        })
    }
}

pub(crate) struct AttentionKernel {
    heads: usize,
    kv_heads: usize,
    interleaved: bool,
    scale: f32,
    threads: usize,
    /// Turned by their positions, and scaled: `[B, S, heads, D]`.
    queries: Vec<f32>,
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        crate::guarded(|| self.step(context))
    }
}

impl AttentionKernel {
    fn step(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let input = |at| context.input(at)?.ok_or_else(|| Error::new("an input is missing"));
        let (packed, past_keys, past_values) = (input(0)?, input(1)?, input(2)?);
        let (lengths, cosines, sines) = (input(3)?, input(4)?, input(5)?);
        let (shape, packed) = packed.try_extract_tensor::<f32>()?;
        let (cache, past_keys) = past_keys.try_extract_tensor::<f32>()?;
        let (cache_of_values, past_values) = past_values.try_extract_tensor::<f32>()?;
        // No slices of these are alive below, where the same memory is written.
        let (past_keys, past_values) = (past_keys.as_ptr(), past_values.as_ptr());
        let (_, lengths) = lengths.try_extract_tensor::<i32>()?;
        let (table, cosines) = cosines.try_extract_tensor::<f32>()?;
        let (table_of_sines, sines) = sines.try_extract_tensor::<f32>()?;
        let (&[rows, tokens, width], &[slots, kv_heads, context_length, size]) = (&shape[..], &cache[..])
        else {
            return Err(Error::new("projections of three dimensions and a cache of four were expected"));
        };
        let [rows, tokens, width, slots, kv_heads, length, size] =
            [rows, tokens, width, slots, kv_heads, context_length, size].map(|dim| dim as usize);
        let fits = kv_heads == self.kv_heads
            && slots == rows
            && cache[..] == cache_of_values[..]
            && width == (self.heads + 2 * kv_heads) * size
            && size > 0
            && size % LANES == 0
            && lengths.len() == rows
            && table.len() == 2
            && table[..] == table_of_sines[..]
            && table[1] as usize == size / 2;
        if !fits {
            return Err(Error::new(format!("shapes that do not agree: {shape:?} and {cache:?}")));
        }
        let mut pasts = Vec::with_capacity(rows);
        for last in lengths {
            let past = usize::try_from(*last + 1).ok().and_then(|length| length.checked_sub(tokens));
            match past {
                Some(past) if past + tokens <= length.min(table[0] as usize) => pasts.push(past),
                _ => return Err(Error::new(format!("a length of {last} + 1 does not fit the cache"))),
            }
        }
        let mut attended = context.output(0, [shape[0], shape[1], (self.heads * size) as i64])?;
        let mut keys = context.output(1, cache.to_vec())?;
        let mut values = context.output(2, cache.to_vec())?;
        let (Some(attended), Some(keys), Some(values)) = (&mut attended, &mut keys, &mut values) else {
            return Err(Error::new("an output is missing"));
        };
        let (_, attended) = attended.try_extract_tensor_mut::<f32>()?;
        let (_, keys) = keys.try_extract_tensor_mut::<f32>()?;
        let (_, values) = values.try_extract_tensor_mut::<f32>()?;
        for (past, present) in [(past_keys, &mut *keys), (past_values, &mut *values)] {
            // The caller binds one memory as past and present. For a caller that does not, the past is copied.
            if !std::ptr::eq(past, present.as_ptr()) {
                // SAFETY: the past has the present's shape (checked above), and is an input that is alive.
                unsafe { present.as_mut_ptr().copy_from(past, present.len()) };
            }
        }
        let Self { heads, kv_heads, interleaved, scale, threads, queries } = self;
        let (heads, kv_heads, group) = (*heads, *kv_heads, *heads / *kv_heads);
        queries.resize(rows * tokens * heads * size, 0.0);
        let place =
            |row: usize, head: usize, position: usize| ((row * kv_heads + head) * length + position) * size;

        {
            let queries = SharedMut::new(queries);
            let (keys, values) = (SharedMut::new(keys), SharedMut::new(values));
            let turn = |at: usize| {
                let (row, token) = (at / tokens, at % tokens);
                let position = pasts[row] + token;
                let half = size / 2;
                let (cosines, sines) =
                    (&cosines[position * half..][..half], &sines[position * half..][..half]);
                let from = |head: usize| &packed[at * width + head * size..][..size];
                // SAFETY: each token has its own part of the queries and its own place in the cache.
                let part = |into: &SharedMut<'_, f32>, offset| unsafe {
                    std::slice::from_raw_parts_mut(into.at(offset, size), size)
                };
                for head in 0..heads {
                    let into = part(&queries, (at * heads + head) * size);
                    rotate(from(head), into, cosines, sines, *interleaved, *scale);
                }
                for head in 0..kv_heads {
                    let into = part(&keys, place(row, head, position));
                    rotate(from(heads + head), into, cosines, sines, *interleaved, 1.0);
                    part(&values, place(row, head, position)).copy_from_slice(from(heads + kv_heads + head));
                }
            };
            if rows * tokens <= TURNED_AT_ONCE {
                (0..rows * tokens).for_each(turn);
            } else {
                context.par_for(rows * tokens, 0, turn)?;
            }
        }

        // A query head alone where there is little to do, so that there is something for every thread; else all heads that
        // share keys together, for some tokens, so that keys are read once.
        let together = if tokens == 1 && rows * kv_heads < 4 * *threads { 1 } else { group };
        let tiles = tokens.div_ceil(TOKENS);
        let per_token = heads / together;
        let attended = SharedMut::new(attended);
        let (keys, values, queries) = (&*keys, &*values, &*queries);
        context.par_for(rows * per_token * tiles, 0, |task| {
            let (row, rest) = (task / (per_token * tiles), task % (per_token * tiles));
            let (first, tile) = (rest / tiles * together, rest % tiles);
            let from = tile * TOKENS..((tile + 1) * TOKENS).min(tokens);
            let base = place(row, first / group, 0);
            let (keys, values) = (&keys[base..][..length * size], &values[base..][..length * size]);
            let asked = from.flat_map(|token| (first..first + together).map(move |head| (token, head)));
            let asked = asked.map(|(token, head)| Query {
                offset: ((row * tokens + token) * heads + head) * size,
                sees: pasts[row] + token + 1,
            });
            // SAFETY: the operator exists only where the processor has what it takes; each query has its own part of
            // the output.
            unsafe { attend(asked, queries, keys, values, size, attended) };
        })
    }
}

/// Turns a head by its token's position, and scales it.
fn rotate(from: &[f32], into: &mut [f32], cosines: &[f32], sines: &[f32], interleaved: bool, scale: f32) {
    if interleaved {
        let pairs = from.chunks_exact(2).zip(into.chunks_exact_mut(2));
        for ((from, into), (cosine, sine)) in pairs.zip(cosines.iter().zip(sines)) {
            into[0] = (from[0] * cosine - from[1] * sine) * scale;
            into[1] = (from[0] * sine + from[1] * cosine) * scale;
        }
    } else {
        let half = from.len() / 2;
        for at in 0..half {
            into[at] = (from[at] * cosines[at] - from[at + half] * sines[at]) * scale;
            into[at + half] = (from[at] * sines[at] + from[at + half] * cosines[at]) * scale;
        }
    }
}

/// Tokens whose queries are answered together.
const TOKENS: usize = 8;
/// So few tokens are turned sooner than other threads are told.
const TURNED_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_is_exchanged_where_it_is_plain() {
        let inputs = ["packed", "", "", "key", "value", "lengths", "total", "cos", "sin"];
        let numbers = [("num_heads", 9), ("kv_num_heads", 3), ("do_rotary", 1)];
        let mut plain = Node { op_type: "GroupQueryAttention".to_owned(), ..Node::default() };
        plain.input = inputs.map(str::to_owned).to_vec();
        plain.output = ["y", "k", "v"].map(str::to_owned).to_vec();
        plain.attribute = numbers.into_iter().map(|(name, value)| Attribute::int(name, value)).collect();
        plain.attribute.push(Attribute::float("scale", 0.125));
        let ours = Attention::instead_of(&plain).unwrap();
        assert_eq!(ours.input, ["packed", "key", "value", "lengths", "cos", "sin"]);
        let with = |attribute| {
            let mut node = plain.clone();
            node.attribute.push(attribute);
            Attention::instead_of(&node)
        };
        assert!(with(Attribute::float("softcap", 0.0)).is_some());
        assert!(with(Attribute::float("softcap", 30.0)).is_none());
        assert!(with(Attribute::int("local_window_size", 128)).is_none());
        assert!(with(Attribute::int("unheard_of", 0)).is_none());
        assert!(
            Attention::instead_of(&Node { input: vec!["query".to_owned(), "key".to_owned()], ..plain })
                .is_none()
        );
    }
}
