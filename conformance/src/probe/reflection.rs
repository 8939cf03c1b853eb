//! Server reflection: what the endpoint says of its own schema.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};
use wire::{End, Item, quote};

use super::Probe;
use crate::verdict::NotPassed;

/// The versions of the reflection service; their messages are the same on the wire.
const SERVICES: [&str; 2] =
    ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
/// Files are asked for one by one; a schema of one service needs far fewer.
const MAX_QUESTIONS: usize = 32;
/// Files and bytes in all answers; more is not read.
const MAX_FILES: usize = 1024;
const MAX_BYTES: usize = 4 << 20;

/// Whether reflection is served.
#[derive(Clone, Debug)]
pub enum Reflection {
    /// It is, and this is what it says.
    Served(Box<Reflected>),
    /// It is not: how each of the two services answered.
    Absent(Vec<(&'static str, End)>),
}

/// What reflection says.
#[derive(Clone, Debug)]
pub struct Reflected {
    /// The reflection service that answered.
    pub by: &'static str,
    /// Full names of all services.
    pub services: Vec<String>,
    /// The files that describe the service asked for; empty if it is not known there.
    pub files: Vec<FileDescriptorProto>,
    /// What was said instead of files.
    pub error: String,
}

impl Probe {
    /// Asks for the list of services and for the files that describe `service`.
    pub async fn reflect(&self, service: &str) -> Result<Reflection, NotPassed> {
        let mut refusals = Vec::new();
        for by in SERVICES {
            match self.reflect_by(by, service).await? {
                Ok(reflected) => return Ok(Reflection::Served(Box::new(reflected))),
                Err(end) => refusals.push((by, end)),
            }
        }
        Ok(Reflection::Absent(refusals))
    }

    async fn reflect_by(&self, by: &'static str, service: &str) -> Result<Result<Reflected, End>, NotPassed> {
        let connection = self.connection().await?;
        let path = format!("/{by}/ServerReflectionInfo");
        let mut call = connection.call(&path, &self.anonymous(), &self.record).await;
        let mut reflected = Reflected { by, services: Vec::new(), files: Vec::new(), error: String::new() };
        let mut wanted = vec![MessageRequest::ListServices(String::new())];
        wanted.push(MessageRequest::FileContainingSymbol(service.to_owned()));
        wanted.reverse();
        let (mut known, mut asked) = (BTreeSet::new(), BTreeSet::new());
        let mut bytes = 0;
        while let Some(question) = wanted.pop() {
            let what = format!("ServerReflectionRequest {{ {} }}", asked_for(&question));
            let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
            call.send(&request.encode_to_vec(), &what);
            let answer = match call.next(self.patience()).await {
                Item::End(end) => return Ok(Err(end)),
                Item::Message(message) => {
                    bytes += message.bytes.len();
                    if bytes > MAX_BYTES {
                        reflected.error = format!("the description is larger than {} MiB", MAX_BYTES >> 20);
                        break;
                    }
                    ServerReflectionResponse::decode(message.bytes)
                }
            };
            let seen = reflected.files.len();
            match answer.map(|a| a.message_response) {
                Ok(Some(MessageResponse::ListServicesResponse(list))) => {
                    reflected.services = list.service.into_iter().map(|s| s.name).collect();
                }
                Ok(Some(MessageResponse::FileDescriptorResponse(files))) => {
                    if seen + files.file_descriptor_proto.len() > MAX_FILES {
                        reflected.error = format!("the description has more than {MAX_FILES} files");
                        break;
                    }
                    for bytes in files.file_descriptor_proto {
                        match FileDescriptorProto::decode(bytes.as_slice()) {
                            Ok(file) => reflected.files.push(file),
                            Err(error) => reflected.error = format!("a file descriptor is broken: {error}"),
                        }
                    }
                }
                Ok(Some(MessageResponse::ErrorResponse(error))) => reflected.error = error.error_message,
                Ok(_) => reflected.error = String::from("an answer of another kind"),
                Err(error) => return Ok(Err(End::Malformed(error.to_string()))),
            }
            // Each file is looked at once: an answer may hold very many.
            let new = &reflected.files[seen..];
            known.extend(new.iter().map(|file| file.name().to_owned()));
            for name in new.iter().flat_map(|file| &file.dependency) {
                if asked.len() == MAX_QUESTIONS {
                    break;
                }
                if !known.contains(name) && asked.insert(name.clone()) {
                    wanted.push(MessageRequest::FileByFilename(name.clone()));
                }
            }
        }
        call.half_close();
        Ok(Ok(reflected))
    }
}

fn asked_for(question: &MessageRequest) -> String {
    match question {
        MessageRequest::ListServices(_) => "list_services".to_owned(),
        MessageRequest::FileContainingSymbol(symbol) => {
            format!("file_containing_symbol: {}", quote(symbol, 80))
        }
        MessageRequest::FileByFilename(name) => format!("file_by_filename: {}", quote(name, 80)),
        MessageRequest::FileContainingExtension(_) | MessageRequest::AllExtensionNumbersOfType(_) => {
            "extensions".to_owned()
        }
    }
}
