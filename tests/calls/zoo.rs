//! The networks of the zoo.

use wgpu_cnn::zoo::{self, NAMES};
use wgpu_cnn::{Error, Loss, Model};

use crate::call::Call;
use crate::draw::Draw;

/// Every function of the module: that of each network, and those of the options.
fn names() -> &'static [&'static str] {
    let networks = NAMES.iter().map(|name| &*format!("zoo::{name}").leak());
    let others = [
        "zoo::named",
        "Network::name",
        "Network::classes",
        "Network::input",
        "Network::dropout",
        "Network::stochastic_depth",
        "Network::auxiliary",
        "Network::width",
        "Network::losses",
        "Network::build",
    ];
    networks.chain(others).collect::<Vec<_>>().leak()
}

pub fn calls() -> Vec<Call> {
    vec![Call::medium(names(), |d| {
        random(d).is_ok_and(|model| model.parameters().count() > 0)
    })]
}

/// Rows or columns, mostly as many as a network needs.
fn extent(d: &mut Draw) -> usize {
    d.number().saturating_add(63)
}

/// A network with any options, if they fit it.
fn random(d: &mut Draw) -> Result<Model, Error> {
    let name = match d.is_hostile() {
        true => "resnet",
        false => d.pick(&NAMES),
    };
    let mut network = zoo::named(name)?;
    assert_eq!(network.name(), name);
    network = match d.is_hostile() {
        true => network.input(d.shape()),
        false => network.input([d.number(), extent(d), extent(d)]),
    };
    network = network.classes(d.number()).auxiliary(d.flag());
    if d.flag() {
        network = network.dropout(d.real()).stochastic_depth(d.real());
    }
    if d.flag() {
        network = network.width(d.number());
    }
    let _ = network.losses(Loss::cross_entropy());
    network.build()
}
