//! The compilers of real GPUs that are found here, each run in a process of its own: what device a driver takes
//! itself to have is said by its environment, and a stub of the kernel driver is loaded before everything else.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::vulkan::Device;

/// Where the compilers are: a folder that `benches/isa/setup.sh` has made.
pub const FOLDER: &str = "WGPU_CNN_ISA";
/// Has a process compile what is in a folder, and end.
const JOB: &str = "WGPU_CNN_ISA_JOB";
/// The oldest Mesa whose RADV is taken from the system.
const OLDEST: u32 = 25;

/// A family of compilers, which read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// RADV, with its compiler ACO.
    Amd,
    /// NVK, with its compiler NAK.
    Nvidia,
    /// ANV.
    Intel,
}

impl Vendor {
    /// The name of its folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Amd => "amd",
            Self::Nvidia => "nvidia",
            Self::Intel => "intel",
        }
    }

    /// The variable that says which GPU to compile for.
    fn variable(self) -> &'static str {
        match self {
            Self::Amd => "RADV_FORCE_FAMILY",
            Self::Nvidia => "NOUVEAU_CHIPSET",
            Self::Intel => "INTEL_STUB_GPU_PLATFORM",
        }
    }
}

/// A GPU to compile for.
#[derive(Debug)]
pub struct Target {
    /// Its name in tables.
    pub name: &'static str,
    pub title: &'static str,
    pub vendor: Vendor,
    /// Its name for the driver.
    model: &'static str,
}

pub const TARGETS: [Target; 5] = [
    target("rdna2", "AMD RDNA 2", Vendor::Amd, "navi21"),
    target("rdna3", "AMD RDNA 3", Vendor::Amd, "navi31"),
    target("ampere", "NVIDIA Ampere", Vendor::Nvidia, "0x172"),
    target("xe", "Intel Xe", Vendor::Intel, "tgl"),
    target("arc", "Intel Arc", Vendor::Intel, "dg2"),
];

const fn target(
    name: &'static str,
    title: &'static str,
    vendor: Vendor,
    model: &'static str,
) -> Target {
    Target {
        name,
        title,
        vendor,
        model,
    }
}

/// A pipeline to compile.
pub struct Request {
    /// SPIR-V, with the entry point `main`.
    pub words: Vec<u32>,
    /// The bindings of group 0 that are storage buffers, and the one that is a uniform buffer.
    pub storage: Vec<u32>,
    pub uniform: u32,
}

/// What a compiler says of a pipeline.
#[derive(Debug, Default)]
pub struct Compiled {
    /// Invocations of a subgroup.
    pub width: u32,
    pub statistics: BTreeMap<String, f64>,
    /// The machine code as text.
    pub listing: String,
}

/// What a compiler says of many.
pub struct Report {
    /// The driver with its version.
    pub driver: String,
    /// The device that it takes itself to have.
    pub device: String,
    /// In the order of the requests.
    pub compiled: Vec<Result<Compiled, String>>,
}

/// A compiler that is here, for one GPU.
pub struct Compiler {
    pub target: &'static Target,
    /// Of the folder, rather than of the system.
    own: Option<PathBuf>,
    driver_file: PathBuf,
}

/// The compilers of the folder that the environment names, or else the system's RADV.
pub fn found() -> Vec<Compiler> {
    let own = std::env::var_os(FOLDER).map(PathBuf::from);
    let mut found = Vec::new();
    for target in &TARGETS {
        let folder = own.as_ref().map(|own| own.join(target.vendor.folder()));
        let file = match &folder {
            Some(folder) => Some(folder.join("icd.json")).filter(|file| file.exists()),
            None if target.vendor == Vendor::Amd => system_radv(),
            None => None,
        };
        found.extend(file.map(|driver_file| Compiler {
            target,
            own: folder,
            driver_file,
        }));
    }
    found
}

fn system_radv() -> Option<PathBuf> {
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let files = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let mut paths = files.flatten().flatten().map(|entry| entry.path());
    paths.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("radeon_icd") && name.ends_with(".json")
    })
}

impl Compiler {
    /// Compiles all of them. `child` are arguments with which this program comes to [`serve`].
    pub fn compile(&self, requests: &[Request], child: &[&str]) -> Result<Report, String> {
        let job = Job::new(self.target.name)?;
        let mut report = Report {
            driver: String::new(),
            device: String::new(),
            compiled: vec![],
        };
        // A compiler that fails ends its process: the next one goes on after what it failed at.
        while report.compiled.len() < requests.len() {
            job.write(&requests[report.compiled.len()..])?;
            let said = self.run(&job.folder, child)?;
            let lines = job.read()?;
            let Some((first, rest)) = lines.split_first() else {
                return Err(format!("it opens no device: {}", last_line(&said)));
            };
            (report.driver, report.device) = (string(&first["driver"]), string(&first["device"]));
            self.check_version(&report.driver)?;
            report.compiled.extend(rest.iter().map(compiled));
            if report.compiled.len() < requests.len() {
                let message = format!("the compiler failed: {}", last_line(&said));
                report.compiled.push(Err(message));
            }
        }
        Ok(report)
    }

    /// Whether it is not of the folder that the environment names.
    pub fn is_of_the_system(&self) -> bool {
        self.own.is_none()
    }

    /// Refuses the system's own RADV if it is too old to be compared with anything.
    fn check_version(&self, driver: &str) -> Result<(), String> {
        let version = driver.split("Mesa ").nth(1).unwrap_or_default();
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok());
        if !self.is_of_the_system() || major.is_some_and(|major| major >= OLDEST) {
            return Ok(());
        }
        Err(format!("{driver}, which is older than Mesa {OLDEST}"))
    }

    /// Runs this program once more as a compiler. Gives what it said of errors.
    fn run(&self, folder: &Path, child: &[&str]) -> Result<String, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command
            .args(child)
            .env(JOB, folder)
            .env("VK_DRIVER_FILES", &self.driver_file)
            .env("VK_ICD_FILENAMES", &self.driver_file)
            .env("VK_LOADER_LAYERS_DISABLE", "*")
            .env("MESA_SHADER_CACHE_DISABLE", "true")
            .env("NVK_I_WANT_A_BROKEN_VULKAN_DRIVER", "1")
            .env(self.target.vendor.variable(), self.target.model)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            command.env("XDG_RUNTIME_DIR", folder);
        }
        if let Some(own) = &self.own {
            let (libraries, stub) = (own.join("lib"), own.join("shim.so"));
            if libraries.exists() {
                command.env("LD_LIBRARY_PATH", libraries);
            }
            if stub.exists() {
                command.env("LD_PRELOAD", stub);
            }
        }
        let output = command.output().map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A folder with what is to be compiled, and with what became of it.
struct Job {
    folder: PathBuf,
}

impl Job {
    fn new(name: &str) -> Result<Self, String> {
        let folder = format!("wgpu-cnn-isa-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(Self { folder })
    }

    fn write(&self, requests: &[Request]) -> Result<(), String> {
        let one = |request: &Request| {
            let Request {
                words,
                storage,
                uniform,
            } = request;
            json!({ "words": words, "storage": storage, "uniform": uniform })
        };
        let all: Value = requests.iter().map(one).collect();
        // Of the process before.
        let _ = fs::remove_file(results(&self.folder));
        fs::write(self.folder.join("requests.json"), all.to_string())
            .map_err(|error| error.to_string())
    }

    /// The lines that are whole.
    fn read(&self) -> Result<Vec<Value>, String> {
        let text = fs::read_to_string(results(&self.folder)).unwrap_or_default();
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let lines = whole.map(|line| serde_json::from_str(line).map_err(|error| error.to_string()));
        lines.collect()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn results(folder: &Path) -> PathBuf {
    folder.join("results.jsonl")
}

/// If this process is to compile: does so, and says that it did.
pub fn serve() -> bool {
    let Some(folder) = std::env::var_os(JOB).map(PathBuf::from) else {
        return false;
    };
    if let Err(error) = compile(&folder) {
        eprintln!("{error}");
    }
    true
}

/// Compiles what is in a folder, and writes a line for each as soon as it is there.
fn compile(folder: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let device = Device::new()?;
    let requests = fs::read(folder.join("requests.json")).map_err(text)?;
    let requests: Vec<Value> = serde_json::from_slice(&requests).map_err(|e| e.to_string())?;
    let mut file = fs::File::create(results(folder)).map_err(text)?;
    let mut write = |line: Value| writeln!(file, "{line}").map_err(text);
    write(json!({ "driver": device.driver, "device": device.name }))?;
    for request in &requests {
        let request = Request {
            words: numbers(&request["words"]),
            storage: numbers(&request["storage"]),
            uniform: request["uniform"].as_u64().unwrap_or_default() as u32,
        };
        write(match device.compile(&request) {
            Ok(Compiled {
                width,
                statistics,
                listing,
            }) => json!({ "width": width, "statistics": statistics, "listing": listing }),
            Err(error) => json!({ "error": error }),
        })?;
    }
    Ok(())
}

/// A line of results.
fn compiled(line: &Value) -> Result<Compiled, String> {
    if let Some(error) = line["error"].as_str() {
        return Err(error.into());
    }
    let statistics = line["statistics"].as_object().into_iter().flatten();
    Ok(Compiled {
        width: line["width"].as_u64().unwrap_or_default() as u32,
        statistics: statistics
            .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
            .collect(),
        listing: string(&line["listing"]),
    })
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn numbers(value: &Value) -> Vec<u32> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|one| Some(one.as_u64()? as u32)).collect()
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}
