//! `cutwater new`: a crate of one's own dataflows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::out;
use crate::usage::usage;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Write a crate of your own: manifest, one dataflow, a fixture and a test\n\n\
     The crate's program has the whole command line of this one, for the dataflows of the crate. `cargo test` in its folder \
     tests the dataflow, without a broker; so does `cargo run --release -- test NAME` on the files of records and rows in fixtures/NAME. \
     `cargo run --release -- run NAME --topic TOPIC --brokers HOST:PORT` runs it.";

/// The options of `cutwater new`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct NewArgs {
    /// The name of the crate and of its dataflow: lower-case letters, digits and hyphens, such as page-views
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The folder to write, which must not be there [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Depend on the sources of Cutwater in this folder, not on a published version
    #[arg(long, value_name = "DIR")]
    pub cutwater_path: Option<PathBuf>,
}

/// The files of a crate: where they lie in it, and their text for the dataflow [`TEMPLATE`]. They are a part of the crate
/// `examples/outside`, which builds and tests them.
const FILES: [(&str, &str); 5] = [
    ("src/main.rs", include_str!("template/src/main.rs")),
    ("src/line_lengths.rs", include_str!("template/src/line_lengths.rs")),
    ("fixtures/line-lengths/lines.jsonl", include_str!("template/fixtures/line-lengths/lines.jsonl")),
    ("fixtures/line-lengths/lengths.jsonl", include_str!("template/fixtures/line-lengths/lengths.jsonl")),
    (".gitignore", "/target\n"),
];

/// The name that the files have, as a crate, as a module and as a type.
const TEMPLATE: [&str; 3] = ["line-lengths", "line_lengths", "LineLengths"];

/// Names that mean something else: to Cargo, or in the files, whose dataflow is a type of this name.
const TAKEN: &str = " alloc core cutwater main prelude proc-macro std test count dataflow decode filter flow line line-ref \
    malformed persist read-line record result row rows ";

/// No module has such a name.
const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn else enum extern false final \
    fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true \
    try type typeof unsafe unsized use virtual where while yield ";

/// Writes the crate.
///
/// # Errors
/// If the name can't be one, the folder is there, or it can't be written.
pub(super) fn new(args: &NewArgs) -> Result<()> {
    check(&args.name)?;
    let sources = args.cutwater_path.as_deref().map(sources).transpose()?;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if folder.symlink_metadata().is_ok() {
        return Err(usage(format!("{} is there already: name another folder with --path", folder.display())));
    }
    for (path, text) in files(&args.name, sources.as_deref())? {
        let path = folder.join(path);
        let parent = path.parent().expect("it is in the folder");
        fs::create_dir_all(parent).with_context(|| format!("making the folder {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    out::print(|out| {
        let (folder, name) = (folder.display(), &args.name);
        writeln!(out, "{folder}: a crate with the dataflow {name}, in src/{}.rs", module(name))?;
        writeln!(out, "  test it:  cd {folder} && cargo test")?;
        let (input, output) =
            (format!("fixtures/{name}/lines.jsonl"), format!("fixtures/{name}/lengths.jsonl"));
        let test = format!("test {name} --at-least 1 --input {input} --expect {output}");
        writeln!(out, "  on files: cd {folder} && cargo run --release -- {test}")?;
        writeln!(out, "  run it:   cd {folder} && cargo run --release -- run {name} -b HOST:PORT -t TOPIC")?;
        Ok(())
    })
}

/// Refuses names that can't be those of a crate and a module.
fn check(name: &str) -> Result<()> {
    let wrong = |why: &str| Err(usage(format!("{name:?} can't be the name of a crate: {why}")));
    if name.is_empty() {
        return wrong("it is empty");
    }
    if let Some(other) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return wrong(&format!("it has {other:?}; it may have lower-case letters, digits and hyphens"));
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') || name.contains("--") {
        return wrong("it begins with a letter, and each hyphen stands between two letters or digits");
    }
    if TAKEN.contains(&format!(" {name} ")) || KEYWORDS.contains(&format!(" {name} ")) {
        return wrong("it means something else in Rust or in the crate");
    }
    Ok(())
}

/// Where the sources of Cutwater lie: from anywhere.
fn sources(path: &Path) -> Result<PathBuf> {
    let manifest = path.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .map_err(|error| usage(format!("--cutwater-path: reading {}: {error}", manifest.display())))?;
    let package: Option<toml::Table> = text.parse().ok();
    let name = package.as_ref().and_then(|manifest| manifest.get("package")?.get("name")?.as_str());
    if name != Some("cutwater") {
        return Err(usage(format!(
            "--cutwater-path: {} is not the manifest of cutwater",
            manifest.display()
        )));
    }
    fs::canonicalize(path).with_context(|| format!("--cutwater-path {}", path.display()))
}

/// The files of a crate of this name.
fn files(name: &str, sources: Option<&Path>) -> Result<Vec<(String, String)>> {
    let named = |text: &str| {
        let names = [name, &module(name), &type_name(name)];
        TEMPLATE.iter().zip(names).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let mut files = vec![("Cargo.toml".to_owned(), manifest(name, sources)?)];
    files.extend(FILES.iter().map(|(path, text)| (named(path), named(text))));
    Ok(files)
}

fn manifest(name: &str, sources: Option<&Path>) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let dependency = match sources {
        Some(path) => {
            let Some(path) = path.to_str() else { bail!("--cutwater-path {}: not UTF-8", path.display()) };
            format!("cutwater = {{ path = {} }}", toml::Value::from(path))
        }
        None => format!("cutwater = \"{version}\""),
    };
    let rust = env!("CARGO_PKG_RUST_VERSION");
    Ok(format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"
rust-version = "{rust}"
publish = false

[dependencies]
# From sources in a folder or a repository:
#   cutwater = {{ path = "../cutwater" }}
#   cutwater = {{ git = "https://…" }}
{dependency}
"#
    ))
}

/// `page-views` as `page_views`.
fn module(name: &str) -> String {
    name.replace('-', "_")
}

/// `page-views` as `PageViews`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: &str, path: &Path) -> NewArgs {
        NewArgs { name: name.to_owned(), path: Some(path.to_owned()), cutwater_path: None }
    }

    #[test]
    fn a_crate_has_its_own_name_throughout_and_is_never_written_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("crate");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let args = NewArgs { cutwater_path: Some(here.to_owned()), ..args("page-views-2", &path) };
        new(&args).unwrap();
        let manifest: toml::Table = fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("page-views-2"));
        let cutwater = manifest["dependencies"]["cutwater"]["path"].as_str().map(Path::new);
        assert_eq!(cutwater, Some(&*fs::canonicalize(here).unwrap()));
        let main = fs::read_to_string(path.join("src/main.rs")).unwrap();
        assert!(
            main.contains("mod page_views_2;") && main.contains("entry::<page_views_2::PageViews2>()"),
            "{main}"
        );
        let dataflow = fs::read_to_string(path.join("src/page_views_2.rs")).unwrap();
        assert!(dataflow.contains("include_str!(\"../fixtures/page-views-2/lines.jsonl\")"), "{dataflow}");
        assert!(path.join("fixtures/page-views-2/lengths.jsonl").is_file());
        for text in [main, dataflow] {
            assert!(!TEMPLATE.iter().any(|name| text.contains(name)), "{text}");
        }

        let error = new(&args).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
    }

    #[test]
    fn without_a_path_the_crate_depends_on_this_version() {
        let manifest: toml::Table = manifest("x", None).unwrap().parse().unwrap();
        assert_eq!(manifest["dependencies"]["cutwater"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn names_that_are_none_are_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crate");
        for name in [
            "", "Views", "1st", "a b", "a_b", "-a", "a-", "a--b", "../a", "größe", "std", "cutwater", "fn",
            "yield", "rows",
        ] {
            let error = new(&args(name, &path)).unwrap_err();
            assert!(error.is::<crate::usage::Usage>(), "{name}: {error:#}");
        }
        let elsewhere = NewArgs { cutwater_path: Some(folder.path().to_owned()), ..args("views", &path) };
        assert!(new(&elsewhere).unwrap_err().to_string().contains("--cutwater-path"));
        assert!(!path.exists());
    }
}
