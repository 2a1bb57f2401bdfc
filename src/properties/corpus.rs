//! The inputs in `fuzz/corpus`, for unit tests that replay them.

use std::path::Path;

/// Runs `check` on every file of a fuzz target's corpus.
pub fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&directory).expect("the corpus is there");
    let mut replayed = 0;
    for file in files {
        let path = file.expect("the corpus can be listed").path();
        println!("{}", path.display()); // shown when the check fails
        check(&std::fs::read(path).expect("the corpus can be read"));
        replayed += 1;
    }
    assert!(
        replayed > 10,
        "{} has {replayed} files",
        directory.display()
    );
}
