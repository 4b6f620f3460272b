//! Folders of images.

use wgpu_cnn::data::{Colour, Dataset, ImageFolder};
use wgpu_cnn::{Error, Target};

use crate::{Folder, expected, path};

fn png() -> Vec<u8> {
    std::fs::read(path("images/rgb.png")).unwrap()
}

#[test]
fn classes_and_images_come_in_the_order_of_names() {
    let folder = Folder::new("order");
    // As torchvision sorts them: capitals first, then the text of folders (`a`, `a-b`, `a/c`), then names.
    let files = [
        "Zebra/x.PNG",
        "ant/10.png",
        "ant/9.jpeg",
        "ant/a/b.bmp",
        "ant/a-b/1.webp",
        "ant/a/c/0.png",
        "bee/1.jpg",
    ];
    for file in files.iter().rev() {
        folder.write(file, &png());
    }
    folder.write("readme.png", b"no class");
    folder.write("bee/notes.txt", b"no image");
    let images = ImageFolder::open(&folder.0).unwrap();
    assert_eq!(images.classes(), ["Zebra", "ant", "bee"]);
    let found: Vec<_> = (0..images.len())
        .map(|at| images.file(at).unwrap())
        .collect();
    let names = found
        .iter()
        .map(|(path, _)| path.strip_prefix(&folder.0).unwrap().to_str().unwrap());
    let names: Vec<_> = names.into_iter().collect();
    assert_eq!(names, files);
    assert_eq!(
        found.iter().map(|file| file.1).collect::<Vec<_>>(),
        [0, 1, 1, 1, 1, 1, 2]
    );
    let example = images.get(6).unwrap();
    assert_eq!(example.target, Target::Labels(vec![2]));
    assert_eq!(&example.input, expected("rgb.png.RGB"));
    let grey = images.colour(Colour::Grey).get(6).unwrap();
    assert_eq!(&grey.input, expected("rgb.png.L"));
}

#[test]
fn what_makes_no_classes_is_an_error() {
    let folder = Folder::new("none");
    let said = || match ImageFolder::open(&folder.0) {
        Err(Error::File { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(said(), "holds no folders, one for each class");
    folder.write("a/1.png", &png());
    folder.write("b/notes.txt", b"");
    assert_eq!(said(), "holds no images, so the class has none");
    assert!(ImageFolder::open(folder.0.join("missing")).is_err());
    assert!(ImageFolder::open(folder.0.join("a/1.png")).is_err());
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_round_in_circles() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("links");
    folder.write("elsewhere/1.png", &png());
    folder.write("classes/a/1.png", &png());
    let classes = folder.0.join("classes");
    symlink(folder.0.join("elsewhere"), classes.join("b")).unwrap();
    assert_eq!(ImageFolder::open(&classes).unwrap().classes(), ["a", "b"]);
    symlink(&classes, classes.join("a/round")).unwrap();
    let error = ImageFolder::open(&classes).unwrap_err().to_string();
    assert!(error.contains("lies within itself"), "{error}");
}
