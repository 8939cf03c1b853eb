//! Clients that vanish: a connection with many running streams whose socket is closed without a word, again and again.

use std::{sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use benches::client::Connection;
use rand::{RngExt as _, rngs::StdRng};
use testkit::request;
use tokio::{task::JoinSet, time::sleep};

use super::{
    follower::Follower,
    reference::References,
    tally::{Ending, Tally},
};

/// Opens connections at one address, loads each with streams, and cuts it.
pub(crate) async fn run(address: String, references: Arc<References>, tally: Arc<Tally>, mut rng: StdRng) {
    for round in 0_u64.. {
        let Ok(connection) = Connection::open(&address, None).await else {
            tally.count(Ending::Fault(format!("{address} takes no connection")));
            sleep(PAUSE).await;
            continue;
        };
        let mut streams = JoinSet::new();
        for at in 0..STREAMS {
            let reference = references.long(&mut rng).clone();
            let (connection, tally) = (connection.clone(), Arc::clone(&tally));
            streams.spawn(async move {
                let trace_id = format!("outage-{round}-{at}");
                // Ahead of the others, so that some run when the connection is cut and some wait.
                let mut request = request(&reference.prompt, &trace_id, reference.max_new_tokens);
                request.priority = -10;
                let mut follower = Follower::new(&trace_id, &reference.text);
                let Ok(mut responses) = connection.generate(Dialect::Contract, request, None).await else {
                    return tally.count(Ending::Left);
                };
                let ending = loop {
                    match responses.next().await {
                        Ok(Some(response)) => {
                            if let Err(why) = follower.take(&response) {
                                break Ending::Fault(format!("{trace_id}: {why}"));
                            }
                        }
                        Ok(None) => {
                            break follower.finish().map_or_else(Ending::Fault, |()| Ending::Complete);
                        }
                        Err(_) => break Ending::Left,
                    }
                };
                tally.count(ending);
            });
        }
        sleep(Duration::from_millis(rng.random_range(1..MOST_LIFE_MS))).await;
        connection.cut();
        while streams.join_next().await.is_some() {}
        sleep(PAUSE).await;
    }
}

/// Number of streams on one connection.
const STREAMS: usize = 20;
/// From a cut before the requests are read to one in the middle of the answers.
const MOST_LIFE_MS: u64 = 1500;
const PAUSE: Duration = Duration::from_millis(500);
