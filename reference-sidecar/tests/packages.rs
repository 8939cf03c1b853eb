//! Packages that cannot be served, and the words that say why: each is `tiny`, with one line of its configuration wrong.
//! And how often they are tried.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use reference_sidecar::{
    backends::onnx::{Kernels, OnnxBackend, OnnxError, OnnxOptions, Provider, Runtime},
    package::Package,
    registry::{Loader, Registry, RegistryError},
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
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "`past_key_values.1.key`"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "`past_key_values.2.key` is missing"),
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
    let config = directory.path().join(Package::CONFIG);
    let text = fs::read_to_string(&config).unwrap();
    let vocabulary = Package::open(directory.path()).unwrap().vocabulary();
    let fewer = text.replace(&format!("\"vocab_size\": {vocabulary}"), "\"vocab_size\": 200");
    assert_ne!(fewer, text);
    fs::write(&config, fewer).unwrap();
    let refused = loader().load("far", directory.path()).unwrap_err().to_string();
    assert!(refused.contains("0 to 199") && refused.contains("different models"), "{refused}");
}

#[test]
fn a_cache_that_no_memory_holds_is_refused_before_it_is_filled() {
    // A context of a million tokens: 1 GiB a slot, of which nothing is touched before a request is that long.
    let million = [("\"context_length\": 1024", "\"context_length\": 1000000")];
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
