//! Ten thousand dots on a thousand pixels: the outermost stay, and some of those between.

/// At most four places a column: the highest, the lowest, and two between. In the order given.
pub(super) fn thin(places: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    if places.len() <= most {
        return places.to_vec();
    }
    let columns = (most / 4).max(1);
    let bounds = |(low, high): (f64, f64), (x, _): &(f64, f64)| (low.min(*x), high.max(*x));
    let (left, right) = places.iter().fold((f64::MAX, f64::MIN), bounds);
    let width = ((right - left) / columns as f64).max(f64::MIN_POSITIVE);
    let mut by_column = vec![Vec::new(); columns];
    for (at, (x, _)) in places.iter().enumerate() {
        by_column[(((x - left) / width) as usize).min(columns - 1)].push(at);
    }
    let mut kept: Vec<usize> = Vec::with_capacity(most);
    for mut column in by_column {
        column.sort_by(|a, b| places[*a].1.total_cmp(&places[*b].1));
        let last = column.len().saturating_sub(1);
        let mut ranks = [0, last / 3, last * 2 / 3, last].to_vec();
        ranks.dedup();
        kept.extend(ranks.into_iter().filter_map(|rank| column.get(rank)));
    }
    kept.sort_unstable();
    kept.into_iter().map(|at| places[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_places_all_stay() {
        let few = [(0.0, 1.0), (0.0, 1.0), (5.0, 2.0)];
        assert_eq!(thin(&few, 3), few);
    }

    #[test]
    fn of_many_the_outermost_stay() {
        let noise = |n: u32| f64::from(n.wrapping_mul(2_654_435_761) % 1000);
        let mut many: Vec<_> = (0..10_000).map(|n| (f64::from(n) / 10.0, noise(n))).collect();
        many[5_000].1 = 5_000.0;
        many[7_000].1 = -5_000.0;
        let kept = thin(&many, 400);
        assert!(kept.len() <= 400 && kept.len() > 300, "{}", kept.len());
        assert!(kept.contains(&many[5_000]) && kept.contains(&many[7_000]));
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn all_at_one_time_is_no_fault() {
        assert!(thin(&[(3.0, 1.0); 100], 8).len() <= 8);
    }
}
