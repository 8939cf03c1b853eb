//! Packages that cannot be served, and the words that say why: each is `tiny`, with one line of its configuration wrong.
//! And how often they are tried.

mod support;

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use reference_sidecar::{
    backends::onnx::{Kernels, OnnxBackend, OnnxError, OnnxOptions, Provider, Runtime},
    engine::Job,
    package::Package,
    registry::{LoadError, LoadedModel, Loader, Registry, RegistryError},
};
use tempfile::TempDir;
use tokio::time::timeout;

#[test]
fn a_cache_that_is_not_kept_in_place_is_seen_by_the_self_test() {
    // What the graph gives out as keys is fed back as values: no run fails, and the text is nonsense.
    let swapped = [
        ("present.%d.key", "present.%d.spare"),
        ("present.%d.value", "present.%d.key"),
        ("present.%d.spare", "present.%d.value"),
    ];
    let error = load(&fixtures::tiny(), &swapped, Some(2)).unwrap_err();
    assert!(matches!(&error, OnnxError::SelfTest(why) if why.contains("KV cache")), "{error}");
}

#[test]
fn what_the_configuration_says_wrongly_is_named() {
    let cases = [
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 1",
            "is 1 in genai_config.json, and the graph has a KV cache for 2 layers",
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
            "is 3 in genai_config.json, and the graph has a KV cache for 2 layers",
        ),
        ("\"head_size\": 32", "\"head_size\": 16", "[?, 2, ?, 16]"),
        ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4", "[?, 4, ?, 32]"),
        ("\"vocab_size\": 256", "\"vocab_size\": 512", "`logits`"),
        ("present.%d.value", "present.%d.other", "no output `present.0.other`"),
    ];
    for (right, wrong, words) in cases {
        let error = load(&fixtures::tiny(), &[(right, wrong)], Some(2)).unwrap_err();
        assert!(error.to_string().contains(words), "{wrong}: {error}");
    }
}

#[test]
fn a_tokenizer_of_another_model_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    copy(&fixtures::tiny(), directory.path());
    let vocabulary = Package::open(directory.path()).unwrap().vocabulary();
    edit(&directory.path().join(Package::CONFIG), |text| {
        text.replace(&format!("\"vocab_size\": {vocabulary}"), "\"vocab_size\": 200")
    });
    let refused = loader().load("far", directory.path()).unwrap_err().to_string();
    assert!(refused.contains("0 to 199") && refused.contains("different models"), "{refused}");
}

#[test]
fn a_context_beyond_the_graphs_tables_is_refused() {
    let longer = [("\"context_length\": 4096", "\"context_length\": 8192")];
    let error = load(&fixtures::tiny(), &longer, Some(2)).unwrap_err();
    assert!(
        matches!(&error, OnnxError::SelfTest(why) if why.contains("model.context_length, 8192")),
        "{error}"
    );
}

#[test]
fn a_pointer_is_not_the_file() {
    let pointer = "version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 562475\n";
    for name in [Package::CONFIG, "tokenizer.json", "model.onnx"] {
        let directory = tempfile::tempdir().unwrap();
        copy(&fixtures::tiny(), directory.path());
        fs::write(directory.path().join(name), pointer).unwrap();
        let error = loader().load("pointer", directory.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("`git lfs pull`"), "{error}");
    }
}

#[test]
fn a_byte_order_mark_is_no_fault_and_a_missing_end_is_said() {
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone().subscriber());
    let directory = tempfile::tempdir().unwrap();
    copy(&fixtures::tiny(), directory.path());
    edit(&directory.path().join(Package::CONFIG), |text| {
        text.replace("\"eos_token_id\"", "\"some_token_id\"")
    });
    for name in [Package::CONFIG, "tokenizer.json"] {
        edit(&directory.path().join(name), |text| format!("\u{FEFF}{text}"));
    }
    loader().load("marked", directory.path()).unwrap();
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("no model.eos_token_id"), "{said}");
}

#[test]
fn a_tokenizer_that_its_library_panics_on_is_named() {
    let directory = tempfile::tempdir().unwrap();
    copy(&fixtures::tiny(), directory.path());
    edit(&directory.path().join("tokenizer.json"), |text| {
        let mut file: serde_json::Value = serde_json::from_str(text).unwrap();
        let piece = serde_json::json!({ "SpecialToken": { "id": "<absent>", "type_id": 0 } });
        file["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing", "single": [piece], "pair": [], "special_tokens": {},
        });
        file.to_string()
    });
    let error = loader().load("panics", directory.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
}

#[test]
fn a_hubs_links_are_served_and_nothing_that_happens_to_a_file_later_is() {
    let Some(package) = support::cached("smollm2", "ci/models smollm2") else { return };
    // As a hub's cache has it: every file is a link to one that is named by its content.
    let hub = tempfile::tempdir().unwrap();
    let (blobs, linked) = (hub.path().join("blobs"), hub.path().join("snapshots/1"));
    copy(&package, &blobs);
    fs::create_dir_all(&linked).unwrap();
    for (at, file) in fs::read_dir(&blobs).unwrap().enumerate() {
        let (name, blob) = (file.unwrap().file_name(), format!("{at:08x}"));
        fs::rename(blobs.join(&name), blobs.join(&blob)).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(blob), linked.join(name)).unwrap();
    }
    let loaded = loader().load("linked", &linked).unwrap();
    let data = linked.join("model.onnx.data");
    assert!(loaded.memory > fs::metadata(&data).unwrap().len(), "weights in files of their own count");
    let says = |model: &LoadedModel| {
        let prompt = model.tokenizer.encode("The river").unwrap();
        let job =
            Job { prompt, priority: 0, sampling: support::greedy_parameters(8), seed: 1, adapter: None };
        let mut reader = model.engine.submit(job).unwrap();
        let tokens: Vec<u32> = std::iter::from_fn(|| reader.blocking_next()).collect();
        assert!(reader.outcome().is_ok());
        tokens
    };
    let said = says(&loaded);
    let file = fs::OpenOptions::new().write(true).open(&data).unwrap();
    io::copy(&mut io::repeat(0xA5).take(64 << 20), &mut &file).unwrap();
    assert_eq!(says(&loaded), said, "after it was overwritten");
    file.set_len(4096).unwrap();
    assert_eq!(says(&loaded), said, "after it was truncated");
    let error = loader().load("cut", &linked).unwrap_err();
    assert!(matches!(error, LoadError::Onnx(_)), "{error}");
}

#[test]
fn a_cache_that_no_memory_holds_is_refused_before_it_is_filled() {
    // A context of a million tokens: 1 GiB a slot, of which nothing is touched before a request is that long.
    let million = [("\"context_length\": 4096", "\"context_length\": 1000000")];
    let error = load(&fixtures::tiny(), &million, Some(256)).unwrap_err();
    assert!(matches!(error, OnnxError::NoRoom { .. }), "{error}");
    assert!(error.to_string().contains("256 slots"), "{error}");
}

#[test]
fn the_same_package_with_nothing_wrong_loads() {
    let backend = load(&fixtures::tiny(), &[], None).unwrap();
    assert!(backend.adapted_layers().is_empty());
    let backend = load(&fixtures::tiny_lora(), &[], Some(2)).unwrap();
    assert_eq!(backend.adapted_layers().len(), 14);
}

#[tokio::test]
async fn a_load_goes_on_when_those_who_asked_for_it_leave() {
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone().subscriber());
    let registry = registry(&fixtures::models());
    while timeout(Duration::from_millis(1), registry.get("tiny")).await.is_err() {}
    assert_eq!(log.count("loaded"), 1);
    assert!(registry.stop(Duration::from_secs(10)));
    assert!(registry.get("tiny").await.is_ok_and(|model| !model.engine.is_stopped()), "a fresh one");
    assert_eq!(log.count("loaded"), 2);
}

#[tokio::test]
async fn a_package_that_cannot_be_loaded_is_not_tried_for_every_request() {
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone().subscriber());
    let models = TempDir::new().unwrap();
    copy(&fixtures::tiny(), &models.path().join("good"));
    copy(&fixtures::tiny(), &models.path().join("broken"));
    let graph = Package::open(&models.path().join("broken")).unwrap().graph().to_owned();
    fs::write(&graph, "no graph").unwrap();
    let registry = registry(models.path());
    for _ in 0..3 {
        let refused = registry.get("broken").await.unwrap_err();
        assert!(matches!(refused, RegistryError::Broken { .. }), "{refused}");
    }
    assert_eq!(log.count("failed to load"), 1);
    registry.get("good").await.unwrap();
    registry.unload("good").await.unwrap();
    registry.get("broken").await.unwrap_err();
    assert_eq!(log.count("failed to load"), 2, "unloading may have made room");
}

fn registry(models: &Path) -> Registry {
    Registry::open(models, None, loader()).unwrap()
}

fn loader() -> Loader {
    let runtime = Runtime::load(None).unwrap_or_else(|error| panic!("{error}"));
    let onnx = OnnxOptions { provider: Provider::Cpu, slots: Some(1), threads: 1, kernels: Kernels::Own };
    Loader { runtime, onnx, queue: 1, prefill_chunk: 64 }
}

/// What this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn subscriber(self) -> impl tracing::Subscriber {
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || self.clone()).finish()
    }

    fn count(&self, message: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(&format!(": {message} "))).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn edit(file: &Path, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(file).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    fs::write(file, changed).unwrap();
}

fn copy(package: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(package).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Loads a copy of the package with replacements in its configuration.
fn load(package: &Path, replace: &[(&str, &str)], slots: Option<usize>) -> Result<OnnxBackend, OnnxError> {
    let dir = TempDir::new().unwrap();
    copy(package, dir.path());
    let config = dir.path().join(Package::CONFIG);
    let mut text = fs::read_to_string(&config).unwrap();
    for (right, wrong) in replace {
        assert!(text.contains(right), "{right} is in the configuration");
        text = text.replace(right, wrong);
    }
    fs::write(&config, text).unwrap();
    let runtime = Runtime::load(None).unwrap_or_else(|error| panic!("{error}"));
    let options = OnnxOptions { provider: Provider::Cpu, slots, threads: 1, kernels: Kernels::Own };
    OnnxBackend::load(&runtime, &Package::open(dir.path()).unwrap(), options)
}
