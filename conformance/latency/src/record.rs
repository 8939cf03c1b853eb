//! What happened to each request, and nothing derived from it: every figure can be made again from a recording.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use present::text::{cut, visible};
use serde::{Deserialize, Serialize};

/// Nanoseconds since the recording began, by the client's monotonic clock.
pub type Nanos = u64;

/// One request as its client saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Which of the data set's prompts it carried.
    pub prompt: u32,
    /// When it was to be sent. In a closed loop that is when it was sent.
    pub planned: Nanos,
    /// When it was sent.
    pub sent: Nanos,
    /// For how long, before that, it waited for a stream: where only so many may run at once, by the server's word or by
    /// `--most-running`.
    pub waited: Nanos,
    /// When each text-bearing chunk came. Chunks that came in one packet came at one time.
    pub chunks: Vec<Nanos>,
    /// When its end came.
    pub ended: Nanos,
    /// How it ended.
    pub outcome: Outcome,
    /// FNV-1a of the whole text: tells whether two sides said the same.
    pub text: u64,
    /// What the server says of its own time to the first token, in milliseconds (`cy.llm` only).
    pub server_ttft_ms: Option<f32>,
    /// The server's own tokens per second, where it says so.
    pub server_tokens_per_second: Option<f32>,
    /// Of a cancelled request: when the server said that nothing ran any more. Known where nothing else was asked of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed: Option<Nanos>,
    /// What the target wrote beside its grpc-status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Grpc-status OK, and the last message was marked so.
    Complete,
    /// Another grpc-status, by its name.
    Status(String),
    /// No status: what broke instead.
    Broken(String),
    /// The client gave it up after its time limit.
    Late,
    /// The client gave it up because the answer had no end: it was longer than any that was asked for.
    TooLong,
    /// The run was ended while it ran.
    Cut,
    /// The client cancelled it after its first text, as it was to.
    Cancelled,
}

impl RequestRecord {
    /// A request that was planned and sent at one time and has got nothing yet.
    pub fn new(prompt: u32, planned: Nanos, outcome: Outcome) -> Self {
        Self {
            prompt,
            planned,
            sent: planned,
            waited: 0,
            chunks: Vec::new(),
            ended: planned,
            outcome,
            text: 0,
            server_ttft_ms: None,
            server_tokens_per_second: None,
            freed: None,
            message: None,
        }
    }

    /// It was answered as asked.
    pub fn is_complete(&self) -> bool {
        self.outcome == Outcome::Complete && !self.chunks.is_empty()
    }

    /// It was not answered as asked, and the client did not end it on purpose.
    pub fn has_failed(&self) -> bool {
        !self.is_complete() && !matches!(self.outcome, Outcome::Cut | Outcome::Cancelled)
    }
}

/// A measured stretch of load against one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// What was measured, and how.
    pub setup: Setup,
    /// What came of it, by planned time; the warm-up is left out.
    pub requests: Vec<RequestRecord>,
}

/// Everything that must be equal for two recordings to be compared, and where they were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The address, or the command that was spawned.
    pub target: String,
    /// `contract` or `cy.llm`.
    pub dialect: String,
    /// The model asked for; empty for the default.
    pub model: String,
    /// How requests came, as `--load` is written.
    pub load: String,
    /// The prompts, as `--prompts` is written.
    pub prompts: String,
    /// Tokens asked for.
    pub tokens: u32,
    /// Everything drawn follows from it.
    pub seed: u64,
    /// Number of connections.
    pub connections: usize,
    /// How long requests were sent, as `--length` is written.
    #[serde(default)]
    pub length: String,
    /// Requests under way at once, where that was limited.
    #[serde(default)]
    pub most_running: Option<u32>,
    /// Requests at once on one stream.
    #[serde(default = "one")]
    pub per_stream: usize,
    /// Share of the requests that the client cancels.
    #[serde(default)]
    pub cancel_share: f64,
    /// Requests after which no other was sent, where their number was limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// When the measurement began, in RFC 3339 form.
    pub started: String,
    /// The client's machine, in the words of [`super::host::Fingerprint`]: equal words, equal host.
    pub host: String,
}

impl Setup {
    /// The model, for people: the name may be the endpoint's own choice of words.
    pub fn shown_model(&self) -> String {
        if self.model.is_empty() {
            return "the endpoint's default".to_owned();
        }
        cut(&visible(&self.model), LONGEST_NAME)
    }
}

impl Recording {
    /// Writes gzipped JSON lines: the setup, then a line a request.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut out = BufWriter::new(GzEncoder::new(File::create(path)?, Compression::fast()));
        serde_json::to_writer(&mut out, &self.setup)?;
        for request in &self.requests {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, request)?;
        }
        out.write_all(b"\n")?;
        out.into_inner()?.finish()?.sync_all()
    }

    /// Reads what [`Recording::write`] wrote.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut lines = BufReader::new(GzDecoder::new(File::open(path)?)).lines();
        let first = lines.next().ok_or_else(|| io::Error::other("the recording is empty"))??;
        let setup = serde_json::from_str(&first)?;
        let requests = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<io::Result<_>>()?;
        Ok(Self { setup, requests })
    }
}

/// What recordings without the field had.
const fn one() -> usize {
    1
}

/// In characters.
const LONGEST_NAME: usize = 100;
