//! Models that were unloaded and are still in memory, for the generations that run on them.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::LoadedModel;

#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<Vec<Weak<LoadedModel>>>);

impl Leaving {
    pub(super) fn add(&self, model: &Arc<LoadedModel>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(model));
    }

    /// Those that are not gone yet.
    pub(super) fn all(&self) -> Vec<Arc<LoadedModel>> {
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|model| model.strong_count() > 0);
        models.iter().filter_map(Weak::upgrade).collect()
    }

    /// Waits until another model may be loaded; false where those that leave take too long. Without a bound, whoever unloads
    /// a model while its readers stall, and asks for it again, has one more copy each time.
    pub(super) async fn room(&self) -> bool {
        let began = Instant::now();
        while self.all().len() >= MOST {
            if began.elapsed() > PATIENCE {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
        true
    }
}

/// Models that leave at a time.
const MOST: usize = 2;
/// How long a load waits for them.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
