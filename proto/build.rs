//! Compiles both dialects with protox, a protobuf compiler in Rust, so that no build needs a `protoc` binary.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for (file, include) in [("ai_inference.proto", "contract"), ("ai_service.proto", "cy_llm")] {
        println!("cargo:rerun-if-changed={include}/{file}");
        let descriptors = protox::compile([file], [include])?;
        fs::write(out.join(format!("{include}.descriptors")), descriptors.encode_to_vec())?;
        let generated = out.join(include);
        fs::create_dir_all(&generated)?;
        tonic_prost_build::configure()
            .out_dir(&generated)
            .btree_map(".") // a map in one order makes every message's bytes and every report repeatable
            .compile_fds(descriptors)?;
    }
    Ok(())
}
