//! A graph of an ONNX model: what reads and makes what, and which of its nodes are exchanged.

use std::{collections::HashMap, path::Path};

use prost::Message as _;

use crate::model::{Field, INITIALIZER, INPUT, NODE, Node, OUTPUT, Tensor, ValueInfo, put_field};

/// A graph, as it was, and what is to become of it.
pub(crate) struct Graph<'a> {
    fields: Vec<Field>,
    /// The nodes, by their place in `fields`.
    pub(crate) nodes: HashMap<usize, Node>,
    /// Initializers, with their places.
    tensors: HashMap<String, (usize, Tensor)>,
    /// Output → the node that makes it.
    pub(crate) made_by: HashMap<String, usize>,
    /// What the graph takes.
    pub(crate) inputs: HashMap<String, ValueInfo>,
    /// How often each value is read; a graph's output once more.
    pub(crate) readers: HashMap<String, usize>,
    /// Where the model's file is.
    pub(crate) directory: &'a Path,
    /// Nodes that are others now, and nodes and initializers that are gone.
    exchanged: HashMap<usize, Option<Node>>,
}

impl<'a> Graph<'a> {
    pub(crate) fn read(fields: Vec<Field>, directory: &'a Path) -> Option<Self> {
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
                    tensors.insert(tensor.name.clone(), (at, tensor));
                }
                INPUT => {
                    let input = ValueInfo::decode(content).ok()?;
                    inputs.insert(input.name.clone(), input);
                }
                OUTPUT => *readers.entry(ValueInfo::decode(content).ok()?.name).or_insert(0) += 1,
                _ => {}
            }
        }
        let exchanged = HashMap::new();
        Some(Self { fields, nodes, tensors, made_by, inputs, readers, directory, exchanged })
    }

    /// The places of the nodes of this kind that are still there, in order.
    pub(crate) fn places(&self, domain: &str, op_type: &str) -> Vec<usize> {
        let there =
            |(at, node): &(&usize, &Node)| node.is(domain, op_type) && !self.exchanged.contains_key(*at);
        let mut places: Vec<_> = self.nodes.iter().filter(there).map(|(at, _)| *at).collect();
        places.sort_unstable();
        places
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name).map(|(_, tensor)| tensor)
    }

    /// Of a product of two: the node of the kind that makes one factor, for this product alone, and the other factor.
    pub(crate) fn factors(&self, product: usize, kind: impl Fn(&Node) -> bool) -> Option<(usize, &str)> {
        let [a, b] = self.nodes[&product].input.as_slice() else { return None };
        let made = |name: &str| {
            let at = *self.made_by.get(name)?;
            (self.readers[name] == 1 && kind(&self.nodes[&at])).then_some(at)
        };
        made(a).map(|at| (at, b.as_str())).or_else(|| made(b).map(|at| (at, a.as_str())))
    }

    /// Puts a node in the place of another.
    pub(crate) fn exchange(&mut self, at: usize, node: Node) {
        self.exchanged.insert(at, Some(node));
    }

    /// Takes a node out.
    pub(crate) fn remove(&mut self, at: usize) {
        self.exchanged.insert(at, None);
    }

    /// Takes an initializer out that only one node has read, which is another now.
    pub(crate) fn release(&mut self, name: &str) {
        if self.readers[name] == 1
            && let Some((at, _)) = self.tensors.get(name)
        {
            self.exchanged.insert(*at, None);
        }
    }

    /// The graph's message, if it is another now.
    pub(crate) fn written(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for (at, field) in self.fields.iter().enumerate() {
            match self.exchanged.get(&at) {
                Some(Some(node)) => put_field(NODE, &node.encode_to_vec(), &mut out),
                Some(None) => {}
                None => out.extend_from_slice(&field.whole),
            }
        }
        (!self.exchanged.is_empty()).then_some(out)
    }
}
