//! What a run is asked to speak to, as the options and the target file say it: the start of preflight and survey.

use std::{sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use http::{HeaderName, HeaderValue};
use present::secrets::Redactor;
use wire::{Address, Tls};

use crate::{probe::Endpoint, target::Instances};

/// Prompts in the order of preference: ordinary English first, then one in each script that the checks look at.
pub(super) const PROMPTS: [&str; 5] = [
    "User: Tell me a long story about a river that flows through many towns.\nAssistant:",
    "Once upon a time, in a small town by the river, there lived",
    "User: Count from one to one hundred, in words.\nAssistant:",
    "The history of the city begins in the early part of the twelfth century, when",
    "User: Please list the names of many animals, one after the other.\nAssistant:",
];
/// While nothing is known of the target, this long is waited for it.
const FIRST_PATIENCE: Duration = Duration::from_secs(8);

/// What a run was asked to speak to, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// All are dialled, the first is spoken to.
    pub addresses: &'a [Address],
    /// TLS settings, used for `https://` addresses.
    pub tls: &'a Tls,
    /// The dialect that the user named.
    pub dialect: Option<Dialect>,
    /// The dialect that the documentation promises.
    pub documented: Dialect,
    /// The model that the user named.
    pub model: Option<&'a str>,
    /// The bearer token.
    pub token: Option<&'a str>,
    /// Sent with every call.
    pub metadata: &'a [(HeaderName, HeaderValue)],
    /// The longest wait for one answer.
    pub patience: Duration,
    /// What starts more instances of the target, where the run can.
    pub instances: Option<&'a Arc<Instances>>,
}

impl Asked<'_> {
    /// The patience with a target of which nothing is known.
    pub(super) fn first_patience(&self) -> Duration {
        FIRST_PATIENCE.min(self.patience)
    }

    /// Takes out of a text what is secret of the credentials.
    pub fn redactor(&self) -> Redactor {
        self.endpoint().redactor()
    }

    /// The endpoint as far as it is known before the first look.
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            addresses: self.addresses.to_vec(),
            tls: self.tls.clone(),
            dialect: self.dialect.unwrap_or(self.documented),
            documented: self.documented,
            model: self.model.unwrap_or_default().to_owned(),
            token: self.token.map(str::to_owned),
            metadata: self.metadata.to_vec(),
            prompts: PROMPTS.map(str::to_owned).to_vec(),
            patience: self.first_patience(),
            instances: self.instances.cloned(),
            seen: crate::probe::Seen::default(),
        }
    }
}
