//! The first-party plugins as components: what they import, and how large they are.

use std::path::Path;

use tidemill_build::{BuildOptions, build_crates};

/// Each plugin with the interfaces that it uses, without their versions.
const PLUGINS: [(&str, &[&str]); 4] = [
    ("passthrough", &[]),
    ("json-filter", &["wasi:config/store"]),
    ("aggregate", &["tidemill:handler/state", "wasi:config/store"]),
    ("quake-alerts", &["tidemill:handler/state", "wasi:config/store", "wasi:logging/logging"]),
];

#[test]
fn plugins_import_only_what_they_use() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let packages = PLUGINS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let built =
        build_crates(&BuildOptions { packages, ..BuildOptions::new(root) }).expect("the plugins build");
    for (built, (name, expected)) in built.iter().zip(PLUGINS) {
        println!("{name}: {} bytes, at {}", built.size, built.path.display());
        let bare = |import: &String| import.split('@').next().unwrap_or_default().to_owned();
        let mut imports: Vec<String> = built.imports.iter().map(bare).collect();
        imports.retain(|import| import != "tidemill:handler/types");
        imports.sort();
        assert_eq!(built.package, name);
        assert_eq!(imports, expected, "imports of {name}");
    }
}
