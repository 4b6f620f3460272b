//! The table as it is printed, and as it is kept in `benches/isa.json`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::reading::Reading;

/// What a compiler makes of each pipeline, by its name; or why it makes nothing of it.
pub struct Table {
    /// Of the GPU.
    pub name: String,
    /// The compiler with its version.
    pub driver: String,
    pub rows: Vec<(String, Result<Reading, String>)>,
}

impl Table {
    /// Prints the rows.
    pub fn print(&self, title: &str) {
        println!("\n{title}: {}", self.driver);
        let width = self
            .rows
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or_default();
        println!(
            "{:width$}  {:>9} {:>8} {:>6} {:>5} {:>12} {:>7}  step",
            "kernel", "registers", "resident", "spills", "width", "instructions", "ceiling"
        );
        for (name, reading) in &self.rows {
            match reading {
                Ok(reading) => println!("{name:width$}  {}", line(reading)),
                Err(error) => println!("{name:width$}  {error}"),
            }
        }
    }

    /// What the committed table has of it.
    fn json(&self) -> BTreeMap<&str, Value> {
        let rows = self.rows.iter().map(|(name, reading)| {
            let value = match reading {
                Ok(reading) => json!({
                    "registers": reading.registers,
                    "resident": reading.resident,
                    "spills": reading.spills,
                    "width": reading.width,
                    "step": reading.step,
                    "ceiling": reading.ceiling.map(|ceiling| ceiling.round() as u32),
                }),
                Err(_) => json!("fails"),
            };
            (name.as_str(), value)
        });
        rows.collect()
    }
}

fn line(reading: &Reading) -> String {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let Reading {
        registers,
        spills,
        width,
        instructions,
        ..
    } = reading;
    let resident = or_dash(reading.resident.map(|resident| resident.to_string()));
    let ceiling = or_dash(reading.ceiling.map(|ceiling| format!("{ceiling:.1} %")));
    let step = or_dash(reading.step.clone());
    format!(
        "{registers:9} {resident:>8} {spills:6} {width:5} {instructions:12} {ceiling:>7}  {step}"
    )
}

/// The committed table.
pub struct Kept(BTreeMap<String, Value>);

impl Kept {
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".into(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let parsed = serde_json::from_str(&text);
        parsed
            .map(Self)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Takes over the tables of the compilers that are here.
    pub fn replace(&mut self, tables: &[Table]) {
        for table in tables {
            let value = json!({ "compiler": table.driver, "kernels": table.json() });
            self.0.insert(table.name.clone(), value);
        }
    }

    /// A line for each kernel, so that a change of one shows as such.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut text = String::from("{");
        for (at, (gpu, value)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(
                text,
                "{comma}\n{}: {{\n\"compiler\": {},\n\"kernels\": {{",
                json!(gpu),
                value["compiler"]
            );
            let kernels = value["kernels"].as_object().into_iter().flatten();
            for (at, (name, kernel)) in kernels.enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}\n{}: {kernel}", json!(name));
            }
            text += "\n}}";
        }
        std::fs::write(path, text + "\n}\n")
    }

    /// How a compiler's table differs from what is kept of it; nothing to compare where another version made that.
    pub fn differences(&self, table: &Table) -> Result<Vec<String>, String> {
        let Some(kept) = self.0.get(&table.name) else {
            return Err(format!("{}: nothing is kept", table.name));
        };
        if kept["compiler"].as_str() != Some(&table.driver) {
            let (kept, here) = (&kept["compiler"], &table.driver);
            return Err(format!("{}: kept of {kept}, here is {here}", table.name));
        }
        let (mut now, mut differences) = (table.json(), Vec::new());
        for (name, before) in kept["kernels"].as_object().into_iter().flatten() {
            match now.remove(name.as_str()) {
                Some(after) if after == *before => {}
                Some(after) => {
                    differences.push(format!("{}: {name}: {before} is now {after}", table.name))
                }
                None => differences.push(format!("{}: {name} is gone", table.name)),
            }
        }
        differences.extend(
            now.keys()
                .map(|name| format!("{}: {name} is new", table.name)),
        );
        Ok(differences)
    }
}
