//! Both ways in turns, block by block, in an order drawn for the block.

use std::{
    io,
    sync::{Arc, atomic::AtomicU32},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wire::Address;

use super::{
    block::{Block, Leg, Traffic, measure_leg},
    tap::{Clock, Tap},
};
use crate::{client::Endpoint, metrics::quantile};

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Through the proxy.
    pub through: Arc<Endpoint>,
    /// The backend behind it.
    pub tap: Arc<Tap>,
    /// The clock of both ends.
    pub clock: Clock,
    /// What is asked.
    pub traffic: Traffic,
    /// Blocks, each of both ways.
    pub blocks: u32,
    /// The order within blocks follows from it.
    pub seed: u64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum HopError {
    /// The proxy or the backend takes no connection.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// The address that takes no connection.
        address: Address,
        /// The error of the connection attempt.
        error: io::Error,
    },
    /// Something answers, and it is not the backend.
    #[error("{front} answers, but no request has come through it to the backend at {back}{}", ending(.failed_with.as_ref()))]
    NotForwarded {
        /// The proxy's address.
        front: Address,
        /// The backend's address.
        back: Address,
        /// What a call ended with.
        failed_with: Option<String>,
    },
    /// The proxy reaches the backend, and its calls fail all the same.
    #[error(
        "{front} reaches the backend at {back} ({arrived} HTTP requests came), but no generation of this client was \
         recognised there: the proxy changes the method, the prompt or the message{}",
        ending(.failed_with.as_ref())
    )]
    NotRecognised {
        /// The proxy's address.
        front: Address,
        /// The backend's address.
        back: Address,
        /// HTTP requests that the backend got.
        arrived: u64,
        /// What a call ended with.
        failed_with: Option<String>,
    },
}

fn ending(failed_with: Option<&String>) -> String {
    failed_with.map_or_else(String::new, |what| format!(". A call ended with: {what}"))
}

impl Measurement {
    /// Measures; `each` is called with each block and its number, from 1.
    pub async fn run(&self, mut each: impl FnMut(u32, &Block)) -> Result<Vec<Block>, HopError> {
        let direct = Arc::new(Endpoint { address: self.tap.address.clone(), ..(*self.through).clone() });
        let (next, mut rng) = (Arc::new(AtomicU32::new(0)), StdRng::seed_from_u64(self.seed));
        let mut blocks = Vec::new();
        for number in 0..self.blocks {
            let mut block = Block::default();
            let first = rng.random::<bool>();
            for proxied in [first, !first] {
                let (endpoint, side) =
                    if proxied { (&self.through, &mut block.through) } else { (&direct, &mut block.direct) };
                *side = measure_leg(endpoint, &self.tap, self.clock, &self.traffic, &next)
                    .await
                    .map_err(|error| HopError::Connect { address: endpoint.address.clone(), error })?;
            }
            if number == 0 && block.through.tapped == 0 {
                let (front, back) = (self.through.address.clone(), self.tap.address.clone());
                let Leg { arrived, failed_with, .. } = block.through;
                return Err(match arrived {
                    0 => HopError::NotForwarded { front, back, failed_with },
                    _ => HopError::NotRecognised { front, back, arrived, failed_with },
                });
            }
            each(number + 1, &block);
            blocks.push(block);
        }
        Ok(blocks)
    }
}

impl Leg {
    /// The median time of a message on its way down, in milliseconds; not a number where there is none.
    pub fn median_down(&self) -> f64 {
        quantile(self.down.clone(), 0.5).map_or(f64::NAN, |nanos| nanos / 1e6)
    }
}
