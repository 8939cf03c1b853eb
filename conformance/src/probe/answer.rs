//! Calls whose bytes are made by hand: in another framing, encoding or content-type than a client library's.

use std::{collections::BTreeMap, time::Instant};

use ai_inference_proto::contract;
use bytes::Bytes;
use prost::Message as _;
use wire::{CallOptions, End, Head, Item};

use super::{Probe, generation::BACK_OFF};
use crate::verdict::NotPassed;

/// The service's methods.
pub const METHODS: [&str; 3] = ["Health", "Control", "StreamPredict"];
/// Tokens of the legal StreamPredict request.
const TOKENS: i64 = 4;

/// All that answered one call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response's head, if one came.
    pub head: Option<Head>,
    /// The messages, not decoded.
    pub messages: Vec<Bytes>,
    /// How the call ended.
    pub end: End,
    /// What was asked, for reasons.
    pub asked: String,
}

impl Answer {
    /// A value of the response's metadata, initial or trailing.
    pub fn metadata(&self, name: &str) -> Option<String> {
        let initial = self.head.as_ref().and_then(|head| head.headers.get(name));
        if let Some(value) = initial {
            return Some(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
        let End::Status(status) = &self.end else { return None };
        let mut trailing = status.metadata.iter().filter_map(|line| line.split_once(": "));
        trailing.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// Whether any of the messages holds these bytes.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.messages.iter().any(|message| message.windows(bytes.len()).any(|part| part == bytes))
    }

    /// What became of the call, after what was asked.
    pub fn told(&self) -> String {
        format!("{} {}", self.asked, self.end.told())
    }
}

impl Probe {
    /// A legal request of one of the methods: a Health, a ping, or a short greedy generation.
    pub fn legal(&self, method: &str, trace_id: &str) -> Vec<u8> {
        let trace_id = trace_id.to_owned();
        match method {
            "Health" => contract::WorkerHealthRequest { trace_id }.encode_to_vec(),
            "Control" => {
                let (command, payload) = ("ping".to_owned(), BTreeMap::new());
                contract::ControlMessage { trace_id, command, payload }.encode_to_vec()
            }
            _ => {
                let mut request = self.request(TOKENS);
                request.metadata.get_or_insert_default().trace_id = trace_id;
                self.dialect().encode_request(request)
            }
        }
    }

    /// Calls a method with these bytes as they are, gRPC's framing included, half-closes and reads to the end. A server that
    /// says it is full is asked again.
    pub async fn ask(
        &self,
        method: &str,
        bytes: &[u8],
        what: &str,
        options: &CallOptions,
    ) -> Result<Answer, NotPassed> {
        let began = Instant::now();
        loop {
            let answer = self.ask_once(method, bytes, what, options).await?;
            let full = answer.end.is_full() && answer.messages.is_empty();
            if !full || began.elapsed() >= self.patience() {
                return Ok(answer);
            }
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    /// The same, asked once.
    pub async fn ask_once(
        &self,
        method: &str,
        bytes: &[u8],
        what: &str,
        options: &CallOptions,
    ) -> Result<Answer, NotPassed> {
        let connection = self.connection().await?;
        let mut call = connection.call(&self.path(method), options, &self.record).await;
        if !bytes.is_empty() {
            call.send_bytes(Bytes::copy_from_slice(bytes), what);
        }
        call.half_close();
        let mut messages = Vec::new();
        let end = loop {
            match call.next(self.patience()).await {
                Item::Message(message) => {
                    call.note(format!("a message of {} bytes", message.bytes.len()));
                    let held = self.record.hold(message.bytes.len());
                    messages.push(message.bytes);
                    if let Err(why) = held {
                        break End::Malformed(why);
                    }
                }
                Item::End(end) => break end,
            }
        };
        Ok(Answer { head: call.head().cloned(), messages, end, asked: format!("{method} with {what}") })
    }
}
