//! How many compute units a device has. wgpu does not tell, but some drivers of Vulkan do.

/// What is taken for the number where nobody tells it: rather too many, which costs some traffic, than too few, which
/// leave units idle.
pub(super) fn guessed(kind: wgpu::DeviceType) -> u32 {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    match kind {
        DiscreteGpu => 128,
        VirtualGpu | Other => 64,
        IntegratedGpu => 32,
        Cpu => 16,
    }
}

/// The number that the driver tells.
#[cfg(not(all(
    feature = "native",
    not(any(target_arch = "wasm32", target_vendor = "apple"))
)))]
pub(super) fn told(_: &wgpu::Device) -> Option<u32> {
    None
}

/// The number that the driver tells, in an extension of its vendor.
#[cfg(all(
    feature = "native",
    not(any(target_arch = "wasm32", target_vendor = "apple"))
))]
pub(super) fn told(device: &wgpu::Device) -> Option<u32> {
    use ash::{amd, arm, nv, vk};
    // SAFETY: nothing is destroyed through it, and it goes when this function returns.
    let device = unsafe { device.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let (shared, physical) = (device.shared_instance(), device.raw_physical_device());
    let instance = shared.raw_instance();
    // SAFETY: the device is one of this instance, which lives as long as the device does.
    let properties = unsafe { instance.get_physical_device_properties(physical) };
    // Properties of extensions came with 1.1.
    if shared.instance_api_version().min(properties.api_version) < vk::API_VERSION_1_1 {
        return None;
    }
    // SAFETY: as above.
    let extensions = unsafe { instance.enumerate_device_extension_properties(physical) };
    let extensions = extensions.ok()?;
    let has = |name| {
        let mut extensions = extensions.iter();
        extensions.any(|extension| extension.extension_name_as_c_str() == Ok(name))
    };
    let mut nvidia = vk::PhysicalDeviceShaderSMBuiltinsPropertiesNV::default();
    let mut amd = vk::PhysicalDeviceShaderCoreProperties2AMD::default();
    let mut arm = vk::PhysicalDeviceShaderCoreBuiltinsPropertiesARM::default();
    let properties = vk::PhysicalDeviceProperties2::default();
    let mut properties = match () {
        () if has(nv::shader_sm_builtins::NAME) => properties.push_next(&mut nvidia),
        () if has(amd::shader_core_properties2::NAME) => properties.push_next(&mut amd),
        () if has(arm::shader_core_builtins::NAME) => properties.push_next(&mut arm),
        () => return None,
    };
    // SAFETY: as above, and the driver has the extension of the one structure that is chained.
    unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
    let told = [
        nvidia.shader_sm_count,
        amd.active_compute_unit_count,
        arm.shader_core_count,
    ];
    told.into_iter().find(|&units| units > 0)
}
