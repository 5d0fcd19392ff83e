//! The builder on small crates of every kind of wrong, and on modules made from the contract itself.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidemill_build::{BuildOptions, Error, build_crate, build_crates, componentize};
use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

/// A crate of its own in a scratch directory.
struct Scratch {
    directory: TempDir,
}

impl Scratch {
    fn new(lib: &str, source: &str) -> Self {
        let directory = TempDir::new().expect("a scratch directory");
        let manifest = format!(
            "[package]\nname = \"scratch\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{lib}\n[workspace]\n"
        );
        fs::write(directory.path().join("Cargo.toml"), manifest).expect("a manifest");
        fs::create_dir(directory.path().join("src")).expect("a source directory");
        fs::write(directory.path().join("src/lib.rs"), source).expect("a source file");
        Self { directory }
    }

    fn options(&self) -> BuildOptions {
        BuildOptions {
            target_dir: Some(self.directory.path().join("compiled")),
            out_dir: Some(self.directory.path().join("out")),
            ..BuildOptions::new(self.directory.path())
        }
    }

    fn error(&self) -> Error {
        build_crate(&self.options()).expect_err("this crate is wrong")
    }
}

const CDYLIB: &str = "[lib]\ncrate-type = [\"cdylib\"]\n";

/// A core module of the world `handler` in `wit/`, all its functions trapping.
fn module_of_the_contract() -> Vec<u8> {
    module_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit"), "handler")
}

fn module_of(wit: &Path, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).expect("the contract parses");
    let world = resolve.select_world(&[package], Some(world)).expect("the world exists");
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("metadata fit");
    module
}

#[test]
fn a_module_of_the_contract_becomes_a_component_without_wasi() {
    let component = componentize(&module_of_the_contract()).expect("the contract is a handler");
    assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
}

#[test]
fn bytes_that_are_no_core_module_are_refused() {
    assert!(matches!(componentize(b"fn main() {}"), Err(Error::NotModule(_))));
    assert!(matches!(componentize(b""), Err(Error::NotModule(_))));
    assert!(matches!(
        componentize(b"\0asm\x01\0\0\0\xff\xff"),
        Err(Error::NotModule(_) | Error::Component(_))
    ));
    let component = componentize(&module_of_the_contract()).expect("the contract is a handler");
    assert!(matches!(componentize(&component), Err(Error::NotModule(_))));
}

#[test]
fn a_module_without_the_export_is_refused() {
    assert!(matches!(componentize(b"\0asm\x01\0\0\0"), Err(Error::NoHandler)));
    let directory = TempDir::new().expect("a scratch directory");
    let wit = "package some:thing; world other { export run: func(); }";
    fs::write(directory.path().join("other.wit"), wit).expect("a contract");
    assert!(matches!(componentize(&module_of(directory.path(), "other")), Err(Error::NoHandler)));
}

#[test]
fn a_crate_without_a_handler_is_refused_by_name() {
    let error = Scratch::new(CDYLIB, "#[unsafe(no_mangle)] pub extern \"C\" fn nothing() {}").error();
    let message = error.to_string();
    assert!(matches!(error, Error::InPackage { .. }), "{message}");
    assert!(message.contains("`scratch`") && message.contains("#[tidemill_sdk::handler]"), "{message}");
}

#[test]
fn an_import_that_no_host_has_is_refused_by_name() {
    let source = "#[link(wasm_import_module = \"browser\")] unsafe extern \"C\" { fn alert(); }
        #[unsafe(no_mangle)] pub extern \"C\" fn run() { unsafe { alert() } }";
    let message = Scratch::new(CDYLIB, source).error().to_string();
    assert!(message.contains("browser"), "{message}");
}

#[test]
fn a_crate_that_is_no_cdylib_is_told_what_to_add() {
    let error = Scratch::new("", "").error();
    assert!(matches!(error, Error::NotCdylib { .. }), "{error}");
    assert!(error.to_string().contains("crate-type = [\"cdylib\", \"rlib\"]"), "{error}");
}

#[test]
fn a_compile_error_fails_the_build() {
    let error = Scratch::new(CDYLIB, "this is not Rust").error();
    assert!(matches!(error, Error::Compile { .. }), "{error}");
}

#[test]
fn a_missing_crate_or_package_is_named() {
    let missing = build_crate(&BuildOptions::new("/nowhere/at/all")).expect_err("there is no such crate");
    assert!(missing.to_string().contains("/nowhere/at/all"), "{missing}");
    let scratch = Scratch::new(CDYLIB, "");
    let unknown = BuildOptions { packages: vec!["unknown".to_owned()], ..scratch.options() };
    let error = build_crates(&unknown).expect_err("there is no such package");
    assert!(error.to_string().contains("no package `unknown`; it has scratch"), "{error}");
}

#[test]
fn a_manifest_that_cargo_cannot_read_is_told_as_cargo_tells_it() {
    let scratch = Scratch::new("[lib]\ncrate-type = 7\n", "");
    let error = scratch.error();
    assert!(matches!(error, Error::Manifest { .. }), "{error}");
    assert!(error.to_string().contains("crate-type"), "{error}");
}

#[test]
fn a_workspace_is_built_by_the_names_of_its_packages() {
    let directory = TempDir::new().expect("a scratch directory");
    fs::write(directory.path().join("Cargo.toml"), "[workspace]\nmembers = []\n").expect("a manifest");
    let options = BuildOptions::new(PathBuf::from(directory.path()).join("Cargo.toml"));
    assert!(matches!(build_crate(&options), Err(Error::NotOnePackage { .. })));
}

#[test]
fn a_crate_that_asks_for_randomness_is_told_that_there_is_none() {
    let source = "#[cfg(not(getrandom_backend = \"unsupported\"))] compile_error!(\"not set\");";
    assert!(matches!(Scratch::new(CDYLIB, source).error(), Error::InPackage { .. }));
}

#[test]
fn vector_instructions_are_on_unless_turned_off() {
    let source = "#[cfg(not(target_feature = \"simd128\"))] compile_error!(\"not set\");";
    let scratch = Scratch::new(CDYLIB, source);
    assert!(matches!(scratch.error(), Error::InPackage { .. }));
    let off = BuildOptions { simd: tidemill_build::Simd::Off, ..scratch.options() };
    assert!(matches!(build_crate(&off), Err(Error::Compile { .. })));
}
