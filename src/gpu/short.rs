//! WGSL without what a compiler does not need, for pages, which load all of it.

/// Writes a text to `out`, as far as there is room, without comments and the spaces at both ends of its lines; gives
/// the number of bytes. Lines stay lines, so that their numbers in errors are right.
pub(crate) const fn shorten(text: &str, out: &mut [u8]) -> usize {
    let text = text.as_bytes();
    // How much is written, and how much of it before the spaces that may end a line.
    let (mut written, mut kept, mut at) = (0, 0, 0);
    let mut begins = true;
    while at < text.len() {
        let byte = text[at];
        let comment = byte == b'/' && at + 1 < text.len() && text[at + 1] == b'/';
        if comment {
            while at < text.len() && text[at] != b'\n' {
                at += 1;
            }
            continue;
        }
        at += 1;
        if byte == b'\n' {
            written = kept;
            begins = true;
        } else if byte == b' ' {
            if begins {
                continue;
            }
        } else {
            begins = false;
        }
        if written < out.len() {
            out[written] = byte;
        }
        written += 1;
        if byte != b' ' {
            kept = written;
        }
    }
    kept
}

/// The same as an array, of the length that [`shorten`] has given.
#[cfg(target_arch = "wasm32")]
pub(crate) const fn shortened<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    shorten(text, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> String {
        let mut bytes = vec![0; shorten(text, &mut [])];
        let len = bytes.len();
        assert_eq!(shorten(text, &mut bytes), len);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn comments_and_spaces_around_lines_are_left_out() {
        let text = "// all\n  let a = 1u; // one\n\n    b /  2u\n// last";
        assert_eq!(short(text), "\nlet a = 1u;\n\nb /  2u\n");
        assert_eq!(short(""), "");
        assert_eq!(short("a\n  "), "a\n");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");
        for folder in [folder.to_string(), format!("{folder}/core")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(
                    !text.contains("/*"),
                    "{path:?}: comments end with their lines"
                );
                let lines = text.split('\n');
                let lines =
                    lines.map(|line| line.split("//").next().unwrap_or("").trim_matches(' '));
                let expected: Vec<_> = lines.collect();
                assert_eq!(short(&text), expected.join("\n"), "{path:?}");
            }
        }
    }
}
