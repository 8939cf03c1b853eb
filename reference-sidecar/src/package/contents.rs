//! One model directory, as onnxruntime-genai's model builder writes it: what is in it, read and checked.
//!
//! Reads `genai_config.json` and looks whether the files it names are there; opens no graph. Errors name the file and
//! the field, for the person who made the package; they are for the terminal and the log, not for clients.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

/// A directory that holds a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    dir: PathBuf,
    graph: PathBuf,
    tokenizer: PathBuf,
    vocabulary: usize,
    end_of_text: Vec<u32>,
    cache: CacheShape,
}

/// The KV cache that the model's graph takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Tokens of one sequence.
    pub context: usize,
    /// Key and value heads of each layer.
    pub kv_heads: usize,
    /// Numbers of one head.
    pub head_size: usize,
    /// Past input and present output, layer by layer, key before value.
    pub names: Vec<(String, String)>,
}

impl Package {
    /// The file that makes a directory a package.
    pub const CONFIG: &str = "genai_config.json";

    /// What is to be known of a package that names no token as its text's end.
    pub const NO_END: &str =
        "genai_config.json has no model.eos_token_id: no text ends before max_new_tokens or the context does";

    /// Reads and checks the directory.
    pub fn open(dir: &Path) -> Result<Self, PackageError> {
        let file = dir.join(Self::CONFIG);
        let json = match read(&file) {
            Err(PackageError::Missing { .. }) => Err(PackageError::NotAPackage { dir: dir.to_owned() }),
            read => read,
        }?;
        let Config { model } = serde_json::from_slice(&json)
            .map_err(|error| PackageError::Config { file: file.clone(), why: error.to_string() })?;
        let wrong = |why: String| PackageError::Config { file: file.clone(), why };
        let decoder = &model.decoder;
        for (field, value, most) in [
            ("model.context_length", model.context_length, MOST_CONTEXT),
            ("model.vocab_size", model.vocab_size, MOST_VOCABULARY),
            ("model.decoder.num_hidden_layers", decoder.num_hidden_layers, MOST_OF_A_LAYER),
            ("model.decoder.num_key_value_heads", decoder.num_key_value_heads, MOST_OF_A_LAYER),
            ("model.decoder.head_size", decoder.head_size, MOST_OF_A_LAYER),
        ] {
            if value == 0 || value > most {
                return Err(wrong(format!("{field} is {value}; expected 1 to {most}")));
            }
        }
        let present = |name: &str| match dir.join(name) {
            _ if Path::new(name).file_name() != Some(name.as_ref()) => {
                Err(wrong(format!("`{name}` is not the name of a file in the package")))
            }
            path if path.is_file() => Ok(path),
            path => Err(PackageError::Missing { file: path }),
        };
        let end_of_text = model.eos_token_id.map_or_else(Vec::new, OneOrMore::into_vec);
        if let Some(id) = end_of_text.iter().find(|id| **id as usize >= model.vocab_size) {
            return Err(wrong(format!("model.eos_token_id {id} is outside the vocabulary")));
        }
        let cache = decoder.cache_shape(model.context_length).map_err(wrong)?;
        Ok(Self {
            graph: present(&decoder.filename)?,
            tokenizer: present("tokenizer.json")?,
            vocabulary: model.vocab_size,
            end_of_text,
            cache,
            dir: dir.to_owned(),
        })
    }

    /// The directory of the package.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The ONNX graph's file.
    pub fn graph(&self) -> &Path {
        &self.graph
    }

    /// The Hugging Face tokenizer's file.
    pub fn tokenizer(&self) -> &Path {
        &self.tokenizer
    }

    /// Logits of one row.
    pub const fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Tokens that end a text.
    pub fn end_of_text(&self) -> &[u32] {
        &self.end_of_text
    }

    /// What the graph needs as a cache.
    pub const fn cache(&self) -> &CacheShape {
        &self.cache
    }
}

/// A directory that is not a package that can be served.
#[derive(Debug, Error)]
pub enum PackageError {
    /// The directory holds no configuration.
    #[error("{} holds no {}, so it is not a model package", .dir.display(), Package::CONFIG)]
    NotAPackage {
        /// The directory that was named.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("failed to read {}: {error}", .file.display())]
    Unreadable {
        /// The path that could not be read.
        file: PathBuf,
        /// The error of the file system.
        error: io::Error,
    },
    /// The configuration makes no sense.
    #[error("failed to understand {}: {why}", .file.display())]
    Config {
        /// Path of the configuration.
        file: PathBuf,
        /// Which field, and what is wrong with it.
        why: String,
    },
    /// The graph is no ONNX model, or asks for what is not in the package.
    #[error("failed to understand {}: {why}", .file.display())]
    Graph {
        /// Path of the graph.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A data file was written to while its model was loaded.
    #[error("{} was changed while the model was loaded: load it again when it is whole", .file.display())]
    Changed {
        /// Path of the data file.
        file: PathBuf,
    },
    /// A large file's stand-in, as a clone without Git LFS has it.
    #[error("{} is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`", .file.display())]
    Pointer {
        /// Path of the pointer.
        file: PathBuf,
    },
    /// A file that the configuration names is not there.
    #[error("{} is missing from the package", .file.display())]
    Missing {
        /// Path of the missing file.
        file: PathBuf,
    },
}

/// The content of a package's file, without a byte order mark, which some editors put before a text.
pub fn read(file: &Path) -> Result<Vec<u8>, PackageError> {
    let mut content = fs::read(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PackageError::Missing { file: file.to_owned() },
        _ => PackageError::Unreadable { file: file.to_owned(), error },
    })?;
    if content.starts_with(LFS_POINTER) {
        return Err(PackageError::Pointer { file: file.to_owned() });
    }
    if content.starts_with(BYTE_ORDER_MARK) {
        content.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(content)
}

/// The part of `genai_config.json` that we read; the rest is the generator's business.
#[derive(Deserialize)]
struct Config {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    context_length: usize,
    vocab_size: usize,
    eos_token_id: Option<OneOrMore>,
    decoder: Decoder,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::More(ids) => ids,
        }
    }
}

#[derive(Deserialize)]
struct Decoder {
    filename: String,
    head_size: usize,
    num_hidden_layers: usize,
    num_key_value_heads: usize,
    #[serde(default)]
    inputs: PastNames,
    #[serde(default)]
    outputs: PresentNames,
}

#[derive(Deserialize)]
#[serde(default)]
struct PastNames {
    past_key_names: String,
    past_value_names: String,
}

impl Default for PastNames {
    fn default() -> Self {
        Self {
            past_key_names: "past_key_values.%d.key".to_owned(),
            past_value_names: "past_key_values.%d.value".to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct PresentNames {
    present_key_names: String,
    present_value_names: String,
}

impl Default for PresentNames {
    fn default() -> Self {
        Self {
            present_key_names: "present.%d.key".to_owned(),
            present_value_names: "present.%d.value".to_owned(),
        }
    }
}

impl Decoder {
    fn cache_shape(&self, context: usize) -> Result<CacheShape, String> {
        let (past, present) = (&self.inputs, &self.outputs);
        let patterns = [
            (&past.past_key_names, &present.present_key_names),
            (&past.past_value_names, &present.present_value_names),
        ];
        let flat = patterns.iter().flat_map(|(past, present)| [past, present]);
        if let Some(pattern) = flat.into_iter().find(|pattern| !pattern.contains("%d")) {
            return Err(format!("`{pattern}` has no %d for the layer's number"));
        }
        let names = (0..self.num_hidden_layers)
            .flat_map(|layer| {
                patterns.map(|(past, present)| {
                    let of_layer = |pattern: &str| pattern.replacen("%d", &layer.to_string(), 1);
                    (of_layer(past), of_layer(present))
                })
            })
            .collect();
        let (kv_heads, head_size) = (self.num_key_value_heads, self.head_size);
        Ok(CacheShape { context, kv_heads, head_size, names })
    }
}

/// What every Git LFS pointer begins with.
const LFS_POINTER: &[u8] = b"version https://git-lfs";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Bounds against a broken file, far above any model: what they guard are sizes that are multiplied.
const MOST_CONTEXT: usize = 1 << 22;
const MOST_VOCABULARY: usize = 1 << 22;
const MOST_OF_A_LAYER: usize = 1 << 12;
