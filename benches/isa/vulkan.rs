//! A Vulkan device that need not be there: it compiles pipelines and says what became of them. wgpu cannot open
//! such a device, so this is Vulkan itself, with the features that a driver has and with robust access to buffers, as wgpu
//! asks for them.

use std::ffi::{CStr, c_char};

use ash::{ext, khr, vk};

use super::compilers::{Compiled, Request};

/// A device of the first driver that the loader finds.
pub struct Device {
    // The loaded library, which the others call into.
    _entry: ash::Entry,
    device: ash::Device,
    reports: khr::pipeline_executable_properties::Device,
    /// The driver and its version.
    pub driver: String,
    /// The device that it takes this for.
    pub name: String,
}

impl Device {
    pub fn new() -> Result<Self, String> {
        // SAFETY: the library is the system's Vulkan loader, or there is none.
        let entry = unsafe { ash::Entry::load() }.map_err(|error| error.to_string())?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the structures are valid as they are used in `open`, and what is made lives in `Self`.
        let open = || unsafe {
            let instance = entry.create_instance(&info, None)?;
            let found = instance.enumerate_physical_devices()?;
            let physical = *found.first().ok_or(vk::Result::ERROR_DEVICE_LOST)?;
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(physical, &mut properties);
            let name = text(&properties.properties.device_name);
            let driver = format!(
                "{} {}",
                text(&driver.driver_name),
                text(&driver.driver_info)
            );
            let device = open(&instance, physical)?;
            let reports = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok((device, reports, driver, name))
        };
        let opened: Result<_, vk::Result> = open();
        let (device, reports, driver, name) = opened.map_err(|error| error.to_string())?;
        Ok(Self {
            _entry: entry,
            device,
            reports,
            driver,
            name,
        })
    }

    /// Compiles a pipeline.
    pub fn compile(&self, request: &Request) -> Result<Compiled, String> {
        // SAFETY: the module is what naga has made of a valid one, and its bindings are those of the request.
        let compiled = unsafe { self.pipeline(request) };
        compiled.map_err(|error| error.to_string())
    }

    unsafe fn pipeline(&self, request: &Request) -> Result<Compiled, vk::Result> {
        let device = &self.device;
        let binding = |binding, kind| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(binding)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
                .descriptor_type(kind)
        };
        let storage = request.storage.iter().copied();
        let bindings: Vec<_> = storage
            .map(|at| binding(at, vk::DescriptorType::STORAGE_BUFFER))
            .chain([binding(request.uniform, vk::DescriptorType::UNIFORM_BUFFER)])
            .collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // What is made here is left to the end of the process, which is near.
        unsafe {
            let sets = [device.create_descriptor_set_layout(&info, None)?];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&info, None)?;
            let info = vk::ShaderModuleCreateInfo::default().code(&request.words);
            let module = device.create_shader_module(&info, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let info = vk::ComputePipelineCreateInfo::default()
                .flags(
                    vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                        | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
                )
                .stage(stage)
                .layout(layout);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let [pipeline] = made.map_err(|(_, error)| error)?[..] else {
                return Err(vk::Result::ERROR_UNKNOWN);
            };
            self.report(pipeline)
        }
    }

    /// What the compiler says of the first executable of a pipeline; a compute pipeline has one.
    unsafe fn report(&self, pipeline: vk::Pipeline) -> Result<Compiled, vk::Result> {
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        unsafe {
            let properties = self.reports.get_pipeline_executable_properties(&info)?;
            let width = properties.first().map_or(0, |first| first.subgroup_size);
            let statistics = self
                .reports
                .get_pipeline_executable_statistics(&executable)?;
            let statistics = statistics
                .iter()
                .map(|one| (text(&one.name), number(one)))
                .collect();
            Ok(Compiled {
                width,
                statistics,
                listing: self.listing(&executable)?,
            })
        }
    }

    /// The machine code as text.
    unsafe fn listing(
        &self,
        executable: &vk::PipelineExecutableInfoKHR,
    ) -> Result<String, vk::Result> {
        let get = self
            .reports
            .fp()
            .get_pipeline_executable_internal_representations_khr;
        unsafe {
            let mut all =
                (self.reports).get_pipeline_executable_internal_representations(executable)?;
            let mut texts: Vec<Vec<u8>> = all.iter().map(|one| vec![0; one.data_size]).collect();
            for (one, text) in all.iter_mut().zip(&mut texts) {
                one.p_data = text.as_mut_ptr().cast();
            }
            let mut count = all.len() as u32;
            get(
                self.device.handle(),
                executable,
                &mut count,
                all.as_mut_ptr(),
            )
            .result()?;
            let assembly = all.iter().zip(&texts).rev();
            let found = assembly
                .filter(|(one, _)| text(&one.name).to_lowercase().contains("assembly"))
                .map(|(_, text)| String::from_utf8_lossy(text));
            Ok(found
                .map(|text| text.trim_end_matches('\0').to_string())
                .next()
                .unwrap_or_default())
        }
    }
}

/// A device with all the features that there are.
unsafe fn open(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
) -> Result<ash::Device, vk::Result> {
    unsafe {
        let known = instance.enumerate_device_extension_properties(physical)?;
        let has = |name: &CStr| {
            let mut names = known
                .iter()
                .filter_map(|one| one.extension_name_as_c_str().ok());
            names.any(|one| one == name)
        };
        let mut extensions = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
        let mut vulkan_1_1 = vk::PhysicalDeviceVulkan11Features::default();
        let mut vulkan_1_2 = vk::PhysicalDeviceVulkan12Features::default();
        let mut vulkan_1_3 = vk::PhysicalDeviceVulkan13Features::default();
        let mut reports = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
        let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut features = vk::PhysicalDeviceFeatures2::default()
            .push_next(&mut vulkan_1_1)
            .push_next(&mut vulkan_1_2)
            .push_next(&mut vulkan_1_3)
            .push_next(&mut reports);
        if has(ext::robustness2::NAME) {
            extensions.push(ext::robustness2::NAME.as_ptr());
            features = features.push_next(&mut robust);
        }
        instance.get_physical_device_features2(physical, &mut features);
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .push_next(&mut features);
        instance.create_device(physical, &info, None)
    }
}

fn number(statistic: &vk::PipelineExecutableStatisticKHR) -> f64 {
    // SAFETY: the format says which field was written.
    unsafe {
        match statistic.format {
            vk::PipelineExecutableStatisticFormatKHR::BOOL32 => statistic.value.b32.into(),
            vk::PipelineExecutableStatisticFormatKHR::INT64 => statistic.value.i64 as f64,
            vk::PipelineExecutableStatisticFormatKHR::UINT64 => statistic.value.u64 as f64,
            _ => statistic.value.f64,
        }
    }
}

/// A string in an array that a zero ends.
fn text(characters: &[c_char]) -> String {
    let bytes = characters.iter().map(|&c| c as u8);
    let bytes: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
