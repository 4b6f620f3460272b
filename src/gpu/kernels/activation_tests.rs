//! The activations' table held against the shaders: each has its number there, and a `case` for its
//! value and for its gradient in the text that the host chooses for it.

// Of naga's enums, few cases occur in a shader.
#![allow(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeSet;

use naga::{Expression, Function, Literal, Module, Statement, SwitchValue};

use super::activation;
use crate::Activation;
use crate::gpu::kernel::{Format, Functions, Variant};

/// The functions of the shaders that have a case for each activation.
const SWITCHES: [&str; 2] = ["activation_value", "activation_gradient"];

/// The WGSL of a kernel that applies this function and no others, or all that there are.
fn wgsl(applied: Option<Activation>) -> String {
    let code = applied.map(|activation| ("FUNCTION", activation.code().into()));
    let mut variant = Variant::of(&[Format::F32; 3], &Vec::from_iter(code), None);
    if applied.is_none() {
        variant.functions = Functions::All;
    }
    activation::BACKWARD.wgsl(&variant)
}

/// The numbers that a function of the shaders has a case for, itself or through those that it hands
/// the activation's number on to.
fn cases(module: &Module, name: &str) -> BTreeSet<u32> {
    let function = |(_, function): (_, &Function)| function.name.as_deref() == Some(name);
    let at = module.functions.iter().find(|&of| function(of));
    let mut found = BTreeSet::new();
    let mut next: Vec<_> = at.map(|(handle, _)| handle).into_iter().collect();
    while let Some(handle) = next.pop() {
        let function = &module.functions[handle];
        let is_kind = |expression| match &function.expressions[expression] {
            &Expression::FunctionArgument(at) => {
                function.arguments[at as usize].name.as_deref() == Some("kind")
            }
            _ => false,
        };
        let mut blocks = vec![&function.body];
        while let Some(block) = blocks.pop() {
            for statement in block {
                match statement {
                    Statement::Switch { selector, cases } if is_kind(*selector) => {
                        blocks.extend(cases.iter().map(|case| &case.body));
                        found.extend(cases.iter().filter_map(|case| match case.value {
                            SwitchValue::U32(code) => Some(code),
                            _ => None,
                        }));
                    }
                    Statement::Block(block) => blocks.push(block),
                    Statement::Call {
                        function,
                        arguments,
                        ..
                    } if arguments.iter().any(|&argument| is_kind(argument)) => {
                        next.push(*function)
                    }
                    _ => {}
                }
            }
        }
    }
    found
}

/// The number that a constant of the shaders has.
fn constant(module: &Module, name: &str) -> Option<u32> {
    let named = |constant: &naga::Constant| constant.name.as_deref() == Some(name);
    let (_, constant) = module.constants.iter().find(|(_, c)| named(c))?;
    match module.global_expressions[constant.init] {
        Expression::Literal(Literal::U32(value)) => Some(value),
        _ => None,
    }
}

/// What is missing of an activation in the WGSL, if anything is.
fn check(activation: Activation, wgsl: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|e| e.emit_to_string(wgsl))?;
    let (name, code) = (activation.name(), activation.code());
    let upper = name.to_uppercase();
    match constant(&module, &upper) {
        Some(value) if value == code => {}
        None => return Err(format!("{name} ({code}) has no constant {upper}")),
        Some(value) => {
            return Err(format!(
                "{name} ({code}) has the constant {upper} = {value}"
            ));
        }
    }
    for function in SWITCHES {
        if !cases(&module, function).contains(&code) {
            return Err(format!("{name} ({code}) has no case in {function}"));
        }
    }
    Ok(())
}

#[test]
fn every_activation_has_its_number_and_its_cases_in_the_shaders() {
    let all = wgsl(None);
    let mut wrong: Vec<_> = Activation::ALL
        .into_iter()
        .filter_map(|activation| check(activation, &all).err())
        .collect();
    // What is applied with no others around comes from the file that the host chooses for it; that of
    // ReLU has no cases.
    for activation in Activation::ALL {
        if activation != Activation::Relu {
            let chosen = check(activation, &wgsl(Some(activation)));
            wrong.extend(
                chosen
                    .err()
                    .map(|error| format!("{error} of the file chosen for it")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let module = naga::front::wgsl::parse_str(&all).unwrap();
    let codes = BTreeSet::from(Activation::ALL.map(Activation::code));
    for function in SWITCHES {
        assert_eq!(
            cases(&module, function),
            codes,
            "a case of {function} for no activation"
        );
    }
}

#[test]
fn a_missing_number_or_case_is_named() {
    let all = wgsl(None);
    let faults = [
        (
            "const GELU: u32 = 5u;",
            "const GELU: u32 = 4u + 5u;",
            "gelu (5) has the constant GELU = 9",
        ),
        (
            "const GELU: u32 = 5u;",
            "const OTHER: u32 = 5u;",
            "gelu (5) has no constant GELU",
        ),
        (
            "case GELU: { return",
            "case 99u: { return",
            "gelu (5) has no case in activation_value",
        ),
        (
            "case GELU: {\n",
            "case 99u: {\n",
            "gelu (5) has no case in activation_gradient",
        ),
    ];
    for (right, wrong, expected) in faults {
        assert_eq!(all.matches(right).count(), 1, "{right}");
        let mut faulty = all.replace(right, wrong);
        if wrong.contains("OTHER") {
            faulty = faulty.replace("case GELU:", "case OTHER:");
        }
        let said = check(Activation::Gelu, &faulty).unwrap_err();
        assert_eq!(said, expected);
    }
    let faulty = all.replace("case TANH:", "case 98u:");
    let said = check(
        Activation::Tanh,
        &faulty.replacen("case 98u:", "case 99u:", 1),
    )
    .unwrap_err();
    assert_eq!(said, "tanh (3) has no case in activation_value");
}
