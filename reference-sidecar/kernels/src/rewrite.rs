//! Finds in a graph what our operators can do, and puts them there.
//!
//! ```text
//! MatMulNBits (8 bits, blocks of 32, accuracy 4)            → MatMulInt8
//! two of these, or one and Split → x·Sigmoid(x) · other     → MatMulInt8, gated
//! GroupQueryAttention (packed, rotary, plain)               → CachedAttention
//! ```
//!
//! What a node asks for beyond that stays with ONNX Runtime. Matrices leave the model: they are in memory once, packed.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    DOMAIN,
    attention::Attention,
    graph::Graph,
    int8::{BLOCK, LANES, Weights},
    matmul::MatMul,
    model::{Attribute, GRAPH, MICROSOFT, Node, OPSET_IMPORT, OperatorSet, Tensor, fields, put_field},
};

/// A model with our operators in it.
pub(crate) struct Rewritten {
    /// The ONNX file's contents.
    pub(crate) model: Vec<u8>,
    /// What its nodes' `weights` attributes count.
    pub(crate) weights: Vec<Arc<Weights>>,
    /// Attention nodes exchanged.
    pub(crate) attentions: usize,
}

/// Exchanges what can be exchanged; `None` if that is nothing, or if the file has nodes of our operators' domain already: only
/// nodes that are made here are known to ask for what the operators do.
pub(crate) fn rewrite(model: Bytes, directory: &Path) -> Option<Rewritten> {
    let model = fields(model)?;
    let graph = fields(model.iter().find(|field| field.tag == GRAPH)?.content.clone())?;
    let mut rewriting = Rewriting { graph: Graph::read(graph, directory)?, weights: Vec::new() };
    if rewriting.graph.nodes.values().any(|node| node.domain == DOMAIN) {
        return None;
    }
    rewriting.exchange_gates();
    rewriting.exchange_products();
    let attentions = rewriting.exchange_attention();
    let Rewriting { graph, weights } = rewriting;
    let graph = graph.written()?;
    let mut out = Vec::new();
    for field in &model {
        if field.tag != GRAPH {
            out.extend_from_slice(&field.whole);
        }
    }
    let own = OperatorSet { domain: DOMAIN.to_owned(), version: 1 };
    put_field(OPSET_IMPORT, &own.encode_to_vec(), &mut out);
    put_field(GRAPH, &graph, &mut out);
    Some(Rewritten { model: out, weights, attentions })
}

struct Rewriting<'a> {
    graph: Graph<'a>,
    weights: Vec<Arc<Weights>>,
}

/// A matrix in eight bits as the model has it.
struct Matrix {
    quantised: Bytes,
    scales: Vec<f32>,
    outputs: usize,
    inputs: usize,
    names: Vec<String>,
}

impl Rewriting<'_> {
    /// `act(x Gᵀ) · x Uᵀ` with `act(g) = g · sigmoid(g)`: found from its last product backwards.
    fn exchange_gates(&mut self) {
        for last in self.graph.places("", "Mul") {
            if let Some((gone, x, matrix)) = self.gate(last) {
                let output = self.graph.nodes[&last].output.clone();
                let node = Node { input: vec![x], output, ..Node::default() };
                // Tiles of both matrices in turn.
                let half = matrix.outputs / 2;
                let order = (0..half / LANES).flat_map(|tile| {
                    [tile * LANES, half + tile * LANES].into_iter().flat_map(|from| from..from + LANES)
                });
                for at in gone {
                    self.graph.remove(at);
                }
                self.put(last, node, &matrix, &order.collect::<Vec<_>>(), true);
            }
        }
    }

    /// The nodes that a gate with this last product makes superfluous, its input, and G over U.
    fn gate(&self, last: usize) -> Option<(Vec<usize>, String, Matrix)> {
        let Graph { nodes, made_by, readers, .. } = &self.graph;
        let (activated, up) = self.graph.factors(last, |node| node.is("", "Mul"))?;
        let (sigmoid, gate) = self.graph.factors(activated, |node| node.is("", "Sigmoid"))?;
        let (gate, up) = (gate.to_owned(), up.to_owned());
        let fits = nodes[&sigmoid].input(0) == Some(&gate) && readers[&gate] == 2;
        if !fits || readers[&up] != 1 {
            return None;
        }
        let (of_gate, of_up) = (*made_by.get(&gate)?, *made_by.get(&up)?);
        if of_gate != of_up {
            let (first, second) = (self.matrix(of_gate)?, self.matrix(of_up)?);
            let same = nodes[&of_gate].input(0) == nodes[&of_up].input(0)
                && first.outputs == second.outputs
                && first.outputs % LANES == 0;
            let x = nodes[&of_gate].input(0)?.to_owned();
            return same.then(|| (vec![activated, sigmoid, of_gate, of_up], x, first.over(&second)));
        }
        let split = &nodes[&of_gate];
        let halves = split.is("", "Split") && split.output == [gate, up] && split.input.len() == 1;
        let packed = split.input(0)?;
        let of_packed = *made_by.get(packed)?;
        let matrix = self.matrix(of_packed)?;
        let x = nodes[&of_packed].input(0)?.to_owned();
        let fits = halves
            && split.int("axis") == Some(-1)
            && readers[packed] == 1
            && matrix.outputs % (2 * LANES) == 0;
        fits.then(|| (vec![activated, sigmoid, of_gate, of_packed], x, matrix))
    }

    fn exchange_products(&mut self) {
        for at in self.graph.places(MICROSOFT, "MatMulNBits") {
            let Some(matrix) = self.matrix(at) else { continue };
            let Node { input, output, .. } = &self.graph.nodes[&at];
            let node = Node { input: vec![input[0].clone()], output: output.clone(), ..Node::default() };
            let order: Vec<_> = (0..matrix.outputs).collect();
            self.put(at, node, &matrix, &order, false);
        }
    }

    fn put(&mut self, at: usize, node: Node, matrix: &Matrix, order: &[usize], gated: bool) {
        let weights = Weights::pack(&matrix.quantised, &matrix.scales, matrix.inputs, order);
        let attribute = vec![
            Attribute::int(MatMul::WEIGHTS, self.weights.len() as i64),
            Attribute::int(MatMul::GATED, i64::from(gated)),
        ];
        let name = self.graph.nodes[&at].name.clone();
        let node =
            Node { name, op_type: MatMul::NAME.to_owned(), domain: DOMAIN.to_owned(), attribute, ..node };
        self.weights.push(Arc::new(weights));
        self.graph.exchange(at, node);
        for name in &matrix.names {
            self.graph.release(name);
        }
    }

    /// The matrix of a node that asks for just what ours does.
    fn matrix(&self, at: usize) -> Option<Matrix> {
        let node = &self.graph.nodes[&at];
        let positive = |name| usize::try_from(node.int(name)?).ok().filter(|number| *number > 0);
        let (inputs, outputs) = (positive("K")?, positive("N")?);
        let fits = node.is(MICROSOFT, "MatMulNBits")
            && positive("bits") == Some(8)
            && positive("block_size") == Some(BLOCK)
            && positive("accuracy_level") == Some(4)
            && inputs % BLOCK == 0
            // Zero points, an order of the columns, or a bias.
            && (3..node.input.len()).all(|at| node.input(at).is_none());
        if !fits {
            return None;
        }
        let tensor =
            |at: usize, kind| self.graph.tensor(node.input(at)?).filter(|tensor| tensor.data_type == kind);
        let (quantised, scales) = (tensor(1, Tensor::UINT8)?, tensor(2, Tensor::FLOAT)?);
        let count = inputs.checked_mul(outputs)?;
        let floats = scales.bytes(self.graph.directory, count / BLOCK * size_of::<f32>())?;
        let scale = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        Some(Matrix {
            quantised: quantised.bytes(self.graph.directory, count)?,
            scales: floats.as_chunks().0.iter().map(scale).collect(),
            outputs,
            inputs,
            names: vec![quantised.name.clone(), scales.name.clone()],
        })
    }

    fn exchange_attention(&mut self) -> usize {
        let mut exchanged = 0;
        for at in self.graph.places(MICROSOFT, "GroupQueryAttention") {
            let node = &self.graph.nodes[&at];
            let cache = node.input(3).and_then(|past| self.graph.inputs.get(past)?.floats());
            if let Some(&[_, _, _, Some(size)]) = cache.as_deref()
                && size % LANES as i64 == 0
                && let Some(node) = Attention::instead_of(node)
            {
                self.graph.exchange(at, node);
                exchanged += 1;
            }
        }
        exchanged
    }
}

impl Matrix {
    /// Both, one above the other.
    fn over(mut self, below: &Self) -> Self {
        self.quantised = [&self.quantised[..], &below.quantised].concat().into();
        self.scales.extend_from_slice(&below.scales);
        self.outputs += below.outputs;
        self.names.extend_from_slice(&below.names);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{INITIALIZER, NODE, OUTPUT, ValueInfo};

    const SIDE: usize = 32;

    fn node(domain: &str, op_type: &str, input: &[&str], output: &[&str], attribute: Vec<Attribute>) -> Node {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Node {
            input: owned(input),
            output: owned(output),
            name: format!("{op_type} for {}", output[0]),
            op_type: op_type.to_owned(),
            attribute,
            domain: domain.to_owned(),
        }
    }

    fn product(x: &str, w: &str, y: &str, outputs: usize, accuracy: i64) -> Node {
        let sizes = [("K", SIDE as i64), ("N", outputs as i64), ("bits", 8), ("block_size", 32)];
        let mut attributes: Vec<_> =
            sizes.into_iter().map(|(name, size)| Attribute::int(name, size)).collect();
        attributes.push(Attribute::int("accuracy_level", accuracy));
        node(MICROSOFT, "MatMulNBits", &[x, w, &format!("{w}.scale")], &[y], attributes)
    }

    /// `silu(gate) · up`, into y.
    fn gate() -> [Node; 3] {
        [
            node("", "Sigmoid", &["gate"], &["open"], Vec::new()),
            node("", "Mul", &["gate", "open"], &["active"], Vec::new()),
            node("", "Mul", &["active", "up"], &["y"], Vec::new()),
        ]
    }

    fn split() -> Node {
        node("", "Split", &["both"], &["gate", "up"], vec![Attribute::int("axis", -1)])
    }

    /// A model of these nodes, with a matrix for each that is named.
    fn model(nodes: impl IntoIterator<Item = Node>, matrices: &[(&str, usize)]) -> Bytes {
        let mut graph = Vec::new();
        for node in nodes {
            put_field(NODE, &node.encode_to_vec(), &mut graph);
        }
        for (name, outputs) in matrices {
            for (name, kind, bytes) in [
                ((*name).to_owned(), Tensor::UINT8, vec![7; outputs * SIDE]),
                (format!("{name}.scale"), Tensor::FLOAT, vec![0; outputs * size_of::<f32>()]),
            ] {
                put_field(INITIALIZER, &Tensor::of(name, kind, bytes).encode_to_vec(), &mut graph);
            }
        }
        put_field(
            OUTPUT,
            &ValueInfo { name: "y".to_owned(), ..ValueInfo::default() }.encode_to_vec(),
            &mut graph,
        );
        let mut model = Vec::new();
        put_field(GRAPH, &graph, &mut model);
        model.into()
    }

    /// The operators of what comes of a model, and the names of its initializers.
    fn seen(rewritten: &Rewritten) -> (Vec<String>, Vec<String>) {
        let model = fields(rewritten.model.clone().into()).unwrap();
        let graph = model.iter().find(|field| field.tag == GRAPH).unwrap();
        let graph = fields(graph.content.clone()).unwrap();
        let content =
            |tag| graph.iter().filter(move |field| field.tag == tag).map(|field| field.content.clone());
        let operators = content(NODE).map(|node| Node::decode(node).unwrap().op_type).collect();
        (operators, content(INITIALIZER).map(|tensor| Tensor::decode(tensor).unwrap().name).collect())
    }

    fn rewritten(nodes: impl IntoIterator<Item = Node>, matrices: &[(&str, usize)]) -> Option<Rewritten> {
        rewrite(model(nodes, matrices), Path::new("."))
    }

    #[test]
    fn a_gate_of_one_matrix_becomes_one_node_and_the_matrix_leaves_the_model() {
        let nodes = [product("x", "w", "both", 64, 4), split()].into_iter().chain(gate());
        let rewritten = rewritten(nodes, &[("w", 64)]).unwrap();
        assert_eq!(seen(&rewritten), (vec!["MatMulInt8".to_owned()], Vec::new()));
        assert_eq!(rewritten.weights[0].outputs, 64);
        let model = fields(rewritten.model.into()).unwrap();
        let imported = model.iter().find(|field| field.tag == OPSET_IMPORT).unwrap();
        assert_eq!(OperatorSet::decode(imported.content.clone()).unwrap().domain, DOMAIN);
    }

    #[test]
    fn a_gate_of_two_matrices_does_too() {
        let products = [product("x", "g", "gate", 32, 4), product("x", "u", "up", 32, 4)];
        let rewritten = rewritten(products.into_iter().chain(gate()), &[("g", 32), ("u", 32)]).unwrap();
        assert_eq!(seen(&rewritten), (vec!["MatMulInt8".to_owned()], Vec::new()));
    }

    #[test]
    fn a_gate_that_another_node_reads_stays_open() {
        let nodes = [product("x", "w", "both", 64, 4), split()].into_iter().chain(gate());
        let nodes = nodes.chain([node("", "Identity", &["open"], &["z"], Vec::new())]);
        let (operators, _) = seen(&rewritten(nodes, &[("w", 64)]).unwrap());
        assert_eq!(operators, ["MatMulInt8", "Split", "Sigmoid", "Mul", "Mul", "Identity"]);
    }

    #[test]
    fn a_matrix_that_two_nodes_read_stays_in_the_model() {
        let exact =
            Node { attribute: product("", "", "", 32, 0).attribute, ..product("y1", "w", "y", 32, 0) };
        let rewritten = rewritten([product("x", "w", "y1", 32, 4), exact], &[("w", 32)]).unwrap();
        let (operators, initializers) = seen(&rewritten);
        assert_eq!(operators, ["MatMulInt8", "MatMulNBits"]);
        assert_eq!(initializers, ["w", "w.scale"]);
    }

    #[test]
    fn what_asks_for_more_than_ours_do_is_left_alone() {
        let with = |change: fn(&mut Node)| {
            let mut node = product("x", "w", "y", 32, 4);
            change(&mut node);
            rewritten([node], &[("w", 32)]).is_none()
        };
        assert!(!with(|_| {}), "the plain node is exchanged");
        assert!(with(|node| node.input.push("zero_points".to_owned())));
        assert!(with(|node| node.attribute[2] = Attribute::int("bits", 4)));
        assert!(with(|node| node.attribute[3] = Attribute::int("block_size", 64)));
        assert!(with(|node| node.attribute[4] = Attribute::int("accuracy_level", 0)));
        assert!(with(|node| node.attribute[0] = Attribute::int("K", 33)));
        assert!(with(|node| node.attribute[1] = Attribute::int("N", 64)), "more than the matrix has");
        assert!(with(|node| node.domain.clear()));
    }

    #[test]
    fn a_file_with_operators_of_our_domain_is_left_to_onnx_runtime_which_refuses_it() {
        let foreign = node(DOMAIN, "CachedAttention", &["y"], &["z"], Vec::new());
        assert!(rewritten([product("x", "w", "y", 32, 4), foreign], &[("w", 32)]).is_none());
    }

    #[test]
    fn a_file_that_is_no_model_is_left_to_onnx_runtime() {
        let whole = model([product("x", "w", "y", 32, 4)], &[("w", 32)]);
        for end in 0..whole.len() {
            assert!(rewrite(whole.slice(..end), Path::new(".")).is_none(), "cut after {end} bytes");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0xff;
            rewrite(damaged.into(), Path::new("."));
        }
    }
}
