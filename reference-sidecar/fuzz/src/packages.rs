//! Target `packages`: a model directory that somebody broke, opened, loaded and run as the server does it.
//!
//! An input is a list of edits of `tiny`, each of six bytes: what to do, where (three bytes), and with what (two).

use std::{fs, path::Path, sync::Arc};

use rand::{RngExt as _, rngs::StdRng};
use reference_sidecar::{
    backends::{
        Backend as _, Row,
        onnx::{Kernels, OnnxBackend, OnnxOptions, Provider, Runtime},
    },
    package::Package,
    text::{Decode as _, Tokenizer},
};
use serde_json::{Value, json};
use tokio::task;

use crate::{bytes::pick, campaign::Target, corpus, panics};

/// The fuzz target that loads model packages.
#[derive(Clone)]
pub struct Packages(Arc<Originals>);

struct Originals {
    runtime: Runtime,
    config: Vec<u8>,
    tokenizer: Vec<u8>,
    graph: Vec<u8>,
}

impl Packages {
    /// Of the `tiny` model.
    pub fn new() -> anyhow::Result<Self> {
        let read = |name: &str| fs::read(fixtures::tiny().join(name));
        Ok(Self(Arc::new(Originals {
            runtime: Runtime::load(None)?,
            config: read(CONFIG)?,
            tokenizer: read(TOKENIZER)?,
            graph: read(GRAPH)?,
        })))
    }
}

impl Target for Packages {
    const NAME: &'static str = "packages";

    fn generate(&self, rng: &mut StdRng) -> Vec<u8> {
        (0..rng.random_range(1..4) * EDIT).map(|_| rng.random()).collect()
    }

    fn mutate(&self, rng: &mut StdRng, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut edits: Vec<_> = input.chunks_exact(EDIT).collect();
        let fresh = self.generate(rng);
        let more: Vec<&[u8]> = other.chunks_exact(EDIT).chain(fresh.chunks_exact(EDIT)).collect();
        edits.insert(rng.random_range(0..=edits.len()), *pick(rng, more.as_slice()));
        if edits.len() > MOST_EDITS || rng.random_bool(0.3) {
            edits.remove(rng.random_range(0..edits.len()));
        }
        edits.concat()
    }

    async fn execute(&self, input: Vec<u8>) -> Result<String, String> {
        let originals = Arc::clone(&self.0);
        task::spawn_blocking(move || originals.try_out(&input)).await.map_err(|error| error.to_string())?
    }

    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Originals {
    fn try_out(&self, input: &[u8]) -> Result<String, String> {
        // What ends the process is found here.
        let running = corpus::write(&std::env::temp_dir(), "packages-running-", input)
            .map_err(|error| error.to_string())?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        self.write(directory.path(), input).map_err(|error| error.to_string())?;
        let seen = self.serve(directory.path()).unwrap_or_else(|refused| {
            panics::expect(usize::from(refused.contains("tokenizers library panicked")));
            // Names and numbers are no behaviour.
            let told = refused.replace(&directory.path().display().to_string(), "");
            let words = told.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 2);
            words.take(WORDS).collect::<Vec<_>>().join(" ")
        });
        let _ = fs::remove_file(running);
        Ok(seen)
    }

    fn write(&self, directory: &Path, input: &[u8]) -> std::io::Result<()> {
        let (mut config, mut tokenizer, mut graph) =
            (self.config.clone(), self.tokenizer.clone(), self.graph.clone());
        for edit in input.chunks_exact(EDIT) {
            let [what, a, b, c, with, how] = *edit else { continue };
            let at = u32::from_be_bytes([0, a, b, c]) as usize;
            let json = if what & 0x10 == 0 { &mut config } else { &mut tokenizer };
            match what % 8 {
                0..=2 => edit_json(json, at, with, how),
                3 => set(json, at, with),
                // Most of the graph are weights; its nodes come first.
                4 => set(&mut graph, at % NODES, with),
                5 => set(&mut graph, at, with),
                6 => graph.truncate(at % graph.len().max(1)),
                _ => {
                    let from = (at % NODES).min(graph.len());
                    let to = (from + usize::from(with)).min(graph.len());
                    let piece = graph[from..to].to_vec();
                    let into = usize::from(how) * (NODES / 256);
                    let into = into.min(graph.len());
                    graph.splice(into..into, piece);
                }
            }
        }
        fs::write(directory.join(CONFIG), config)?;
        fs::write(directory.join(TOKENIZER), tokenizer)?;
        fs::write(directory.join(GRAPH), graph)
    }

    /// As far as it comes, or why it is refused.
    fn serve(&self, directory: &Path) -> Result<String, String> {
        let package = Package::open(directory).map_err(|error| error.to_string())?;
        let tokenizer = Tokenizer::open(package.tokenizer()).map_err(|error| error.to_string())?;
        let options =
            OnnxOptions { provider: Provider::Cpu, slots: Some(2), threads: 1, kernels: Kernels::Own };
        let mut backend =
            OnnxBackend::load(&self.runtime, &package, options).map_err(|error| error.to_string())?;
        let capacity = backend.capacity();
        let prompt = tokenizer.encode("Hello, 你好").map_err(|error| error.to_string())?;
        let known = |token: &i64| (0..capacity.vocabulary as i64).contains(token);
        if prompt.is_empty() || prompt.len() >= capacity.context || !prompt.iter().all(known) {
            return Ok("the prompt does not fit".to_owned());
        }
        backend.prefill(0, 0, &prompt).map_err(|error| error.to_string())?;
        let rows = [Row { token: prompt[0], past: prompt.len() }];
        let logits = backend.decode(&rows).map_err(|error| error.to_string())?;
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(token, _)| token);
        let text = tokenizer.decode(&[best as u32]);
        Ok(format!("serves {}", if text.is_empty() { "nothing" } else { "text" }))
    }
}

/// Exchanges one value of a JSON text, or takes it out.
fn edit_json(text: &mut Vec<u8>, at: usize, with: u8, how: u8) {
    let Ok(mut json) = serde_json::from_slice::<Value>(text) else { return };
    let mut places = Vec::new();
    pointers(&json, &mut String::new(), &mut places);
    // The shallow ones say more than a vocabulary's entries.
    let shallow: Vec<_> =
        places.iter().filter(|place| place.matches('/').count() <= usize::from(how % 4)).cloned().collect();
    let places = if shallow.is_empty() { places } else { shallow };
    if places.is_empty() {
        return;
    }
    let place = &places[at % places.len()];
    let other = json.pointer(&places[usize::from(with) % places.len()]).cloned().unwrap_or_default();
    let values = values();
    match (how / 4 % 3, json.pointer_mut(place)) {
        (0, Some(value)) => *value = values[usize::from(with) % values.len()].clone(),
        (1, Some(value)) => *value = other,
        _ => {
            let (parent, key) = place.rsplit_once('/').unwrap_or_default();
            match json.pointer_mut(parent) {
                Some(Value::Object(map)) => drop(map.remove(key)),
                Some(Value::Array(list)) => {
                    let at = key.parse::<usize>().unwrap_or_default();
                    if at < list.len() {
                        list.remove(at);
                    }
                }
                _ => {}
            }
        }
    }
    *text = json.to_string().into_bytes();
}

fn pointers(json: &Value, here: &mut String, into: &mut Vec<String>) {
    let children: Vec<_> = match json {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => return,
    };
    for (key, value) in children {
        let length = here.len();
        here.push('/');
        here.push_str(&key);
        into.push(here.clone());
        pointers(value, here, into);
        here.truncate(length);
    }
}

fn values() -> [Value; 18] {
    [
        Value::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(255),
        json!(65_535),
        json!(1u64 << 31),
        json!(u64::MAX),
        json!(1.5),
        json!(""),
        json!("x"),
        json!("%d"),
        json!("../x"),
        json!("\u{FFFD}你"),
        json!([]),
        json!({}),
    ]
}

fn set(bytes: &mut [u8], at: usize, with: u8) {
    let length = bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(at % length) {
        *byte = with;
    }
}

/// Bytes of an edit, and the most that an input has.
const EDIT: usize = 6;
const MOST_EDITS: usize = 8;
/// Words of a refusal that tell it from others.
const WORDS: usize = 5;
/// The graph's nodes are in its first bytes.
const NODES: usize = 12 << 10;
const CONFIG: &str = Package::CONFIG;
const TOKENIZER: &str = "tokenizer.json";
const GRAPH: &str = "model.onnx";
