//! Finds in a graph what our operators can do, and puts them there.
//!
//! ```text
//! MatMulNBits (8 bits, blocks of 32, accuracy 4)            → MatMulInt8
//! two of these, or one and Split → x·Sigmoid(x) · other     → MatMulInt8, gated
//! GroupQueryAttention (packed, rotary, plain)               → CachedAttention
//! ```
//!
//! What a node asks for beyond that stays with ONNX Runtime. Matrices leave the model: they are in memory once, packed.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    DOMAIN,
    attention::Attention,
    int8::{BLOCK, LANES, Weights},
    matmul::MatMul,
    model::{
        Attribute, Field, GRAPH, INITIALIZER, INPUT, NODE, Node, OPSET_IMPORT, OUTPUT, OperatorSet, Tensor,
        ValueInfo, fields, put_field,
    },
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

/// Exchanges what can be exchanged; `None` if that is nothing.
pub(crate) fn rewrite(model: Bytes, directory: &Path) -> Option<Rewritten> {
    let model = fields(model)?;
    let mut graph =
        Graph::read(fields(model.iter().find(|field| field.tag == GRAPH)?.content.clone())?, directory)?;
    graph.exchange_gates();
    graph.exchange_products();
    let attentions = graph.exchange_attention();
    if graph.exchanged.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for field in &model {
        if field.tag != GRAPH {
            out.extend_from_slice(&field.whole);
        }
    }
    let own = OperatorSet { domain: DOMAIN.to_owned(), version: 1 };
    put_field(OPSET_IMPORT, &own.encode_to_vec(), &mut out);
    put_field(GRAPH, &graph.written(), &mut out);
    Some(Rewritten { model: out, weights: graph.weights, attentions })
}

struct Graph<'a> {
    fields: Vec<Field>,
    /// By their place in `fields`.
    nodes: HashMap<usize, Node>,
    tensors: HashMap<String, Tensor>,
    /// Output → the node that makes it.
    made_by: HashMap<String, usize>,
    /// What the graph takes.
    inputs: HashMap<String, ValueInfo>,
    /// How often each value is read; a graph's output once more.
    readers: HashMap<String, usize>,
    directory: &'a Path,
    /// Nodes that are others now, or none any more.
    exchanged: HashMap<usize, Option<Node>>,
    /// Initializers that nobody reads any more.
    dropped: HashSet<String>,
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

impl<'a> Graph<'a> {
    fn read(fields: Vec<Field>, directory: &'a Path) -> Option<Self> {
        let (mut nodes, mut tensors) = (HashMap::new(), HashMap::new());
        let (mut made_by, mut inputs, mut readers) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (at, field) in fields.iter().enumerate() {
            let content = field.content.clone();
            match field.tag {
                NODE => {
                    let node = Node::decode(content).ok()?;
                    for input in &node.input {
                        *readers.entry(input.clone()).or_insert(0) += 1;
                    }
                    made_by.extend(node.output.iter().map(|output| (output.clone(), at)));
                    nodes.insert(at, node);
                }
                INITIALIZER => {
                    let tensor = Tensor::decode(content).ok()?;
                    tensors.insert(tensor.name.clone(), tensor);
                }
                INPUT => {
                    let input = ValueInfo::decode(content).ok()?;
                    inputs.insert(input.name.clone(), input);
                }
                OUTPUT => *readers.entry(ValueInfo::decode(content).ok()?.name).or_insert(0) += 1,
                _ => {}
            }
        }
        let (exchanged, dropped, weights) = (HashMap::new(), HashSet::new(), Vec::new());
        Some(Self {
            fields,
            nodes,
            tensors,
            made_by,
            inputs,
            readers,
            directory,
            exchanged,
            dropped,
            weights,
        })
    }

    /// The places of nodes of this kind, in order.
    fn places(&self, domain: &str, op_type: &str) -> Vec<usize> {
        let mut places: Vec<_> =
            self.nodes.iter().filter(|(_, node)| node.is(domain, op_type)).map(|(at, _)| *at).collect();
        places.sort_unstable();
        places
    }

    /// `act(x Gᵀ) · x Uᵀ` with `act(g) = g · sigmoid(g)`: found from its last product backwards.
    fn exchange_gates(&mut self) {
        for last in self.places("", "Mul") {
            if let Some((gone, x, matrix)) = self.gate(last) {
                let node =
                    Node { input: vec![x], output: self.nodes[&last].output.clone(), ..Node::default() };
                // Tiles of both matrices in turn.
                let half = matrix.outputs / 2;
                let order = (0..half / LANES).flat_map(|tile| {
                    [tile * LANES, half + tile * LANES].into_iter().flat_map(|from| from..from + LANES)
                });
                self.exchanged.extend(gone.into_iter().map(|at| (at, None)));
                self.put(last, node, &matrix, &order.collect::<Vec<_>>(), true);
            }
        }
    }

    /// The nodes that a gate with this last product makes superfluous, its input, and G over U.
    fn gate(&self, last: usize) -> Option<(Vec<usize>, String, Matrix)> {
        let (activated, up) = self.factors(last, |node| node.is("", "Mul"))?;
        let (sigmoid, gate) = self.factors(activated, |node| node.is("", "Sigmoid"))?;
        let (gate, up) = (gate.to_owned(), up.to_owned());
        let fits = self.nodes[&sigmoid].input(0) == Some(&gate) && self.readers[&gate] == 2;
        if !fits || self.readers[&up] != 1 {
            return None;
        }
        let (of_gate, of_up) = (*self.made_by.get(&gate)?, *self.made_by.get(&up)?);
        if of_gate != of_up {
            let (first, second) = (self.matrix(of_gate)?, self.matrix(of_up)?);
            let same = self.nodes[&of_gate].input(0) == self.nodes[&of_up].input(0)
                && first.outputs == second.outputs
                && first.outputs % LANES == 0;
            let x = self.nodes[&of_gate].input(0)?.to_owned();
            return same.then(|| (vec![activated, sigmoid, of_gate, of_up], x, first.over(&second)));
        }
        let split = &self.nodes[&of_gate];
        let halves = split.is("", "Split") && split.output == [gate, up] && split.input.len() == 1;
        let packed = split.input(0)?;
        let of_packed = *self.made_by.get(packed)?;
        let matrix = self.matrix(of_packed)?;
        let x = self.nodes[&of_packed].input(0)?.to_owned();
        let fits = halves
            && split.int("axis") == Some(-1)
            && self.readers[packed] == 1
            && matrix.outputs % (2 * LANES) == 0;
        fits.then(|| (vec![activated, sigmoid, of_gate, of_packed], x, matrix))
    }

    /// Of a product of two: the node of the kind that makes one factor, for this product alone, and the other factor.
    fn factors(&self, product: usize, kind: impl Fn(&Node) -> bool) -> Option<(usize, &str)> {
        let [a, b] = self.nodes[&product].input.as_slice() else { return None };
        let made = |name: &str| {
            let at = *self.made_by.get(name)?;
            (self.readers[name] == 1 && kind(&self.nodes[&at])).then_some(at)
        };
        made(a).map(|at| (at, b.as_str())).or_else(|| made(b).map(|at| (at, a.as_str())))
    }

    fn exchange_products(&mut self) {
        for at in self.places(MICROSOFT, "MatMulNBits") {
            if self.exchanged.contains_key(&at) {
                continue;
            }
            let Some(matrix) = self.matrix(at) else { continue };
            let Node { input, output, .. } = &self.nodes[&at];
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
        let name = self.nodes[&at].name.clone();
        let node =
            Node { name, op_type: MatMul::NAME.to_owned(), domain: DOMAIN.to_owned(), attribute, ..node };
        self.weights.push(Arc::new(weights));
        self.exchanged.insert(at, Some(node));
        let alone = matrix.names.iter().filter(|name| self.readers[*name] == 1).cloned();
        self.dropped.extend(alone);
    }

    /// The matrix of a node that asks for just what ours does.
    fn matrix(&self, at: usize) -> Option<Matrix> {
        let node = &self.nodes[&at];
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
            |at: usize, kind| self.tensors.get(node.input(at)?).filter(|tensor| tensor.data_type == kind);
        let (quantised, scales) = (tensor(1, Tensor::UINT8)?, tensor(2, Tensor::FLOAT)?);
        let count = inputs.checked_mul(outputs)?;
        let floats = scales.bytes(self.directory, count / BLOCK * size_of::<f32>())?;
        let scale = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        Some(Matrix {
            quantised: quantised.bytes(self.directory, count)?,
            scales: floats.as_chunks().0.iter().map(scale).collect(),
            outputs,
            inputs,
            names: vec![quantised.name.clone(), scales.name.clone()],
        })
    }

    fn exchange_attention(&mut self) -> usize {
        let mut exchanged = 0;
        for at in self.places(MICROSOFT, "GroupQueryAttention") {
            let node = &self.nodes[&at];
            let cache = node.input(3).and_then(|past| self.inputs.get(past)?.floats());
            if let Some(&[_, _, _, Some(size)]) = cache.as_deref()
                && size % LANES as i64 == 0
                && let Some(node) = attention(node)
            {
                self.exchanged.insert(at, Some(node));
                exchanged += 1;
            }
        }
        exchanged
    }

    /// The graph's message.
    fn written(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, field) in self.fields.iter().enumerate() {
            match self.exchanged.get(&at) {
                Some(Some(node)) => put_field(NODE, &node.encode_to_vec(), &mut out),
                Some(None) => {}
                None if field.tag == INITIALIZER && self.drops(field) => {}
                None => out.extend_from_slice(&field.whole),
            }
        }
        out
    }

    fn drops(&self, initializer: &Field) -> bool {
        Tensor::decode(initializer.content.clone()).is_ok_and(|tensor| self.dropped.contains(&tensor.name))
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

/// Our attention for one that asks for nothing else.
fn attention(node: &Node) -> Option<Node> {
    let known = ["num_heads", "kv_num_heads", "do_rotary", "rotary_interleaved", "scale"];
    let plain = node.attribute.iter().all(|attribute| {
        // Others are fine where they say what is the default anyway.
        known.contains(&attribute.name.as_str())
            || match attribute.name.as_str() {
                "softcap" => attribute.f.unwrap_or(0.0) == 0.0,
                "local_window_size" => attribute.i == Some(-1),
                "smooth_softmax" => attribute.i.unwrap_or(0) == 0,
                _ => false,
            }
    });
    let packed = node.input(1).is_none() && node.input(2).is_none() && node.output.len() == 3;
    let (heads, kv_heads) = (node.int("num_heads")?, node.int("kv_num_heads")?);
    let scale = node.float("scale").filter(|scale| *scale > 0.0)?;
    let fits = plain
        && packed
        && node.int("do_rotary") == Some(1)
        && (9..node.input.len()).all(|at| node.input(at).is_none())
        && kv_heads > 0
        && heads % kv_heads == 0;
    if !fits {
        return None;
    }
    let input = [0, 3, 4, 5, 7, 8].map(|at| node.input(at).map(str::to_owned));
    Some(Node {
        input: input.into_iter().collect::<Option<_>>()?,
        output: node.output.clone(),
        name: node.name.clone(),
        op_type: Attention::NAME.to_owned(),
        domain: DOMAIN.to_owned(),
        attribute: vec![
            Attribute::int(Attention::HEADS, heads),
            Attribute::int(Attention::KV_HEADS, kv_heads),
            Attribute::int(Attention::INTERLEAVED, node.int("rotary_interleaved").unwrap_or(0)),
            Attribute::float(Attention::SCALE, scale),
        ],
    })
}

/// Where ONNX Runtime's own operators are.
const MICROSOFT: &str = "com.microsoft";

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_gate_that_somebody_else_looks_into_stays_open() {
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
    fn attention_is_exchanged_where_it_is_plain() {
        let inputs = ["packed", "", "", "key", "value", "lengths", "total", "cos", "sin"];
        let numbers = [("num_heads", 9), ("kv_num_heads", 3), ("do_rotary", 1)];
        let mut plain = node(MICROSOFT, "GroupQueryAttention", &inputs, &["y", "k", "v"], Vec::new());
        plain.attribute = numbers.into_iter().map(|(name, value)| Attribute::int(name, value)).collect();
        plain.attribute.push(Attribute::float("scale", 0.125));
        let ours = attention(&plain).unwrap();
        assert_eq!(ours.input, ["packed", "key", "value", "lengths", "cos", "sin"]);
        let with = |attribute| {
            let mut node = plain.clone();
            node.attribute.push(attribute);
            attention(&node)
        };
        assert!(with(Attribute::float("softcap", 0.0)).is_some());
        assert!(with(Attribute::float("softcap", 30.0)).is_none());
        assert!(with(Attribute::int("local_window_size", 128)).is_none());
        assert!(with(Attribute::int("unheard_of", 0)).is_none());
        assert!(attention(&Node { input: vec!["query".to_owned(), "key".to_owned()], ..plain }).is_none());
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
