//! Puts the scenario files of `suites/`, the target files of
//! `fixtures/targets/` and the programs that these start, of
//! `fixtures/peers/`, into the command, so that it runs from anywhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(var("CARGO_MANIFEST_DIR")?);
    let root = here.join("../..").canonicalize()?;
    let mut code = String::new();
    table(&mut code, &root, "SCENARIOS", "suites", "toml")?;
    table(&mut code, &root, "TARGETS", "fixtures/targets", "toml")?;
    table(&mut code, &root, "PROGRAMS", "fixtures/peers", "py")?;
    fs::write(PathBuf::from(var("OUT_DIR")?).join("library.rs"), code)
}

fn var(name: &str) -> io::Result<String> {
    env::var(name).map_err(|_| io::Error::other(format!("cargo did not set {name}")))
}

/// One table of `(path in the repository, text)`, sorted by path.
fn table(
    code: &mut String,
    root: &Path,
    name: &str,
    folder: &str,
    extension: &str,
) -> io::Result<()> {
    let mut files = Vec::new();
    walk(&root.join(folder), extension, &mut files)?;
    files.sort();
    let _ = writeln!(code, "pub(crate) static {name}: &[(&str, &str)] = &[");
    for file in files {
        let path = file.strip_prefix(root).unwrap_or(&file).display();
        let _ = writeln!(
            code,
            "    ({:?}, include_str!({:?})),",
            path.to_string(),
            file.display().to_string()
        );
    }
    code.push_str("];\n");
    Ok(())
}

/// Every file with that extension below a folder, but the manifests of crates.
fn walk(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, extension, files)?;
        } else if path.extension().is_some_and(|e| e == extension)
            && path.file_name().is_some_and(|n| n != "Cargo.toml")
        {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}
