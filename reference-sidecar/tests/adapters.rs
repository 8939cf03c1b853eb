//! Adapters as they lie on a disk: what is loaded, what is refused, and that nothing outside the root is told of.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fixtures::{SHIFT_THREE_IN_GRAPH_FORM, Shift};
use proptest::prelude::*;
use reference_sidecar::adapters::{AdaptedModel, AdapterError, Adapters};
use reference_sidecar::package::AdaptedLayer;
use tempfile::TempDir;
use tokio::task::JoinSet;

#[tokio::test]
async fn every_fixture_loads_under_its_name() {
    let adapters = fixtures();
    for shift in Shift::ALL {
        let adapter = adapters.get(shift.name(), &tiny_lora()).await.unwrap();
        assert_eq!(adapter.name, shift.name());
        assert!(adapter.layers.values().all(|layer| layer.a.iter().any(|value| *value != 0.0)));
    }
    let one = adapters.get("shift1", &tiny_lora()).await.unwrap();
    assert_eq!(one.layers.keys().collect::<Vec<_>>(), ["blk.0.attn_output"]);
    assert_eq!(one.layers["blk.0.attn_output"].a.len(), 128 * 4);
    assert_eq!(one.bytes(), 4 * 4 * (128 + 64));
    let with_extension = adapters.get("shift1.safetensors", &tiny_lora()).await.unwrap();
    assert_eq!(with_extension.layers, one.layers);
}

/// The expected matrices were made in Python, and proven there against merged weights.
#[tokio::test]
async fn what_peft_wrote_becomes_the_graphs_form() {
    let adapters = fixtures();
    let peft = adapters.get(Shift::Three.name(), &tiny_lora()).await.unwrap();
    let expected = adapters.get(SHIFT_THREE_IN_GRAPH_FORM, &tiny_lora()).await.unwrap();
    assert_eq!(peft.layers.len(), 14);
    assert_eq!(peft.layers, expected.layers);

    let other_heads = AdaptedModel { head_size: 16, ..tiny_lora() };
    let turned = adapters.get(Shift::Three.name(), &other_heads).await.unwrap();
    assert_ne!(turned.layers["blk.0.attn_q"], expected.layers["blk.0.attn_q"]);
    assert_ne!(turned.layers["blk.0.attn_k"], expected.layers["blk.0.attn_k"]);
    assert_eq!(turned.layers["blk.0.attn_v"], expected.layers["blk.0.attn_v"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_it_is_loaded_once() {
    let adapters = Arc::new(fixtures());
    let mut asking = JoinSet::new();
    for _ in 0..32 {
        let adapters = Arc::clone(&adapters);
        asking.spawn(async move { adapters.get("shift3", &tiny_lora()).await.unwrap() });
    }
    let got = asking.join_all().await;
    assert!(got.iter().all(|adapter| Arc::ptr_eq(adapter, &got[0])));
}

#[tokio::test]
async fn a_changed_file_is_loaded_again() {
    let (dir, adapters) = workshop();
    let file = dir.path().join("root/a.safetensors");
    let old = adapters.get("a", &tiny_lora()).await.unwrap();
    assert!(Arc::ptr_eq(&old, &adapters.get("a", &tiny_lora()).await.unwrap()));

    fs::copy(fixtures::adapters().join("shift2.safetensors"), &file).unwrap();
    let new = adapters.get("a", &tiny_lora()).await.unwrap();
    assert_ne!(new.layers, old.layers);

    // Of the same size, and only its time says that it is another.
    let touched = SystemTime::now() + Duration::from_secs(10);
    fs::File::options().write(true).open(&file).unwrap().set_modified(touched).unwrap();
    let again = adapters.get("a", &tiny_lora()).await.unwrap();
    assert!(!Arc::ptr_eq(&new, &again) && new.layers == again.layers);

    // Of the same size and time, put in the other's place.
    let modified = file.metadata().unwrap().modified().unwrap();
    let replacement = dir.path().join("root/b.safetensors");
    fs::copy(&file, &replacement).unwrap();
    fs::File::options().write(true).open(&replacement).unwrap().set_modified(modified).unwrap();
    fs::rename(&replacement, &file).unwrap();
    assert!(!Arc::ptr_eq(&again, &adapters.get("a", &tiny_lora()).await.unwrap()));

    fs::remove_file(&file).unwrap();
    assert_eq!(adapters.get("a", &tiny_lora()).await, Err(AdapterError::Unknown));
}

#[tokio::test]
async fn a_broken_adapter_is_refused_until_it_is_mended() {
    let (dir, adapters) = workshop();
    let file = dir.path().join("root/a.safetensors");
    let good = fs::read(&file).unwrap();
    // The last bytes of the file are numbers.
    let mut not_a_number = good.clone();
    let end = not_a_number.len();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let large = [&good[..], &vec![0; 6 << 20]].concat();
    for bad in [&good[..good.len() - 1], b"", b"{}", &not_a_number, &large] {
        fs::write(&file, bad).unwrap();
        for _ in 0..2 {
            assert_eq!(adapters.get("a", &tiny_lora()).await, Err(AdapterError::Unfit));
        }
    }
    fs::write(&file, &good).unwrap();
    adapters.get("a", &tiny_lora()).await.unwrap();
}

#[tokio::test]
async fn an_adapter_fits_some_models_and_not_others() {
    let adapters = fixtures();
    let with = |id: &str, change: fn(&mut AdaptedLayer)| {
        let mut layers = tiny_lora().layers.to_vec();
        layers.iter_mut().for_each(change);
        AdaptedModel { id: id.to_owned(), layers: layers.into(), ..tiny_lora() }
    };
    let none = AdaptedModel { id: "none".to_owned(), layers: Arc::new([]), ..tiny_lora() };
    let others = [
        with("small", |layer| layer.rank = 3),
        with("wide", |layer| layer.inputs += 1),
        with("tall", |layer| layer.outputs *= 2),
        with("foreign", |layer| layer.name = layer.name.replace("blk", "model.layers")),
        none,
    ];
    for shift in Shift::ALL {
        for other in &others {
            let refused = adapters.get(shift.name(), other).await.unwrap_err();
            assert_eq!(refused, AdapterError::Unfit, "{} for {}", shift.name(), other.id);
            assert_eq!(refused.to_string(), "the adapter does not fit this model");
        }
        adapters.get(shift.name(), &with("roomy", |layer| layer.rank = 64)).await.unwrap();
        adapters.get(shift.name(), &tiny_lora()).await.unwrap();
    }
}

#[tokio::test]
async fn a_peft_configuration_that_cannot_be_honoured_is_refused() {
    let (dir, adapters) = workshop();
    let peft = dir.path().join("root/team/peft");
    adapters.get("team/peft", &tiny_lora()).await.unwrap();
    let config = fs::read_to_string(peft.join("adapter_config.json")).unwrap();
    for (from, to) in [
        (r#""use_dora": false"#, r#""use_dora": true"#),
        (r#""bias": "none""#, r#""bias": "all""#),
        (r#""r": 2"#, r#""r": 4"#),
        (r#""lora_alpha": 8"#, r#""lora_alpha": 1e300"#),
        ("{", ""),
    ] {
        let changed = config.replacen(from, to, 1);
        assert_ne!(changed, config, "{from}");
        fs::write(peft.join("adapter_config.json"), changed).unwrap();
        assert_eq!(adapters.get("team/peft", &tiny_lora()).await, Err(AdapterError::Unfit), "{to}");
    }
    fs::remove_file(peft.join("adapter_config.json")).unwrap();
    assert_eq!(adapters.get("team/peft", &tiny_lora()).await, Err(AdapterError::Unknown));
}

#[tokio::test]
async fn names_that_lead_out_are_as_unknown_as_names_that_no_adapter_has() {
    let (dir, adapters) = workshop();
    let root = dir.path().join("root");
    symlink(dir.path().join("outside"), root.join("way-out")).unwrap();
    symlink(dir.path().join("outside/secret.safetensors"), root.join("link.safetensors")).unwrap();
    symlink(dir.path().join("outside/peft"), root.join("peft-link")).unwrap();
    fs::create_dir(root.join("half-link")).unwrap();
    for (from, to) in
        [("root/team/peft", "adapter_config.json"), ("outside/peft", "adapter_model.safetensors")]
    {
        symlink(dir.path().join(from).join(to), root.join("half-link").join(to)).unwrap();
    }
    fs::copy(root.join("a.safetensors"), root.join(".hidden.safetensors")).unwrap();
    let absolute = dir.path().join("outside/secret.safetensors");
    let names = [
        "../outside/secret",
        "../outside/missing",
        "team/../../outside/secret",
        "team/../a",
        "./a",
        "",
        "/",
        "..",
        "a/",
        "a\0",
        ".hidden",
        "way-out/secret",
        "way-out/missing",
        "link",
        "peft-link",
        "half-link",
        "team",
        "nobody",
        "nobody/nothing",
        "a/b",
        "a.safetensors/b",
        absolute.to_str().unwrap(),
        &"a".repeat(5000),
    ];
    for name in names {
        let refused = adapters.get(name, &tiny_lora()).await.unwrap_err();
        assert_eq!(refused, AdapterError::Unknown, "{name:?}");
        assert_eq!(refused.to_string(), "the adapter is not known here");
    }
    // The same files are good where they may be had; and links may stay inside.
    let outside = Adapters::open(Some(&dir.path().join("outside"))).unwrap();
    for name in ["secret", "peft"] {
        outside.get(name, &tiny_lora()).await.unwrap();
    }
    symlink("a.safetensors", root.join("inside.safetensors")).unwrap();
    adapters.get("inside", &tiny_lora()).await.unwrap();
}

#[tokio::test]
async fn without_a_root_no_adapter_is_known() {
    let adapters = Adapters::open(None).unwrap();
    for name in ["shift1", "../shift1", ""] {
        assert_eq!(adapters.get(name, &tiny_lora()).await, Err(AdapterError::Unknown));
    }
    let missing = Adapters::open(Some(Path::new("no/such/directory"))).unwrap_err();
    assert!(missing.to_string().contains("no/such/directory"));
    Adapters::open(Some(&fixtures::adapters().join("shift1.safetensors"))).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a name is made of, it never reaches the adapter beside the root.
    #[test]
    fn no_name_reaches_what_is_outside(
        parts in prop::collection::vec(prop::sample::select(&["..", ".", "", "root", "outside", "secret", "team", "\0"]), 1..6),
        extension: bool,
    ) {
        let (dir, adapters) = workshop();
        fs::remove_dir_all(dir.path().join("root/team")).unwrap();
        let name = parts.join("/") + if extension { ".safetensors" } else { "" };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(adapters.get(&name, &tiny_lora())), Err(AdapterError::Unknown));
    }
}

/// What a server asks for `tiny-lora`.
fn tiny_lora() -> AdaptedModel {
    let modules = [
        ("attn_q", 64, 128),
        ("attn_k", 64, 64),
        ("attn_v", 64, 64),
        ("attn_output", 128, 64),
        ("ffn_gate", 64, 64),
        ("ffn_up", 64, 64),
        ("ffn_down", 64, 64),
    ];
    let layers = (0..2).flat_map(|layer| {
        modules.map(|(module, inputs, outputs)| AdaptedLayer {
            name: format!("blk.{layer}.{module}"),
            inputs,
            rank: 4,
            outputs,
        })
    });
    AdaptedModel { id: "tiny-lora".to_owned(), layers: layers.collect(), head_size: 32 }
}

fn fixtures() -> Adapters {
    Adapters::open(Some(&fixtures::adapters())).unwrap()
}

/// A root with adapters `a` and `team/peft`, and beside it `outside` with `secret` and `peft`.
fn workshop() -> (TempDir, Adapters) {
    let dir = tempfile::tempdir().unwrap();
    let shift1 = fixtures::adapters().join("shift1.safetensors");
    for (folder, file) in
        [("root/team/peft", "root/a.safetensors"), ("outside/peft", "outside/secret.safetensors")]
    {
        let folder = dir.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(fixtures::adapters().join("shift3").join(name), folder.join(name)).unwrap();
        }
        fs::copy(&shift1, dir.path().join(file)).unwrap();
    }
    let adapters = Adapters::open(Some(&dir.path().join("root"))).unwrap();
    (dir, adapters)
}
