//! A safetensors file's bytes as named matrices of f32.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::misfit::Misfit;

/// `rows` times `columns` numbers, row after row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f32>,
}

impl Matrix {
    /// Rows become columns.
    pub(super) fn transposed(&self) -> Self {
        let (rows, columns) = (self.columns, self.rows);
        let at = |index: usize| self.values[index % columns * rows + index / columns];
        Self { rows, columns, values: (0..self.values.len()).map(at).collect() }
    }
}

/// Every tensor of the file; each must be a matrix of floats.
pub(super) fn matrices(file: &[u8]) -> Result<BTreeMap<String, Matrix>, Misfit> {
    let tensors = SafeTensors::deserialize(file).map_err(|error| Misfit::Tensors(error.to_string()))?;
    tensors.iter().map(|(name, tensor)| Ok((name.to_owned(), matrix(name, &tensor)?))).collect()
}

fn matrix(name: &str, tensor: &TensorView<'_>) -> Result<Matrix, Misfit> {
    let &[rows, columns] = tensor.shape() else {
        return Err(Misfit::Dimensions { name: name.to_owned(), dimensions: tensor.shape().len() });
    };
    let data = tensor.data();
    let values = match tensor.dtype() {
        Dtype::F32 => numbers(data, f32::from_le_bytes),
        Dtype::F16 => numbers(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => numbers(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        other => return Err(Misfit::Type { name: name.to_owned(), kind: other.to_string() }),
    };
    Ok(Matrix { rows, columns, values })
}

/// safetensors has checked that the data is as long as the shape and the type say.
fn numbers<const SIZE: usize>(data: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    data.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_kinds_of_floats_are_read_alike() {
        let values = [1.0_f32, -0.5, 96.0, 0.0, 2.0, -3.0];
        let f32s: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let f16s: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let bf16s: Vec<u8> = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
        for (kind, data) in [(Dtype::F32, f32s), (Dtype::F16, f16s), (Dtype::BF16, bf16s)] {
            let file = file("x", kind, &[3, 2], &data);
            let expected = Matrix { rows: 3, columns: 2, values: values.to_vec() };
            assert_eq!(matrices(&file).unwrap()["x"], expected, "{kind:?}");
        }
    }

    #[test]
    fn other_types_and_shapes_are_refused() {
        let double = file("x", Dtype::F64, &[1, 1], &[0; 8]);
        assert!(matches!(matrices(&double), Err(Misfit::Type { .. })));
        let vector = file("x", Dtype::F32, &[2], &[0; 8]);
        assert!(matches!(matrices(&vector), Err(Misfit::Dimensions { dimensions: 1, .. })));
        assert!(matches!(matrices(b"not safetensors"), Err(Misfit::Tensors(_))));
    }

    #[test]
    fn transposing_swaps_rows_and_columns() {
        let matrix = Matrix { rows: 2, columns: 3, values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let expected = Matrix { rows: 3, columns: 2, values: vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0] };
        assert_eq!(matrix.transposed(), expected);
        assert_eq!(matrix.transposed().transposed(), matrix);
        let empty = Matrix { rows: 0, columns: 3, values: Vec::new() };
        assert_eq!(empty.transposed().rows, 3);
    }

    proptest! {
        /// A good file, damaged anywhere: read or refused, and never a panic.
        #[test]
        fn any_bytes_are_read_or_refused(at in 0_usize..200, byte: u8, cut in 0_usize..200) {
            let mut bytes = file("blk.0.attn_q.lora_A", Dtype::F16, &[4, 2], &[1; 16]);
            let index = at % bytes.len();
            bytes[index] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut % 20));
            if let Ok(read) = matrices(&bytes) {
                for matrix in read.values() {
                    prop_assert_eq!(matrix.values.len(), matrix.rows * matrix.columns);
                }
            }
        }
    }

    fn file(name: &str, kind: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let view = TensorView::new(kind, shape.to_vec(), data).unwrap();
        safetensors::serialize([(name, view)], None).unwrap()
    }
}
