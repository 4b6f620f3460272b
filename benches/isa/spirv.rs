//! A pipeline's text as the SPIR-V that wgpu would hand to a Vulkan driver.

use naga::back::pipeline_constants::process_overrides;
use naga::back::{PipelineConstants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{ResourceBinding, ShaderStage};
use wgpu_cnn::engine::catalogue::Pipeline;

/// The words of a pipeline, with its constants in place, for Vulkan 1.3 and without naga's runtime checks,
/// which the library's kernels are created without.
pub fn words(pipeline: &Pipeline) -> Result<Vec<u32>, String> {
    let source = &pipeline.wgsl;
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let capabilities = Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| e.emit_to_string(source))?;
    let constants: PipelineConstants = pipeline
        .constants
        .iter()
        .map(|&(name, value)| (name.to_string(), value))
        .collect();
    let entry = (ShaderStage::Compute, "main");
    let (module, info) =
        process_overrides(&module, &info, Some(entry), &constants).map_err(|e| e.to_string())?;
    let stage = spv::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".into(),
    };
    spv::write_vec(&module, &info, &options(pipeline), Some(&stage)).map_err(|e| e.to_string())
}

/// What wgpu-hal has naga do on a Vulkan 1.3 device for a module that is trusted.
fn options(pipeline: &Pipeline) -> spv::Options<'static> {
    use spv::Capability::{
        DerivativeControl, Float16, GroupNonUniform, GroupNonUniformArithmetic,
        GroupNonUniformBallot, GroupNonUniformQuad, GroupNonUniformShuffle,
        GroupNonUniformShuffleRelative, GroupNonUniformVote, Image1D, ImageQuery, Matrix,
        Sampled1D, Shader, StorageImageExtendedFormats,
    };
    let capabilities = [
        Shader,
        Matrix,
        Sampled1D,
        Image1D,
        ImageQuery,
        DerivativeControl,
        StorageImageExtendedFormats,
        GroupNonUniform,
        GroupNonUniformVote,
        GroupNonUniformArithmetic,
        GroupNonUniformBallot,
        GroupNonUniformShuffle,
        GroupNonUniformShuffleRelative,
        GroupNonUniformQuad,
        Float16,
    ];
    let unchecked = BoundsCheckPolicy::Unchecked;
    let all = pipeline.storage.iter().chain([&pipeline.uniform]);
    let bound = |&binding: &u32| {
        let info = spv::BindingInfo {
            descriptor_set: 0,
            binding,
            binding_array_size: None,
        };
        (ResourceBinding { group: 0, binding }, info)
    };
    spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        use_storage_input_output_16: true,
        binding_map: all.map(bound).collect(),
        ..Default::default()
    }
}
