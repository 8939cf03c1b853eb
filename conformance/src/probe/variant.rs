//! Probes that differ from the check's own in one thing: other credentials, another address, other settings of TLS. They share its
//! evidence; what they send is not shown as a command, which would go to the check's own endpoint with its own token.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, header::AUTHORIZATION};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use wire::{Address, Tls};

use super::{Endpoint, Probe};
use crate::verdict::NotPassed;

impl Probe {
    /// One that sends these values of `authorization`, and no other.
    pub fn with_authorization(&self, values: &[&str]) -> Result<Self, NotPassed> {
        let mut endpoint = Endpoint { token: None, ..(*self.endpoint).clone() };
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|_| {
                NotPassed::Inconclusive("the token has characters that no header may have".to_owned())
            })?;
            endpoint.metadata.push((AUTHORIZATION, value));
        }
        Ok(self.variant(endpoint))
    }

    /// One that asks at another of the endpoint's addresses.
    #[must_use]
    pub fn at(&self, address: &Address) -> Self {
        self.variant(Endpoint { addresses: vec![address.clone()], ..(*self.endpoint).clone() })
    }

    /// One that asks at this address, with other settings of TLS.
    #[must_use]
    pub fn with_tls(&self, address: &Address, tls: Tls) -> Self {
        self.variant(Endpoint { addresses: vec![address.clone()], tls, ..(*self.endpoint).clone() })
    }

    pub(super) fn variant(&self, endpoint: Endpoint) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            record: self.record.without_commands(),
            rng: Mutex::new(StdRng::seed_from_u64(self.rng().next_u64())),
            exercised: 0.into(),
            connection: tokio::sync::Mutex::default(),
            trace: self.trace,
        }
    }
}
