//! What the host knows of a shader: its source, its bindings, its params and its constants.

use crate::op::Activation;

/// The block of functions that kernels may apply to their results, and the one that takes its place
/// where they apply ReLU or nothing: a driver takes long over code that is there for each element that
/// an invocation stores.
const SIMPLE_FUNCTIONS: &str = include_str!("../../shaders/core/activation.wgsl");
const RELU_ALONE: &str = include_str!("../../shaders/core/activation_relu.wgsl");

/// How a kernel uses a storage buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// How a storage buffer's elements lie in memory. Kernels compute in `f32` whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Format {
    /// Four bytes: `f32`, or `u32`.
    F32,
    /// Two bytes, on devices with `SHADER_F16`.
    F16,
}

impl Format {
    /// Bytes of an element.
    pub fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The type in WGSL.
    fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// A compute shader. Its storage buffers are the bindings 0, 1, ... of group 0 in the order of
/// `bindings`, and its params uniform is the binding after them.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Unique among the kernels.
    pub name: &'static str,
    /// WGSL: the kernel's own file first, so that line numbers in errors are those of that file, and
    /// then the blocks that it builds on.
    pub source: &'static [&'static str],
    pub bindings: &'static [Access],
    /// The bindings whose format the dispatch chooses, each with the alias that the source has for
    /// the type of its elements; the others are of four bytes.
    pub formats: &'static [(usize, &'static str)],
    pub params: ParamsLayout,
    /// The `override` constants that a dispatch gives.
    pub constants: &'static [&'static str],
}

/// The fields of a params struct: name and type of each, all of them four bytes wide.
pub(crate) type ParamsLayout = &'static [(&'static str, &'static str)];

/// The uniform that a kernel reads beside its buffers.
pub(crate) trait Params: bytemuck::Pod {
    const LAYOUT: ParamsLayout;
}

/// Declares a params struct, the twin of the WGSL struct `Params` of a kernel.
macro_rules! params {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ident),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct $name {
            $(pub $field: $type),*
        }
        impl $crate::gpu::kernel::Params for $name {
            const LAYOUT: $crate::gpu::kernel::ParamsLayout =
                &[$((stringify!($field), stringify!($type))),*];
        }
    };
}
pub(crate) use params;

/// The WGSL of a kernel: its own file and then the blocks that it builds on.
macro_rules! source {
    ($($file:literal),+) => {
        &[$(include_str!(concat!("../../../shaders/", $file))),+]
    };
}
pub(crate) use source;

/// The most that any kernel needs of a device, all of it within WebGPU's defaults.
pub(crate) mod needs {
    /// Invocations of a workgroup.
    pub const INVOCATIONS: u32 = 256;
    /// Bytes of workgroup memory.
    pub const WORKGROUP_MEMORY: u32 = 8_704;
    /// Storage buffers of a stage.
    pub const STORAGE_BUFFERS: u32 = 8;
}

/// Which text of a kernel a dispatch needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    /// Whether it could apply other functions to its results than ReLU, and does not.
    pub relu_alone: bool,
    /// One for each of the kernel's open [`formats`](Kernel::formats).
    pub formats: Vec<Format>,
}

impl Variant {
    pub fn of(kernel: &Kernel, formats: &[Format], constants: &[(&'static str, f64)]) -> Self {
        let relu = f64::from(Activation::Relu.code());
        let simple = |&(name, value): &(&str, f64)| match name {
            "ACTIVATION" | "GRADIENT_OF" => value == 0.0 || value == relu,
            _ => true,
        };
        Self {
            relu_alone: kernel.source.contains(&SIMPLE_FUNCTIONS) && constants.iter().all(simple),
            formats: formats.to_vec(),
        }
    }
}

/// A kernel with its variant and constants, as a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PipelineKey(&'static str, Variant, Vec<(&'static str, u64)>);

impl PipelineKey {
    pub fn new(kernel: &Kernel, variant: Variant, constants: &[(&'static str, f64)]) -> Self {
        let constants = constants
            .iter()
            .map(|&(name, value)| (name, value.to_bits()))
            .collect();
        Self(kernel.name, variant, constants)
    }
}

impl Kernel {
    /// The WGSL of a variant. The formats are declared at the beginning of the first line, so that line
    /// numbers stay those of the kernel's file.
    pub fn wgsl(&self, variant: &Variant) -> String {
        let mut wgsl = String::new();
        if variant.formats.contains(&Format::F16) {
            wgsl += "enable f16; ";
        }
        for ((_, alias), format) in self.formats.iter().zip(&variant.formats) {
            wgsl += &format!("alias {alias} = {}; ", format.wgsl());
        }
        for &block in self.source {
            wgsl += match block {
                SIMPLE_FUNCTIONS if variant.relu_alone => RELU_ALONE,
                block => block,
            };
        }
        wgsl
    }

    /// The WGSL of a variant as a back end takes it. A browser refuses subgroups without a directive
    /// that naga, which needs none, refuses. It too goes to the beginning of the first line.
    pub fn wgsl_for(&self, variant: &Variant, backend: wgpu::Backend) -> String {
        let wgsl = self.wgsl(variant);
        let subgroups = wgsl.contains("@builtin(subgroup_");
        if subgroups && backend == wgpu::Backend::BrowserWebGpu {
            return format!("enable subgroups; {wgsl}");
        }
        wgsl
    }

    /// Bytes of the params uniform.
    pub fn params_size(&self) -> u64 {
        self.params.len() as u64 * 4
    }

    pub fn bind_group_layout(&self, device: &wgpu::Device) -> wgpu::BindGroupLayout {
        let entry = |(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let storage = self
            .bindings
            .iter()
            .map(|access| wgpu::BufferBindingType::Storage {
                read_only: *access == Access::Read,
            });
        let all = storage.chain([wgpu::BufferBindingType::Uniform]);
        let entries: Vec<_> = (0..).zip(all).map(entry).collect();
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(self.name),
            entries: &entries,
        })
    }

    pub fn module(
        &self,
        device: &wgpu::Device,
        variant: &Variant,
        backend: wgpu::Backend,
        runtime_checks: bool,
    ) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(self.name),
            source: wgpu::ShaderSource::Wgsl(self.wgsl_for(variant, backend).into()),
        };
        let checks = match runtime_checks {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        };
        // SAFETY: without naga's checks a shader must not read or write outside its bindings, nor
        // loop without end. Every kernel of this crate guards its edges by its params, which the
        // host derives from the same geometry that the sizes of its bindings come from, and every
        // loop counts up to a bound. The tests run each kernel with the checks on and off, and with
        // NaN around every buffer that is examined afterwards.
        unsafe { device.create_shader_module_trusted(descriptor, checks) }
    }

    pub fn pipeline(
        &self,
        device: &wgpu::Device,
        layout: &wgpu::PipelineLayout,
        module: &wgpu::ShaderModule,
        constants: &[(&'static str, f64)],
        cache: Option<&wgpu::PipelineCache>,
    ) -> wgpu::ComputePipeline {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.name),
            layout: Some(layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                zero_initialize_workgroup_memory: false,
            },
            cache,
        })
    }
}
