//! Whether matrices fit a model's layers, and the adapter that they make.

use std::collections::BTreeMap;

use super::{misfit::Misfit, tensors::Matrix};
use crate::package::{AdaptedLayer, Adapter, LowRank};

/// Matrices by the layer's name in the graph: A of `[inputs, rank]`, B of `[rank, outputs]`, scaled.
#[derive(Debug, Default)]
pub(super) struct Halves(BTreeMap<String, [Option<Matrix>; 2]>);

impl Halves {
    /// From tensors that are named as the graph's inputs are.
    pub(super) fn from_graph_form(matrices: BTreeMap<String, Matrix>) -> Result<Self, Misfit> {
        let mut halves = Self::default();
        for (name, matrix) in matrices {
            let (layer, half) = name
                .strip_suffix(".lora_A")
                .map(|layer| (layer, 'A'))
                .or_else(|| name.strip_suffix(".lora_B").map(|layer| (layer, 'B')))
                .ok_or_else(|| Misfit::Unexpected { name: name.clone() })?;
            halves.put(layer, half, matrix)?;
        }
        Ok(halves)
    }

    /// Adds one; `half` is `A` or `B`.
    pub(super) fn put(&mut self, layer: &str, half: char, matrix: Matrix) -> Result<(), Misfit> {
        let [a, b] = self.0.entry(layer.to_owned()).or_default();
        let place = if half == 'A' { a } else { b };
        if place.replace(matrix).is_some() {
            return Err(Misfit::Twice { layer: layer.to_owned(), half });
        }
        Ok(())
    }

    /// The adapter, if all of it fits.
    pub(super) fn fit(self, name: &str, layers: &[AdaptedLayer]) -> Result<Adapter, Misfit> {
        if self.0.is_empty() {
            return Err(Misfit::Empty);
        }
        let known: BTreeMap<_, _> = layers.iter().map(|layer| (layer.name.as_str(), layer)).collect();
        let fitted = self.0.into_iter().map(|(layer, [a, b])| {
            let place = known.get(layer.as_str()).ok_or_else(|| Misfit::Layer { layer: layer.clone() })?;
            let half = |half| Misfit::Half { layer: layer.clone(), half };
            let low_rank = fit_layer(place, a.ok_or_else(|| half('A'))?, b.ok_or_else(|| half('B'))?)?;
            Ok((layer, low_rank))
        });
        Ok(Adapter { name: name.to_owned(), layers: fitted.collect::<Result<_, Misfit>>()? })
    }
}

fn fit_layer(place: &AdaptedLayer, a: Matrix, b: Matrix) -> Result<LowRank, Misfit> {
    let layer = || place.name.clone();
    let (expected, found) = ((place.inputs, place.outputs), (a.rows, b.columns));
    if expected != found {
        return Err(Misfit::Shape { layer: layer(), expected, found });
    }
    if a.columns != b.rows {
        return Err(Misfit::Ranks { layer: layer(), a: a.columns, b: b.rows });
    }
    let rank = a.columns;
    if rank == 0 || rank > place.rank {
        return Err(Misfit::Rank { layer: layer(), found: rank, most: place.rank });
    }
    if !a.values.iter().chain(&b.values).all(|value| value.is_finite()) {
        return Err(Misfit::NotFinite { layer: layer() });
    }
    Ok(LowRank { rank, a: a.values, b: b.values })
}

/// What the largest adapter that fits takes in a file, in bytes, without its header.
pub(super) fn most_bytes(layers: &[AdaptedLayer]) -> u64 {
    let of_layer = |layer: &AdaptedLayer| {
        let numbers = layer.inputs.saturating_add(layer.outputs).saturating_mul(layer.rank);
        (numbers as u64).saturating_mul(size_of::<f32>() as u64)
    };
    layers.iter().map(of_layer).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_becomes_an_adapter() {
        let adapter = halves(&[("x.lora_A", 3, 2), ("x.lora_B", 2, 5)]).fit("n", &layers()).unwrap();
        assert_eq!(adapter.name, "n");
        assert_eq!(adapter.layers["x"], LowRank { rank: 2, a: vec![1.0; 6], b: vec![1.0; 10] });
        assert_eq!(most_bytes(&layers()), 4 * 2 * (3 + 5) as u64);
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let fit = |tensors: &[(&str, usize, usize)]| halves(tensors).fit("n", &layers()).unwrap_err();
        let layer = || "x".to_owned();
        assert_eq!(fit(&[]), Misfit::Empty);
        assert_eq!(fit(&[("y.lora_A", 3, 2)]), Misfit::Layer { layer: "y".to_owned() });
        assert_eq!(fit(&[("x.lora_A", 3, 2)]), Misfit::Half { layer: layer(), half: 'B' });
        assert_eq!(
            fit(&[("x.lora_A", 4, 2), ("x.lora_B", 2, 5)]),
            Misfit::Shape { layer: layer(), expected: (3, 5), found: (4, 5) }
        );
        assert_eq!(
            fit(&[("x.lora_A", 3, 2), ("x.lora_B", 1, 5)]),
            Misfit::Ranks { layer: layer(), a: 2, b: 1 }
        );
        for rank in [0, 3] {
            assert_eq!(
                fit(&[("x.lora_A", 3, rank), ("x.lora_B", rank, 5)]),
                Misfit::Rank { layer: layer(), found: rank, most: 2 }
            );
        }
        let unexpected = Halves::from_graph_form([("x.bias".to_owned(), ones(1, 1))].into()).unwrap_err();
        assert_eq!(unexpected, Misfit::Unexpected { name: "x.bias".to_owned() });
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for half in ['A', 'B'] {
                let mut matrices = [('A', ones(3, 1)), ('B', ones(1, 5))];
                matrices.iter_mut().find(|(name, _)| *name == half).unwrap().1.values[1] = bad;
                let mut halves = Halves::default();
                for (half, matrix) in matrices {
                    halves.put("x", half, matrix).unwrap();
                }
                assert_eq!(
                    halves.fit("n", &layers()).unwrap_err(),
                    Misfit::NotFinite { layer: "x".to_owned() }
                );
            }
        }
    }

    fn layers() -> Vec<AdaptedLayer> {
        vec![AdaptedLayer { name: "x".to_owned(), inputs: 3, rank: 2, outputs: 5 }]
    }

    fn halves(tensors: &[(&str, usize, usize)]) -> Halves {
        let matrices =
            tensors.iter().map(|(name, rows, columns)| ((*name).to_owned(), ones(*rows, *columns)));
        Halves::from_graph_form(matrices.collect()).unwrap()
    }

    fn ones(rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, values: vec![1.0; rows * columns] }
    }
}
