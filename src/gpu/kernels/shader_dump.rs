//! Every pipeline as a browser is given it, on request in a folder: `tests/tint.sh` has a browser's compiler
//! make them. Likewise as DX12 is, for `tests/hlsl.sh`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;

use super::shader_models::pipelines;
use super::shader_tests::translate;
use crate::gpu::kernel::ARGUMENT;
use crate::gpu::kernel::Access::{Read, ReadWrite};
use crate::gpu::record::Dispatch;

fn wgsl(dispatch: &Dispatch, backend: wgpu::Backend) -> String {
    dispatch.kernel.wgsl_for(&dispatch.variant(), backend)
}

/// Writes the texts, each a file, and `pipelines.json`: what each pipeline is made from.
fn dump(pipelines: &[Dispatch], folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let mut files = BTreeMap::new();
    let mut list = Vec::new();
    for dispatch in pipelines {
        let kernel = dispatch.kernel;
        let next = files.len();
        let file = files
            .entry(wgsl(dispatch, wgpu::Backend::BrowserWebGpu))
            .or_insert_with(|| format!("{}-{next}.wgsl", kernel.name));
        let bindings = kernel.bindings.iter().map(|access| match access {
            Read => "read-only-storage",
            ReadWrite => "storage",
        });
        list.push(json!({
            "kernel": kernel.name,
            "file": file,
            "bindings": bindings.chain(["uniform"]).collect::<Vec<_>>(),
            "argument": dispatch.argument.map(|_| ARGUMENT),
            "constants": dispatch.constants.iter().copied().collect::<BTreeMap<_, _>>(),
        }));
    }
    for (text, file) in &files {
        std::fs::write(folder.join(file), text).unwrap();
    }
    std::fs::write(folder.join("pipelines.json"), json!(list).to_string()).unwrap();
}

/// Sets of constants of a text that are written as HLSL: all of them would take hours to compile.
const SETS: usize = 1;

/// Writes pipelines as HLSL, and `list`: for each the file, what kind of shader it is, and who compiles it.
fn dump_hlsl(pipelines: &[Dispatch], folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let mut list = String::new();
    let (mut sets, mut known) = (BTreeMap::new(), BTreeSet::new());
    for dispatch in pipelines {
        let (kernel, variant) = (dispatch.kernel, dispatch.variant());
        let hlsl = translate(kernel, &variant, &dispatch.constants).unwrap();
        let written = sets.entry(kernel.wgsl(&variant)).or_insert(0);
        if *written == SETS || !known.insert(hlsl.text.clone()) {
            continue;
        }
        *written += 1;
        let file = format!("{}-{}.hlsl", kernel.name, known.len());
        let compiler = match hlsl.profile {
            "cs_5_1" => "fxc",
            _ => "dxc",
        };
        std::fs::write(folder.join(&file), hlsl.text).unwrap();
        list += &format!("{file} {} {compiler}\n", hlsl.profile);
    }
    std::fs::write(folder.join("list"), list).unwrap();
}

#[test]
fn a_browser_is_told_of_subgroups_and_nobody_else() {
    let pipelines = pipelines();
    let mut with_subgroups = BTreeSet::new();
    for dispatch in &pipelines {
        let name = dispatch.kernel.name;
        let browser = wgsl(dispatch, wgpu::Backend::BrowserWebGpu);
        let native = wgsl(dispatch, wgpu::Backend::Vulkan);
        assert!(!native.contains("enable subgroups"), "{name}");
        if browser != native {
            assert_eq!(browser, format!("enable subgroups; {native}"));
            with_subgroups.insert(name);
        }
    }
    let expected = [
        "conv2d_backward_weight_taps",
        "conv2d_rows",
        "conv2d_strided",
        "conv2d_strided_taps",
        "conv2d_winograd_input_shared",
        "conv2d_winograd_product",
        "conv2d_winograd_weight_product",
        "matmul_subgroup",
    ];
    assert_eq!(with_subgroups, expected.into());
    if let Some(folder) = std::env::var_os("WGPU_CNN_DUMP") {
        dump(&pipelines, Path::new(&folder));
    }
    if let Some(folder) = std::env::var_os("WGPU_CNN_DUMP_HLSL") {
        dump_hlsl(&pipelines, Path::new(&folder));
    }
}
