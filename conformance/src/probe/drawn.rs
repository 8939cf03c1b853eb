//! Property tests: what the run's seed draws, and the smallest of it that fails.

use std::time::{Duration, Instant};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::Probe;
use crate::verdict::{Judgement, NotPassed};

/// Making a failing value smaller takes no longer, and no more tries.
pub const SHRINKING: Duration = Duration::from_secs(5);
/// The same in tries.
pub const SHRINKING_STEPS: usize = 200;

impl Probe {
    /// So many values, drawn with the run's seed.
    pub fn drawn<S: Strategy>(&self, strategy: &S, count: usize) -> Result<Vec<S::Tree>, NotPassed> {
        let seed: Vec<u8> = (0..32).map(|_| self.random(256) as u8).collect();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let trees = (0..count).map(|_| strategy.new_tree(&mut runner));
        trees
            .collect::<Result<_, _>>()
            .map_err(|why| NotPassed::Harness(format!("no random value could be drawn: {why}")))
    }
}

/// Simplifies a drawn value as proptest does, while it still fails; the last failure, of which `why` is the first.
pub async fn smallest<T, F, R>(tree: &mut T, mut why: Judgement, mut judge: F) -> Judgement
where
    T: ValueTree,
    F: FnMut(T::Value) -> R,
    R: Future<Output = Judgement>,
{
    let began = Instant::now();
    let mut more = tree.simplify();
    for _ in 0..SHRINKING_STEPS {
        if !more || began.elapsed() > SHRINKING {
            break;
        }
        more = match judge(tree.current()).await {
            Err(NotPassed::Fail(smaller)) => {
                why = Err(NotPassed::Fail(smaller));
                tree.simplify()
            }
            _ => tree.complicate(),
        };
    }
    why
}
