//! Whether the target is still there, after a check has lost its connection to it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use wire::{End, takes_connections};

use crate::probe::{Endpoint, Probe};

/// Looks before the target counts as gone.
const LOOKS: u32 = 4;
/// Between two of them: a server that is restarted at once is there again.
const PAUSE: Duration = Duration::from_millis(300);
/// For a connection to a machine that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the target no longer takes connections; or, where Health was answered before (`spoke`), whether every
/// connection is closed again at once, as by the port of a container whose server has ended.
pub(super) async fn gone(endpoint: &Endpoint, spoke: bool) -> bool {
    for look in 0..LOOKS {
        if look > 0 {
            sleep(PAUSE).await;
        }
        if there(endpoint, spoke).await {
            return false;
        }
    }
    true
}

async fn there(endpoint: &Endpoint, spoke: bool) -> bool {
    let Some(address) = endpoint.addresses.first() else { return true };
    if !spoke {
        return takes_connections(address, PATIENCE).await;
    }
    let probe = Probe::new(Arc::new(Endpoint { patience: PATIENCE, ..endpoint.clone() }), 0);
    probe.health("conformance-presence").await.is_ok_and(|health| !matches!(health.end, End::Closed(_)))
}
