//! An adapter as PEFT saves it, turned into the graphs' form.
//!
//! PEFT keeps A as `[rank, inputs]`, B as `[outputs, rank]`, and the scale in `adapter_config.json`. Hugging Face's llama
//! turns the first half of each head against the second, while a graph whose layers bear GGUF's names (`blk.N.attn_q`)
//! keeps GGUF's order of rows, where the two numbers of a pair are neighbours: so the rows of B for query and key come
//! in another order there. Other graphs have no layers that PEFT's names could be mapped to.
//!
//! A configuration that asks for more than `x A B` is refused, and so is one with fields that we do not know: an
//! adapter that is applied in part is worse than none.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{fit::Halves, misfit::Misfit, tensors::Matrix};

/// The part of `adapter_config.json` that says how the matrices are to be used.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    use_rslora: Option<bool>,
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: Value,
    rank_pattern: Option<BTreeMap<String, usize>>,
    alpha_pattern: Option<BTreeMap<String, f64>>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl Config {
    /// Reads it, and refuses what cannot be honoured.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Misfit> {
        let config: Self = serde_json::from_slice(json).map_err(|error| Misfit::Config(error.to_string()))?;
        let refused = |why: String| Err(Misfit::Config(why));
        if config.peft_type != "LORA" {
            return refused(format!("peft_type is {:?}, not \"LORA\"", config.peft_type));
        }
        if config.bias.as_deref().is_some_and(|bias| bias != "none") {
            return refused("bias is not \"none\"".to_owned());
        }
        // Other beginnings than these take something out of the base model's own weights.
        let beginning = &config.init_lora_weights;
        if !matches!(beginning, Value::Null | Value::Bool(_))
            && !beginning.as_str().is_some_and(|way| HARMLESS_BEGINNINGS.contains(&way))
        {
            return refused(format!("init_lora_weights is {beginning}"));
        }
        if let Some((field, _)) =
            config.rest.iter().find(|(field, value)| !HARMLESS.contains(&field.as_str()) && !is_empty(value))
        {
            return refused(format!("{field:?} is set"));
        }
        let patterns = config.rank_pattern.iter().flat_map(BTreeMap::keys);
        let mut patterns = patterns.chain(config.alpha_pattern.iter().flat_map(BTreeMap::keys));
        if let Some(pattern) = patterns.find(|pattern| !is_plain_pattern(pattern)) {
            return refused(format!("the pattern {pattern:?} is more than a module's name"));
        }
        Ok(config)
    }

    /// Turns the file's tensors into the graphs' form; `head_size` is the model's.
    pub(super) fn read(
        &self,
        matrices: &BTreeMap<String, Matrix>,
        head_size: usize,
    ) -> Result<Halves, Misfit> {
        let mut halves = Halves::default();
        for (name, matrix) in matrices {
            let place = Place::of(name).ok_or_else(|| Misfit::Unexpected { name: name.clone() })?;
            let layer = format!("blk.{}.{}", place.layer, place.module.graph);
            let mut turned = matrix.transposed();
            if place.half == 'B' {
                let scale = self.scale(&place, &layer, turned.rows)?;
                if place.module.rotary {
                    turned = paired(&turned, head_size).ok_or_else(|| {
                        Misfit::Config(format!("layer {layer:?} has no whole heads of {head_size}"))
                    })?;
                }
                turned.values.iter_mut().for_each(|value| *value *= scale);
            }
            halves.put(&layer, place.half, turned)?;
        }
        Ok(halves)
    }

    /// alpha / rank, or alpha / √rank where it is rank-stabilised.
    fn scale(&self, place: &Place<'_>, layer: &str, rank: usize) -> Result<f32, Misfit> {
        let expected = pattern(self.rank_pattern.as_ref(), place.path)?.unwrap_or(self.r);
        if rank != expected {
            return Err(Misfit::Ranks { layer: layer.to_owned(), a: expected, b: rank });
        }
        let alpha = pattern(self.alpha_pattern.as_ref(), place.path)?.unwrap_or(self.lora_alpha);
        let rank = rank as f64;
        Ok((alpha / if self.use_rslora == Some(true) { rank.sqrt() } else { rank }) as f32)
    }
}

/// Where a tensor belongs.
struct Place<'a> {
    layer: u32,
    module: &'static Module,
    half: char,
    /// The module's path in Hugging Face's model, which patterns are compared with.
    path: &'a str,
}

struct Module {
    peft: &'static str,
    graph: &'static str,
    /// Its outputs are turned by their token's position.
    rotary: bool,
}

impl<'a> Place<'a> {
    /// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`, also without the third `model`, which a model
    /// without a head does not have.
    fn of(tensor: &'a str) -> Option<Self> {
        let tensor = tensor.strip_prefix("base_model.model.")?;
        let (path, half) = match tensor.strip_suffix(".lora_A.weight") {
            Some(path) => (path, 'A'),
            None => (tensor.strip_suffix(".lora_B.weight")?, 'B'),
        };
        let (number, name) =
            path.strip_prefix("model.").unwrap_or(path).strip_prefix("layers.")?.split_once('.')?;
        let layer: u32 = number.parse().ok()?;
        let module = MODULES.iter().find(|module| module.peft == name)?;
        Some(Self { layer, module, half, path })
    }
}

/// The columns of `[rank, outputs]` in GGUF's order, as llama.cpp's converter permutes them; `None` where the outputs are
/// no whole heads.
fn paired(matrix: &Matrix, head_size: usize) -> Option<Matrix> {
    let Matrix { rows, columns, .. } = *matrix;
    if columns == 0 || !head_size.is_multiple_of(2) || !columns.is_multiple_of(head_size) {
        return None;
    }
    let from = |column: usize| {
        let (head, within) = (column / head_size, column % head_size);
        head * head_size + within % 2 * (head_size / 2) + within / 2
    };
    let values = matrix.values.chunks_exact(columns).flat_map(|row| (0..columns).map(move |c| row[from(c)]));
    Some(Matrix { rows, columns, values: values.collect() })
}

/// The value of the pattern that names the module: its whole path, or the end of it.
fn pattern<T: Copy + PartialEq>(
    patterns: Option<&BTreeMap<String, T>>,
    path: &str,
) -> Result<Option<T>, Misfit> {
    let names = |pattern: &str| {
        path.strip_suffix(pattern).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let mut values = patterns.into_iter().flatten().filter(|(name, _)| names(name)).map(|(_, value)| *value);
    let first = values.next();
    // PEFT takes the one that comes first in the file; we do not keep the file's order.
    if values.any(|value| Some(value) != first) {
        return Err(Misfit::Config(format!("several patterns name {path:?}")));
    }
    Ok(first)
}

/// PEFT's patterns are regular expressions; most are plain names, which these are for sure.
fn is_plain_pattern(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

/// Whether a value means the same as a missing one.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

const MODULES: [Module; 7] = [
    Module { peft: "self_attn.q_proj", graph: "attn_q", rotary: true },
    Module { peft: "self_attn.k_proj", graph: "attn_k", rotary: true },
    Module { peft: "self_attn.v_proj", graph: "attn_v", rotary: false },
    Module { peft: "self_attn.o_proj", graph: "attn_output", rotary: false },
    Module { peft: "mlp.gate_proj", graph: "ffn_gate", rotary: false },
    Module { peft: "mlp.up_proj", graph: "ffn_up", rotary: false },
    Module { peft: "mlp.down_proj", graph: "ffn_down", rotary: false },
];

/// Fields that change nothing about how finished matrices are used: where they come from, how they were trained, and
/// which modules have some, which the tensors' names say too.
const HARMLESS: [&str; 17] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "target_modules",
    "task_type",
];

const HARMLESS_BEGINNINGS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_scale_is_alpha_by_rank_and_patterns_name_modules() {
        let config = config(&json!({
            "r": 4, "lora_alpha": 8,
            "rank_pattern": {"layers.1.self_attn.q_proj": 2, "down_proj": 1}, "alpha_pattern": {"down_proj": 3},
        }));
        let scale = |layer: u32, module: &str, rank| {
            let name = format!("base_model.model.model.layers.{layer}.{module}.lora_B.weight");
            config.scale(&Place::of(&name).unwrap(), "x", rank)
        };
        assert_eq!(scale(0, "self_attn.q_proj", 4), Ok(2.0));
        assert_eq!(scale(1, "self_attn.q_proj", 2), Ok(4.0));
        assert_eq!(scale(7, "mlp.down_proj", 1), Ok(3.0));
        // `11` ends with `1`, and is another layer.
        assert_eq!(scale(11, "self_attn.q_proj", 4), Ok(2.0));
        assert!(matches!(scale(1, "self_attn.q_proj", 4), Err(Misfit::Ranks { a: 2, b: 4, .. })));
        let stabilised = self::config(&json!({"r": 4, "lora_alpha": 8, "use_rslora": true}));
        let place = Place::of("base_model.model.layers.0.mlp.up_proj.lora_B.weight").unwrap();
        assert_eq!(stabilised.scale(&place, "x", 4), Ok(4.0));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (field, value) in [
            ("peft_type", json!("LOHA")),
            ("bias", json!("all")),
            ("use_dora", json!(true)),
            ("lora_bias", json!(true)),
            ("fan_in_fan_out", json!(true)),
            ("modules_to_save", json!(["lm_head"])),
            ("layer_replication", json!([[0, 4]])),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("init_lora_weights", json!("loftq")),
            ("rank_pattern", json!({"q_proj|k_proj": 8})),
            ("rank_pattern", json!({"q_proj": -1})),
            ("alpha_pattern", json!({"^model.*": 8})),
            ("alora_invocation_tokens", json!([1, 2])),
            ("a_field_of_tomorrow", json!(1)),
        ] {
            let json = merged(&json!({ field: value }));
            assert!(matches!(parse(&json), Err(Misfit::Config(_))), "{json}");
        }
        assert!(matches!(Config::parse(b"{}"), Err(Misfit::Config(_))));
        assert!(matches!(Config::parse(b"\xff"), Err(Misfit::Config(_))));
    }

    #[test]
    fn what_changes_nothing_is_accepted() {
        for (field, value) in [
            ("bias", json!("none")),
            ("use_dora", json!(false)),
            ("modules_to_save", json!(null)),
            ("init_lora_weights", json!("gaussian")),
            ("megatron_core", json!("megatron.core")),
            ("loftq_config", json!({})),
            ("lora_dropout", json!(0.1)),
            ("qalora_group_size", json!(16)),
            ("init_lora_weights", json!("orthogonal")),
            ("target_modules", json!("all-linear")),
            ("peft_version", json!("0.18.0")),
            ("a_field_of_tomorrow", json!(null)),
        ] {
            let json = merged(&json!({ field: value }));
            assert!(parse(&json).is_ok(), "{json}: {:?}", parse(&json));
        }
    }

    #[test]
    fn only_modules_of_layers_have_a_place() {
        for tensor in [
            "base_model.model.lm_head.lora_A.weight",
            "base_model.model.model.embed_tokens.lora_embedding_A",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
            "base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight",
            "base_model.model.model.layers.0.mlp.gate.lora_A.weight",
            "model.layers.0.self_attn.q_proj.lora_A.weight",
            "",
        ] {
            assert!(Place::of(tensor).is_none(), "{tensor:?}");
        }
    }

    #[test]
    fn pairs_become_neighbours_in_each_head() {
        let columns: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let matrix = Matrix { rows: 1, columns: 8, values: columns };
        let expected = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
        assert_eq!(paired(&matrix, 4).unwrap().values, expected);
        for head_size in [0, 3, 5, 16] {
            assert!(paired(&matrix, head_size).is_none(), "{head_size}");
        }
        let empty = Matrix { rows: usize::MAX, columns: 0, values: Vec::new() };
        assert!(paired(&empty, 4).is_none());
    }

    fn config(json: &Value) -> Config {
        parse(&merged(json)).unwrap()
    }

    fn merged(json: &Value) -> Value {
        let mut whole = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8});
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        whole
    }

    fn parse(json: &Value) -> Result<Config, Misfit> {
        Config::parse(json.to_string().as_bytes())
    }
}
