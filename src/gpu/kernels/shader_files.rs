//! The shaders on disk held against the kernels: each file is of use, and names tell which.

use std::collections::BTreeMap;
use std::path::Path;

use super::shader_models::pipelines;
use super::{FAMILIES, all, concat, matmul};
use crate::gpu::kernel::{Functions, Kernel, Variant};

/// The texts of the shaders in a folder by their files' stems.
fn shaders(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wgsl")
        {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            texts.insert(stem.to_owned(), std::fs::read_to_string(&path).unwrap());
        }
    }
    texts
}

/// What a kernel on one of several cores adds to the stem of its file: `_4x4` on
/// `core/product_4x4.wgsl`, `_forward` on `core/depthwise_forward.wgsl`.
fn core_suffix(kernel: &Kernel) -> String {
    let blocks = kernel.all_blocks().into_iter();
    let forms = blocks.filter_map(|block| {
        let form = block.name.strip_prefix("product");
        form.or_else(|| block.name.strip_prefix("depthwise"))
    });
    forms.collect()
}

/// A kernel is called after the file that its source begins with. Where several kernels begin with one
/// file, each adds the core that it builds on. Every file begins a kernel.
fn check_names(files: &BTreeMap<String, String>, kernels: &[&Kernel]) -> Result<(), String> {
    let mut found = Vec::new();
    for (stem, text) in files {
        let of_file: Vec<_> = kernels
            .iter()
            .filter(|kernel| kernel.source == text)
            .collect();
        if of_file.is_empty() {
            return Err(format!("no family has a kernel of shaders/{stem}.wgsl"));
        }
        for kernel in &of_file {
            let expected = match of_file.len() {
                1 => stem.clone(),
                _ => format!("{stem}{}", core_suffix(kernel)),
            };
            if kernel.name != expected {
                return Err(format!("{} should be called {expected}", kernel.name));
            }
            found.push(kernel.name);
        }
    }
    for kernel in kernels {
        match found.iter().filter(|&&name| name == kernel.name).count() {
            1 => {}
            0 => return Err(format!("{} begins with no file of shaders", kernel.name)),
            _ => return Err(format!("two kernels are called {}", kernel.name)),
        }
    }
    Ok(())
}

#[test]
fn every_kernel_is_called_after_its_shader_and_every_shader_has_one() {
    let kernels: Vec<_> = all().collect();
    check_names(&shaders("shaders"), &kernels).unwrap();
}

#[test]
fn the_shaders_of_a_family_stand_together() {
    for &(family, kernels) in FAMILIES {
        for kernel in kernels {
            let rest = kernel.name.strip_prefix(family);
            let fits = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
            assert!(fits, "{} is in the family {family}", kernel.name);
        }
    }
}

#[test]
fn every_core_is_part_of_a_kernel() {
    let pipelines = pipelines();
    let texts = pipelines
        .iter()
        .map(|dispatch| dispatch.kernel.wgsl(&dispatch.variant()));
    let texts: std::collections::BTreeSet<_> = texts.collect();
    for (stem, text) in shaders("shaders/core") {
        let used = texts.iter().any(|whole| whole.contains(&text));
        assert!(used, "no pipeline has shaders/core/{stem}.wgsl");
    }
}

/// `store` of core/epilogue4.wgsl writes one component of a vector, of which neighbours may write the others: that is for
/// software adapters, whose kernels these are.
#[test]
fn parts_of_vectors_are_stored_on_software_adapters_alone() {
    let variant = Variant {
        functions: Functions::Relu,
        formats: vec![],
        argument: None,
    };
    let of_vectors = |kernel: &&Kernel| kernel.blocks.iter().any(|block| block.name == "epilogue4");
    for kernel in all().filter(of_vectors) {
        let blocks = kernel
            .blocks
            .iter()
            .filter(|block| block.name != "epilogue4");
        let own = blocks.map(|block| (block.wgsl)(&variant));
        let mut texts = std::iter::once(kernel.source).chain(own);
        let software = ["conv2d_rows", "conv2d_strided", "matmul_subgroup"];
        let stores = texts.any(|text| text.contains(" store("));
        let allowed = software.iter().any(|name| kernel.name.starts_with(name));
        assert!(
            allowed || !stores,
            "{} stores single elements of vectors",
            kernel.name
        );
    }
}

/// The lines that store to an element of an element, as a component of a vector in a buffer is.
fn stores_of_components(text: &str) -> Vec<&str> {
    let stores = |line: &&str| {
        line.split("][").skip(1).any(|index| {
            let behind = index.split_once(']').map_or("", |(_, behind)| behind);
            let behind = behind.trim_start().trim_start_matches(['+', '-', '*']);
            behind.starts_with('=') && !behind.starts_with("==")
        })
    };
    text.lines().filter(stores).collect()
}

/// Some compilers store a component by writing the whole vector. No other shader stores one.
#[test]
fn one_function_alone_stores_components() {
    let texts = [shaders("shaders"), shaders("shaders/core")];
    let texts = texts.iter().flatten();
    let stored: Vec<_> = texts
        .flat_map(|(stem, text)| {
            stores_of_components(text)
                .into_iter()
                .map(move |line| (stem.as_str(), line.trim()))
        })
        .collect();
    assert_eq!(stored, [("epilogue4", "output[vector][lane] = Output(r);")]);
    let seeded = [
        "a[i / 4u][i % 4u] = 1.0;",
        "a[i][j] += v;",
        "a[at[i]][j]= v;",
    ];
    for line in seeded {
        assert_eq!(stores_of_components(line), [line]);
    }
    for line in ["if a[i][j] == 1.0 {", "let v = a[i][j];", "a[i] = b[i][j];"] {
        assert!(stores_of_components(line).is_empty(), "{line}");
    }
}

#[test]
fn every_seeded_fault_in_names_is_found() {
    let files = shaders("shaders");
    let with = |change: &dyn Fn(&mut Vec<&'static Kernel>)| {
        let mut kernels: Vec<_> = all().collect();
        change(&mut kernels);
        check_names(&files, &kernels).unwrap_err()
    };
    let add = |name, source| -> &'static Kernel {
        let kernel = Kernel {
            name,
            source,
            ..concat::COPY
        };
        Box::leak(Box::new(kernel))
    };
    let said = with(&|kernels| kernels.retain(|kernel| kernel.name != "concat"));
    assert_eq!(said, "no family has a kernel of shaders/concat.wgsl");
    let said = with(&|kernels| {
        kernels.retain(|kernel| kernel.name != "concat");
        kernels.push(add("joined", concat::COPY.source));
    });
    assert_eq!(said, "joined should be called concat");
    let said = with(&|kernels| kernels.push(add("more", "nothing")));
    assert_eq!(said, "more begins with no file of shaders");
    // One form of a product alone has no need of a name of its own.
    let said = with(&|kernels| {
        kernels.retain(|kernel| !["matmul_8x4", "matmul_2x4"].contains(&kernel.name))
    });
    assert_eq!(said, "matmul_4x4 should be called matmul");
    let said = with(&|kernels| kernels.push(matmul::TILED.by_4x4));
    assert_eq!(said, "two kernels are called matmul_4x4");
}
