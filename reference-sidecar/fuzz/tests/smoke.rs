//! Some seconds of each target from a fixed seed: the committed corpus, and what grows out of it.

use std::{path::Path, sync::Arc, time::Duration};

use fuzz::{
    campaign::{self, Target},
    corpus::Corpus,
    http2::Http2,
    packages::Packages,
    panics,
    requests::Requests,
    sidecar::Sidecar,
};

#[tokio::test(flavor = "multi_thread")]
async fn all_targets_run_without_a_finding() {
    let sidecar = Arc::new(Sidecar::start().await.unwrap());
    short(Requests::new(Arc::clone(&sidecar)).await.unwrap()).await;
    short(Http2::new(sidecar)).await;
    short(Packages::new().unwrap()).await;

    // Last, because it must be seen: what the loop would call a finding.
    let task = tokio::spawn(async { panic!("in a task") });
    assert!(task.await.is_err());
    assert!(panics::check().is_err(), "a panic in a task does not go unseen");
}

async fn short<T: Target>(target: T) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(T::NAME);
    let mut corpus = Corpus::read(&corpus, false).unwrap();
    assert!(!corpus.inputs().is_empty(), "{} has a corpus", T::NAME);
    let done = campaign::run(&target, &mut corpus, 1, Duration::from_secs(5), |_, _| {}).await.unwrap();
    let done = done.unwrap_or_else(|finding| panic!("{}: {}: {:?}", T::NAME, finding.what, finding.inputs));
    assert!(done.behaviours > 5, "{}: the server does not do much: {done:?}", T::NAME);
}
