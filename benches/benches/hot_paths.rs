//! The hot paths by the clock. `ci/instructions` counts the same ones' instructions.

use benches::cases;
use criterion::{Criterion, criterion_group, criterion_main};

fn hot_paths(criterion: &mut Criterion) {
    for case in cases::ALL {
        let mut work = (case.prepare)();
        criterion.bench_function(case.name, |bencher| bencher.iter(&mut work));
    }
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
