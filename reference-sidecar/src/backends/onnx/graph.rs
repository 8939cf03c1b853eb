//! What a graph takes and gives, read from the session and checked against the package: everything that a run would
//! otherwise fail on, or silently get wrong.
//!
//! Two families are served. Both keep the KV cache in `GroupQueryAttention` (or an operator with its in-place rule):
//!
//! - *lengths*: our own lean graph. `seqlens_k` int32 `[B]`, `total_sequence_length` int32 `[]`, `logits_index` int64
//!   `[B]`; logits are `[B, V]`, one row a sequence.
//! - *mask*: as onnxruntime-genai's model builder writes it. `attention_mask` int64 `[B, T]`; logits are `[B, S, V]`.
//!
//! Either may take `position_ids` int64 `[B, S]`, and the first may take LoRA stacks (see `lora`).

use ort::{
    session::Session,
    value::{TensorElementType, ValueType},
};

use super::OnnxError;
use crate::package::{AdaptedLayer, Package};

pub(super) const IDS: &str = "input_ids";
pub(super) const POSITIONS: &str = "position_ids";
pub(super) const MASK: &str = "attention_mask";
pub(super) const LENGTHS: &str = "seqlens_k";
pub(super) const TOTAL: &str = "total_sequence_length";
pub(super) const LOGITS_INDEX: &str = "logits_index";
pub(super) const LORA_INDEX: &str = "lora_index";
pub(super) const LORA_A: &str = ".lora_A";
pub(super) const LORA_B: &str = ".lora_B";
pub(super) const LOGITS: &str = "logits";

/// A graph that can be stepped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Graph {
    pub(super) family: Family,
    pub(super) positions: bool,
    /// Of the KV cache: float or half.
    pub(super) cache: TensorElementType,
    /// Type of the logits: float or half.
    pub(super) logits: TensorElementType,
    /// Layers that take adapters.
    pub(super) adapted: Vec<AdaptedLayer>,
    /// Type of the adapters: float or half.
    pub(super) lora: TensorElementType,
}

/// How a graph learns how long each sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Lengths,
    Mask,
}

impl Graph {
    pub(super) fn read(session: &Session, package: &Package) -> Result<Self, OnnxError> {
        let input = |name: &str| session.inputs().iter().find(|input| input.name() == name);
        let needed = |name: &'static str| input(name).ok_or(OnnxError::MissingInput { name });
        needed(IDS)?;
        let family = if input(MASK).is_some() { Family::Mask } else { Family::Lengths };
        if family == Family::Lengths {
            for name in [LENGTHS, TOTAL, LOGITS_INDEX] {
                needed(name)?;
            }
        }
        let mut graph = Self {
            family,
            positions: input(POSITIONS).is_some(),
            cache: TensorElementType::Float32,
            logits: TensorElementType::Float32,
            adapted: Vec::new(),
            lora: TensorElementType::Float32,
        };
        if input(LORA_INDEX).is_some() {
            (graph.adapted, graph.lora) = adapted(session)?;
        }
        let shape = package.cache();
        let (configured, found) = (shape.names.len() / 2, Self::cached_layers(session));
        let common = 2 * configured.min(found);
        if configured != found
            && common > 0
            && shape.names[..common].iter().all(|(name, _)| input(name).is_some())
        {
            return Err(OnnxError::Layers { configured, found });
        }
        let past = [None, Some(shape.kv_heads), None, Some(shape.head_size)];
        for (at, (name, _)) in shape.names.iter().enumerate() {
            let found = input(name).ok_or_else(|| OnnxError::Mismatch {
                name: name.clone(),
                found: "missing".to_owned(),
                expected: format!("{} inputs of the cache", shape.names.len()),
            })?;
            let kind = agree(name, found.dtype(), &past)?;
            if at == 0 {
                graph.cache = kind;
            } else if kind != graph.cache {
                return Err(OnnxError::Mismatch {
                    name: name.clone(),
                    found: kind.to_string(),
                    expected: format!("{}, as the rest of the cache", graph.cache),
                });
            }
        }
        let output = |name: &str| session.outputs().iter().find(|output| output.name() == name);
        let vocabulary = Some(package.vocabulary());
        let rows: &[_] = match family {
            Family::Lengths => &[None, vocabulary],
            Family::Mask => &[None, None, vocabulary],
        };
        let logits = output(LOGITS).ok_or(OnnxError::MissingOutput { name: LOGITS.to_owned() })?;
        graph.logits = agree(LOGITS, logits.dtype(), rows)?;
        if let Some((_, name)) = shape.names.iter().find(|(_, present)| output(present).is_none()) {
            return Err(OnnxError::MissingOutput { name: name.clone() });
        }
        graph.refuse_others(session, package)?;
        Ok(graph)
    }

    /// Layers with a KV cache, as the graph's inputs say.
    fn cached_layers(session: &Session) -> usize {
        let own = [IDS, MASK, POSITIONS, LENGTHS, TOTAL, LOGITS_INDEX, LORA_INDEX];
        let others = session.inputs().iter().filter(|input| !own.contains(&input.name()));
        let caches =
            others.filter(|input| input.dtype().tensor_shape().is_some_and(|shape| shape.len() == 4));
        caches.count() / 2
    }

    /// An input that this server does not feed fails every run; better said once, by its name.
    fn refuse_others(&self, session: &Session, package: &Package) -> Result<(), OnnxError> {
        let known = |name: &str| {
            let own = match self.family {
                Family::Lengths => [IDS, LENGTHS, TOTAL, LOGITS_INDEX].as_slice(),
                Family::Mask => &[IDS, MASK],
            };
            own.contains(&name)
                || name == POSITIONS
                || (!self.adapted.is_empty()
                    && (name == LORA_INDEX || name.ends_with(LORA_A) || name.ends_with(LORA_B)))
                || package.cache().names.iter().any(|(past, _)| past == name)
        };
        match session.inputs().iter().find(|input| !known(input.name())) {
            Some(other) => Err(OnnxError::UnknownInput { name: other.name().to_owned() }),
            None => Ok(()),
        }
    }
}

/// The layers with `<name>.lora_A` of `[adapters, inputs, rank]` and `<name>.lora_B` of `[adapters, rank, outputs]`, and the
/// type of all of these.
fn adapted(session: &Session) -> Result<(Vec<AdaptedLayer>, TensorElementType), OnnxError> {
    let names: Vec<_> =
        session.inputs().iter().filter_map(|input| input.name().strip_suffix(LORA_A)).collect();
    let mut kind = None;
    let mut dims = |name: String| {
        let input = session.inputs().iter().find(|input| input.name() == name);
        let mismatch = || OnnxError::Mismatch {
            name: name.clone(),
            found: input.map_or_else(|| "missing".to_owned(), |input| input.dtype().to_string()),
            expected: "a float tensor of [adapters, rows, columns], of one type with the others".to_owned(),
        };
        let found = input.ok_or_else(mismatch)?.dtype();
        let own = agree(&name, found, &[None, None, None])?;
        match found.tensor_shape().map(|shape| &shape[..]) {
            Some([_, rows, columns]) if *rows > 0 && *columns > 0 && *kind.get_or_insert(own) == own => {
                Ok((*rows as usize, *columns as usize))
            }
            _ => Err(mismatch()),
        }
    };
    let layer = |name: &str| {
        let (inputs, rank) = dims(format!("{name}{LORA_A}"))?;
        let (rank_of_b, outputs) = dims(format!("{name}{LORA_B}"))?;
        if rank == rank_of_b {
            return Ok(AdaptedLayer { name: name.to_owned(), inputs, rank, outputs });
        }
        Err(OnnxError::Mismatch {
            name: format!("{name}{LORA_B}"),
            found: format!("rank {rank_of_b}"),
            expected: format!("rank {rank}, as its A"),
        })
    };
    let layers = names.into_iter().map(layer).collect::<Result<_, _>>()?;
    Ok((layers, kind.unwrap_or(TensorElementType::Float32)))
}

/// Float or half tensors of these dimensions, where both sides know them.
fn agree(name: &str, found: &ValueType, expected: &[Option<usize>]) -> Result<TensorElementType, OnnxError> {
    let fits = |shape: &[i64]| {
        shape.len() == expected.len()
            && shape
                .iter()
                .zip(expected)
                .all(|(dim, expected)| expected.is_none_or(|expected| *dim < 0 || *dim == expected as i64))
    };
    match found.tensor_type() {
        Some(kind @ (TensorElementType::Float32 | TensorElementType::Float16))
            if found.tensor_shape().is_some_and(|shape| fits(shape)) =>
        {
            Ok(kind)
        }
        _ => {
            let dims: Vec<_> = expected
                .iter()
                .map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string()))
                .collect();
            Err(OnnxError::Mismatch {
                name: name.to_owned(),
                found: found.to_string(),
                expected: format!("a float tensor of [{}]", dims.join(", ")),
            })
        }
    }
}
