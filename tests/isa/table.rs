//! What is kept of tables, and how they differ from it.

use crate::isa::reading::Reading;
use crate::isa::table::{Kept, Table};

fn reading() -> Reading {
    Reading {
        registers: 80,
        resident: Some(12),
        spills: 0,
        width: 64,
        instructions: 700,
        step: Some("24 + 2 x 290".into()),
        ceiling: Some(84.8),
    }
}

fn table(rows: &[(&str, Result<Reading, String>)]) -> Table {
    let rows = rows
        .iter()
        .map(|(name, row)| (name.to_string(), row.clone()));
    Table {
        name: "rdna2".into(),
        driver: "radv Mesa 25.0.7".into(),
        rows: rows.collect(),
    }
}

/// What is kept of a table, by way of a file.
fn kept(tables: &[Table]) -> Kept {
    let name = format!("wgpu-cnn-isa-kept-{}-{tables:p}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut kept = Kept::read(&path).unwrap();
    kept.replace(tables);
    kept.write(&path).unwrap();
    let read = Kept::read(&path);
    std::fs::remove_file(&path).unwrap();
    read.unwrap()
}

#[test]
fn a_table_is_that_which_is_kept_of_it() {
    let rows = [("matmul", Ok(reading())), ("conv2d", Err("fails".into()))];
    let tables = [table(&rows)];
    let kept = kept(&tables);
    assert_eq!(kept.differences(&tables[0]), Ok(vec![]));
    // The length of the whole, and digits behind the point, are not kept.
    let nearly = Reading {
        instructions: 800,
        ceiling: Some(85.1),
        ..reading()
    };
    let rows = [("matmul", Ok(nearly)), ("conv2d", Err("as before".into()))];
    assert_eq!(kept.differences(&table(&rows)), Ok(vec![]));
}

#[test]
fn each_loss_is_a_difference() {
    let kept = kept(&[table(&[("matmul", Ok(reading()))])]);
    let lost: [fn(&mut Reading); 6] = [
        |r| r.registers += 8,
        |r| r.resident = Some(8),
        |r| r.spills = 1,
        |r| r.width = 8,
        |r| r.step = None,
        |r| r.ceiling = Some(80.0),
    ];
    for lose in lost {
        let mut after = reading();
        lose(&mut after);
        let differences = kept.differences(&table(&[("matmul", Ok(after))])).unwrap();
        let [only] = &differences[..] else {
            panic!("{differences:?}");
        };
        assert!(only.starts_with("rdna2: matmul: {"), "{only}");
    }
    let fails = kept.differences(&table(&[("matmul", Err("fails".into()))]));
    assert_eq!(fails.unwrap().len(), 1);
    let other = kept.differences(&table(&[("conv2d", Ok(reading()))]));
    let expected = ["rdna2: matmul is gone", "rdna2: conv2d is new"];
    assert_eq!(other.unwrap(), expected);
}

#[test]
fn another_version_of_a_compiler_is_not_compared() {
    let rows = [("matmul", Ok(reading()))];
    let kept = kept(&[table(&rows)]);
    for change in [
        |t: &mut Table| t.driver += "1",
        |t: &mut Table| t.name += "1",
    ] {
        let mut other = table(&rows);
        change(&mut other);
        assert!(kept.differences(&other).is_err());
    }
}
