//! TRANSPORT-006.

use crate::{
    exemplar::Behaviour,
    probe::{
        Probe,
        wire::{Address, End},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// TLS 1.3, and mutual TLS, where a certificate is given.
    ///
    /// # Why it matters
    /// TLS 1.2 leaves names and certificates open to whoever listens, and many companies allow nothing below 1.3. And a server
    /// that asks for certificates, but serves clients without one, is open to everyone who reaches its port.
    ///
    /// # How it is checked
    /// On the target's `https://` address a client that speaks TLS 1.3 and nothing older must be served: Health, and a
    /// generation. Where the run has a certificate of its own (`--tls-cert`), the target is taken to ask for one: a client
    /// without it must be refused in the handshake, or at its first call. Without one, that part is not asked.
    ///
    /// # What a violation looks like
    /// "protocol version" as the handshake's error; or Health answered to a client without a certificate.
    ///
    /// # References
    /// Contract, TRANSPORT-006; RFC 8446; RFC 9113, section 9.2.
    id: "TRANSPORT-006",
    level: May,
    dialects: [Contract, CyLlm],
    needs: [Tls],
    since: "0.1.0",
    title: "TLS 1.3 is spoken, and mutual TLS asks for a certificate",
    check: check,
    mutant: ServesAnyone, fault: "a client without a certificate is served", seen_as: "without a certificate was served",
}

async fn check(probe: &Probe) -> Judgement {
    let Some(address) = probe.endpoint().addresses.iter().find(|address| address.is_tls()) else {
        return Err(NotPassed::Skip("no address of the target has TLS".to_owned()));
    };
    let tls = &probe.endpoint().tls;
    let newest = probe.with_tls(address, tls.clone().newest_only());
    let health =
        newest.health(&newest.trace_id()).await.map_err(|why| why.when("with TLS 1.3 and nothing older"))?;
    health.informative().map_err(|why| why.when("over TLS 1.3"))?;
    newest.predict(newest.request(2)).await?.served().map_err(|why| why.when("over TLS 1.3"))?;
    probe.assert(true, String::new)?;
    if !tls.is_presenting() {
        return Ok(());
    }
    let end = without_certificate(probe, address).await?;
    probe.assert(end.is_none(), || {
        let told = end.map_or_else(String::new, |end| format!(": Health {}", end.told()));
        format!("the run has a certificate of its own, and a client without a certificate was served{told}")
    })
}

/// How Health answered a client without a certificate; `None` where it was refused before any answer.
async fn without_certificate(probe: &Probe, address: &Address) -> Result<Option<End>, NotPassed> {
    let stranger = probe.with_tls(address, probe.endpoint().tls.clone().presenting_none());
    match stranger.health(&stranger.trace_id()).await {
        Ok(health) => Ok(match health.end {
            end @ (End::Status(_) | End::NoStatus { .. }) => Some(end),
            End::Reset(_) | End::Closed(_) | End::Malformed(_) | End::TimedOut(_) => None,
        }),
        Err(NotPassed::Fail(_)) => Ok(None), // no connection
        Err(other) => Err(other),
    }
}

/// Asks for a certificate, and goes on without one.
#[derive(Default)]
struct ServesAnyone;

impl Behaviour for ServesAnyone {
    fn asks_for_certificates(&self) -> bool {
        false
    }
}
