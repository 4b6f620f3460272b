//! A log as comma-separated values (RFC 4180).

use super::{Log, LogRow, OWN};

/// The log with a header.
pub(super) fn write(log: &Log) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in log.rows.iter().flat_map(|row| &row.values) {
        if !names.contains(&&name[..]) {
            names.push(name);
        }
    }
    let header = OWN.into_iter().chain(names.iter().copied());
    let mut text = line(header.map(quoted));
    for row in &log.rows {
        let counts = [row.update, row.batch, row.examples].map(|count| count.to_string());
        let numbers = [row.learning_rate, row.seconds].map(|number| format!("{number:?}"));
        let values = names.iter().map(|name| match row.value(name) {
            Some(value) => format!("{value:?}"),
            None => String::new(),
        });
        text += &line(counts.into_iter().chain(numbers).chain(values));
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}

/// A cell, in quotes where it needs them.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.into(),
    }
}

/// The log that a text holds, or what is wrong with it.
pub(super) fn read(text: &str) -> Result<Log, String> {
    let mut records = records(text.strip_prefix('\u{feff}').unwrap_or(text))?.into_iter();
    let (_, header) = records.next().ok_or("there is no header")?;
    for (at, name) in header.iter().enumerate() {
        if header[..at].contains(name) {
            return Err(format!("two columns are called {name:?}"));
        }
    }
    let place = |name: &str| header.iter().position(|other| other == name);
    let mut own = [0; OWN.len()];
    for (own, name) in own.iter_mut().zip(OWN) {
        *own = place(name).ok_or_else(|| format!("there is no column {name:?}"))?;
    }
    let mut log = Log::new();
    for (line, cells) in records {
        if cells.len() != header.len() {
            let (expected, got) = (header.len(), cells.len());
            return Err(format!("line {line}: {got} cells for {expected} columns"));
        }
        let wrong = |at: usize| format!("line {line}: {:?} is no {}", cells[at], header[at]);
        let count = |own: usize| cells[own].parse::<u64>().map_err(|_| wrong(own));
        let number = |at: usize| cells[at].parse::<f64>().map_err(|_| wrong(at));
        let [update, batch, examples, rate, seconds] = own;
        let mut row = LogRow {
            update: count(update)?,
            batch: count(batch)?,
            examples: count(examples)?,
            learning_rate: number(rate)?,
            seconds: number(seconds)?,
            values: vec![],
        };
        for at in (0..header.len()).filter(|at| !own.contains(at) && !cells[*at].is_empty()) {
            row.values.push((header[at].clone(), number(at)?));
        }
        log.rows.push(row);
    }
    Ok(log)
}

/// A record: the line that it begins in, and its cells.
type Record = (usize, Vec<String>);

/// The records of a text, empty lines left out.
fn records(text: &str) -> Result<Vec<Record>, String> {
    let (mut records, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begin) = (1, 1);
    // Whether the cell was in quotes, which are closed.
    let mut closed = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if cell.is_empty() && !closed => loop {
                match letters.next() {
                    Some('"') if letters.peek() == Some(&'"') => {
                        letters.next();
                        cell.push('"');
                    }
                    Some('"') => break closed = true,
                    Some(letter) => {
                        line += usize::from(letter == '\n');
                        cell.push(letter);
                    }
                    None => return Err(format!("line {begin}: a quote is not closed")),
                }
            },
            ',' => {
                cells.push(std::mem::take(&mut cell));
                closed = false;
            }
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' => {
                if !(cells.is_empty() && cell.is_empty() && !closed) {
                    cells.push(std::mem::take(&mut cell));
                    records.push((begin, std::mem::take(&mut cells)));
                }
                (line, closed) = (line + 1, false);
                begin = line;
            }
            _ if closed || letter == '"' => {
                return Err(format!("line {line}: a quote is in the midst of a cell"));
            }
            _ => cell.push(letter),
        }
    }
    if !(cells.is_empty() && cell.is_empty() && !closed) {
        cells.push(cell);
        records.push((begin, cells));
    }
    Ok(records)
}
