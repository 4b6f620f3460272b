//! Makes of a module what a browser loads: `wgpu-cnn-web-bindgen MODULE FOLDER`.

use std::error::Error;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = &arguments[..] else {
        return Err("usage: wgpu-cnn-web-bindgen MODULE FOLDER".into());
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).web(true)?.typescript(false);
    // The script finds the module beside itself.
    bindgen.omit_default_module_path(false);
    Ok(bindgen.generate(folder)?)
}
