//! A smaller model that fails too.

use wgpu_cnn::{Loss, Optimizer};

use super::draw::Drawn;
use super::layer::{Layer, Network};

/// Attempts at a smaller model.
const ATTEMPTS: usize = 150;

/// The smallest model found that still fails, by leaving out what can be left out.
pub fn reduce(mut drawn: Drawn, fails: impl Fn(&Drawn) -> bool) -> Drawn {
    let mut attempts = ATTEMPTS;
    loop {
        let smaller = smaller(&drawn)
            .into_iter()
            .filter(|smaller| smaller.network.model().is_ok());
        let found = smaller.take(attempts).find(|smaller| {
            attempts -= 1;
            fails(smaller)
        });
        match found {
            Some(smaller) => drawn = smaller,
            None => return drawn,
        }
    }
}

/// Models with one thing less.
fn smaller(drawn: &Drawn) -> Vec<Drawn> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Drawn)| {
        let mut smaller = drawn.clone();
        change(&mut smaller);
        if smaller.to_string() != drawn.to_string() {
            all.push(smaller);
        }
    };
    if let Network::Chain { input, layers } = &drawn.network {
        for layers in fewer(layers) {
            let network = Network::Chain {
                input: input.clone(),
                layers,
            };
            with(&|drawn| drawn.network = network.clone());
            // A loss that fits whatever comes out.
            with(&|drawn| {
                (drawn.network, drawn.loss) = (network.clone(), Loss::mean_squared_error())
            });
        }
    }
    with(&|drawn| drawn.loss = Loss::mean_squared_error());
    with(&|drawn| drawn.optimizer = Optimizer::sgd(0.1).into());
    with(&|drawn| drawn.accumulate = 1);
    with(&|drawn| drawn.clip_norm = None);
    with(&|drawn| drawn.max_slab = None);
    with(&|drawn| drawn.in_flight = 2);
    with(&|drawn| drawn.other_weights = false);
    with(&|drawn| {
        drawn
            .batches
            .truncate(drawn.batches.len().saturating_sub(1).max(1))
    });
    with(&|drawn| {
        for batch in &mut drawn.batches {
            (batch.learning_rate, batch.update, batch.predict) = (None, false, 1);
        }
    });
    with(&|drawn| {
        drawn.batch = drawn.batch.div_ceil(2);
        for batch in &mut drawn.batches {
            batch.examples = batch.examples.min(drawn.batch);
        }
    });
    all
}

/// The lists with a layer less, or with a block replaced by what is in it, or made smaller inside.
fn fewer(layers: &[Layer]) -> Vec<Vec<Layer>> {
    let mut all = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let mut with = |replaced: Vec<Layer>| {
            all.push([&layers[..at], &replaced, &layers[at + 1..]].concat());
        };
        with(vec![]);
        match layer {
            Layer::One(_) => {}
            Layer::Residual { body, shortcut } => {
                with(body.clone());
                with(shortcut.clone());
                for body in fewer(body) {
                    with(vec![Layer::Residual {
                        body,
                        shortcut: shortcut.clone(),
                    }]);
                }
                for shortcut in fewer(shortcut) {
                    with(vec![Layer::Residual {
                        body: body.clone(),
                        shortcut,
                    }]);
                }
            }
            Layer::Gate(gate) => {
                with(gate.clone());
                for gate in fewer(gate) {
                    with(vec![Layer::Gate(gate)]);
                }
            }
            Layer::Concat(branches) => {
                for (at, branch) in branches.iter().enumerate() {
                    with(branch.clone());
                    let mut others = branches.clone();
                    others.remove(at);
                    if !others.is_empty() {
                        with(vec![Layer::Concat(others)]);
                    }
                    for branch in fewer(branch) {
                        let mut others = branches.clone();
                        others[at] = branch;
                        with(vec![Layer::Concat(others)]);
                    }
                }
            }
        }
    }
    all
}
