//! What the host knows of a shader: its source, its bindings, its params and its constants.

use crate::op::Activation;

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
    pub fn wgsl(self) -> &'static str {
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
    /// Its file's, without `.wgsl`; and the core, where several kernels have one file. Unique.
    pub name: &'static str,
    /// The kernel's own file. It comes first in the WGSL, so that line numbers in errors are those of
    /// that file.
    pub source: &'static str,
    /// What it builds on beside what these build on themselves.
    pub blocks: &'static [&'static Block],
    pub bindings: &'static [Access],
    /// The bindings whose format the dispatch chooses, each with the alias that the source has for
    /// the type of its elements; the others are of four bytes.
    pub formats: &'static [(usize, &'static str)],
    pub params: ParamsLayout,
    /// The `override` constants of the kernel's own file that a dispatch gives; it gives those of the
    /// blocks too.
    pub constants: &'static [&'static str],
}

/// A part of the WGSL that several kernels build on.
#[derive(Debug)]
pub(crate) struct Block {
    /// Unique among the blocks.
    pub name: &'static str,
    pub wgsl: fn(&Variant) -> &'static str,
    /// The `override` constants that it declares and a dispatch gives.
    pub constants: &'static [&'static str],
    /// The blocks that it builds on itself.
    pub uses: &'static [&'static Block],
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

/// A text of WGSL; in a page, which loads all of it, without comments.
macro_rules! text {
    ($text:expr) => {{
        const TEXT: &str = $text;
        #[cfg(target_arch = "wasm32")]
        const TEXT_OF_PAGES: &str = {
            const LEN: usize = $crate::gpu::short::shorten(TEXT, &mut []);
            const BYTES: [u8; LEN] = $crate::gpu::short::shortened(TEXT);
            match std::str::from_utf8(&BYTES) {
                Ok(text) => text,
                Err(_) => TEXT,
            }
        };
        #[cfg(target_arch = "wasm32")]
        let text = TEXT_OF_PAGES;
        #[cfg(not(target_arch = "wasm32"))]
        let text = TEXT;
        text
    }};
}
pub(crate) use text;

/// A kernel's own file.
macro_rules! source {
    ($file:literal) => {
        $crate::gpu::kernel::text!(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/shaders/",
            $file
        )))
    };
}
pub(crate) use source;

/// The most that any kernel needs of a device, all of it within WebGPU's defaults.
pub(crate) mod needs {
    /// Invocations of a workgroup.
    pub const INVOCATIONS: u32 = 256;
    /// Bytes of workgroup memory.
    pub const WORKGROUP_MEMORY: u32 = 16_384;
    /// Storage buffers of a stage.
    pub const STORAGE_BUFFERS: u32 = 8;
}

/// Which text of a kernel a dispatch needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub functions: Functions,
    /// One for each of the kernel's open [`formats`](Kernel::formats).
    pub formats: Vec<Format>,
    /// The format of what lies at the binding [`ARGUMENT`], where there is one.
    pub argument: Option<Format>,
}

/// Which activations there are in a text: the first of these that has all that are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Functions {
    /// ReLU, if any.
    Relu,
    /// Those made of straight lines.
    Straight,
    /// Those whose gradient follows from their value.
    Simple,
    All,
}

/// The binding of the arguments of the function that a kernel applies, or of the gradient that goes through one
/// in its place, after all others.
pub(crate) const ARGUMENT: u32 = needs::STORAGE_BUFFERS + 1;

impl Variant {
    pub fn of(
        formats: &[Format],
        constants: &[(&'static str, f64)],
        argument: Option<Format>,
    ) -> Self {
        let codes = constants.iter().filter_map(|&(name, value)| match name {
            "ACTIVATION" | "GRADIENT_OF" | "FUNCTION" => Some(value),
            _ => None,
        });
        Self {
            functions: codes.map(Functions::with).max().unwrap_or(Functions::Relu),
            formats: formats.to_vec(),
            argument,
        }
    }
}

impl Functions {
    #[cfg(test)]
    pub const ALL: [Self; 4] = [Self::Relu, Self::Straight, Self::Simple, Self::All];

    /// With the activation of this number, where 0 is none.
    fn with(code: f64) -> Self {
        let mut all = Activation::ALL.into_iter();
        match all.find(|activation| f64::from(activation.code()) == code) {
            None | Some(Activation::Relu) => Self::Relu,
            Some(activation) if activation.is_straight() => Self::Straight,
            Some(activation) if activation.gradient_from_value() => Self::Simple,
            Some(_) => Self::All,
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
        let mut formats = variant.formats.iter().chain(&variant.argument);
        if formats.any(|&format| format == Format::F16) {
            wgsl += "enable f16; ";
        }
        for ((_, alias), format) in self.formats.iter().zip(&variant.formats) {
            wgsl += &format!("alias {alias} = {}; ", format.wgsl());
        }
        if let Some(format) = variant.argument {
            wgsl += &format!("alias Argument = {}; ", format.wgsl());
        }
        wgsl += self.source;
        for block in self.all_blocks() {
            wgsl += (block.wgsl)(variant);
        }
        wgsl
    }

    /// The blocks, and those that they build on, each once.
    pub fn all_blocks(&self) -> Vec<&'static Block> {
        fn add(all: &mut Vec<&'static Block>, blocks: &'static [&'static Block]) {
            for block in blocks {
                if all.iter().all(|other| other.name != block.name) {
                    all.push(block);
                    add(all, block.uses);
                }
            }
        }
        let mut all = Vec::new();
        add(&mut all, self.blocks);
        all
    }

    /// The `override` constants that a dispatch gives, of the kernel's own file and of the blocks.
    pub fn all_constants(&self) -> Vec<&'static str> {
        let blocks = self.all_blocks().into_iter();
        let constants = [self.constants].into_iter();
        constants
            .chain(blocks.map(|block| block.constants))
            .flatten()
            .copied()
            .collect()
    }

    /// Whether the arguments of the function that it applies to its results can be a second output, or the
    /// gradient that it reads can go through a function: it knows of one, and has a buffer to spare, as every
    /// kernel of a forward pass that applies one does.
    pub fn keeps_arguments(&self) -> bool {
        let mut constants = self.all_constants().into_iter();
        let applies = constants.any(|name| name == "ACTIVATION" || name == "FUNCTION");
        applies && (self.bindings.len() as u32) < needs::STORAGE_BUFFERS
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

    /// The layout of the variants with or without the binding [`ARGUMENT`].
    pub fn bind_group_layout(
        &self,
        device: &wgpu::Device,
        argument: bool,
    ) -> wgpu::BindGroupLayout {
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
        let storage = |access: &Access| wgpu::BufferBindingType::Storage {
            read_only: *access == Access::Read,
        };
        let all = self.bindings.iter().map(storage);
        let all = (0..).zip(all.chain([wgpu::BufferBindingType::Uniform]));
        let argument = argument.then(|| (ARGUMENT, storage(&Access::ReadWrite)));
        let entries: Vec<_> = all.chain(argument).map(entry).collect();
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
