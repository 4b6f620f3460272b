//! Every kernel's WGSL held against what the host says of it, and translated for every back end with
//! the constants that the host gives it.

use std::collections::{BTreeMap, BTreeSet};

use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, Expression, Module, Scalar, ScalarKind, ShaderStage, StorageAccess, TypeInner,
};

use super::shader_models::pipelines;
use super::{activation, all, blocks, optimizer};
use crate::Activation;
use crate::gpu::kernel::Access::{Read, ReadWrite};
use crate::gpu::kernel::{ARGUMENT, Format, Functions, Kernel, Variant, needs};

/// The module of a variant of a kernel, if naga finds it valid.
fn parse(kernel: &Kernel, variant: &Variant) -> Result<(Module, ModuleInfo), String> {
    let source = &kernel.wgsl(variant);
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let mut capabilities = Capabilities::SUBGROUP;
    capabilities.set(
        Capabilities::SHADER_FLOAT16,
        variant.formats.contains(&Format::F16) || variant.argument == Some(Format::F16),
    );
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator
        .validate(&module)
        .map_err(|e| e.emit_to_string(source))?;
    Ok((module, info))
}

/// Holds the WGSL of a kernel against its description: with every choice of functions, with the
/// arguments kept and not, and with either format wherever there is a choice.
fn check(kernel: &Kernel) -> Result<(), String> {
    for format in [Format::F32, Format::F16] {
        for functions in Functions::ALL {
            for argument in [None, Some(format)] {
                if argument.is_some() && !kernel.keeps_arguments() {
                    continue;
                }
                let variant = Variant {
                    functions,
                    formats: vec![format; kernel.formats.len()],
                    argument,
                };
                let checked = check_variant(kernel, &variant, format);
                checked.map_err(|error| format!("{variant:?}: {error}"))?;
            }
        }
    }
    Ok(())
}

fn check_variant(kernel: &Kernel, variant: &Variant, format: Format) -> Result<(), String> {
    let (module, info) = parse(kernel, variant)?;
    check_module(kernel, &module, variant.argument.is_some())?;
    let bytes = workgroup_memory(&module, &info)?;
    at_most("bytes of workgroup memory", bytes, needs::WORKGROUP_MEMORY)?;
    check_formats(kernel, &module, format)
}

/// Bytes of workgroup memory. Where constants say how many, those of the file are for the most.
fn workgroup_memory(module: &Module, info: &ModuleInfo) -> Result<u32, String> {
    let overrides = module.overrides.iter().map(|(_, constant)| constant);
    let missing = overrides.filter(|constant| constant.init.is_none());
    let values: PipelineConstants = missing
        .filter_map(|constant| Some((constant.name.clone()?, 1.0)))
        .collect();
    let entry = Some((ShaderStage::Compute, "main"));
    let (module, _) = process_overrides(module, info, entry, &values)
        .map_err(|error| format!("overrides: {error}"))?;
    let mut layouter = naga::proc::Layouter::default();
    layouter
        .update(module.to_ctx())
        .map_err(|error| error.to_string())?;
    let shared = module.global_variables.iter();
    let shared = shared.filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    Ok(shared.map(|(_, variable)| layouter[variable.ty].size).sum())
}

/// The open bindings, and no others, have elements of this format.
fn check_formats(kernel: &Kernel, module: &Module, format: Format) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        let (Some(binding), AddressSpace::Storage { .. }) = (&variable.binding, variable.space)
        else {
            continue;
        };
        let TypeInner::Array { base, .. } = module.types[variable.ty].inner else {
            return Err("a storage buffer is no array".into());
        };
        let scalar = module.types[base].inner.scalar();
        let width = scalar.map_or(0, |scalar| u64::from(scalar.width));
        found.insert(binding.binding as usize, width);
    }
    // Arguments are kept in the format of this check.
    if let Some(width) = found.remove(&(ARGUMENT as usize)) {
        equal("bytes of an argument", &width, &format.size())?;
    }
    let open = |at| kernel.formats.iter().any(|&(binding, _)| binding == at);
    let expected = (0..kernel.bindings.len()).map(|at| match open(at) {
        true => (at, format.size()),
        false => (at, 4),
    });
    equal("bytes of elements", &found, &expected.collect())
}

fn check_module(kernel: &Kernel, module: &Module, argument: bool) -> Result<(), String> {
    check_bindings(kernel, module, argument)?;
    check_constants(kernel, module)?;
    let entries: Vec<_> = module
        .entry_points
        .iter()
        .map(|e| (e.name.as_str(), e.stage))
        .collect();
    equal(
        "entry points",
        &entries,
        &vec![("main", ShaderStage::Compute)],
    )?;
    let invocations: u32 = module.entry_points[0].workgroup_size.iter().product();
    at_most(
        "invocations in a workgroup",
        invocations,
        needs::INVOCATIONS,
    )?;
    let buffers = kernel.bindings.len() as u32 + u32::from(argument);
    at_most("storage buffers", buffers, needs::STORAGE_BUFFERS)
}

fn at_most(what: &str, count: u32, most: u32) -> Result<(), String> {
    if count <= most {
        return Ok(());
    }
    Err(format!("{count} {what}, devices are asked for {most}"))
}

// Of naga's enums, few cases occur in a shader.
#[allow(clippy::wildcard_enum_match_arm)]
fn check_bindings(kernel: &Kernel, module: &Module, argument: bool) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else {
            continue;
        };
        let what = match variable.space {
            AddressSpace::Storage { access } if access == StorageAccess::LOAD => "read",
            AddressSpace::Storage { .. } => "read_write",
            AddressSpace::Uniform => {
                check_params(kernel, module, &module.types[variable.ty].inner)?;
                "params"
            }
            _ => "something else",
        };
        found.insert((binding.group, binding.binding), what);
    }
    let storage = kernel.bindings.iter().map(|access| match access {
        Read => "read",
        ReadWrite => "read_write",
    });
    let argument = argument.then_some(((0, ARGUMENT), "read_write"));
    let expected = (0..)
        .map(|binding| (0, binding))
        .zip(storage.chain(["params"]))
        .chain(argument)
        .collect();
    equal("bindings", &found, &expected)
}

#[allow(clippy::wildcard_enum_match_arm)]
fn check_params(kernel: &Kernel, module: &Module, params: &TypeInner) -> Result<(), String> {
    let TypeInner::Struct { members, span } = params else {
        return Err(format!("the params are no struct but {params:?}"));
    };
    let field = |member: &naga::StructMember| {
        let name = member.name.clone().unwrap_or_default();
        let kind = match module.types[member.ty].inner {
            TypeInner::Scalar(Scalar::U32) => "u32",
            TypeInner::Scalar(Scalar::I32) => "i32",
            TypeInner::Scalar(Scalar {
                kind: ScalarKind::Float,
                width: 4,
            }) => "f32",
            _ => "something else",
        };
        (name, kind, member.offset)
    };
    let found: Vec<_> = members.iter().map(field).collect();
    let layout = kernel.params.iter().zip((0..).step_by(4));
    let expected = layout.map(|(&(name, kind), offset)| (name.to_string(), kind, offset));
    equal("params", &found, &expected.collect())?;
    equal("bytes of params", &u64::from(*span), &kernel.params_size())
}

/// Each constant of the host is an override; an override that the host does not know of is derived
/// from others.
fn check_constants(kernel: &Kernel, module: &Module) -> Result<(), String> {
    let (constants, mut given) = (kernel.all_constants(), BTreeSet::new());
    for (_, constant) in module.overrides.iter() {
        let name = constant.name.clone().unwrap_or_default();
        if constants.contains(&name.as_str()) {
            given.insert(name);
            continue;
        }
        let init = constant.init.map(|init| &module.global_expressions[init]);
        if matches!(init, None | Some(Expression::Literal(_))) {
            return Err(format!(
                "override {name} is not among the constants of the host"
            ));
        }
    }
    let expected = constants.iter().map(|name| name.to_string()).collect();
    equal("overrides", &given, &expected)
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, wgsl: &T, rust: &T) -> Result<(), String> {
    if wgsl == rust {
        return Ok(());
    }
    Err(format!("{what} differ:\n  WGSL {wgsl:?}\n  Rust {rust:?}"))
}

/// A kernel as DX12 is given it.
pub(super) struct Hlsl {
    pub text: String,
    /// The compiler's name for what kind of shader it is.
    pub profile: &'static str,
}

/// A kernel's WGSL with these formats and constants as SPIR-V, MSL and HLSL; gives the last.
pub(super) fn translate(
    kernel: &Kernel,
    variant: &Variant,
    constants: &[(&'static str, f64)],
) -> Result<Hlsl, String> {
    let run = || -> Result<Hlsl, String> {
        let (module, info) = parse(kernel, variant)?;
        let entry = (ShaderStage::Compute, "main");
        let values: PipelineConstants = constants
            .iter()
            .map(|&(name, value)| (name.to_string(), value))
            .collect();
        let (module, info) = process_overrides(&module, &info, Some(entry), &values)
            .map_err(|error| format!("overrides: {error}"))?;
        let subgroups = kernel.wgsl(variant).contains("subgroup");

        // As a device is asked for it: see `Kernel::module` and `Kernel::pipeline`.
        let options = spv::Options {
            lang_version: (1, 3),
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            ..Default::default()
        };
        let entry = spv::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: "main".into(),
        };
        let words = spv::write_vec(&module, &info, &options, Some(&entry))
            .map_err(|error| format!("SPIR-V: {error}"))?;
        let options = msl::Options {
            lang_version: (2, 4),
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            ..Default::default()
        };
        let (metal, translation) =
            msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
                .map_err(|error| format!("MSL: {error}"))?;
        let names = translation.entry_point_names.into_iter();
        names
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("MSL: {error}"))?;
        // Shader model 5.1 is what every DX12 device has; subgroups came with 6.0, f16 with 6.2.
        let half = kernel.wgsl(variant).starts_with("enable f16;");
        let (shader_model, profile) = match (half, subgroups) {
            (true, _) => (hlsl::ShaderModel::V6_2, "cs_6_2"),
            (false, true) => (hlsl::ShaderModel::V6_0, "cs_6_0"),
            (false, false) => (hlsl::ShaderModel::V5_1, "cs_5_1"),
        };
        let options = hlsl::Options {
            shader_model,
            // FXC takes minutes for a fill that is written as an assignment of a whole array.
            zero_initialize_workgroup_memory: false,
            restrict_indexing: false,
            force_loop_bounding: false,
            ..Default::default()
        };
        let (mut text, entry) = (String::new(), hlsl::PipelineOptions::default());
        let reflection = hlsl::Writer::new(&mut text, &options, &entry)
            .write(&module, &info, None)
            .map_err(|error| format!("HLSL: {error}"))?;
        let names = reflection.entry_point_names.into_iter();
        names
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("HLSL: {error}"))?;
        if words.is_empty() || metal.is_empty() || text.is_empty() {
            return Err("a translation is empty".into());
        }
        Ok(Hlsl { text, profile })
    };
    run().map_err(|error| format!("{} with {constants:?}, {variant:?}: {error}", kernel.name))
}

#[test]
fn every_shader_is_what_the_host_says_of_it() {
    for kernel in all() {
        check(kernel).unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
    }
}

#[test]
fn a_text_has_no_more_functions_than_its_dispatch_applies() {
    let of = |constants: &[(&'static str, f64)]| Variant::of(&[], constants, None).functions;
    let [relu, relu6, sigmoid, gelu] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::Sigmoid,
        Activation::Gelu,
    ]
    .map(|activation| f64::from(activation.code()));
    for name in ["ACTIVATION", "GRADIENT_OF", "FUNCTION"] {
        assert_eq!(of(&[(name, 0.0)]), Functions::Relu);
        assert_eq!(of(&[(name, relu)]), Functions::Relu);
        assert_eq!(of(&[(name, relu6)]), Functions::Straight);
        assert_eq!(
            of(&[("KERNEL_H", gelu), (name, sigmoid)]),
            Functions::Simple
        );
        assert_eq!(of(&[(name, gelu), ("ACTIVATION", relu)]), Functions::All);
    }
    for kernel in all() {
        let texts = Functions::ALL.map(|functions| {
            kernel.wgsl(&Variant {
                functions,
                formats: vec![Format::F32; kernel.formats.len()],
                argument: None,
            })
        });
        let has = |name| texts.each_ref().map(|text| text.contains(name));
        let mut constants = kernel.all_constants().into_iter();
        let applies = constants.any(|name| name == "ACTIVATION" || name == "FUNCTION");
        assert_eq!(
            has("fn clamped"),
            [false, applies, applies, applies],
            "{}",
            kernel.name
        );
        assert_eq!(
            has("fn hyperbolic_tangent"),
            [false, false, applies, applies],
            "{}",
            kernel.name
        );
        assert_eq!(
            has("fn error_function"),
            [false, false, false, applies],
            "{}",
            kernel.name
        );
        assert_eq!(
            has("var<storage, read_write> argument"),
            [false; 4],
            "{}",
            kernel.name
        );
    }
}

#[test]
fn every_shader_translates_with_the_constants_that_it_is_given() {
    let pipelines = pipelines();
    let used: BTreeSet<_> = pipelines
        .iter()
        .map(|pipeline| pipeline.kernel.name)
        .collect();
    let listed: BTreeSet<_> = all().map(|kernel| kernel.name).collect();
    assert_eq!(
        used, listed,
        "a kernel that nothing here records, or one that is missing from its family"
    );
    let given = pipelines.iter().flat_map(|pipeline| {
        let constants = pipeline.constants.iter();
        constants.map(|(name, _)| (pipeline.kernel.name, *name))
    });
    let given: BTreeSet<_> = given.collect();
    let declared = all().flat_map(|k| k.all_constants().into_iter().map(|name| (k.name, name)));
    let amiss: Vec<_> = given
        .symmetric_difference(&declared.collect())
        .copied()
        .collect();
    assert_eq!(amiss, [], "constants that are never given, or not declared");
    for dispatch in &pipelines {
        let (kernel, constants) = (dispatch.kernel, &dispatch.constants);
        translate(kernel, &dispatch.variant(), constants).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Kernels that say something wrong of their shader, and what is then said of them.
fn faults() -> Vec<(&'static str, Kernel)> {
    let with = |change: fn(&mut Kernel)| {
        let mut kernel = activation::FORWARD;
        change(&mut kernel);
        kernel
    };
    let source = activation::FORWARD.source.replace("main", "start").leak();
    let renamed = Kernel {
        source,
        ..activation::FORWARD
    };
    let backward = Kernel {
        constants: &[],
        ..activation::BACKWARD
    };
    vec![
        ("params differ", with(|k| k.params = &[("length", "u32")])),
        ("params differ", with(|k| k.params = &[("len", "f32")])),
        (
            "params differ",
            with(|k| k.params = &[("len", "u32"), ("more", "u32")]),
        ),
        (
            "bindings differ",
            with(|k| k.bindings = &[ReadWrite, ReadWrite]),
        ),
        ("bindings differ", with(|k| k.bindings = &[Read, Read])),
        (
            "bindings differ",
            with(|k| k.bindings = &[Read, Read, Read, ReadWrite]),
        ),
        (
            "bytes of elements differ",
            with(|k| k.formats = &[(0, "Input"), (0, "Saved"), (2, "Output")]),
        ),
        (
            "Saved",
            with(|k| k.formats = &[(0, "Input"), (2, "Output")]),
        ),
        ("overrides differ", with(|k| k.constants = &["MISSING"])),
        (" is not among", backward),
        ("entry points differ", renamed),
        (
            "no definition in scope",
            with(|k| k.blocks = &[&blocks::EPILOGUE4]),
        ),
        ("expected", with(|k| k.source = "fn main( }")),
    ]
}

#[test]
fn every_seeded_fault_is_found() {
    let forward = || activation::FORWARD;
    for (expected, kernel) in faults() {
        let said = check(&kernel).unwrap_err();
        assert!(
            said.contains(expected),
            "{said:?} does not say {expected:?}"
        );
    }
    // Two params in another order are of the same size.
    let mut params = optimizer::SGD.params.to_vec();
    params.swap(2, 3);
    let swapped = Kernel {
        params: params.leak(),
        ..optimizer::SGD
    };
    assert!(check(&swapped).unwrap_err().contains("params differ"));

    let single = Variant::of(&[Format::F32; 3], &[], None);
    let said = translate(&forward(), &single, &[("NO_SUCH_CONSTANT", 1.0)]);
    let said = said.err().unwrap_or_default();
    assert!(
        said.starts_with("activation_forward with [(\"NO_SUCH_CONSTANT\", 1.0)]"),
        "{said}"
    );
}
