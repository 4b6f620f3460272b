//! Graphs as users write them down.

use super::*;
use crate::{Activation, Add, BatchNorm, Branch, Concat, Conv2d, Linear};

fn said<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn names_are_the_users_within_their_scopes() {
    let mut net = Model::graph();
    let x = net.input([2, 6, 6]);
    let y = net.scope("layer1", |net| {
        net.scope("0", |net| net.add("conv", Conv2d::new(3, 3), [x]))
    });
    let y = net.apply(Activation::Relu, [y.unwrap()]).unwrap();
    let y = net.apply(Activation::Relu, [y]).unwrap();
    let y = net.chain("head", y, |head| head.flatten().named("fc", Linear::new(2)));
    let model = net.build([y.unwrap()]).unwrap();
    let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
    let conv = ["layer1.0.conv.weight", "layer1.0.conv.bias"];
    assert_eq!(
        names,
        [&conv[..], &["head.fc.weight", "head.fc.bias"]].concat()
    );
    let layers: Vec<&str> = model
        .graph
        .nodes()
        .iter()
        .map(|n| n.name.as_str())
        .collect();
    assert_eq!(
        layers,
        ["layer1.0.conv", "relu", "relu1", "head.0", "head.fc"]
    );
    assert_eq!(model.outputs().next().unwrap().0, "head.fc");
}

#[test]
fn a_chain_and_a_graph_are_one_thing() {
    let chain = Model::builder([3, 8, 8])
        .conv2d(4, 3)
        .relu()
        .residual(|b| b.conv2d(4, 1));
    let mut net = Model::graph();
    let x = net.input([3, 8, 8]);
    let y = net.add("0", Conv2d::new(4, 3), [x]).unwrap();
    let y = net.add("1", Activation::Relu, [y]).unwrap();
    let body = net.add("2.body.0", Conv2d::new(4, 1), [y]).unwrap();
    let y = net.add("2", Add, [body, y]).unwrap();
    assert_eq!(net.build([y]).unwrap(), chain.build().unwrap());
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut net = Model::graph();
    let x = net.input([2, 6, 6]);
    let y = net.add("a", Conv2d::new(3, 3), [x]).unwrap();
    let again = said(net.add("a", Activation::Relu, [y]));
    assert_eq!(
        again,
        "\"a\": is the name of another layer, constant or parameter"
    );
    assert!(said(net.constant("a.weight", [1], [0.0])).contains("\"a.weight\""));
    assert!(said(net.rename("a.weight", "a", [3, 2, 3, 3])).contains("is the name of"));
    let mut other = Model::graph();
    let foreign = other.input([3, 4, 4]);
    let said_of = "value: belongs to another graph";
    assert_eq!(said(net.apply(Add, [y, foreign])), said_of);
    assert_eq!(said(net.shape(foreign)), said_of);
    assert_eq!(said(net.chain("c", foreign, |c| c)), said_of);
    assert!(said(net.add("b", Conv2d::new(1, 9), [y])).starts_with("layer b (conv2d)"));
    assert!(said(net.rename("a.weight", "w", [3])).contains("54 elements"));
    assert!(said(net.share("z", "b", [x])).contains("\"z\""));
    assert!(said(net.share("a", "b", [y])).contains("shares those of a"));
    net.add("unused", Activation::Relu, [y]).unwrap();
    let unused = "layer unused (relu): reaches no output";
    assert_eq!(said(net.build([y])), unused);
    let mut net = Model::graph();
    let (x, _) = (net.input([4]), net.input([5]));
    assert_eq!(said(net.build([x])), "input 1: reaches no output");
    let mut net = Model::graph();
    let (x, _) = (net.input([4]), net.constant("mask", [4], [0.5; 4]).unwrap());
    assert_eq!(said(net.build([x])), "constant mask: reaches no output");
    let mut net = Model::graph();
    let alone = net.constant("alone", [1], [0.5]).unwrap();
    assert!(said(net.build([alone])).starts_with("inputs: "));
    let mut net = Model::graph();
    let x = net.input([4]);
    assert!(said(Model::graph().build([])).starts_with("outputs: "));
    assert_eq!(said(net.build([x, x])), "output input: is given twice");
    let mut net = Model::graph();
    let x = net.input([4, 0]);
    assert!(said(net.apply(Activation::Relu, [x])).contains("extents above zero"));
}

#[test]
fn a_graph_that_is_taken_away_is_missed() {
    let mut net = Model::graph();
    let x = net.input([4]);
    let lost = net.chain("c", x, |_| Model::builder([4]));
    let reason = "layer c: must return the builder that it was given";
    assert_eq!(said(lost), reason);
    assert_eq!(said(net.build([x])), reason);
    let taken = Model::builder([4]).graph(|net, x| {
        *net = Model::graph();
        Ok(x)
    });
    assert!(said(taken.dense(3).build()).contains("must keep the graph"));
    let foreign = Model::builder([4]).graph(|_, _| Ok(Model::graph().input([4])));
    assert_eq!(said(foreign.build()), "value: belongs to another graph");
}

#[test]
fn a_layer_can_be_shared_and_its_parameters_fixed_and_renamed() {
    let mut net = Model::graph();
    let [a, b] = [(); 2].map(|()| net.input([4, 4, 4]));
    let left = net.add("norm", BatchNorm::new(), [a]).unwrap();
    let right = net.share("norm", "again", [b]).unwrap();
    net.fix("norm.bias", [1.0, 2.0, 3.0, 4.0]).unwrap();
    assert!(said(net.fix("norm.weight", [1.0])).contains("4 elements"));
    assert!(said(net.fix("norm.running_var", [1.0; 4])).contains("running"));
    net.rename("norm.weight", "gain", [4, 1, 1]).unwrap();
    let y = net.apply(Concat, [left, right]).unwrap();
    let model = net.build([y]).unwrap();
    let kept: Vec<String> = model
        .parameters()
        .map(|(n, s)| format!("{n} {s}"))
        .collect();
    let expected = [
        "gain [4, 1, 1]",
        "norm.running_mean [4]",
        "norm.running_var [4]",
    ];
    assert_eq!(kept, expected);
    assert_eq!(model.parameter_count(), 4);
    let initial = model.graph.initial_values(1);
    assert_eq!(initial[1], [1.0, 2.0, 3.0, 4.0]);
    let nodes = model.graph.nodes();
    assert_eq!(nodes[0].parameters, nodes[1].parameters);
}

#[test]
fn a_graph_that_is_lost_within_a_chain_is_missed_by_every_later_call() {
    let lost: [(&str, &dyn Fn(ModelBuilder) -> ModelBuilder); 6] = [
        ("layer c.0 body: must return", &|c| {
            c.residual(|_| Model::builder([7]))
        }),
        ("layer c.0 1: must return", &|c| {
            c.concat([
                Branch::new(|branch| branch.dense(2)),
                Branch::new(|_| Model::builder([3]).dense(2)),
            ])
        }),
        ("layer c.0: must keep the graph", &|c| {
            c.graph(|net, x| {
                *net = Model::graph();
                Ok(x)
            })
        }),
        // A part that takes no notice of what its own chain lost.
        ("layer c.0.d: must return", &|c| {
            c.graph(|net, x| {
                let _ = net.chain("d", x, |_| Model::builder([3]));
                Ok(x)
            })
        }),
        ("layer c.0.d.0 body: must return", &|c| {
            c.graph(|net, x| {
                let _ = net.chain("d", x, |d| d.residual(|_| Model::builder([7])));
                Ok(x)
            })
        }),
        ("layer c.0.body.0: must keep the graph", &|c| {
            c.residual(|body| {
                body.graph(|net, x| {
                    *net = Model::graph();
                    Ok(x)
                })
            })
        }),
    ];
    for (reason, layers) in lost {
        let mut net = Model::graph();
        let x = net.input([4]);
        let y = net.add("a", Linear::new(3), [x]).unwrap();
        let first = said(net.chain("c", y, layers));
        assert!(first.starts_with(reason), "{first}");
        let later = [
            said(net.add("b", Activation::Relu, [y])),
            said(net.share("a", "again", [x])),
            said(net.split(y, 0, &[1, 2])),
            said(net.shape(y)),
            said(net.chain("d", y, |d| d)),
            said(net.constant("mask", [1], [0.0])),
            said(net.fix("a.bias", [0.0; 3])),
            said(net.build([y])),
        ];
        later.iter().for_each(|later| assert_eq!(*later, first));
    }
}

#[test]
fn what_fails_leaves_the_graph_as_it_was() {
    let mut net = Model::graph();
    let x = net.input([6, 4, 4]);
    let y = net.add("a", Conv2d::new(6, 3).padding(1), [x]).unwrap();
    // Names that a chain could take, and a parameter that its scope reaches.
    net.add("c.0.old", Conv2d::new(2, 1), [y]).unwrap();
    let before = format!("{:?}", net.graph);
    let names = net.graph.clone();
    said(net.split(y, 0, &[2, 0, 4]));
    said(net.split(y, 0, &[6, 0]));
    assert_eq!(net.graph, names);
    said(net.chain("c", y, |c| c.conv2d(4, 1).relu().conv2d(4, 9)));
    said(net.chain("c", y, |c| {
        c.graph(|net, x| {
            net.rename("old.weight", "new", [2, 6])?;
            net.fix("old.bias", [1.0, 2.0])?;
            let z = net.add("old.weight", Conv2d::new(3, 1), [x])?;
            net.rename("old.weight.bias", "old.weight.b", [3])?;
            let mask = net.constant("mask", [3, 1, 1], [1.0; 3])?;
            net.input([2]);
            net.apply(Add, [z, mask])?;
            net.add("no", Conv2d::new(1, 9), [z])
        })
    }));
    said(net.add("b", Conv2d::new(1, 9), [y]));
    said(net.share("a", "b", [net.value(ValueId(2))]));
    assert_eq!(net.graph, names, "{before}");
    assert_eq!(net.apply(Activation::Relu, [y]).unwrap().id, ValueId(3));
    net.chain("c", y, |c| c.conv2d(4, 1)).unwrap();
}

#[test]
fn the_first_free_number_is_taken() {
    let mut net = Model::graph();
    let mut y = net.input([4]);
    let named = |net: &GraphBuilder| net.graph.nodes().last().unwrap().name.clone();
    net.constant("relu2", [1], [0.0]).unwrap();
    for expected in ["relu", "relu1", "relu3", "relu4"] {
        y = net.apply(Activation::Relu, [y]).unwrap();
        assert_eq!(named(&net), expected);
    }
    // A number that was looked up and not taken.
    said(net.apply(Add, [y]));
    net.add("add", Add, [y, y]).unwrap();
    said(net.apply(Add, [y]));
    net.apply(Add, [y, y]).unwrap();
    assert_eq!(named(&net), "add1");
}

#[test]
fn outputs_have_names_of_their_own() {
    let mut net = Model::graph();
    let x = net.input([4]);
    let y = net.add("input", Linear::new(3), [x]).unwrap();
    let said = said(net.build([x, y]));
    assert!(
        said.starts_with("output input: is the name of two outputs"),
        "{said}"
    );
    let mut net = Model::graph();
    let x = net.input([4]);
    let [a, b] = ["a", "b"].map(|name| net.constant(name, [4], [0.5; 4]).unwrap());
    let y = net.apply(Add, [x, a]).unwrap();
    let model = net.build([x, a, b, y]).unwrap();
    let names: Vec<String> = model.outputs().map(|(name, _)| name).collect();
    assert_eq!(names, ["input", "a", "b", "add"]);
}

#[test]
fn a_layer_is_shared_within_its_scope_or_from_anywhere() {
    let mut net = Model::graph();
    let x = net.input([4]);
    let y = net.add("fc", Linear::new(4), [x]).unwrap();
    let of = |net: &GraphBuilder| net.graph.nodes().last().unwrap().parameters[0].0;
    let y = net.scope("block", |net| {
        let y = net.share("fc", "first", [y])?;
        assert_eq!(of(net), 0);
        let y = net.add("fc", Linear::new(4), [y])?;
        let y = net.share("fc", "second", [y])?;
        assert_eq!(of(net), 2);
        net.share("block.fc", "third", [y])
    });
    assert_eq!(of(&net), 2);
    let missing = net.scope("block", |net| net.share("none", "fourth", [y.clone()?]));
    assert_eq!(
        said(missing),
        "layer \"block.none\": is not there to be shared"
    );
}
